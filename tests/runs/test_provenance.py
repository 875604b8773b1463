import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from saltext.runs import provenance


def test_a_start_names_what_decides_a_result() -> None:
    start = provenance.describe()
    assert start["packages"]["torch"].startswith("2.14")
    assert start["cores"] >= 1
    assert isinstance(start["gpus"], list)


def test_a_resumed_run_has_one_entry_a_start(tmp_path: Path) -> None:
    path = tmp_path / "provenance.json"
    provenance.write(path)
    provenance.write(path)
    assert len(json.loads(path.read_text())) == 2


def repository(folder: Path) -> None:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "-q"], ["add", "-A"], [*identity, "commit", "-q", "-m", "one", "--allow-empty"]):
        subprocess.run(["git", *command], cwd=folder, check=True)


def commit_of(package: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(provenance, "__file__", str(package / "runs" / "provenance.py"))
    return provenance.describe()["commit"]


def test_a_package_below_another_repository_is_not_of_its_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in (tmp_path / "theirs" / "lib" / "saltext", tmp_path / "own" / "saltext", tmp_path / "copy" / "saltext"):
        (place / "runs").mkdir(parents=True)
        (place / "runs" / "provenance.py").write_text("")
    repository(tmp_path / "theirs")
    repository(tmp_path / "own")
    (tmp_path / "copy" / ".gitignore").write_text("saltext\n")
    repository(tmp_path / "copy")
    assert commit_of(tmp_path / "theirs" / "lib" / "saltext", monkeypatch) is None
    assert commit_of(tmp_path / "copy" / "saltext", monkeypatch) is None
    assert provenance.describe()["uncommitted_changes"] is None
    own = commit_of(tmp_path / "own" / "saltext", monkeypatch)
    assert len(own) == 40
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "theirs" / ".git"))  # as git sets it for hooks
    assert commit_of(tmp_path / "own" / "saltext", monkeypatch) == own
