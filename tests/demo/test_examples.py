import logging
from pathlib import Path

import pytest
from PIL import Image

from saltext.data.datamodule import SaliencyDataModule
from saltext.demo import examples
from saltext.errors import DataError
from saltext.prediction.texts import TextQuery
from tests.demo.stub import photo


def test_the_photographs_are_small_and_come_with_a_text_about_each_kind_of_object() -> None:
    offered = examples.photographs()
    assert [example.image.name for example in offered] == ["astronaut.jpg", "coffee.jpg"]
    for example in offered:
        assert example.queries is not None
        assert [query.task for query in example.queries] == ["salient", "non_salient"]
        assert example.image.stat().st_size < 100_000
        with Image.open(example.image) as picture:
            assert (picture.format, min(picture.size) >= 400) == ("JPEG", True)


def test_generated_pictures_come_with_a_text_about_each_kind_of_object(tmp_path: Path) -> None:
    offered = examples.generated(tmp_path / "examples")
    assert len(offered) == 6
    for example in offered:
        assert example.queries is not None
        large, small = example.queries
        assert large.text
        assert small.text not in ("", large.text)
        assert (large.task, small.task) == ("salient", "non_salient")
        with Image.open(example.image) as picture:
            assert max(picture.size) >= 480
    assert len({example.image for example in offered}) == 6
    assert {path.name for path in tmp_path.iterdir()} == {"examples"}


def test_of_a_data_set_images_with_two_texts_are_offered_that_the_model_has_not_seen(data: SaliencyDataModule) -> None:
    everything = examples.of_data_set(data.root, None)
    described = {pair.image_id for pair in data.pairs if pair.task == "salient"}
    assert {example.image.stem.split("_")[0] for example in everything} == described
    texts = {(pair.task, pair.text) for pair in data.pairs}
    assert all({(query.task, query.text) for query in example.queries or ()} < texts for example in everything)
    unseen = examples.of_data_set(data.root, data.split)
    assert {example.image.stem.split("_")[0] for example in unseen} == described & {*data.split.parts["test"]}
    assert 0 < len(unseen) < len(everything)


def test_of_a_large_data_set_a_few_from_everywhere_are_offered(
    data: SaliencyDataModule, monkeypatch: pytest.MonkeyPatch
) -> None:
    every = [example.image for example in examples.of_data_set(data.root, None)]
    monkeypatch.setattr(examples, "MOST", 3)
    step = -(-len(every) // 3)
    assert [example.image for example in examples.of_data_set(data.root, None)] == every[::step]


def test_a_folder_of_pictures_is_offered_without_texts(tmp_path: Path) -> None:
    photo(tmp_path / "b.png")
    photo(tmp_path / "a.jpg")
    (tmp_path / "notes.txt").touch()
    offered = examples.own(tmp_path)
    assert [(example.image.name, example.queries) for example in offered] == [("a.jpg", None), ("b.png", None)]


def test_a_table_gives_each_picture_its_first_two_texts(tmp_path: Path) -> None:
    photo(tmp_path / "a.png")
    photo(tmp_path / "b.png")
    rows = ["image,text,task", "a.png,one,salient", "b.png,alone,", "a.png,two,", "a.png,three,whole"]
    (tmp_path / "texts.csv").write_text("\n".join(rows))
    assert [example.queries for example in examples.own(tmp_path / "texts.csv")] == [
        (TextQuery("one", "salient"), TextQuery("two")),
        (TextQuery("alone"), TextQuery("")),
    ]


def test_everything_wrong_with_them_is_said_at_once(tmp_path: Path) -> None:
    photo(tmp_path / "good.png")
    (tmp_path / "empty.png").touch()
    (tmp_path / "notes.png").write_text("not a picture")
    with pytest.raises(DataError) as raised:
        examples.own(tmp_path)
    for expected in ("--examples ", "empty files", "not images"):
        assert expected in str(raised.value)


@pytest.mark.parametrize(("name", "said"), [("nowhere", "cannot be read"), (".", "folders without an image")])
def test_nothing_to_offer_is_said(tmp_path: Path, name: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        examples.own(tmp_path / name)


def test_of_many_pictures_the_first_are_offered_and_it_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(examples.MOST + 1):
        photo(tmp_path / f"{number:02d}.png", 4, 4)
    with caplog.at_level(logging.WARNING):
        assert len(examples.own(tmp_path)) == examples.MOST
    assert f"the first {examples.MOST} of {examples.MOST + 1}" in caplog.text
