"""Whether a folder's files are what was written there."""

from collections.abc import Callable
from pathlib import Path

import pytest

from saltext.data import checksums
from saltext.data.checksums import damage, record

NAMES = ("a.npy", "b.npy")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(checksums, "_BLOCK", 16)
    for name in NAMES:
        (tmp_path / name).write_bytes(bytes(range(50)))
    record(tmp_path)
    return tmp_path


def _flip(place: int) -> Callable[[Path], None]:
    def flip(folder: Path) -> None:
        content = bytearray((folder / "a.npy").read_bytes())
        content[place] ^= 1
        (folder / "a.npy").write_bytes(content)

    return flip


def _swap_blocks(folder: Path) -> None:
    content = (folder / "a.npy").read_bytes()
    (folder / "a.npy").write_bytes(content[16:32] + content[:16] + content[32:])


def test_a_folder_as_it_was_written_is_not_damaged(folder: Path) -> None:
    assert damage(folder, NAMES) == ""


@pytest.mark.parametrize(
    ("do", "said"),
    [
        (_flip(0), "a.npy has another checksum"),
        (_flip(49), "a.npy has another checksum"),
        (_swap_blocks, "a.npy has another checksum"),
        (lambda folder: (folder / "b.npy").write_bytes(b""), "b.npy has 0 bytes, expected 50"),
        (lambda folder: (folder / "b.npy").unlink(), "b.npy: No such file"),
        (lambda folder: (folder / "checksums.json").unlink(), "checksums.json is missing or damaged"),
        (lambda folder: (folder / "checksums.json").write_text("[]"), "checksums.json is missing or damaged"),
        (lambda folder: (folder / "checksums.json").write_text("{}"), "a.npy, b.npy not in checksums.json"),
    ],
)
def test_what_changed_is_said(folder: Path, do: Callable[[Path], object], said: str) -> None:
    do(folder)
    assert damage(folder, NAMES).startswith(said)


def test_a_list_names_no_file_of_another_folder(folder: Path) -> None:
    text = (folder / "checksums.json").read_text()
    (folder / "checksums.json").write_text(text.replace('"a.npy"', '"../a.npy"'))
    assert damage(folder, NAMES) == ""  # it is this folder's a.npy
