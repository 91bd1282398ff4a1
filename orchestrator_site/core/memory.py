"""How a server's process looks after its memory."""

import gc

# New objects before the collector looks. As it comes, 700: a request or a turn makes thousands and drops nearly all.
NEW_OBJECTS = 20_000


def settle() -> None:
    """Once all is loaded: it stays, so that the collector need not look through it again and again, and it looks less
    often. As it comes, it stands still for a tenth of a second now and then, in the middle of somebody's request."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(NEW_OBJECTS)
