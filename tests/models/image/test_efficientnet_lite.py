from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch

from saltext.errors import CheckpointError
from saltext.models.checkpoints import read_weights
from saltext.models.grounding.class_names import lite0_grounder, lite2_grounder
from saltext.models.image import efficientnet_lite
from saltext.models.image.efficientnet_lite import (
    LITE0,
    LITE2,
    Lite,
    efficientnet_lite0,
    efficientnet_lite2,
    lite_weights,
    timm_lite_names,
)
from saltext.models.packaged_weights import EFFICIENTNET_LITE0, EFFICIENTNET_LITE2, MINILM, packaged_file

needs_packages = pytest.mark.skipif(
    any(find_spec(package.module) is None for package in (EFFICIENTNET_LITE0, EFFICIENTNET_LITE2, MINILM)),
    reason="the extra `embedded` is not installed",
)


def test_a_name_that_is_not_of_a_lite_is_refused() -> None:
    with pytest.raises(CheckpointError, match="_se_reduce"):
        timm_lite_names({"_blocks.3._se_reduce.weight": torch.ones(1)}, LITE0)


@needs_packages
@pytest.mark.parametrize("lite", [LITE0, LITE2], ids=["lite0", "lite2"])
def test_logits_equal_those_of_weights_copied_by_order(lite: Lite) -> None:
    model: Any = timm.create_model(lite.architecture, pretrained=False).eval()
    (name,) = lite.package.digests
    file = packaged_file(lite.package, name)
    stored = torch.load(file, weights_only=True)
    images = torch.rand(1, 3, 224, 224) * 2 - 1

    model.load_state_dict(dict(zip(model.state_dict(), stored.values(), strict=True)))
    by_order = model(images)
    model.load_state_dict(lite_weights(lite))
    assert torch.equal(model(images), by_order)
    assert by_order.std() > 0.1


@needs_packages
def test_lite0_encodes_with_imagenet_weights() -> None:
    encoder = efficientnet_lite0(frozen=True)
    assert encoder.channels == (40, 112, 320)
    assert encoder.mean == encoder.std == (0.5, 0.5, 0.5)
    assert torch.equal(encoder.encoder.conv_stem.weight, lite_weights(LITE0)["conv_stem.weight"])
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    assert efficientnet_lite2().channels == (48, 120, 352)


@needs_packages
def test_the_file_is_read_once_for_the_encoder_and_the_grounder_of_a_backbone(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []
    monkeypatch.setattr(efficientnet_lite, "read_weights", lambda path: read.append(path) or read_weights(path))
    efficientnet_lite._last_file_read.cache_clear()
    for encoder, grounder in ((efficientnet_lite0, lite0_grounder), (efficientnet_lite2, lite2_grounder)):
        encoder()
        grounder()
    assert len(read) == 2


@needs_packages
def test_lite0_distinguishes_an_image_of_stripes_from_noise() -> None:
    """Random weights would give near-uniform class probabilities; trained ones are sure about a clear texture."""
    model: Any = timm.create_model("tf_efficientnet_lite0", pretrained=False).eval()
    model.load_state_dict(lite_weights(LITE0))
    stripes = torch.from_numpy(np.sign(np.sin(np.arange(224) / 4)).astype(np.float32)).expand(1, 3, 224, 224)
    with torch.no_grad():
        assert model(stripes).softmax(1).max() > 0.05
