from pathlib import Path

import numpy as np
import pytest
import torch

from saltext.errors import ConfigError
from saltext.models.blending.concat import Concat
from saltext.models.blending.film import FiLMBlend
from saltext.models.clip_salgan.small import SmallGenerator
from saltext.models.text.tiny import TinyText
from tests.models.clip_salgan.stubs import Given
from tests.reference import formula

# Section 5 of the golden files' README.
ATOL = 1e-5


def published() -> SmallGenerator:
    """The paper's generator with the formula's weights, reading the golden text rows."""
    generator = SmallGenerator(Given(formula.normal(formula.TEXT, (2, 512))), Concat)
    formula.fill(generator)
    return generator


@pytest.mark.golden
def test_state_dict_has_the_published_names_and_shapes_in_order(golden: Path) -> None:
    wanted = formula.published_shapes(golden / "keys_clipsalgan.json", "modules", "Generator")
    own = published().state_dict()
    assert [(name, tuple(value.shape)) for name, value in own.items()] == list(wanted.items())


@pytest.mark.golden
def test_maps_of_both_texts_equal_the_authors(golden: Path) -> None:
    image = formula.normal(1, (1, 3, 256, 256))
    with np.load(golden / "clipsalgan.npz") as wanted, torch.no_grad():
        for row in (0, 1):
            got = published()(image, [str(row)]).sigmoid()[0, 0].numpy()
            np.testing.assert_allclose(got, wanted[f"gen_text{row}"], rtol=0, atol=ATOL)


@pytest.mark.golden
def test_rounded_text_features_give_the_script_s_map(golden: Path) -> None:
    generator = published()
    generator.text_encoder = Given(3 * formula.normal(formula.TEXT, (1, 512)))
    generator.round_features = True
    image = formula.normal(1, (1, 3, 256, 256))
    with np.load(golden / "clipsalgan.npz") as wanted, torch.no_grad():
        got = generator(image, ["0"]).sigmoid()[0, 0].numpy()
        np.testing.assert_allclose(got, wanted["gen_text0_times3_as_long"], rtol=0, atol=ATOL)


def test_rounding_is_towards_zero_and_off_unless_asked_for() -> None:
    image = torch.rand(1, 3, 32, 32)
    rows = torch.tensor([[0.9, -0.9, 2.7], [0.0, 0.0, 2.0]])
    for rounds in (True, False):
        generator = SmallGenerator(Given(rows), Concat, width=4, round_features=rounds).eval()
        assert torch.equal(generator(image, ["0"]), generator(image, ["1"])) is rounds


@pytest.mark.parametrize(("size", "expected"), [((32, 48), (32, 48)), ((33, 50), (40, 56)), ((100, 64), (104, 64))])
def test_any_size_gives_a_map_of_the_input_s_size_or_the_next_multiple_of_8(
    size: tuple[int, int], expected: tuple[int, int]
) -> None:
    logits = SmallGenerator(TinyText(), Concat, width=4)(torch.rand(1, 3, *size), ["a dog"])
    assert tuple(logits.shape) == (1, 1, *expected)


def test_without_a_blending_module_there_is_no_text_encoder() -> None:
    generator = SmallGenerator(TinyText(), None, width=4)
    assert not generator.reads_text
    assert not [name for name in generator.state_dict() if name.startswith("text_")]


def test_tranblend_s_blending_modules_fuse_as_well() -> None:
    generator = SmallGenerator(TinyText(), FiLMBlend, width=4)
    assert isinstance(generator.fusion_conv, FiLMBlend)
    assert generator(torch.rand(1, 3, 32, 32), ["a dog"]).isfinite().all()


def test_a_blending_module_without_a_text_encoder_is_refused() -> None:
    with pytest.raises(ConfigError, match="needs a text encoder"):
        SmallGenerator(None, Concat)
