"""Python's collector of garbage, which goes through a million objects that libraries keep forever."""

import atexit
import gc
from collections.abc import Iterator
from contextlib import contextmanager


def leave_to_the_system() -> None:
    """Do not look for garbage when this process ends, which takes a second: its memory goes back as a whole anyway.

    For entry points. What is registered to happen at the end, and files that are closed when they are dropped, stay.
    """
    atexit.register(gc.freeze)


@contextmanager
def uncollected() -> Iterator[None]:
    """Inside, nothing is collected, and what was made there is never looked at again; for imports and for building.

    Not for work: what refers to itself in a circle stays in memory.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()
