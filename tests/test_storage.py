"""Files are replaced as a whole."""

import os
from pathlib import Path

import pandas as pd
import pytest

from saltext import storage
from saltext.errors import DamagedFileError


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


def test_the_old_file_is_kept_under_the_name_that_is_asked_for(tmp_path: Path) -> None:
    path, before = tmp_path / "a", tmp_path / "b"
    for content in ("first", "second"):
        with storage.replacing(path, keep=before) as part:
            part.write_text(content)
    assert (path.read_text(), before.read_text()) == ("second", "first")


# What is read back


@pytest.mark.parametrize("content", ["", "{", "[1, 2", "null", "[]", "\x00\x00", '{"label": "a"}', "[" * 100_000])
def test_a_damaged_record_is_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "result.json"
    path.write_text(content)
    with pytest.raises(DamagedFileError, match=r"result\.json is damaged: expected"):
        storage.read_json(path, dict, ("label", "test"))
    with pytest.raises(DamagedFileError, match=r"other\.json is missing: expected JSON"):
        storage.read_json(tmp_path / "other.json", dict)


TABLE = pd.DataFrame(
    {"image_id": ["007", "008", "009"], "text": ['a "b",\nc', "näher\u2028d", ""], "cc": [0.1, None, 1e-9]}
)


def test_a_table_that_was_written_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    storage.write_csv(path, TABLE)
    storage.check_csv(path)
    read = pd.read_csv(path, dtype={"image_id": str}, keep_default_na=False)
    assert list(read["text"]) == list(TABLE["text"])
    storage.write_csv(path, TABLE[:1])
    storage.check_csv(path)


def test_a_table_cut_anywhere_is_named_even_between_two_lines(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    storage.write_csv(path, TABLE)
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(DamagedFileError, match=r"scores\.csv is damaged"):
            storage.check_csv(path)


def test_a_table_without_a_record_is_read_and_one_cut_inside_a_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    storage.write_csv(path, TABLE)
    (tmp_path / "rows.json").unlink()
    storage.check_csv(path)
    content = path.read_bytes()
    path.write_bytes(content[:-3])
    with pytest.raises(DamagedFileError, match="cut"):
        storage.check_csv(path)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"\x00" * 100])
def test_what_is_no_table_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "scores.csv"
    path.write_bytes(content)
    with pytest.raises(DamagedFileError, match=r"scores\.csv is damaged"):
        storage.check_csv(path)


def test_only_a_small_regular_file_of_text_is_read(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_bytes(b"a: \xff")
    with pytest.raises(DamagedFileError, match="utf-8"):
        storage.read_text(file)
    with pytest.raises(DamagedFileError, match="expected at most 3 bytes, got 4"):
        storage.read_text(file, most=3)
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(DamagedFileError, match="expected a regular file"):
        storage.read_text(file)
