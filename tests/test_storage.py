"""Files are replaced as a whole."""

import os
from pathlib import Path

import pytest

from saltext import storage


def test_a_file_is_created_with_its_content(tmp_path: Path) -> None:
    storage.write_text(tmp_path / "a.txt", "näher")
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "näher"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.parametrize("durable", [False, True])
def test_a_reader_sees_the_old_content_until_the_new_one_is_whole(tmp_path: Path, durable: bool) -> None:
    path = tmp_path / "a.json"
    storage.write_json(path, {"old": 1})
    with storage.replacing(path, durable=durable) as part:
        part.write_text("half")
        assert "old" in path.read_text()
        part.write_text("whole")
    assert path.read_text() == "whole"


def test_an_error_leaves_the_old_content_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    storage.write_bytes(path, b"old")
    with pytest.raises(OSError, match="No space left"), storage.replacing(path) as part:  # noqa: PT012
        part.write_bytes(b"ne")
        raise OSError(28, "No space left on device")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_new_file_lies_beside_the_old_one_whatever_the_temporary_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "elsewhere"))
    with storage.replacing(tmp_path / "a.txt") as part:
        assert part.parent == tmp_path
        part.touch()


def test_a_link_is_replaced_and_what_it_points_to_stays(tmp_path: Path) -> None:
    other, link = tmp_path / "other", tmp_path / "link"
    other.write_text("theirs")
    link.symlink_to(other)
    storage.write_text(link, "ours")
    assert other.read_text() == "theirs"
    assert not link.is_symlink()


def test_a_long_name_can_be_replaced(tmp_path: Path) -> None:
    storage.write_text(tmp_path / ("n" * 250), "kept")
    assert (tmp_path / ("n" * 250)).read_text() == "kept"


def test_parts_of_killed_processes_are_removed_and_nothing_else(tmp_path: Path) -> None:
    below = tmp_path / "stages" / "first"
    below.mkdir(parents=True)
    kept = [tmp_path / "a.txt", below / "b.part", below / ".lock"]
    for path in kept:
        path.touch()
    (below / ".last.ckpt.0123456789ab.part").touch()
    storage.remove_parts(tmp_path)
    assert all(path.exists() for path in kept)
    assert not list(below.glob(".last*"))


def test_durable_content_is_flushed_before_it_takes_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[tuple[bool, bool]] = []
    path = tmp_path / "a.txt"
    monkeypatch.setattr(
        os, "fsync", lambda descriptor: flushed.append((path.exists(), os.fstat(descriptor).st_size > 0))
    )
    storage.write_text(path, "content", durable=True)
    assert flushed[0] == (False, True), "the file, before it is in its place"
    assert flushed[1][0], "the folder, afterwards"
