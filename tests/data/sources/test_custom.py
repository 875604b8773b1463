import logging
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from saltext.data.cache import CacheSettings, open_cache
from saltext.data.index import DatasetIndex
from saltext.data.pairs import FixationPoints, Pair
from saltext.data.sources.custom import Custom
from saltext.data.sources.sjtu_tis import SjtuTis
from saltext.errors import DataError
from tests.data.made_up_layouts import SIGMA, own_copy, random_points, write_description, write_table

SIZE = (30, 40)
IMAGES = ("cat", "deep/dog", "0012")
SETTINGS = CacheSettings((36, 48), (18, 24))


def write(folder: Path, **changed: Any) -> dict[str, Any]:
    """Three images under two conditions, and what describes them."""
    for seed, name in enumerate(IMAGES):
        path = folder / "images" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*SIZE, 3), dtype=np.uint8)).save(path)
    write_table(folder / "texts.csv", ("image", "text"), [(name, f"Look, a {name}") for name in IMAGES])
    points = [
        (name, condition, x, y)
        for seed, (name, condition) in enumerate((n, c) for n in IMAGES for c in ("free", "described"))
        for x, y in random_points(SIZE, 9, seed)
    ]
    write_table(folder / "fixations.csv", ("image", "condition", "x", "y"), points)
    return {
        "images": "images",
        "conditions": {"free": "without text", "described": "with text"},
        "texts": {"table": "texts.csv"},
        "fixations": {"table": "fixations.csv"},
        "density": {"sigma_pixels": 3},
        **changed,
    }


def found(folder: Path, content: dict[str, Any], max_pixels: int = 10_000) -> DatasetIndex:
    return Custom(write_description(folder, content), max_pixels=max_pixels).read()


def refused(folder: Path, content: dict[str, Any], **settings: int) -> str:
    with pytest.raises(DataError) as caught:
        found(folder, content, **settings)
    return str(caught.value)


def places(pair: Pair) -> list[tuple[int, int]]:
    """(x, y) of a pair's points."""
    assert isinstance(pair.fixations, FixationPoints)
    return [(int(x), int(y)) for y, x in pair.fixations.coordinates]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Pair], list[Pair]]:
    """The pairs of a generated data set as published, and those of its own copy."""
    published, own = own_copy(tmp_path_factory.mktemp("both"))
    return SjtuTis(published).read().pairs, Custom(own).read().pairs


def test_a_described_data_set_has_the_pairs_of_the_published_one(both: tuple[list[Pair], list[Pair]]) -> None:
    published, own = both
    assert [(p.image_id, p.task, p.text) for p in own] == [(p.image_id, p.task, p.text) for p in published]
    assert len({pair.name for pair in own}) == len(own)


def test_a_described_data_set_decodes_to_the_published_points_and_maps(
    both: tuple[list[Pair], list[Pair]], tmp_path: Path
) -> None:
    published, own = (open_cache(pairs, SETTINGS, tmp_path) for pairs in both)
    for place in range(len(published)):
        np.testing.assert_array_equal(published.points(place), own.points(place))
        np.testing.assert_array_equal(published.image(place), own.image(place))
        gaps = published.native_density(place).astype(int) - own.native_density(place).astype(int)
        assert np.abs(gaps).max() <= 1  # of 255: the generator's maps are stretched to 0, these are not
    assert both[1][0].density == SIGMA


def test_images_are_called_by_id_by_name_or_by_path(tmp_path: Path) -> None:
    content = write(tmp_path)
    names = ("cat.png", "images/deep/dog.png", "0012")
    write_table(tmp_path / "texts.csv", ("image", "text"), [(name, "read") for name in names])
    assert {pair.image_id for pair in found(tmp_path, content).pairs if pair.text} == {"cat", "deep/dog", "0012"}


@pytest.mark.parametrize(("images", "ids"), [("images/*.png", {"cat", "0012"}), ("images/**/*.png", set(IMAGES))])
def test_a_pattern_chooses_images_and_ids_start_after_its_last_plain_folder(
    tmp_path: Path, images: str, ids: set[str]
) -> None:
    content = write(tmp_path, images=images)
    points = [(name, condition, 1, 2) for name in ids for condition in content["conditions"]]
    write_table(tmp_path / "fixations.csv", ("image", "condition", "x", "y"), points)
    write_table(tmp_path / "texts.csv", ("image", "text"), [(name, "read") for name in ids])
    assert {pair.image_id for pair in found(tmp_path, content).pairs} == ids


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_table_may_be_separated_by_commas_semicolons_or_tabs(tmp_path: Path, separator: str) -> None:
    content = write(tmp_path)
    lines = [separator.join(("image", "text")), *(separator.join((name, "NA")) for name in IMAGES)]
    (tmp_path / "texts.csv").write_text("\ufeff" + "\n".join(lines) + "\n\n", encoding="utf-8")
    assert {pair.text for pair in found(tmp_path, content).pairs} == {"", "NA"}


