from collections.abc import Callable

import torch
from torch import nn

from saltext.models.blending.mask_encoder import MaskEncoder
from saltext.models.text.base import TextFeatures


def awake() -> MaskEncoder:
    """Give the map that starts at zero other values, so that the text has an effect."""
    blend = MaskEncoder(channels=6, text_dim=5, grid=(3, 4), width=16)
    nn.init.normal_(blend.decode.weight, std=2.0)
    return blend


def test_it_starts_as_the_identity(pooled: Callable[..., TextFeatures]) -> None:
    x = torch.randn(2, 6, 3, 4)
    assert torch.equal(MaskEncoder(6, 5, (3, 4))(x, pooled(torch.randn(2, 5))), x)


def test_it_leaves_the_identity_at_the_first_step(pooled: Callable[..., TextFeatures]) -> None:
    blend = MaskEncoder(6, 5, (3, 4))
    blend(torch.randn(2, 6, 3, 4), pooled(torch.randn(2, 5))).square().sum().backward()
    assert blend.decode.weight.grad is not None
    assert blend.decode.weight.grad.abs().sum() > 0


def test_the_mask_is_one_value_a_place_and_gates_all_channels_alike(pooled: Callable[..., TextFeatures]) -> None:
    blend, x, text = awake(), torch.randn(2, 6, 5, 7), pooled(torch.randn(2, 5))
    mask = blend.mask(x, text)
    assert mask.shape == (2, 1, 5, 7)
    assert mask.min() >= 0
    assert mask.max() <= 1
    assert mask.std() > 0.01
    torch.testing.assert_close(blend(x, text), 2 * mask * x)


def test_where_the_text_maps_to_nothing_the_image_leaves_no_trace_in_the_mask(
    pooled: Callable[..., TextFeatures],
) -> None:
    blend = awake()
    nn.init.zeros_(blend.text[1].weight)
    nn.init.zeros_(blend.text[1].bias)
    mask = blend.mask(torch.randn(1, 6, 3, 4), pooled(torch.randn(1, 5)))
    assert torch.equal(mask, mask[..., :1, :1].expand_as(mask))


def test_the_mask_depends_on_text_and_on_image_jointly(pooled: Callable[..., TextFeatures]) -> None:
    blend = awake()
    x, y = torch.randn(2, 1, 6, 3, 4)
    s, t = (pooled(torch.randn(1, 5)) for _ in range(2))

    def logit(image: torch.Tensor, text: TextFeatures) -> torch.Tensor:
        return blend.mask(image, text).logit()

    # A sum of what the image says and what the text says would have these differences equal.
    by_text_on_x, by_text_on_y = logit(x, s) - logit(x, t), logit(y, s) - logit(y, t)
    assert by_text_on_x.abs().max() > 0.1
    assert (by_text_on_x - by_text_on_y).abs().max() > 0.1
