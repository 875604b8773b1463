"""Bad files of every kind are refused within seconds and without much memory, measured in a process of its own."""

import os
import resource
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from saltext.data.files import read_fixations, read_map
from saltext.data.tables import read_cells
from saltext.data.yaml_files import read_yaml
from saltext.errors import InvalidFileError
from saltext.images import read_photo

SIZE = (480, 640)
MOST_SECONDS = 5  # of a processor
MOST_BYTES = 10**9  # besides what the process has before

Make = Callable[[Path], object]


def _array(head: str) -> bytes:
    text = f"{{'descr': {head}, }}\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


def _counts(value: float) -> Make:
    counts = np.zeros(SIZE)
    counts[0, 0] = value
    return lambda path: np.save(path, counts)


def _holding(content: str | bytes) -> Make:
    return lambda path: path.write_bytes(content if isinstance(content, bytes) else content.encode())


def _aliases() -> str:
    lines = [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    return "\n".join(["a0: &a0 [x]", *lines])


def _cells(path: Path) -> None:
    inside: Any = np.zeros((1, 1))
    for _ in range(150):
        cell = np.empty(1, object)
        cell[0] = inside
        inside = cell
    savemat(path, {"gaze": inside})


def _many_cells(path: Path) -> None:
    cells = np.empty(40_000, object)
    cells[:] = [np.zeros((1, 1))] * len(cells)
    savemat(path, {"gaze": cells, "resolution": np.array([SIZE])}, do_compression=True)


def _vast_matrix(path: Path) -> None:
    savemat(path, {"I": np.zeros((6000, 6000))}, do_compression=True)


def _loop(path: Path) -> None:
    path.symlink_to(path.with_name("other"))
    path.with_name("other").symlink_to(path)


def _sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(2**40)


KINDS: dict[str, tuple[str, Make]] = {
    "deep header": (".npy", _holding(_array("'|u1', 'fortran_order': False, 'shape': " + "(" * 9000 + ")" * 9000))),
    "vast header": (".npy", _holding(_array("'<f8', 'fortran_order': False, 'shape': (99999999, 99999999)"))),
    "huge count": (".counts.npy", _counts(2.0**40)),
    "infinite count": (".counts.npy", _counts(np.inf)),
    "aliases": (".yaml", _holding(_aliases())),
    "brackets": (".yaml", _holding("[" * 60_000)),
    "pipe map": (".png", os.mkfifo),
    "pipe array": (".npy", os.mkfifo),
    "pipe table": (".csv", os.mkfifo),
    "pipe matrix": (".mat", os.mkfifo),
    "pipe yaml": (".yaml", os.mkfifo),
    "loop map": (".png", _loop),
    "loop table": (".csv", _loop),
    "loop yaml": (".yaml", _loop),
    "device map": (".png", lambda path: path.symlink_to("/dev/zero")),
    "device yaml": (".yaml", lambda path: path.symlink_to("/dev/zero")),
    "terabyte table": (".csv", _sparse),
    "terabyte yaml": (".yaml", _sparse),
    "terabyte map": (".png", _sparse),
    "terabyte array": (".npy", _sparse),
    "terabyte matrix": (".mat", _sparse),
    "vast picture": (".png", lambda path: Image.new("1", (30_000, 30_000)).save(path)),
    "vast matrix": (".mat", _vast_matrix),
    "deep cells": (".mat", _cells),
    "many cells": (".mat", _many_cells),
    "long cell": (".csv", _holding('x,y\n"' + "1" * 10**7)),
}

READERS: dict[str, tuple[Callable[[Path], object], ...]] = {
    ".npy": (read_map, lambda path: read_fixations(path, SIZE)),
    ".counts.npy": (lambda path: read_fixations(path, SIZE),),
    ".png": (read_map, lambda path: read_fixations(path, SIZE), read_photo),
    ".csv": (read_cells, lambda path: read_fixations(path, SIZE)),
    ".mat": (lambda path: read_fixations(path, SIZE),),
    ".yaml": (read_yaml,),
}


def _refuses(read: Callable[[Path], object], path: Path) -> None:
    """In a child: end with status 0 if the file is refused in one line, with 1 otherwise."""
    status = 1
    try:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(60)
        read(path)
    except InvalidFileError as error:
        status = int("\n" in str(error) or len(str(error)) > 500)
    finally:
        os._exit(status)


@pytest.mark.parametrize("kind", KINDS)
def test_a_bad_file_is_refused_within_seconds_and_without_much_memory(kind: str, tmp_path: Path) -> None:
    ending, make = KINDS[kind]
    path = tmp_path / f"bad{ending}"
    make(path)
    for read in READERS[ending]:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        child = os.fork()
        if child == 0:
            _refuses(read, path)
        _, status, used = os.wait4(child, 0)
        assert status == 0, "it was read, hung, or ended otherwise"
        assert used.ru_utime + used.ru_stime < MOST_SECONDS
        assert used.ru_maxrss * 1024 - pages * resource.getpagesize() < MOST_BYTES
