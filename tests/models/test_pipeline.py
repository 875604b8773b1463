"""Pre- and postprocessing around a network; prompts and mirroring are tested in tests/training/test_supervised.py."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from saltext.data.keys import ImageKey, ImageSource
from saltext.models.feature_cache import FeatureCache
from saltext.models.network import SaliencyNetwork
from saltext.models.normalize import Deferred, Normalize
from saltext.models.pipeline import Pipeline


class Sum(SaliencyNetwork):
    """The sum of the normalised channels, in half precision; keeps the texts and conditions it was given."""

    def __init__(self, conditions: Sequence[str] = (), reads: bool = False) -> None:
        super().__init__()
        self.text_encoder = nn.Identity() if reads else None
        self.conditions = conditions

    def forward(self, images: Tensor, texts: Sequence[str], conditions: Sequence[str] | None = None) -> Tensor:
        self.given = (list(texts), list(conditions or ()))
        return images.sum(1, keepdim=True).half()


UNIT = Normalize((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


@pytest.fixture
def batch() -> dict[str, Any]:
    pixels = torch.randint(0, 256, (2, 3, 4, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return {"image": pixels, "text": ["a dog", ""], "task": ["non_salient", "pure"]}


def test_maps_are_float32_probabilities_of_the_normalised_image(batch: dict[str, Any]) -> None:
    saliency = Pipeline(Sum(), UNIT).saliency(batch)
    expected = (batch["image"] / 255).sum(1, keepdim=True).sigmoid()
    assert saliency.dtype == torch.float32
    torch.testing.assert_close(saliency, expected, rtol=0, atol=1e-3)
    assert 0 <= saliency.min() <= saliency.max() <= 1


def test_a_density_has_its_largest_value_at_1(batch: dict[str, Any]) -> None:
    network = Sum()
    network.predicts_density = True
    torch.testing.assert_close(Pipeline(network, UNIT).saliency(batch).amax((1, 2, 3)), torch.ones(2))


def test_the_network_is_given_the_prompts_and_the_tasks(batch: dict[str, Any]) -> None:
    network = Sum(reads=True)
    Pipeline(network, UNIT, prompt="{condition}: {text}").saliency(batch)
    assert network.given == (["non salient: a dog", "pure: "], ["non_salient", "pure"])


@pytest.mark.parametrize(
    ("conditions", "reads", "prompt", "expected"),
    [
        ((), True, "{text}", False),
        ((), True, "{condition}: {text}", True),
        ((), False, "{condition}: {text}", False),
        (("pure",), False, "{text}", True),
    ],
)
def test_the_task_is_read_as_a_condition_or_in_a_text_that_is_read(
    conditions: Sequence[str], reads: bool, prompt: str, expected: bool
) -> None:
    pipeline = Pipeline(Sum(conditions, reads), UNIT, prompt)
    assert pipeline.reads_condition is expected
    assert pipeline.reads_text is reads
    assert pipeline.conditions == tuple(conditions)


def test_normalisation_waits_only_where_all_features_may_be_cached(batch: dict[str, Any], tmp_path: Path) -> None:
    network = Sum()
    pipeline = Pipeline(network, UNIT)
    keys = [ImageKey(ImageSource("two", 2), row) for row in range(2)]
    assert not isinstance(pipeline.images({**batch, "image_key": keys}), Deferred)
    network.feature_cache = FeatureCache(tmp_path)
    deferred = pipeline.images({**batch, "image_key": keys})
    assert isinstance(deferred, Deferred)
    torch.testing.assert_close(deferred + 0, UNIT(batch["image"]))
    assert not isinstance(pipeline.images({**batch, "image_key": [keys[0], None]}), Deferred)
    assert not isinstance(pipeline.images(batch), Deferred)


def test_the_device_is_that_of_the_parameters_and_the_cpu_without_any() -> None:
    assert Pipeline(Sum(), UNIT).device == torch.device("cpu")
    assert Pipeline(nn.Linear(1, 1, device="meta"), UNIT).device == torch.device("meta")
