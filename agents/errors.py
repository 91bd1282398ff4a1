"""What the verbs of this room refuse.

AgentsError
├── InvalidSlug
├── ManifestIsPublished
├── ManifestIsADraft
├── NotTeachable
└── NotPublishable   (carries its problems)
"""

from collections.abc import Sequence

from agents.values import Problem


class AgentsError(Exception):
    """One plain sentence for the person who asked."""


class InvalidSlug(AgentsError):
    pass


class ManifestIsPublished(AgentsError):
    """A published manifest never changes: draft the next version."""


class ManifestIsADraft(AgentsError):
    """Only versions that were published once can be rolled back to."""


class NotTeachable(AgentsError):
    """A text that cannot be an exemplar; says how it could."""


class NotPublishable(AgentsError):
    """Lists every problem at once, one `field: sentence` a line."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = tuple(problems)
