from pathlib import Path
from typing import Any

import pytest

from saltext.data.sources.custom_spec import Table, read_description
from saltext.errors import DataError
from tests.data.made_up_layouts import write_description

WHOLE: dict[str, Any] = {
    "images": "images",
    "conditions": {"free": "without text", "described": "with text"},
    "texts": {"table": "texts.csv"},
    "fixations": {"table": "fixations.csv"},
    "density": {"sigma_pixels": 24},
}


def refused(folder: Path, content: dict[str, Any]) -> str:
    with pytest.raises(DataError) as caught:
        read_description(write_description(folder, content))
    return str(caught.value)


def test_paths_start_from_the_description_s_folder_or_from_the_one_that_is_named(tmp_path: Path) -> None:
    path = write_description(tmp_path, WHOLE)
    for root, expected in ((None, tmp_path), (tmp_path / "there", tmp_path / "there")):
        description = read_description(path, root)
        assert description.images == str(expected / "images")
        assert isinstance(description.texts, Table)
        assert description.texts.path == expected / "texts.csv"


def test_a_table_needs_its_condition_only_where_several_are_possible(tmp_path: Path) -> None:
    description = read_description(write_description(tmp_path, WHOLE))
    assert isinstance(description.texts, Table)
    assert isinstance(description.fixations, Table)
    assert not description.texts.needs_condition
    assert description.fixations.needs_condition


@pytest.mark.parametrize(("texts", "expected"), [(False, {"pure": False}), (True, {"text": True})])
def test_without_conditions_there_is_one(tmp_path: Path, texts: bool, expected: dict[str, bool]) -> None:
    content = {key: value for key, value in WHOLE.items() if key != "conditions" and (texts or key != "texts")}
    assert read_description(write_description(tmp_path, content)).conditions == expected


def test_a_blur_in_degrees_becomes_pixels(tmp_path: Path) -> None:
    density = {"sigma_degrees": 1.5, "pixels_per_degree": 20}
    assert read_description(write_description(tmp_path, WHOLE | {"density": density})).sigma == 30.0


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ("fixated", "fixated/{condition}/{image}.*"),
        ("fixated/{condition}", "fixated/{condition}/{image}.*"),
        ("{condition}-{image}.mat", "{condition}-{image}.mat"),
    ],
)
def test_a_folder_is_a_pattern_of_files_named_like_the_images(tmp_path: Path, files: str, expected: str) -> None:
    content = WHOLE | {"fixations": {"files": files}}
    assert read_description(write_description(tmp_path, content)).fixations == str(tmp_path / expected)


def test_a_division_is_a_table_lists_or_files_with_lists(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("a.png\n\nb.png\n")
    split = {"train": "train.txt", "test": ["c"]}
    assert read_description(write_description(tmp_path, WHOLE | {"split": split})).split == {
        "train": ["a.png", "b.png"], "test": ["c"],
    }  # fmt: skip
    table = read_description(
        write_description(tmp_path, WHOLE | {"split": {"table": "t.csv", "columns": {"part": "p"}}})
    )
    assert table.split == Table(tmp_path / "t.csv", {"image": "image", "part": "p"})


def test_environment_variables_are_filled_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PICTURES", "/pictures")
    assert read_description(write_description(tmp_path, WHOLE | {"images": "${oc.env:PICTURES}"})).images == "/pictures"


def test_everything_wrong_with_a_description_is_said_at_once(tmp_path: Path) -> None:
    message = refused(tmp_path, {
        "image": "images",
        "conditions": {"free": "no", "two words": "with text"},
        "texts": {"tabel": "texts.csv", "columns": {"txt": "sentence"}},
        "fixations": {"table": "f.csv", "counted_from": 2, "outside": "clip"},
        "density": {"sigma_pixels": -3},
        "split": {"train": [12], "tets": ["a"]},
    })  # fmt: skip
    for said in (
        "image (did you mean 'images'?)",
        "texts.tabel (did you mean 'table'?)",
        "texts.columns.txt (did you mean 'text'?)",
        "split.tets (did you mean 'test'?)",
        "'two words'",
        "conditions.free: 'no', expected 'with text' or 'without text'",
        "fixations.counted_from: 2, expected 0 or 1",
        "fixations.outside: 'clip', expected refuse or drop",
        "density.sigma_pixels: -3, expected a number above 0",
        "split.train: 12, expected names of images, in quotes",
        "texts.table",
        "split.test",
        "docs/own-data.md",
    ):
        assert said in message


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"density": None}, "density.files, density.sigma_pixels or density.sigma_degrees"),
        ({"density": {"sigma_degrees": 1}}, "both of them"),
        ({"density": {"sigma_pixels": 1, "sigma_degrees": 1}}, "sigma_pixels, or sigma_degrees with pixels_per_degree"),
        ({"fixations": {"table": "a.csv", "files": "b"}}, "fixations.table or fixations.files, one of them"),
        ({"fixations": None}, "fixations.table or fixations.files, one of them"),
        ({"fixations": {"files": "a/{image}.jpg"}}, "an ending of .png, .bmp, .tif, .tiff, .npy, .csv, .mat"),
        ({"fixations": {"files": "a/{image}.png"}}, "{condition} in it"),
        ({"fixations": {"files": "a", "counted_from": 1}}, "go with fixations.table only (1): fixations.counted_from"),
        ({"texts": None}, "texts (of described)"),
        ({"texts": "texts.csv"}, "texts: 'texts.csv', expected keys (table, columns)"),
        ({"conditions": {"free": "without text"}}, "no condition is 'with text'"),
        ({"conditions": ["free"]}, "each condition with one of 'with text', 'without text'"),
        ({"images": 3}, "images: 3, expected a text"),
        ({"split": {"table": "t.csv", "train": ["a"]}}, "do not go with split.table (1): split.train"),
        ({"split": {"train": "none.txt", "test": ["a"]}}, "a text file with an image in each line"),
    ],
)
def test_what_does_not_fit_together_is_named(tmp_path: Path, changed: dict[str, Any], said: str) -> None:
    assert said in refused(tmp_path, WHOLE | changed)


def test_a_description_that_is_not_there_says_how_to_name_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no description .*data=own data\.description=FILE"):
        read_description(tmp_path / "none.yaml")


@pytest.mark.parametrize("content", ["a: [", "images: ${oc.env:NOT_THERE_AT_ALL}", "- a list", "", "\x00"])
def test_what_is_no_description_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.yaml").write_text(content)
    with pytest.raises(DataError, match=r"a\.yaml"):
        read_description(tmp_path / "a.yaml")
