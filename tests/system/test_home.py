"""Users without a name, and homes that cannot be written to."""

import os
import pwd
from pathlib import Path

import pytest

from saltext.system.home import own_folder, provide_home

CHANGED = ("HOME", "USER", "LOGNAME", "LNAME", "USERNAME", "HF_HOME", "TORCH_HOME", "WANDB_CONFIG_DIR", "NETRC")


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for temporary files; no variable says who the user is."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    for name in CHANGED:
        monkeypatch.setenv(name, "")  # so that what is set by the function is undone
        monkeypatch.delenv(name)
    return tmp_path / "temporary"


def _writable(*folders: Path) -> object:
    return lambda path, mode: any(Path(path).is_relative_to(folder) for folder in folders)


def test_a_home_that_can_be_written_to_stays(temporary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    before = dict(os.environ)
    provide_home()
    assert os.environ == before
    assert not list(temporary.iterdir())


def test_a_home_to_read_from_alone_is_read_and_another_is_written_to(
    temporary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    (home / ".cache" / "huggingface").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setattr(os, "access", _writable(temporary))
    provide_home()
    assert os.environ["HOME"] == str(own_folder("home"))
    assert Path.home().parent == temporary
    assert os.environ["HF_HOME"] == str(home / ".cache" / "huggingface")
    assert "TORCH_HOME" not in os.environ


@pytest.mark.parametrize("home", [None, "/nonexistent", "relative"])
def test_without_a_home_one_is_made(temporary: Path, monkeypatch: pytest.MonkeyPatch, home: str | None) -> None:
    def nobody(_: int) -> None:
        raise KeyError("uid not found")

    if home is not None:
        monkeypatch.setenv("HOME", home)
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    monkeypatch.setattr(os.path, "expanduser", lambda path: os.environ.get("HOME", path))
    provide_home()
    assert Path(os.environ["HOME"]) == temporary / f"saltext-home-{os.getuid()}"
    assert os.environ["USER"] == f"uid{os.getuid()}"


def test_a_folder_of_ones_own_is_not_taken_from_others(temporary: Path, tmp_path: Path) -> None:
    mine = own_folder("cache")
    assert mine == own_folder("cache")
    assert mine.stat().st_mode & 0o777 == 0o700
    mine.chmod(0o777)
    with pytest.raises(PermissionError, match="not a folder that belongs to this user alone"):
        own_folder("cache")
    mine.rmdir()
    mine.symlink_to(tmp_path)
    with pytest.raises(PermissionError, match="not a folder that belongs to this user alone"):
        own_folder("cache")
