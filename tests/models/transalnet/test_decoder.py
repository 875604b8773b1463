import pytest
import torch

from saltext.errors import ConfigError
from saltext.models.blending.upsample import UpsampleBlend
from saltext.models.text.base import TextFeatures
from saltext.models.transalnet.decoder import Decoder

SIZES = {"in_channels": (5, 6, 7), "hidden": (8, 8, 6), "heads": (2, 2, 2), "grid": (2, 3), "layers": 1}


def taps(rows: int = 2, columns: int = 3) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return (
        torch.randn(2, 5, 4 * rows, 4 * columns),
        torch.randn(2, 6, 2 * rows, 2 * columns),
        torch.randn(2, 7, rows, columns),
    )


@pytest.mark.parametrize(
    ("channels", "stride"), [((8, 6, 4), 8), ((8, 6, 4, 4), 4), ((8, 6, 4, 4, 4), 2), ((8, 6, 4, 4, 4, 4), 1)]
)
def test_each_further_stage_doubles_the_output(channels: tuple[int, ...], stride: int) -> None:
    decoder = Decoder(channels=channels, **SIZES)
    assert decoder.output_stride == stride
    assert decoder(taps()).shape == (2, 1, 64 // stride, 96 // stride)


def test_all_sizes_that_do_not_fit_are_named_at_once() -> None:
    with pytest.raises(ConfigError) as error:
        Decoder((5, 6, 7), hidden=(8, 8, 6), heads=(3, 2, 2), channels=(4, 5, 4), grid=(2, 3))
    for problem in (
        "hidden[0]=8 is not a multiple of heads[0]=3",
        "channels[0]=4 must equal hidden[1]=8",
        "channels[1]=5",
    ):
        assert problem in str(error.value)


def test_too_few_stages_are_refused() -> None:
    with pytest.raises(ConfigError, match="expected 3 to 6 numbers"):
        Decoder(channels=(8, 6), **SIZES)


def test_a_blending_module_asks_for_a_text() -> None:
    asked: list[tuple[int, tuple[int, int]]] = []

    def middle(channels: int, grid: tuple[int, int]) -> UpsampleBlend:
        asked.append((channels, grid))
        return UpsampleBlend(channels, 8, grid)

    decoder = Decoder(channels=(8, 6, 4), middle=middle, **SIZES)
    assert asked == [(8, (4, 6))]
    with pytest.raises(ValueError, match="expected text features"):
        decoder(taps())
    text = TextFeatures(torch.randn(2, 8), torch.randn(2, 1, 8), torch.ones(2, 1, dtype=torch.bool))
    assert decoder(taps(), text).shape == (2, 1, 8, 12)
