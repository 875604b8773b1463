import shutil
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from safetensors.torch import load_file

from saltext.errors import CheckpointError, ConfigError
from saltext.models import hub
from saltext.models.hub import read_json
from saltext.models.text.siglip import SigLIP
from tests.models import tiny_pretrained

TEXTS = ["", "A red dog!", "there is a white pot on the table, and a lamp left of the table"]
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny_pretrained.siglip(tmp_path / "siglip")


@pytest.fixture
def theirs(folder: Path) -> Any:
    config = read_json(folder / "open_clip_config.json")["model_cfg"]
    model = open_clip.CustomTextCLIP(**{key: value for key, value in config.items() if key != "custom_text"})
    model.load_state_dict(load_file(folder / "open_clip_model.safetensors"))
    return model.eval()


def test_tokens_are_those_of_open_clip_s_own_tokenizer(folder: Path) -> None:
    tokenizer = open_clip.tokenizer.HFTokenizer(str(folder), context_length=10, clean="canonicalize")
    assert torch.equal(SigLIP(folder).token_ids(TEXTS)[0], tokenizer(TEXTS))


def test_pooled_is_siglip_s_text_feature(folder: Path, theirs: Any) -> None:
    encoder = SigLIP(folder)
    with torch.no_grad():
        expected = theirs.encode_text(encoder.token_ids(TEXTS)[0])
    torch.testing.assert_close(encoder(TEXTS).pooled, expected, rtol=0, atol=1e-5)


def test_case_and_punctuation_do_not_count(folder: Path) -> None:
    one, other = SigLIP(folder)(["A red dog!", "a red dog"]).pooled
    torch.testing.assert_close(one, other)


def test_its_sharpness_is_what_it_was_trained_with(folder: Path, theirs: Any) -> None:
    assert SigLIP(folder).sharpness == pytest.approx(float(theirs.logit_scale.detach().exp()))


def test_a_frozen_one_is_left_out_of_state_dicts(folder: Path) -> None:
    assert SigLIP(folder).state_dict() == {}
    assert len(SigLIP(folder, frozen=False).state_dict()) > 20


def test_a_repository_is_fetched_at_its_commit_and_no_branch(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def fetched(name: str, revision: str, files: list[str], local_files_only: bool, weights: list[str]) -> Path:
        asked.append((name, revision, local_files_only))
        return folder

    monkeypatch.setattr(hub, "hub_folder", fetched)
    SigLIP("owner/name", COMMIT, local_files_only=True)
    assert asked == [("owner/name", COMMIT, True)]
    with pytest.raises(ConfigError, match="owner/name: expected the commit of a repository on the hub as revision"):
        SigLIP("owner/name", "main")


def test_a_folder_says_what_it_lacks(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / "open_clip_model.safetensors").unlink()
    (copy / "tokenizer.json").unlink()
    with pytest.raises(CheckpointError, match=r"no tokenizer\.json, no open_clip_model\.safetensors or open_clip_pyt"):
        SigLIP(copy)


def test_another_model_is_refused(folder: Path) -> None:
    (folder / "open_clip_config.json").write_text('{"model_cfg": {"text_cfg": {}}}')
    with pytest.raises(CheckpointError, match="expected a SigLIP"):
        SigLIP(folder)
