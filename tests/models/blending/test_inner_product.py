import math

import pytest
import torch

from saltext.errors import ConfigError
from saltext.models.blending.inner_product import InnerProduct
from tests.models.blending.test_concat import features


def test_a_cosine_is_of_the_mapped_text_and_the_mapped_position() -> None:
    blend = InnerProduct(channels=2, text_dim=2, grid=(1, 1), products=1, width=2)
    with torch.no_grad():
        for layer in (blend.image, blend.text):
            layer.weight.copy_(torch.eye(2).view_as(layer.weight))
            layer.bias.zero_()
    x = torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 3.0]]).T.reshape(1, 2, 1, 3)
    cosines = blend.cosines(x, features(torch.tensor([[5.0, 0.0]])))
    torch.testing.assert_close(cosines, torch.tensor([1.0, 0.0, 1 / math.sqrt(2)]).view(1, 1, 1, 3))


def test_cosines_stay_in_range_whatever_the_features_size() -> None:
    blend = InnerProduct(channels=3, text_dim=4, grid=(2, 2), products=5)
    cosines = blend.cosines(1e3 * torch.randn(2, 3, 4, 6), features(1e3 * torch.randn(2, 4)))
    assert tuple(cosines.shape) == (2, 5, 4, 6)
    assert cosines.abs().max() <= 1 + 1e-5


def test_what_a_text_changes_depends_on_what_is_there() -> None:
    blend = InnerProduct(channels=3, text_dim=4, grid=(2, 2))
    one, other = features(torch.randn(1, 4)), features(torch.randn(1, 4))
    # Every position of a flat feature is treated alike, so only the feature itself can make a difference.
    changes = [
        (blend(x, one) - blend(x, other))[0, :, 2, 2]
        for x in (torch.randn(1, 3, 1, 1).expand(-1, -1, 5, 5) for _ in range(2))
    ]
    assert (changes[0] - changes[1]).abs().max() > 1e-3


def test_no_products_are_refused() -> None:
    with pytest.raises(ConfigError, match="at least 1"):
        InnerProduct(channels=3, text_dim=4, grid=(2, 2), products=0)
