"""Models on the Hugging Face hub, here one of this machine."""

import hashlib
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import constants
from omegaconf import OmegaConf
from PIL import Image

import saltext
from saltext.errors import SaltextError
from saltext.runs.export import export
from saltext.system.run_folder import RunFolder
from tests.command_line import here, refused
from tests.hub_server import TOKEN, Hub

pytestmark = pytest.mark.slow

GREY = np.full((20, 30, 3), 128, np.uint8)
NAME = "org/model"


@pytest.fixture(scope="module")
def exported(smoke_run: RunFolder, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """An export; do not write into it."""
    return export(smoke_run.root, tmp_path_factory.mktemp("export") / "model")


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


def refusal(name: str = NAME, **arguments: object) -> str:
    with pytest.raises(SaltextError) as raised:
        saltext.load(name, **arguments)  # type: ignore[arg-type]
    return str(raised.value)


def test_a_model_of_the_hub_predicts_as_its_folder_does(
    hub: Hub, exported: RunFolder, caplog: pytest.LogCaptureFixture
) -> None:
    commit = hub.publish(NAME, exported.root)
    wanted = saltext.load(exported.root).predict(GREY, "a lamp")
    with caplog.at_level(logging.INFO, "saltext"):
        model = saltext.load(NAME)
    assert np.array_equal(model.predict(GREY, "a lamp"), wanted)
    assert model.name == NAME
    digest = hashlib.sha256(exported.exported.read_bytes()).hexdigest()
    assert f'{NAME} at commit {commit}: weights SHA-256 {digest}; revision="{commit}" pins it' in caplog.text


def test_only_weights_configuration_and_split_are_downloaded(hub: Hub, exported: RunFolder) -> None:
    hub.publish(NAME, exported.root, **{"setup.py": b"raise SystemExit", "model.bin": b"x"})
    saltext.load(NAME)
    fetched = {path.rpartition("/")[2] for path in hub.asked if path.startswith("GET") and "/resolve/" in path}
    assert fetched == {"config.yaml", "split.json", "model.safetensors"}


def test_a_commit_is_loaded_also_when_the_repository_went_on_and_is_not_asked_for_twice(
    hub: Hub, exported: RunFolder, caplog: pytest.LogCaptureFixture
) -> None:
    first = hub.publish(NAME, exported.root)
    hub.publish(NAME, exported.root, **{"config.yaml": b"name: another"})
    with caplog.at_level(logging.INFO, "saltext"):
        saltext.load(NAME, revision=first)
    assert f"at commit {first}" in caplog.text
    assert "pins it" not in caplog.text
    asked = len(hub.asked)
    saltext.load(NAME, revision=first)
    assert len(hub.asked) == asked


def test_a_folder_of_the_name_comes_first_and_that_is_said(
    hub: Hub, exported: RunFolder, caplog: pytest.LogCaptureFixture
) -> None:
    hub.publish(NAME, exported.root, **{"config.yaml": b"name: another"})
    shutil.copytree(exported.root, NAME)
    with caplog.at_level(logging.INFO, "saltext"):
        saltext.load(NAME)
    assert f"{NAME} is a local folder, which takes precedence" in caplog.text
    assert hub.asked == []
    assert "which has no revisions" in refusal(revision="main")


def test_what_is_no_export_is_refused(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "pytorch_model.bin").write_bytes(b"x")
    hub.publish(NAME, tmp_path / "other")
    assert "expected an export of saltext, got a repository without config.yaml and model.safetensors" in refusal()


def test_a_wrong_name_or_revision_says_which(hub: Hub, exported: RunFolder) -> None:
    assert "no such file or folder here, and the hub has no repository of that name" in refusal("org/mdoel")
    hub.publish(NAME, exported.root)
    for revision in ("v9", "0" * 40):
        assert f"has no commit, tag or branch {revision!r}" in refusal(revision=revision)
    assert "expected owner/name of a repository" in refusal("a/b/c", revision="main")
    assert "is not there" in refusal("no_folder")


def test_a_private_repository_needs_a_token(hub: Hub, exported: RunFolder) -> None:
    hub.publish(NAME, exported.root)
    hub.repositories[NAME].private = True
    assert "a private one needs a token" in refusal()
    assert saltext.load(NAME, token=TOKEN).name == NAME


def test_without_a_connection_what_was_downloaded_is_used(
    hub: Hub, exported: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.publish(NAME, exported.root)
    saltext.load(NAME)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # nobody listens there
    saltext.load(NAME)
    assert "http://127.0.0.1:9) cannot be reached" in refusal("org/another")


def test_a_configuration_that_names_other_code_is_refused(hub: Hub, exported: RunFolder, tmp_path: Path) -> None:
    config = OmegaConf.load(exported.config)
    config.model = {"_target_": "os.mkdir", "path": str(tmp_path / "trace")}
    hub.publish(NAME, exported.root, **{"config.yaml": OmegaConf.to_yaml(config).encode()})
    assert "os.mkdir" in refusal()
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize("sends", [0.5, 0.0])
def test_a_cut_download_is_refused_and_the_next_is_whole(
    hub: Hub, exported: RunFolder, sends: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda _: None)  # between its attempts
    commit = hub.publish(NAME, exported.root)
    hub.sends = sends
    assert "cannot be reached, or sends only a part" in refusal(revision=commit)
    hub.sends = 1.0
    assert saltext.load(NAME, revision=commit).name == NAME


def test_a_download_that_was_changed_on_its_way_is_refused(hub: Hub, exported: RunFolder) -> None:
    hub.publish(NAME, exported.root)
    hub.changes = True
    assert "expected SHA-256" in refusal()


def test_the_command_predicts_with_a_model_of_the_hub(
    hub: Hub, exported: RunFolder, caplog: pytest.LogCaptureFixture
) -> None:
    commit = hub.publish(NAME, exported.root)
    Image.fromarray(GREY).save("grey.png")
    here("predict", "grey.png", "--text", "a lamp", "--model", NAME, "--revision", commit, "--only", "density")
    assert f"{NAME} at commit {commit}: weights SHA-256" in caplog.text
    assert Path("predictions/density/grey.npy").is_file()


def test_the_demo_asks_no_hub(hub: Hub, exported: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    hub.publish(NAME, exported.root)
    assert "Expected the folder of a run" in refused(capsys, "demo", NAME)
    assert hub.asked == []
