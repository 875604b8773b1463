"""Exports on their way to the Hugging Face hub, here one of this machine."""

from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import ModelCard, constants

import saltext
from saltext.errors import ConfigError
from saltext.runs import publish
from saltext.runs.export import export
from saltext.system.run_folder import RunFolder
from tests.command_line import here, refused
from tests.hub_server import TOKEN, Hub

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning"),  # of the hub's own library
]

GREY = np.full((20, 30, 3), 128, np.uint8)
NAME = "org/model"


def test_what_is_pushed_is_loaded_again(
    hub: Hub,
    smoke_run: RunFolder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    here("export", smoke_run.root, tmp_path / "made", "--push", NAME, "--license", "mit")
    repository = hub.repositories[NAME]
    commit = repository.newest
    assert f'{hub.address}/{NAME}: saltext.load("{NAME}", revision="{commit}")' in capsys.readouterr().out
    assert not repository.private
    assert set(repository.commits[commit]) == {"model.safetensors", "config.yaml", "split.json", "README.md"}
    model = saltext.load(NAME, revision=commit)
    assert np.array_equal(model.predict(GREY, "a lamp"), saltext.load(tmp_path / "made").predict(GREY, "a lamp"))
    card = ModelCard(repository.commits[commit]["README.md"].decode())
    assert card.data.get("library_name") == "saltext"
    assert card.data.get("license") == "mit"
    assert f'saltext.load("{NAME}")' in card.text
    # A second export is another commit of the same repository.
    publish.push(export(smoke_run.root, tmp_path / "single", half=False), NAME)
    assert len(repository.commits) == 2


def test_a_private_repository_is_made_private_and_a_public_one_is_not_taken_for_it(
    hub: Hub, smoke_run: RunFolder, tmp_path: Path
) -> None:
    made = export(smoke_run.root, tmp_path / "made")
    publish.push(made, NAME, private=True, token=TOKEN)
    assert hub.repositories[NAME].private
    hub.repositories[NAME].private = False
    with pytest.raises(ConfigError, match="exists on the hub and is public; nothing was pushed"):
        publish.push(made, NAME, private=True, token=TOKEN)
    assert len(hub.repositories[NAME].commits) == 1


def test_without_write_access_an_error_says_so_and_the_folder_stays(
    hub: Hub, smoke_run: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refused(capsys, "export", smoke_run.root, tmp_path / "made", "--push", NAME)
    assert "is written but was not pushed: expected a token with write access" in said
    assert f"hf upload {NAME} {tmp_path / 'made'}" in said
    assert (tmp_path / "made" / "model.safetensors").is_file()
    assert hub.repositories == {}


def test_without_a_connection_the_folder_is_kept(
    hub: Hub, smoke_run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # nobody listens there
    made = export(smoke_run.root, tmp_path / "made")
    with pytest.raises(ConfigError, match=r"was not pushed: the hub \(http://127.0.0.1:9\) cannot be reached"):
        publish.push(made, NAME, token=TOKEN)


def test_a_wrong_name_is_refused_before_anything_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("model", "a/b/c", "a b/c", "https://hub/org/model"):
        assert "owner/name, got" in refused(capsys, "export", "no/run", tmp_path / "made", "--push", name)
    assert "--private goes with --push" in refused(capsys, "export", "no/run", tmp_path / "made", "--private")
    assert not (tmp_path / "made").exists()
