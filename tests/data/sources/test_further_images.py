import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from saltext.data.datamodule import SaliencyDataModule
from saltext.data.sources.custom import Custom
from saltext.data.sources.further_images import FurtherFreeViewing
from saltext.data.sources.sjtu_tis import SjtuTis
from saltext.errors import ConfigError, DataError

DESCRIPTION = """
images: images
conditions: {free: without text, told: with text}
texts: {table: texts.csv}
fixations: {table: fixations.csv}
density: {sigma_pixels: 3}
"""


@pytest.fixture
def other(tmp_path: Path, small_root: Path) -> Custom:
    """Three random images and two copies of the data set's, with a text for one of them."""
    folder = tmp_path / "other"
    (folder / "images").mkdir(parents=True)
    random = np.random.default_rng(0)
    for name in ("a", "b", "c"):
        coarse = Image.fromarray(random.integers(0, 256, (8, 10, 3), np.uint8))
        coarse.resize((100, 80), Image.Resampling.BICUBIC).save(folder / "images" / f"{name}.png")
    first, second = SjtuTis(small_root).read().pairs_with_images()[::40]
    Image.open(first.image).convert("RGB").save(folder / "images" / "same.jpg", quality=60)
    ImageOps.mirror(Image.open(second.image).convert("RGB")).save(folder / "images" / "mirrored.jpg", quality=60)
    rows = [f"{name},free,10,20" for name in ("a", "b", "c", "same", "mirrored")]
    (folder / "fixations.csv").write_text("\n".join(["image,condition,x,y", *rows, "a,told,30,40"]))
    (folder / "texts.csv").write_text("image,text\na,a lamp\n")
    (folder / "other.yaml").write_text(DESCRIPTION)
    return Custom(folder / "other.yaml")


def test_pairs_without_a_text_are_taken_but_those_of_images_that_the_data_set_has(
    other: Custom, small_root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    index = SjtuTis(small_root).read()
    pairs = FurtherFreeViewing(other, tmp_path / "cache", min_distance=16)(index)
    free = {pair.image_id: pair.name for pair in other.read().pairs_with_images() if not pair.text}
    assert [(pair.image_id, pair.name, pair.task, pair.text) for pair in pairs] == [
        (f"scenes/{image}", f"scenes/{free[image]}", "scenes", "") for image in "abc"
    ]
    assert {pair.density for pair in pairs} == {3.0}
    assert f"3 of 5 pairs of {other.root}; the image most like one of {small_root} is" in caplog.text
    index.with_auxiliary_pairs("scenes", pairs)


def test_they_are_decoded_with_their_own_blur(other: Custom, small_root: Path, tmp_path: Path) -> None:
    further = FurtherFreeViewing(other, tmp_path / "cache", condition="more", min_distance=16)
    data = SaliencyDataModule(
        SjtuTis(small_root), free_viewing=further, image_size=(72, 96), cache_dir=tmp_path / "cache", batch_size=4
    )
    data.prepare_data()
    last = data.indices("train")[-3:]
    assert [data.pairs[number].task for number in last] == ["more"] * 3
    assert [data.cache.native_size(number) for number in last] == [(80, 100)] * 3
    assert all(data.cache.density[number].max() > 200 for number in last)


def test_a_data_set_of_the_same_images_or_without_free_viewing_is_refused(
    other: Custom, small_root: Path, tmp_path: Path
) -> None:
    index = SjtuTis(small_root).read()
    with pytest.raises(DataError, match=r"that are not in .* too, got none"):
        FurtherFreeViewing(SjtuTis(small_root), tmp_path / "cache")(index)
    with_text = Path(other.description)
    with_text.write_text(DESCRIPTION.replace("free: without text, ", ""))
    (with_text.parent / "fixations.csv").write_text("image,x,y\na,30,40\n")
    (with_text.parent / "texts.csv").write_text("image,text\na,a lamp\n")
    for name in ("b.png", "c.png", "same.jpg", "mirrored.jpg"):
        (with_text.parent / "images" / name).unlink()
    with pytest.raises(DataError, match="Expected pairs without a text"):
        FurtherFreeViewing(Custom(with_text), tmp_path / "cache")(index)


@pytest.mark.parametrize("distance", [-1, 257])
def test_distances_outside_the_hash_are_refused(other: Custom, distance: int, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected 0 to 256"):
        FurtherFreeViewing(other, tmp_path, min_distance=distance)
