class ServiceError(Exception):
    """A process of the platform cannot run; the message is one plain sentence for the person who started it."""


class FolderInUse(ServiceError):
    """Another supervisor holds the data folder."""


class ChildFailed(ServiceError):
    """A child ended before it was ready, or never became ready."""


class KeepsDying(ServiceError):
    """A child died so often in a short while that starting it again makes no sense."""


class StopRequested(Exception):
    """A signal asked to stop while children were still being started."""
