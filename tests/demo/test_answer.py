"""What the page gets to show, from pictures and texts of all kinds."""

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from saltext.demo import answer as answer_module
from saltext.demo.answer import Answer, Question, answer, explain, load_model
from saltext.errors import ConfigError, DataError
from saltext.prediction.pictures import PANEL_SIDE
from saltext.prediction.texts import TextQuery
from tests.demo.stub import Stub, photo

LIMIT = 10_000
LEFT, RIGHT = TextQuery("left"), TextQuery("right")


def question(image: Path, *queries: TextQuery, max_pixels: int = LIMIT) -> Question:
    folder = image.parent / "results"
    folder.mkdir(exist_ok=True)
    return Question(image, max_pixels, queries or (LEFT, RIGHT), folder)


def ask(image: Path, *queries: TextQuery, max_pixels: int = LIMIT) -> Answer:
    model: Any = Stub()
    return answer(model, question(image, *queries, max_pixels=max_pixels))


def refusal(*arguments: Any, **settings: Any) -> str:
    with pytest.raises(DataError) as raised:
        ask(*arguments, **settings)
    return str(raised.value)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return photo(tmp_path / "street.png")


def test_the_maps_and_the_change_are_shown_at_one_size_each_with_its_legend(image: Path) -> None:
    found = ask(image)
    tiles = [*(shown.tile for shown in found.maps), *(change.tile for change in found.changes)]
    shapes = {tile.pixels.shape for tile in tiles}
    assert len(shapes) == 1
    ((height, width, _),) = shapes
    assert width == PANEL_SIDE
    assert height > PANEL_SIDE * 40 / 60
    assert "“right”" in found.maps[1].tile.alt
    assert found.remarks == ()


def test_the_files_hold_the_density_at_the_images_own_size(tmp_path: Path) -> None:
    image = photo(tmp_path / "wide photo.v2.png", width=1200, height=500)
    found = ask(image, max_pixels=1200 * 500)
    density = np.load(found.maps[1].npy)
    assert density.shape == (500, 1200)
    assert density.dtype == np.float32
    assert density.sum(dtype=np.float64) == pytest.approx(1, abs=1e-5)
    with Image.open(found.maps[1].png) as png:
        levels = np.asarray(png)
    assert levels.dtype == np.uint16
    np.testing.assert_allclose(levels, density / density.max() * 65535, atol=0.51)
    written = {path.name for path in (tmp_path / "results").iterdir()}
    assert written == {f"wide_photo_v2_{what}" for what in (
        "text1.npy", "text1.png", "text2.npy", "text2.png", "panel.png")}  # fmt: skip


def test_red_is_where_the_second_text_looks_and_blue_where_the_first_did(image: Path) -> None:
    found = ask(image).changes[0].tile
    change = found.pixels.astype(int)
    # The middle third of the picture, as wide as the panel.
    left, right = change[120:200, :150].mean(axis=(0, 1)), change[120:200, 330:].mean(axis=(0, 1))
    assert left[2] > left[0] + 60
    assert right[0] > right[2] + 60
    assert found.caption == "change from text 1 to text 2: 99 % of the predicted attention moves"


def test_the_condition_reaches_the_model(image: Path) -> None:
    found = ask(image, TextQuery("left", "salient"), RIGHT)
    assert found.changes[0].comparison.moved == 0


def test_texts_lose_outer_white_space_and_may_be_empty(image: Path) -> None:
    found = ask(image, TextQuery("  left\n"), TextQuery(""))
    assert found.maps[0].text == "left"
    assert found.maps[1].text == ""


def test_a_remark_is_shown_once(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (30, 30), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    long = TextQuery("too long a text")
    assert ask(tmp_path / "moving.gif", long, long).remarks == (
        "the image holds several frames or pages; the first one is taken",
        "only 9 characters are read of the text 'too long a text'",
    )


def test_everything_wrong_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "notes.png").write_text("not a picture")
    said = refusal(tmp_path / "notes.png", TextQuery("\ud800"), TextQuery("x" * 2001))
    assert "The image cannot be used (files that are not images" in said
    assert "Text 1 cannot be used (texts that are not valid Unicode" in said
    assert "Text 2 has 2001 characters; up to 2000 are taken" in said


def test_an_image_with_too_many_pixels_is_refused(tmp_path: Path) -> None:
    image = photo(tmp_path / "large.png", width=101, height=100)
    assert "more than 10000 pixels: 101x100" in refusal(image)


def test_an_image_that_would_fill_the_memory_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    Image.new("1", (20_000, 20_000)).save(tmp_path / "bomb.png")
    assert (tmp_path / "bomb.png").stat().st_size < 1_000_000
    assert "more than 10000 pixels" in refusal(tmp_path / "bomb.png")


def test_an_unknown_condition_is_named(image: Path) -> None:
    model: Any = Stub()
    model.densities = lambda wanted: (_ for _ in ()).throw(ConfigError(f"unknown task {wanted[0][1].task}"))
    with pytest.raises(ConfigError, match="unknown task silent"):
        answer(model, Question(image, LIMIT, (TextQuery("a", "silent"), RIGHT), image.parent))


@pytest.mark.parametrize("broken", [False, True])
def test_a_model_has_answered_before_it_is_asked(monkeypatch: pytest.MonkeyPatch, broken: bool) -> None:
    asked: list[TextQuery] = []

    class Counting(Stub):
        def densities(self, wanted: Any) -> Any:
            wanted = list(wanted)
            asked.extend(query for _, query in wanted)
            if broken:
                raise DataError("no")
            return super().densities(wanted)

    monkeypatch.setattr(answer_module, "load", lambda *_, **__: Counting())
    assert load_model(None, None, None).name == "stub"
    assert len(asked) == 2
    assert any(query.text for query in asked)


def test_a_third_text_is_compared_with_the_first(image: Path) -> None:
    found = ask(image, LEFT, RIGHT, TextQuery("left", "salient"))
    assert [shown.text for shown in found.maps] == ["left", "right", "left"]
    assert [change.comparison.moved for change in found.changes] == pytest.approx([0.99, 0.99], abs=0.01)
    assert {path.name for path in (image.parent / "results").iterdir()} >= {"street_text3.npy", "street_text3.png"}


def test_each_word_has_its_share_and_a_picture_of_its_change(image: Path) -> None:
    model: Any = Stub()
    first, second, third = explain(model, question(image, TextQuery("right by the left"), TextQuery(""), RIGHT))
    assert second == []
    assert [word.words for word in first] == ["right", "by the left"]
    # It looks right after reading "right" and nothing else.
    assert [word.moved for word in first] == pytest.approx([0, 0.99], abs=0.01)
    (word,) = third
    assert word.moved == pytest.approx(0.99, abs=0.01)
    assert word.caption.startswith("“right”: 99 % of the predicted attention moves")
    with Image.open(BytesIO(word.jpeg)) as picture:
        assert picture.height / picture.width == pytest.approx(word.ratio)
