from pathlib import Path

import pytest

from saltext.data.paths import folders_below, matching, spelled


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def names(pattern: str, root: Path) -> list[str]:
    return [path.relative_to(root).as_posix() for path in matching(pattern)[1]]


def test_what_is_there_as_written_is_no_pattern(tmp_path: Path) -> None:
    touch(tmp_path / "data[1]" / "a.png", tmp_path / "data1" / "b.png", tmp_path / "data1" / "c[1].png")
    assert names(f"{tmp_path}/data[1]/*.png", tmp_path) == ["data[1]/a.png"]
    assert names(f"{tmp_path}/data1/c[1].png", tmp_path) == ["data1/c[1].png"]
    assert names(f"{tmp_path}/data[12]/*.png", tmp_path) == ["data1/b.png", "data1/c[1].png"]


def test_any_folders_are_those_of_a_shell_and_hidden_ones_are_not(tmp_path: Path) -> None:
    touch(*(tmp_path / name for name in ("a.png", "x/b.png", "x/y/c.png", ".hidden/d.png", "x/.e.png")))
    assert names(f"{tmp_path}/**/*.png", tmp_path) == ["a.png", "x/b.png", "x/y/c.png"]
    assert names(f"{tmp_path}/x/**/c.png", tmp_path) == ["x/y/c.png"]
    assert matching(f"{tmp_path}/**/*.png")[0] == tmp_path


def test_links_are_followed_and_circles_end(tmp_path: Path) -> None:
    touch(tmp_path / "top" / "a" / "one.png", tmp_path / "elsewhere" / "two.png")
    for name in ("x", "y"):
        (tmp_path / "top" / name).symlink_to(tmp_path / "top")
        (tmp_path / "top" / "a" / name).symlink_to(tmp_path / "top")
    (tmp_path / "top" / "linked").symlink_to(tmp_path / "elsewhere")
    assert names(f"{tmp_path}/top/**/*.png", tmp_path / "top") == ["a/one.png", "linked/two.png"]
    assert len(list(folders_below(tmp_path / "top"))) == 3


@pytest.mark.parametrize("name", ["caf\u00e9.PNG", "cafe\u0301.png", "cafe\u0301.Png"])
def test_a_name_is_found_in_any_unicode_form_and_ending(tmp_path: Path, name: str) -> None:
    touch(tmp_path / name)
    assert spelled(tmp_path / "caf\u00e9.png") == tmp_path / name


def test_of_two_that_differ_in_form_alone_none_is_meant(tmp_path: Path) -> None:
    touch(tmp_path / "a.PNG", tmp_path / "a.Png")
    assert spelled(tmp_path / "a.png") is None
    assert spelled(tmp_path / "a.PNG") == tmp_path / "a.PNG"
    assert spelled(tmp_path / "b.png") is None
