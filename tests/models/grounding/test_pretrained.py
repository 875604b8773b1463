"""What the grounders of transformers' models have in common, on tiny ones of the same classes."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from hydra.utils import get_method
from PIL import Image
from torch import Tensor
from transformers import AutoImageProcessor, AutoProcessor, CLIPSegForImageSegmentation

from saltext.errors import CheckpointError, ConfigError
from saltext.models import hub
from saltext.models.grounding.base import ImageGrounder
from saltext.models.grounding.clipseg import ClipSegGrounder
from saltext.models.grounding.grounding_dino import GroundingDinoGrounder
from saltext.models.grounding.owlv2 import Owlv2Grounder
from saltext.models.normalize import Normalize
from saltext.models.text.tiny import TinyText
from saltext.runs.composition import config_folder

Tiny = dict[str, Path]
GROUNDERS: dict[str, Callable[..., Any]] = {
    "clipseg": ClipSegGrounder,
    "owlv2": Owlv2Grounder,
    "grounding_dino": GroundingDinoGrounder,
}
each = pytest.mark.parametrize("name", GROUNDERS)
COMMIT = "0123456789abcdef0123456789abcdef01234567"
TEXTS = ["there is a red circle on the table", "", "the small blue square"]


def picture(height: int, width: int) -> Tensor:
    """A photo-like picture, RGB in 0..255, shape (1, 3, height, width)."""
    coarse = torch.rand(1, 3, 9, 9)
    smooth = torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear")
    return ((smooth + 0.05 * torch.randn(1, 3, height, width)).clamp(0, 1) * 255).round().to(torch.uint8)


def ours(grounder: ImageGrounder, pixels: Tensor) -> Tensor:
    """What the model is given for a picture that the saliency network got normalised in a way of its own."""
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.3, 0.25)
    image_input: Any = grounder.image_encoder.image_input
    image_input.set_input_normalization(mean, std)
    given: Tensor = image_input(Normalize(mean, std)(pixels))
    return given


def theirs(folder: Path, pixels: Tensor) -> Tensor:
    values: Tensor = AutoImageProcessor.from_pretrained(folder)(images=list(pixels), return_tensors="pt").pixel_values
    return values


@pytest.mark.parametrize("size", [(40, 60), (60, 40), (48, 48), (33, 90), (150, 200)])
@each
def test_images_are_those_of_the_library_s_own_processor(name: str, size: tuple[int, int], tiny: Tiny) -> None:
    grounder, pixels = GROUNDERS[name](tiny[name]), picture(*size)
    given = ours(grounder, pixels.float())
    torch.testing.assert_close(given, theirs(tiny[name], pixels.float()), rtol=0, atol=1e-5)
    # Of 8-bit pixels two of the processors round the resized ones to whole grey levels again.
    level = 0 if name == "owlv2" else 1 / 255 / 0.224
    assert (given - theirs(tiny[name], pixels)).abs().max() <= level + 1e-5


@pytest.mark.parametrize(("name", "size"), [("clipseg", (32, 32)), ("owlv2", (48, 48)), ("grounding_dino", (64, 80))])
def test_an_image_of_the_size_that_the_model_takes_is_not_resized(name: str, size: tuple[int, int], tiny: Tiny) -> None:
    grounder, pixels = GROUNDERS[name](tiny[name]), picture(*size)
    from_pillow = AutoImageProcessor.from_pretrained(tiny[name])(
        images=Image.fromarray(pixels[0].movedim(0, -1).numpy().astype(np.uint8)), return_tensors="pt"
    ).pixel_values
    torch.testing.assert_close(ours(grounder, pixels), from_pillow, rtol=0, atol=1e-5)


@each
def test_the_maps_are_those_of_the_text_and_0_where_it_names_nothing(name: str, tiny: Tiny) -> None:
    grounder, images = GROUNDERS[name](tiny[name]), torch.randn(3, 3, 48, 80)
    (features,) = grounder.image_encoder(images)
    maps = grounder(features, TEXTS, TinyText())
    assert maps.shape[:2] == (3, grounder.num_maps)
    assert maps.isfinite().all()
    assert not maps[1].any()
    assert maps[[0, 2]].flatten(1).amax(1).min() > 0
    (same,) = grounder.image_encoder(images[:1].expand(3, -1, -1, -1).contiguous())
    by_text = grounder(same, [TEXTS[0], TEXTS[2], TEXTS[0]], TinyText())
    torch.testing.assert_close(by_text[0], by_text[2], rtol=0, atol=1e-6)
    assert (by_text[0] - by_text[1]).abs().max() > 1e-4


@each
def test_it_is_frozen_and_left_out_of_state_dicts(name: str, tiny: Tiny) -> None:
    grounder = GROUNDERS[name](tiny[name])
    assert not any(parameter.requires_grad for parameter in grounder.parameters())
    assert not any(module.training for module in grounder.modules())
    assert grounder.state_dict() == {}
    grounder.load_state_dict({})


@each
def test_the_hub_is_asked_for_the_pinned_commit(name: str, monkeypatch: pytest.MonkeyPatch, tiny: Tiny) -> None:
    asked = []

    def folder(
        repository: str, revision: str | None, files: list[str], local_files_only: bool, weights: list[str]
    ) -> Path:
        asked.append((repository, revision, local_files_only))
        return tiny[name]

    monkeypatch.setattr(hub, "hub_folder", folder)
    file = config_folder() / "model" / "grounders" / f"{name}.yaml"
    node = yaml.safe_load(file.read_text(encoding="utf-8"))[name]
    assert get_method(node.pop("_target_")) is GROUNDERS[name]
    GROUNDERS[name](**{**node, "local_files_only": True})
    assert asked == [(node["weights"], node["revision"], True)]
    assert node["weights"].count("/") == 1
    assert hub.is_commit(node["revision"])


@pytest.mark.parametrize("revision", ["main", "v1.0", None, COMMIT[:10]])
def test_a_repository_without_a_whole_commit_is_refused(revision: str | None) -> None:
    with pytest.raises(ConfigError, match=r"owner/name: expected the commit .* main may have other weights tomorrow"):
        ClipSegGrounder("owner/name", revision)


def test_an_incomplete_folder_says_what_it_lacks(tiny: Tiny, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny["clipseg"], tmp_path / "copy")
    for name in ("model.safetensors", "tokenizer.json", "preprocessor_config.json", "processor_config.json"):
        (folder / name).unlink()
    lacking = (
        r"no preprocessor_config\.json or processor_config\.json, no model\.safetensors or pytorch_model\.bin, "
        r"no tokenizer\.json or vocab\.json or vocab\.txt"
    )
    with pytest.raises(CheckpointError, match=lacking):
        ClipSegGrounder(folder)


def test_a_folder_of_another_model_is_refused(tiny: Tiny) -> None:
    with pytest.raises(CheckpointError, match="expected a model of type 'clipseg', got 'owlv2'"):
        ClipSegGrounder(tiny["owlv2"])


def test_weights_that_do_not_fill_the_model_are_refused(tiny: Tiny, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny["clipseg"], tmp_path / "copy")
    config = json.loads((folder / "config.json").read_text())
    config["vision_config"]["num_hidden_layers"] = 4
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="weights of CLIPSegForImageSegmentation are missing"):
        ClipSegGrounder(folder)


def test_what_transformers_5_saves_of_a_processor_is_read_as_well(tiny: Tiny, tmp_path: Path) -> None:
    folder = tmp_path / "five"
    CLIPSegForImageSegmentation.from_pretrained(tiny["clipseg"]).save_pretrained(folder)
    AutoProcessor.from_pretrained(tiny["clipseg"]).save_pretrained(folder)
    assert not (folder / "preprocessor_config.json").exists()
    pixels = picture(20, 30).float()
    assert torch.equal(ours(ClipSegGrounder(folder), pixels), ours(ClipSegGrounder(tiny["clipseg"]), pixels))