def test_a_point_between_pixels_belongs_to_the_pixel_it_lies_in(tmp_path: Path) -> None:
    content = write(tmp_path)
    points = [(name, condition, "39.9", "0.2") for name in IMAGES for condition in content["conditions"]]
    write_table(tmp_path / "fixations.csv", ("image", "condition", "x", "y"), points)
    assert places(found(tmp_path, content).pairs[0]) == [(39, 0)]
    content["fixations"]["counted_from"] = 1
    assert "6 of 6" not in (message := refused(tmp_path, content))
    assert "cat (2 of 2, first x=39, y=-1 in 40x30)" in message


def test_two_viewers_may_fixate_one_pixel_in_a_table_without_observers(tmp_path: Path) -> None:
    content = write(tmp_path)
    points = [(name, condition, 5, 6) for name in IMAGES for condition in content["conditions"] for _ in range(2)]
    write_table(tmp_path / "fixations.csv", ("image", "condition", "x", "y"), points)
    assert places(found(tmp_path, content).pairs[0]) == [(5, 6), (5, 6)]


def test_fixations_outside_are_left_out_if_asked_for_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    content = write(tmp_path, fixations={"table": "fixations.csv", "outside": "drop"})
    with (tmp_path / "fixations.csv").open("a") as stream:
        stream.write("cat,free,40,3\ncat,free,-1e300,3\n")
    with caplog.at_level(logging.INFO, logger="saltext"):
        pairs = found(tmp_path, content).pairs
    assert len(places(next(p for p in pairs if (p.image_id, p.task) == ("cat", "free")))) == 9
    assert "left out 2 of 56 fixations" in caplog.text


def test_everything_wrong_with_the_files_is_said_at_once(tmp_path: Path) -> None:
    content = write(tmp_path)
    Image.new("RGB", (200, 100)).save(tmp_path / "images" / "large.png")
    Image.new("RGB", (5, 5)).save(tmp_path / "images" / "unseen.jpg")
    Image.new("RGB", (5, 5)).save(tmp_path / "images" / "unseen.png")
    (tmp_path / "images" / "broken.png").write_bytes(b"no picture")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (5, 5)).save(tmp_path / "images" / "turned.jpg", exif=exif)
    write_table(
        tmp_path / "texts.csv", ("image", "text"), [("cat", "one"), ("cat", "two"), ("0012", " "), ("cow", "?")]
    )
    with (tmp_path / "fixations.csv").open("a") as stream:
        stream.write("bird,free,1,2\ncat,fre,1,2\ncat,free,left,2\ncat,free,40,3\ndeep/dog,free,0\n")
    message = refused(tmp_path, content)
    for said in (
        "images with more than data.max_pixels=10000 pixels (1): images/large.png",
        "images that differ in their ending alone (1): unseen",
        "files that are not images (1): images/broken.png",
        "images rotated by EXIF data, which leaves x and y unclear (save them upright) (1): images/turned.jpg",
        "rows of texts.csv with a second text for an image (1): line 3", "rows of texts.csv without a text (1): line 4",
        "names in texts.csv of no image (1): cow", "names in fixations.csv of no image (1): bird",
        "conditions in fixations.csv other than free, described (1): 'fre' (did you mean 'free'?)",
        "rows of fixations.csv whose x and y are not numbers (2): line 58, line 60",
        "images with fixations outside them, counted from 0 (1): cat (1 of 19, first x=40, y=3 in 40x30)",
        "images without fixations (4): broken, large, turned, unseen",
        "fixations without a text (2): 0012 (described), deep/dog (described)",
    ):  # fmt: skip
        assert said in message


def test_a_column_that_is_not_there_is_named_with_the_probable_one(tmp_path: Path) -> None:
    content = write(tmp_path, texts={"table": "texts.csv", "columns": {"text": "txt"}})
    assert "columns that texts.csv has not (it has image, text) (1): 'txt' (did you mean 'text'?)" in refused(
        tmp_path, content
    )


