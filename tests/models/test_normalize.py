import pytest
import torch

from saltext.errors import ConfigError
from saltext.models.normalize import Normalize, Renormalize


def test_a_worked_example() -> None:
    pixels = torch.tensor([0, 51, 255], dtype=torch.uint8).view(1, 3, 1, 1)
    out = Normalize(mean=(0.5, 0.1, 0.0), std=(0.5, 0.2, 1.0))(pixels)
    # (0 - 0.5) / 0.5, (51/255 - 0.1) / 0.2, (1 - 0) / 1
    torch.testing.assert_close(out.flatten(), torch.tensor([-1.0, 0.5, 1.0]))
    assert out.dtype == torch.float32


def test_bytes_and_floats_of_one_range_give_the_same() -> None:
    pixels = torch.randint(0, 256, (2, 3, 4, 5), dtype=torch.uint8)
    assert torch.equal(Normalize()(pixels), Normalize()(pixels.float()))


def test_bgr_is_the_normalised_rgb_with_its_channels_reversed() -> None:
    pixels = torch.randint(0, 256, (2, 3, 4, 5), dtype=torch.uint8)
    assert torch.equal(Normalize(order="bgr")(pixels), Normalize()(pixels)[:, [2, 1, 0]])


def test_it_leaves_no_trace_in_a_checkpoint() -> None:
    assert Normalize().state_dict() == {}


def test_all_wrong_settings_are_named_at_once() -> None:
    with pytest.raises(ConfigError, match=r"three numbers.*positive.*order: expected rgb or bgr"):
        Normalize(mean=(0.5,), std=(0.0, 1.0, 1.0), order="grb")  # type: ignore[arg-type]


def test_a_single_image_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\(batch, 3, height, width\), got \(3, 4, 5\)"):
        Normalize()(torch.zeros(3, 4, 5))


@pytest.mark.parametrize("order", ["rgb", "bgr"])
@pytest.mark.parametrize("given", ["rgb", "bgr"])
def test_renormalised_images_are_as_if_normalised_so_from_the_beginning(order: str, given: str) -> None:
    pixels = torch.randint(0, 256, (2, 3, 4, 5), dtype=torch.uint8)
    mean, std = (0.4, 0.5, 0.6), (0.1, 0.2, 0.3)
    renormalize = Renormalize((0.5,) * 3, (0.7, 0.8, 0.9), order)  # type: ignore[arg-type]
    renormalize.set_input_normalization(mean, std, given)  # type: ignore[arg-type]
    came = renormalize(Normalize(mean, std, given)(pixels))  # type: ignore[arg-type]
    torch.testing.assert_close(came, Normalize((0.5,) * 3, (0.7, 0.8, 0.9), order)(pixels))  # type: ignore[arg-type]
    assert renormalize.state_dict() == {}
