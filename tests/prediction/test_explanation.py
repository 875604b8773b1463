"""What each part of a text adds to the map."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import saltext
from saltext.errors import ConfigError, DataError
from saltext.prediction.explanation import MAX_SIDE, Explanation, effects_of
from saltext.prediction.model import Model
from saltext.prediction.photos import open_photo
from saltext.prediction.phrases import parts
from saltext.prediction.texts import TextQuery
from saltext.system.run_folder import RunFolder

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
TEXT = "a man beside a red bus"


def density(seed: int) -> np.ndarray:
    values: np.ndarray = np.random.default_rng(seed).random((40, 60), dtype=np.float32)
    values /= values.sum()
    return values


@pytest.fixture
def explanation() -> Explanation:
    found = parts(TEXT)
    others = [density(seed) for seed in range(1, 2 * len(found) + 1)]
    return Explanation(TEXT, PIXELS, density(0), effects_of(found, density(0), others))


def test_an_effect_is_the_whole_text_minus_the_text_without_the_part(explanation: Explanation) -> None:
    first, second, *_ = explanation.effects
    np.testing.assert_array_equal(first.change, density(0) - density(1))
    np.testing.assert_array_equal(first.change_replaced, density(0) - density(2))
    np.testing.assert_array_equal(second.change, density(0) - density(3))
    assert first.moved == pytest.approx(np.abs(density(0) - density(1)).sum() / 2, rel=1e-5)


def test_the_strongest_part_comes_first_in_the_ranking() -> None:
    uniform = np.full((2, 2), 0.25, np.float32)
    shifted = np.array([[1, 0], [0, 0]], np.float32)
    found = parts("a dog on grass")
    effects = effects_of(found, uniform, [uniform, uniform, shifted, uniform])
    ranked = Explanation("a dog on grass", PIXELS[:2, :2], uniform, effects).ranked
    assert [(effect.part.words, effect.moved) for effect in ranked] == [("on grass", 0.75), ("a dog", 0.0)]
    assert ranked[0].change.tolist() == [[-0.75, 0.25], [0.25, 0.25]]


def test_a_notebook_shows_a_picture_and_a_terminal_a_table(explanation: Explanation, tmp_path: Path) -> None:
    shown = np.asarray(Image.open(BytesIO(explanation._repr_png_())))
    np.testing.assert_array_equal(shown, explanation.picture())
    explanation.write(tmp_path / "made.png")
    with Image.open(tmp_path / "made.png") as written:
        np.testing.assert_array_equal(np.asarray(written), shown)
    table = repr(explanation).splitlines()
    assert len(table) == 1 + len(explanation.effects)
    assert table[1].endswith(" %  a man")
    assert table[3].endswith(" %    red")


def test_all_changes_share_a_scale_and_many_parts_leave_the_weakest_out(explanation: Explanation) -> None:
    tiles = explanation.tiles(most=3)
    strongest = {effect.part.words for effect in explanation.ranked[:2]}
    assert tiles[0].caption == "prediction"
    assert {tile.caption.partition("”")[0].removeprefix("“") for tile in tiles[1:]} == strongest
    assert all("red where it adds, blue where it takes away" in tile.alt for tile in tiles[1:])


@pytest.fixture(scope="module")
def model(smoke_run: RunFolder) -> Model:
    return saltext.load(smoke_run.root, device="cpu")


@pytest.mark.slow
def test_the_effects_are_differences_of_its_predictions(model: Model) -> None:
    explanation = model.explain(PIXELS, TEXT, task="salient")
    for effect in explanation.effects:
        without = model.predict(PIXELS, effect.part.without, task="salient")
        np.testing.assert_allclose(explanation.density - effect.change, without, atol=1e-8)
        replaced = model.predict(PIXELS, effect.part.replaced, task="salient")
        np.testing.assert_allclose(explanation.density - effect.change_replaced, replaced, atol=1e-8)


@pytest.mark.slow
def test_all_texts_are_one_batch(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    predict = model._pipeline.predict

    def counting(samples: dict[str, object]) -> object:
        sizes.append(len(samples["text"]))  # type: ignore[arg-type]
        return predict(samples)

    monkeypatch.setattr(model._pipeline, "predict", counting)
    model.explain(PIXELS, TEXT)
    assert sizes == [1 + 2 * len(parts(TEXT))]


@pytest.mark.slow
def test_without_all_its_words_a_text_is_still_read_under_its_own_condition(model: Model) -> None:
    (effect,) = model.explain(PIXELS, "lamps", task="non_salient").effects
    assert effect.part.without == ""
    whole = model.predict(PIXELS, "lamps", task="non_salient")
    none = model.predict(PIXELS, "", task="non_salient")
    np.testing.assert_allclose(effect.change, whole - none, atol=1e-8)


@pytest.mark.slow
def test_maps_of_large_images_are_small(model: Model) -> None:
    explanation = model.explain(np.zeros((30, 1500, 3), np.uint8), "lamps")
    assert max(explanation.density.shape) == MAX_SIDE
    assert explanation.density.sum() == pytest.approx(1, abs=1e-4)


@pytest.mark.slow
def test_what_has_no_words_or_is_not_read_is_refused(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    for text in ("", "...", "there is"):
        with pytest.raises(DataError, match="expected a text with words"):
            model.explain(PIXELS, text)
    monkeypatch.setattr(Model, "reads_text", False)
    with pytest.raises(ConfigError, match="reads no text"):
        model.explanation(open_photo(PIXELS), TextQuery("a lamp"))