def test_a_condition_that_a_table_says_is_read_where_it_need_not_be_said(tmp_path: Path) -> None:
    content = write(tmp_path)
    rows = [(name, condition, "read") for name in IMAGES for condition in ("described", "free")]
    write_table(tmp_path / "texts.csv", ("image", "condition", "text"), rows)
    assert "conditions in texts.csv other than described (1): 'free'" in refused(tmp_path, content)


@pytest.mark.parametrize("written", [None, b"", b"image,text\n1,2,3,4\n", b"image,text\n\xff\xfe,2\n"])
def test_a_table_that_cannot_be_read_is_named(tmp_path: Path, written: bytes | None) -> None:
    content = write(tmp_path)
    (tmp_path / "texts.csv").unlink()
    if written is not None:
        (tmp_path / "texts.csv").write_bytes(written)
    assert "tables that cannot be read (1): texts.csv (" in refused(tmp_path, content)


def test_who_looks_twice_at_one_pixel_counts_twice(tmp_path: Path) -> None:
    content = write(tmp_path)
    points = [(name, condition, 5, 6, "p1") for name in IMAGES for condition in content["conditions"]]
    write_table(tmp_path / "fixations.csv", ("image", "condition", "x", "y", "who"), [*points, points[0]])
    pairs = found(tmp_path, content).pairs
    assert sorted(len(places(pair)) for pair in pairs) == [1] * 5 + [2]


def test_a_text_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    content = write(tmp_path)
    write_table(tmp_path / "texts.csv", ("image", "text"), [(name, "read") for name in (*IMAGES, IMAGES[0])])
    assert "rows of texts.csv that repeat another (1): line 5" in refused(tmp_path, content)


@pytest.mark.parametrize(("x", "pixel"), [("0.5", 0), ("0.7", 0), ("1.49", 0), ("1.5", 1), ("40.4", 39)])
def test_counted_from_one_a_pixel_reaches_half_a_pixel_to_either_side_of_its_number(
    tmp_path: Path, x: str, pixel: int
) -> None:
    content = write(tmp_path)
    content["fixations"]["counted_from"] = 1
    points = [(name, condition, x, "1") for name in IMAGES for condition in content["conditions"]]
    write_table(tmp_path / "fixations.csv", ("image", "condition", "x", "y"), points)
    assert places(found(tmp_path, content).pairs[0]) == [(pixel, 0)]


def test_texts_without_fixations_are_named(tmp_path: Path) -> None:
    content = write(tmp_path)
    write_table(tmp_path / "fixations.csv", ("image", "condition", "x", "y"), [(n, "free", 1, 2) for n in IMAGES])
    assert "texts without fixations (3): 0012 (described), cat (described), deep/dog (described)" in refused(
        tmp_path, content
    )


def test_a_folder_without_an_image_is_named(tmp_path: Path) -> None:
    assert "folders or patterns without an image" in refused(tmp_path, write(tmp_path) | {"images": "pictures"})


def _files(folder: Path, content: dict[str, Any]) -> dict[str, Any]:
    """Fixations in a file of each kind, maps as pictures and arrays."""
    for number, (name, condition) in enumerate((n, c) for n in IMAGES for c in ("free", "described")):
        counts = np.zeros(SIZE, np.uint8)
        counts[number, 7] = 1
        ramp = np.linspace(0, 1, counts.size).reshape(SIZE)
        for kind in ("fixated", "maps"):
            (folder / kind / condition / name).parent.mkdir(parents=True, exist_ok=True)
        if number % 2:
            np.save(folder / "fixated" / condition / f"{name}.npy", counts)
            np.save(folder / "maps" / condition / f"{name}.npy", ramp)
        else:
            (folder / "fixated" / condition / f"{name}.csv").write_text(f"7,{number}\n-4,2\n")
            Image.fromarray((255 * ramp).round().astype(np.uint8)).save(folder / "maps" / condition / f"{name}.png")
    return content | {"fixations": {"files": "fixated", "outside": "drop"}, "density": {"files": "maps"}}


def test_fixations_and_maps_may_be_files_of_several_kinds(tmp_path: Path) -> None:
    pairs = found(tmp_path, _files(tmp_path, write(tmp_path))).pairs
    cache = open_cache(pairs, SETTINGS, tmp_path / "cache")
    assert [cache.points(place).tolist() for place in range(6)] == [
        [[4, 7]],
        [[5, 7]],
        [[0, 7]],
        [[1, 7]],
        [[2, 7]],
        [[3, 7]],
    ]
    for place in range(1, 6):
        np.testing.assert_array_equal(cache.native_density(place), cache.native_density(0))


