import pytest
import torch

from saltext.errors import ConfigError
from saltext.models.blending.upsample import UpsampleBlend
from saltext.models.text.base import TextFeatures


def pooled(vectors: torch.Tensor) -> TextFeatures:
    return TextFeatures(vectors, vectors[:, None], torch.ones(len(vectors), 1, dtype=torch.bool))


def test_nearest_by_its_closed_form() -> None:
    channels, rows, columns = 4, 3, 5
    vector = torch.randn(2, channels)
    out = UpsampleBlend(channels, channels, (rows, columns))(torch.ones(2, channels, rows, columns), pooled(vector))
    for k in range(channels):
        for p in range(rows):
            wanted = vector[:, (rows * k + p) % channels]
            assert torch.equal(out[:, k, p], wanted[:, None].expand(2, columns))


@pytest.mark.parametrize("mode", ["nearest", "bilinear", "bicubic"])
def test_the_text_scales_the_image_feature(mode: str) -> None:
    x, text = torch.randn(2, 4, 3, 5), pooled(torch.randn(2, 4))
    blend = UpsampleBlend(4, 4, (3, 5), mode=mode)  # type: ignore[arg-type]
    torch.testing.assert_close(blend(2 * x, text), 2 * blend(x, text))
    torch.testing.assert_close(blend(x, pooled(3 * text.pooled)), 3 * blend(x, text))


def test_the_modes_differ() -> None:
    x, text = torch.ones(1, 4, 3, 5), pooled(torch.randn(1, 4))
    maps = [UpsampleBlend(4, 4, (3, 5), mode=mode)(x, text) for mode in ("nearest", "bilinear", "bicubic")]  # type: ignore[arg-type]
    assert not any(torch.allclose(maps[i], maps[j]) for i, j in ((0, 1), (0, 2), (1, 2)))


def test_a_text_of_another_size_is_projected_and_one_of_the_same_is_not() -> None:
    assert UpsampleBlend(6, 4, (3, 5))(torch.ones(2, 6, 3, 5), pooled(torch.randn(2, 4))).shape == (2, 6, 3, 5)
    assert list(UpsampleBlend(6, 6, (3, 5)).parameters()) == []


def test_an_unknown_mode_is_refused() -> None:
    with pytest.raises(ConfigError, match="nearest, bilinear, bicubic, got 'area'"):
        UpsampleBlend(4, 4, (3, 5), mode="area")  # type: ignore[arg-type]
