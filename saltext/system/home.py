"""Where to write files that have no other place: on machines without a home folder, or with a read-only one.

Nothing but the standard library is imported here: libraries look for their folders while they are imported.
"""

import os
import pwd
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

# What libraries look for in the home, to read it: variable -> path below it.
_READ = {
    "HF_HOME": ".cache/huggingface",
    "TORCH_HOME": ".cache/torch",
    "WANDB_CONFIG_DIR": ".config/wandb",
    "NETRC": ".netrc",
}
_NAMES = ("LOGNAME", "USER", "LNAME", "USERNAME")


def own_folder(purpose: str) -> Path:
    """A folder among the temporary files that nobody but this user writes to; the same one each time.

    Args:
        purpose: A word for its name.

    Raises:
        OSError: It cannot be made, or is another user's.
    """
    folder = Path(tempfile.gettempdir()) / f"saltext-{purpose}-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()  # others may have made it before
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise PermissionError(f"{folder} is not a folder that belongs to this user alone")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(f"{folder} cannot be written to")
    return folder


def provide_home() -> None:
    """Give libraries a home that they can write to, and a name of the user, where there are none.

    Containers run as users that no list knows, whose home is ``/`` or nothing, or with a home to read from alone.
    What is there (weights, a key) is still read. Nothing changes elsewhere.
    """
    if not any(os.environ.get(name) for name in _NAMES):
        try:
            pwd.getpwuid(os.getuid())
        except KeyError:
            os.environ["USER"] = f"uid{os.getuid()}"
    home = os.path.expanduser("~")  # noqa: PTH111  # which does not fail
    if os.path.isabs(home) and os.access(home, os.W_OK | os.X_OK):  # noqa: PTH117
        return
    for name, path in _READ.items():
        if (Path(home) / path).exists():
            os.environ.setdefault(name, str(Path(home) / path))
    with suppress(OSError):
        os.environ["HOME"] = str(own_folder("home"))