def test_files_that_are_missing_are_named_by_image_and_condition(tmp_path: Path) -> None:
    content = _files(tmp_path, write(tmp_path))
    (tmp_path / "fixated" / "described" / "cat.npy").unlink()
    (tmp_path / "maps" / "free" / "cat.png").unlink()
    message = refused(tmp_path, content)
    assert "texts without fixations (1): cat (described)" in message
    assert "fixations without a map (1): cat (free)" in message


def test_a_map_in_colour_or_of_another_size_is_refused_when_it_is_decoded(tmp_path: Path) -> None:
    content = _files(tmp_path, write(tmp_path))
    coloured = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    Image.fromarray(coloured).save(tmp_path / "maps" / "free" / "cat.png")
    np.save(tmp_path / "maps" / "described" / "cat.npy", np.ones((3, 4)))
    with pytest.raises(DataError) as caught:
        open_cache(found(tmp_path, content).pairs, SETTINGS, tmp_path / "cache")
    assert "colour images where a grey map is expected (1): free/cat.png" in str(caught.value)
    expected = (
        "files of another size than the ground truth (1): described/cat.npy (4 wide, 3 high; expected 40 wide, 30 high)"
    )
    assert expected in str(caught.value)


def test_a_given_division_comes_from_a_table_or_from_lists(tmp_path: Path) -> None:
    expected = {"train": ["0012", "cat"], "val": [], "test": ["deep/dog"]}
    lists = {"train": ["cat.png", "0012"], "test": ["deep/dog"]}
    assert found(tmp_path, write(tmp_path, split=lists)).parts == expected
    write_table(tmp_path / "parts.csv", ("image", "part"), [(name, p) for p, names in lists.items() for name in names])
    assert found(tmp_path, write(tmp_path, split={"table": "parts.csv"})).parts == expected


def test_everything_wrong_with_a_division_is_said_at_once(tmp_path: Path) -> None:
    write_table(tmp_path / "parts.csv", ("image", "part"), [("cat", "train"), ("cat", "tset"), ("cow", "test")])
    message = refused(tmp_path, write(tmp_path, split={"table": "parts.csv"}))
    for said in (
        "names in parts.csv of no image (1): cow",
        "parts of split other than train, val, test (1): 'tset' (did you mean 'test'?)",
        "images in several parts of split (1): cat", "images in no part of split (2): 0012, deep/dog",
        "parts of split without an image (1): test",
    ):  # fmt: skip
        assert said in message


def test_points_in_a_table_that_change_lead_to_other_arrays(tmp_path: Path) -> None:
    content = write(tmp_path)
    folders = set()
    for sigma, y in ((3, 0), (4, 0), (3, 1), (3, 0)):
        points = [(name, condition, 5, y) for name in IMAGES for condition in content["conditions"]]
        write_table(tmp_path / "fixations.csv", ("image", "condition", "x", "y"), points)
        pairs = found(tmp_path, content | {"density": {"sigma_pixels": sigma}}).pairs
        folders.add(open_cache(pairs, SETTINGS, tmp_path / "cache").folder)
    assert len(folders) == 3


def test_what_is_no_picture_is_named_among_the_images(tmp_path: Path) -> None:
    content = write(tmp_path)
    os.mkfifo(tmp_path / "images" / "pipe.png")
    (tmp_path / "images" / "gone.png").symlink_to("nowhere")
    (tmp_path / "images" / "folder.png").mkdir()
    (tmp_path / "images" / os.fsdecode(b"odd\xff.png")).write_bytes((tmp_path / "images" / "cat.png").read_bytes())
    message = refused(tmp_path, content)
    for said in (
        "pipes or devices where an image is expected (1): images/pipe.png",
        "links that lead nowhere (1): images/gone.png",
        "folders where an image is expected (1): images/folder.png",
        "names that are not UTF-8 (1): odd\\udcff",
    ):
        assert said in message
    message.encode()


def test_a_folder_with_brackets_is_no_pattern_and_names_may_be_in_any_unicode_form(tmp_path: Path) -> None:
    root = tmp_path / "data [v2]"
    root.mkdir()
    content = write(root, images="images/**/*.png")
    (root / "images" / "cat.png").rename(root / "images" / "chatt\u0065\u0301.png")
    for name in ("texts.csv", "fixations.csv"):
        text = (root / name).read_text(encoding="utf-8")
        (root / name).write_text(text.replace("cat", "chatt\u00e9"), encoding="utf-8")
    assert "chatt\u0065\u0301" in {pair.image_id for pair in found(root, content).pairs}
