"""Fetching from the hub, without a hub."""

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from huggingface_hub import constants
from huggingface_hub.errors import LocalEntryNotFoundError

from saltext.errors import CheckpointError
from saltext.models import hub

COMMIT = "0123456789abcdef0123456789abcdef01234567"
FILES = ["config.json"]


class Hub:
    """A hub that has some files, of which some were downloaded before."""

    def __init__(self, folder: Path, has: set[str], here: set[str]) -> None:
        self.folder, self.has = folder, has
        self.fetched: list[str] = []
        self._get(here)

    def _get(self, names: set[str]) -> None:
        for name in names:
            (self.folder / name).write_text(name)

    def snapshot(self, name: str, revision: str | None, allow_patterns: list[str], **asked: Any) -> Any:
        if asked.get("local_files_only"):
            if not list(self.folder.iterdir()):
                raise LocalEntryNotFoundError("not here")
            return str(self.folder)
        missing = {file for file in allow_patterns if file in self.has and not (self.folder / file).exists()}
        if asked.get("dry_run"):
            return [SimpleNamespace(file_size=690e6, will_download=True) for file in missing if file in hub.WEIGHTS]
        self.fetched += sorted(missing)
        self._get(missing)
        return str(self.folder)


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    def publish(has: set[str], here: set[str] = frozenset()) -> Hub:  # type: ignore[assignment]
        made = Hub(tmp_path, has, here)
        monkeypatch.setattr(hub, "snapshot_download", made.snapshot)
        return made

    return publish


def test_the_size_is_said_before_the_download(published: Any, caplog: pytest.LogCaptureFixture) -> None:
    served = published({"config.json", "model.safetensors"})
    with caplog.at_level(logging.INFO, "saltext.models.hub"):
        hub.hub_folder("owner/name", COMMIT, FILES)
    assert served.fetched == ["config.json", "model.safetensors"]
    assert "downloading owner/name (690 MB)" in caplog.text


def test_the_older_format_is_fetched_only_where_there_is_no_other(published: Any) -> None:
    both = published({"config.json", "model.safetensors", "pytorch_model.bin"})
    hub.hub_folder("owner/name", COMMIT, FILES)
    assert "pytorch_model.bin" not in both.fetched


def test_the_older_format_is_fetched_where_there_is_no_other(published: Any) -> None:
    old = published({"config.json", "pytorch_model.bin"})
    hub.hub_folder("owner/name", COMMIT, FILES)
    assert old.fetched == ["config.json", "pytorch_model.bin"]


def test_a_commit_that_is_here_is_not_asked_for_again(published: Any) -> None:
    served = published({"config.json", "model.safetensors"}, {"config.json", "model.safetensors"})
    served.has = set()  # as without a connection
    assert (hub.hub_folder("owner/name", COMMIT, FILES) / "model.safetensors").is_file()
    assert served.fetched == []


@pytest.mark.parametrize("by", ["argument", "variable"])
def test_what_is_not_here_is_not_fetched_where_only_local_files_are_wanted(
    by: str, published: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = published({"config.json", "model.safetensors"})
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", by == "variable")
    with pytest.raises(CheckpointError, match=rf"hf download owner/name --revision {COMMIT}.*give the folder's path"):
        hub.hub_folder("owner/name", COMMIT, FILES, local_files_only=by == "argument")
    assert served.fetched == []
