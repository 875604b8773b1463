import copy
from typing import get_args

import pytest
import torch
from torch import Tensor, nn

from saltext.models.freezing import freeze
from saltext.models.grounded_gaze.two_scale import TwoScale
from saltext.models.image.timm_encoder import TimmEncoder
from saltext.models.inference import Inference, features_format, fold_batch_norms, for_inference
from saltext.runs import schema


def warm(module: nn.Module) -> nn.Module:
    """Statistics, scales and shifts that are not those of a new BatchNorm."""
    generator = torch.Generator().manual_seed(0)
    for norm in (m for m in module.modules() if isinstance(m, nn.BatchNorm2d)):
        assert norm.running_mean is not None
        assert norm.running_var is not None
        norm.running_mean.normal_(generator=generator)
        norm.running_var.uniform_(0.5, 2.0, generator=generator)
        norm.weight.data.uniform_(0.5, 1.5, generator=generator)
        norm.bias.data.normal_(generator=generator)
    return freeze(module)


@pytest.fixture
def images() -> Tensor:
    return torch.randn(2, 3, 96, 128, generator=torch.Generator().manual_seed(1))


def norms(module: nn.Module) -> int:
    return sum(isinstance(m, nn.BatchNorm2d) for m in module.modules())


@pytest.mark.parametrize("name", ["test_efficientnet", "test_resnet"])
def test_every_batch_norm_behind_a_convolution_is_folded_into_it(name: str, images: Tensor) -> None:
    encoder = warm(TimmEncoder(name))
    folded = fold_batch_norms(encoder, images)
    assert norms(encoder) > 0
    assert norms(folded) == 0
    for one, other in zip(folded(images), encoder(images), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5 * float(other.abs().max()))


def test_a_module_that_is_run_twice_is_folded_too(images: Tensor) -> None:
    assert norms(fold_batch_norms(warm(TwoScale(TimmEncoder("test_efficientnet"))), images)) == 0


class Forked(nn.Module):
    """The convolution's output goes around its BatchNorm as well."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        y = self.convolution(x)
        return y + self.norm(y)  # type: ignore[no-any-return]


class Before(nn.Module):
    """A BatchNorm in front of its convolution, as in DenseNets."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.convolution = nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.convolution(self.norm(x))  # type: ignore[no-any-return]


@pytest.mark.parametrize("make", [Forked, Before])
def test_a_batch_norm_that_cannot_be_folded_stays(make: type[nn.Module], images: Tensor) -> None:
    module = warm(make())
    folded = fold_batch_norms(module, images)
    assert norms(folded) == 1
    assert torch.equal(folded(images), module(images))


def test_a_configuration_can_name_each_way_to_compute_and_no_other() -> None:
    assert get_args(schema.VALUES["inference"]) == ("auto", *get_args(Inference))


def test_the_reference_is_the_module_itself(images: Tensor) -> None:
    encoder = warm(TimmEncoder("test_efficientnet"))
    assert for_inference(encoder, images, "reference") is encoder


@pytest.mark.parametrize(("inference", "tolerance"), [("fp32", 1e-5), ("bf16", 0.1)])
def test_features_keep_their_type_and_nearly_their_values(inference: str, tolerance: float, images: Tensor) -> None:
    for module in (warm(TimmEncoder("test_efficientnet")), warm(TwoScale(TimmEncoder("test_efficientnet")))):
        fast = for_inference(module, images, inference)  # type: ignore[arg-type]
        for one, other in zip(fast(images), module(images), strict=True):
            assert one.dtype == other.dtype
            assert not one.requires_grad
            least = max(tolerance, torch.finfo(other.dtype).eps)
            torch.testing.assert_close(one, other, rtol=0, atol=least * float(other.abs().max()))


def test_a_copy_is_made_once_and_anew_when_weights_changed(images: Tensor) -> None:
    encoder = warm(TimmEncoder("test_efficientnet"))
    first = for_inference(encoder, images, "fp32")
    assert for_inference(encoder, images, "fp32") is first
    assert for_inference(encoder, images, "bf16") is not first
    other = copy.deepcopy(encoder)
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter *= 0.5
    fast, slow = for_inference(encoder, images, "fp32")(images), encoder(images)
    torch.testing.assert_close(fast[0], slow[0], rtol=1e-4, atol=1e-5 * float(slow[0].abs().max()))
    assert not torch.allclose(fast[0], other(images)[0])


def test_state_dicts_hold_no_copy(images: Tensor) -> None:
    encoder = warm(TimmEncoder("test_efficientnet"))
    before = list(encoder.state_dict())
    for inference in get_args(Inference):
        for_inference(encoder, images, inference)
    assert list(encoder.state_dict()) == before


def test_a_module_that_trains_is_refused(images: Tensor) -> None:
    with pytest.raises(ValueError, match="expected a frozen TimmEncoder in evaluation mode"):
        for_inference(TimmEncoder("test_efficientnet"), images, "fp32")


@pytest.mark.parametrize(
    ("inference", "expected"),
    [("reference", torch.contiguous_format), ("fp32", torch.channels_last), ("bf16", torch.channels_last)],
)
def test_what_trains_on_features_gets_them_channels_last_unless_it_is_to_equal_the_reference(
    inference: Inference, expected: torch.memory_format, images: Tensor
) -> None:
    assert features_format(images, inference) == expected
    assert features_format(images.to("meta"), inference) == torch.contiguous_format
