import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from saltext.data import synthetic
from saltext.data.pairs import Pair
from saltext.data.sources.sjtu_tis import SjtuTis
from saltext.data.synthetic import COLOURS, SHAPES, generate
from saltext.errors import ConfigError, DataError


def _files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*.png")}


def _read(path: Path, mode: str = "L") -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture.convert(mode))


def _density(pair: Pair) -> np.ndarray:
    return _read(pair.density).astype(np.float64)


def _named(text: str) -> set[tuple[str, str]]:
    return set(re.findall(rf"({'|'.join(COLOURS)}) ({'|'.join(SHAPES)})", text))


def test_equal_seeds_give_equal_files(small_root: Path, tmp_path: Path) -> None:
    assert _files(generate(tmp_path / "again", images=20, seed=3)) == _files(small_root)


def test_another_seed_gives_other_files(small_root: Path, tmp_path: Path) -> None:
    assert _files(generate(tmp_path / "other", images=4, seed=4)).keys() - _files(small_root).keys()


def test_files_are_as_published(small_pairs: list[Pair]) -> None:
    for pair in small_pairs:
        with Image.open(pair.image) as image, Image.open(pair.density) as density, Image.open(pair.fixations) as points:
            assert (image.mode, density.mode, points.mode) == ("RGBA", "L", "RGB")
            assert image.size == density.size == points.size
            assert image.getchannel("A").getextrema() == (255, 255)
            assert density.getextrema() == (0, 255)
            assert {int(value) for value in np.unique(np.asarray(points))} == {0, 255}
    assert len({_read(pair.image).shape for pair in small_pairs}) >= 4


def test_all_tasks_of_an_image_show_the_same_picture(small_pairs: list[Pair]) -> None:
    contents = {(pair.image_id, pair.image.read_bytes()) for pair in small_pairs}
    assert len(contents) == len({pair.image_id for pair in small_pairs})


def test_texts_name_as_many_objects_as_their_task_says(small_pairs: list[Pair]) -> None:
    wanted = {"pure": 0, "whole": 2, "general": 2, "salient": 1, "non_salient": 1}
    assert all(len(_named(pair.text)) == wanted[pair.task] for pair in small_pairs)
    assert len({re.sub("|".join([*COLOURS, *SHAPES]), "", pair.text) for pair in small_pairs}) >= 8


def test_people_look_at_the_colour_the_text_names(small_pairs: list[Pair]) -> None:
    palette = np.array(list(COLOURS.values()), dtype=np.float64)
    hits, asked = 0, 0
    for pair in small_pairs:
        if pair.task not in ("salient", "non_salient"):
            continue
        density = _density(pair)
        y, x = np.unravel_index(density.argmax(), density.shape)
        picture = _read(pair.image, "RGB").astype(np.float64)
        seen = picture[max(0, y - 2) : y + 3, max(0, x - 2) : x + 3].mean(axis=(0, 1))
        # Dim objects are mixed with grey: compare the direction of the colour, not its strength.
        tint = seen - seen.mean()
        tints = palette - palette.mean(axis=1, keepdims=True)
        closest = list(COLOURS)[int((tints @ tint / np.linalg.norm(tints, axis=1)).argmax())]
        hits += closest == next(iter(_named(pair.text)))[0]
        asked += 1
    assert asked == 20
    assert hits >= 19


def test_without_its_text_a_map_cannot_be_known(small_pairs: list[Pair]) -> None:
    by_task = {(pair.image_id, pair.task): _density(pair) for pair in small_pairs}
    images = [image_id for image_id, task in by_task if task == "salient"]
    between = [np.corrcoef(by_task[i, "salient"].ravel(), by_task[i, "non_salient"].ravel())[0, 1] for i in images]
    assert np.mean(between) < 0.2
    free = [np.corrcoef(by_task[i, "pure"].ravel(), by_task[i, "non_salient"].ravel())[0, 1] for i in images]
    assert np.mean(free) < 0.3


def test_maps_are_the_blurred_fixations(small_pairs: list[Pair]) -> None:
    pair = small_pairs[0]
    points = np.argwhere(_read(pair.fixations))
    density = _density(pair)
    y, x = np.mgrid[: density.shape[0], : density.shape[1]]
    sigma = 32 / 640 * max(density.shape)
    total = sum(np.exp(-((y - py) ** 2 + (x - px) ** 2) / (2 * sigma**2)) for py, px in points)
    expected = 255 * (total - total.min()) / (total.max() - total.min())
    np.testing.assert_allclose(density, expected, atol=0.51)


def test_the_number_of_fixations_is_as_in_the_experiment(small_pairs: list[Pair]) -> None:
    counts = [int((_read(pair.fixations) > 0).sum()) for pair in small_pairs]
    assert min(counts) >= 20
    assert max(counts) <= 200


def test_an_existing_data_set_is_kept(copied_root: Path) -> None:
    marked = next((copied_root / "map_1800").glob("*.png"))
    marked.write_bytes(b"kept")
    generate(copied_root, images=20, seed=3)
    assert marked.read_bytes() == b"kept"


def test_other_settings_replace_what_was_generated(copied_root: Path) -> None:
    generate(copied_root, images=4, seed=3)
    assert len({pair.image_id for pair in SjtuTis(copied_root).read().pairs}) == 4
    assert [path.name for path in copied_root.parent.iterdir()] == [copied_root.name]


@pytest.mark.parametrize("damage", ["a stranger's file", "no marker"])
def test_a_folder_that_was_not_all_generated_is_left_alone(copied_root: Path, damage: str) -> None:
    if damage == "no marker":
        (copied_root / "synthetic.json").unlink()
    else:
        (copied_root / "thesis.txt").write_text("three years")
    before = sorted(copied_root.rglob("*"))
    with pytest.raises(DataError, match=r"did not write .*Choose a new folder .*nothing was changed"):
        generate(copied_root, images=4)
    assert sorted(copied_root.rglob("*")) == before


def test_who_comes_second_keeps_what_the_first_wrote_and_may_be_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, write = tmp_path / "data", synthetic._write_data_set

    def write_slowly(*arguments: Any) -> None:
        monkeypatch.setattr(synthetic, "_write_data_set", write)
        write(*arguments)
        generate(root, images=4)  # another process, which is faster

    monkeypatch.setattr(synthetic, "_write_data_set", write_slowly)
    deleted: list[Path] = []
    monkeypatch.setattr(synthetic.shutil, "rmtree", lambda path, **_: deleted.append(Path(path)))
    generate(root, images=4)
    assert root not in deleted
    assert len(SjtuTis(root).read().pairs) == 12


def test_an_empty_folder_may_be_filled(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert len(SjtuTis(generate(tmp_path / "empty", images=4)).read().pairs) == 12


def test_values_out_of_range_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="at least 4 images"):
        generate(tmp_path / "x", images=2)
    with pytest.raises(ConfigError, match="size_range"):
        generate(tmp_path / "x", size_range=(20, 30))
