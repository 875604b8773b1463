"""What trains can be scored, and what cannot be used is refused for the same reasons, in training and in scoring."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from saltext.data.datamodule import SaliencyDataModule
from saltext.data.index import Source
from saltext.data.pairs import FixationPoints
from saltext.data.sources.custom import Custom
from saltext.data.sources.detect import source_of
from saltext.data.sources.salicon import Salicon
from saltext.data.sources.sjtu_tis import SjtuTis
from saltext.data.sources.synthetic import Synthetic
from saltext.data.synthetic import generate
from saltext.errors import DataError
from saltext.evaluation.folders import open_data
from tests.data.made_up_layouts import own_copy, write_salicon, write_table

Change = Callable[[Path], object]
SIZES: dict[str, Any] = {"image_size": (36, 48), "map_size": (18, 24), "batch_size": 2}


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("originals")
    write_salicon(folder / "salicon", train=4, val=3)
    _, description = own_copy(folder, images=4)
    sjtu_tis = generate(folder / "sjtu_tis", images=4, size_range=(96, 120))
    return {"salicon": folder / "salicon", "custom": description.parent, "sjtu_tis": sjtu_tis}


def trained(source: Source, cache: Path) -> list[Any] | DataError:
    """The pairs that a data module serves, or what it refuses."""
    data = SaliencyDataModule(source, cache_dir=cache, **SIZES)
    try:
        served = data.cache
    except DataError as error:
        return error
    return [[pair.name, pair.task, pair.text, served.native_size(place), served.points(place).tolist(),
             served.native_density(place).tolist()] for place, pair in enumerate(data.pairs)]  # fmt: skip


def scored(root: Path, reader: Callable[[Path], Source] = source_of) -> list[Any] | DataError:
    """The pairs that are scored, or what is refused."""
    try:
        truth = open_data(reader(root), lambda things, _, __: things).ground_truth
    except DataError as error:
        return error
    return [[pair.name, pair.task, pair.text, truth.native_size(place), truth.points(place).tolist(),
             truth.native_density(place).tolist()] for place, pair in enumerate(truth.pairs)]  # fmt: skip


def problems(error: DataError) -> list[str]:
    """What is wrong, without what to do."""
    lines = str(error).splitlines()
    return [line for line in lines if line.startswith("  ")] or lines


def check(train: list[Any] | DataError, score: list[Any] | DataError, said: str) -> None:
    """Nothing is said of what both accept; what is in a file is said in the words of who reads it (``file: ``)."""
    if not said:
        assert not isinstance(train, DataError), train
        assert train == score
        return
    assert isinstance(train, DataError), "it trains"
    assert isinstance(score, DataError), "it is scored"
    if said.startswith("file: "):
        assert all(said.removeprefix("file: ") in str(refused) for refused in (train, score))
    else:
        assert problems(train) == problems(score)
        assert said in str(train)


def first(folder: Path) -> Path:
    return sorted(folder.iterdir())[0]


def flat(root: Path) -> None:
    for kind in ("images", "maps", "fixations"):
        for path in [*(root / kind).glob("*/*")]:
            path.rename(root / kind / path.name)
        for level in ("train", "val"):
            (root / kind / level).rmdir()


def levels_above(root: Path) -> None:
    for path in [*root.glob("*/*")]:
        (root / path.name).mkdir(exist_ok=True)
        path.rename(root / path.name / path.parent.name)


def without(*folders: str) -> Change:
    return lambda root: [shutil.rmtree(root / folder) for folder in folders]


def level_of_test(root: Path, *kinds: str) -> None:
    for kind in kinds:
        (root / kind / "test").mkdir()
        path = first(root / kind / "val")
        shutil.copy(path, root / kind / "test" / f"COCO_test2014_000000000001{path.suffix}")


def resized(path: Path) -> None:
    with Image.open(path) as picture:
        picture.resize((31, 41)).save(path)


def turned(path: Path) -> None:
    with Image.open(path) as picture:
        exif = picture.getexif()
        exif[0x0112] = 3
        picture.save(path, exif=exif)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def grey(path: Path) -> None:
    with Image.open(path) as picture:
        Image.new("L", picture.size, 7).save(path)


def black(path: Path) -> None:
    with Image.open(path) as picture:
        Image.new("RGB", picture.size).save(path)


def without_fixations(root: Path) -> None:
    path = first(root / "fixations/val")
    path.unlink()
    Image.new("L", (64, 48)).save(path.with_suffix(".png"))


def emptied(*folders: str) -> Change:
    return lambda root: [path.unlink() for folder in folders for path in (root / folder).iterdir()]


def in_both_levels(root: Path) -> None:
    for kind in ("images", "maps", "fixations"):
        path = first(root / kind / "train")
        shutil.copy(path, root / kind / "val" / path.name)


ALL_OF_VAL = ("images/val", "maps/val", "fixations/val")
SALICON: dict[str, tuple[Change, str]] = {
    "as published": (lambda root: None, ""),
    "levels above the kinds": (levels_above, ""),
    "flat": (flat, ""),
    "one level": (without(*ALL_OF_VAL), ""),
    "maps and fixations of a test level": (lambda root: level_of_test(root, "images", "maps", "fixations"), ""),
    "images of the test level": (lambda root: level_of_test(root, "images"), ""),
    "fixation files of the test level, which hold none": (lambda root: level_of_test(root, "fixations"), ""),
    "maps of the test level": (lambda root: level_of_test(root, "maps"), ""),
    "images of a level that has nothing else": (without("maps/val", "fixations/val"), ""),
    "a level whose folders are empty": (emptied(*ALL_OF_VAL), ""),
    "no fixations, in a picture": (without_fixations, "without a fixation"),
    "no maps of a level": (without("maps/val"), "missing folders (1): maps/val/"),
    "no fixations of a level": (without("fixations/train"), "missing folders (1): fixations/train/"),
    "no images of a level": (without("images/val"), "missing folders (1): images/val/"),
    "an empty folder": (emptied("maps/val"), "empty folders (1): maps/val/"),
    "a map that is missing": (lambda root: first(root / "maps/train").unlink(), "without a file in maps/train"),
    "fixations that are missing": (lambda root: first(root / "fixations/val").unlink(), "a file in fixations/val"),
    "an image that is missing": (lambda root: first(root / "images/val").unlink(), "without a file in images/val"),
    "an image in two levels": (in_both_levels, "images that are in train and in val"),
    "other files": (lambda root: (root / "maps/val/notes.txt").touch(), "notes.txt"),
    "no files": (emptied(*ALL_OF_VAL, *(name.replace("val", "train") for name in ALL_OF_VAL)), "is empty"),
    "an image of another size": (lambda root: resized(first(root / "images/val")), "file: COCO_val"),
    "an image that is turned": (lambda root: turned(first(root / "images/val")), "EXIF"),
    "an image that is cut short": (lambda root: cut(first(root / "images/val")), "file: COCO_val"),
    "a map that is cut short": (lambda root: cut(first(root / "maps/val")), "file: COCO_val"),
    "a map without a peak": (lambda root: grey(first(root / "maps/train")), "one value everywhere"),
    "fixations that are cut short": (lambda root: cut(first(root / "fixations/train")), "file: COCO_train"),
}  # fmt: skip


@pytest.mark.parametrize("layout", SALICON)
def test_a_folder_of_salicon_trains_and_is_scored_or_is_refused_by_both(
    layout: str, originals: dict[str, Path], tmp_path: Path
) -> None:
    change, said = SALICON[layout]
    root = Path(shutil.copytree(originals["salicon"], tmp_path / "data"))
    change(root)
    check(trained(Salicon(root), tmp_path / "cache"), scored(root), said)


def test_nothing_is_salicon_for_neither(tmp_path: Path) -> None:
    check(trained(Salicon(tmp_path), tmp_path / "cache"), scored(tmp_path, Salicon), "SALICON is not under")


@pytest.mark.parametrize("change", [lambda root: None, flat])
def test_maps_without_any_image_are_scored_and_training_says_what_is_missing(
    change: Change, originals: dict[str, Path], tmp_path: Path
) -> None:
    root = Path(shutil.copytree(originals["salicon"], tmp_path / "data"))
    change(root)
    whole = scored(root)
    shutil.rmtree(root / "images")
    assert scored(root) == whole
    refused = trained(Salicon(root), tmp_path / "cache")
    assert isinstance(refused, DataError)
    assert "Expected an image for each of the 7 maps" in str(refused)


def described(**keys: Any) -> Change:
    """Changes what the description says."""

    def change(root: Path) -> None:
        path = root / "description.yaml"
        content = yaml.safe_load(path.read_text(encoding="utf-8")) | keys
        path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")

    return change


def line(table: str, text: str) -> Change:
    """Adds a line to a table."""
    return lambda root: (root / table).write_text((root / table).read_text(encoding="utf-8") + text, encoding="utf-8")


def divided(root: Path) -> None:
    names = [path.stem for path in sorted((root / "images").iterdir())]
    write_table(root / "parts.csv", ("image", "part"), [(name, "train") for name in names[:3]] + [(names[3], "test")])
    described(split={"table": "parts.csv"})(root)


def maps_in_files(root: Path) -> None:
    for pair in Custom(root / "description.yaml").read().pairs:
        assert isinstance(pair.fixations, FixationPoints)
        path = root / "maps" / pair.task / f"{pair.image_id}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(root / "images" / f"{pair.image_id}.png") as picture:
            values = np.random.default_rng(len(pair.name)).integers(0, 256, picture.size[::-1], dtype=np.uint8)
        Image.fromarray(values).save(path)
    described(density={"files": "maps"})(root)


def then(*changes: Change) -> Change:
    return lambda root: [change(root) for change in changes]


CUSTOM: dict[str, tuple[Change, str]] = {
    "points in a table": (lambda root: None, ""),
    "a division": (divided, ""),
    "maps in files": (maps_in_files, ""),
    "a map that is missing": (then(maps_in_files, lambda root: first(root / "maps/pure").unlink()), "without a map"),
    "a map of another size": (then(maps_in_files, lambda root: resized(first(root / "maps/pure"))), "file: "),
    "a map that is cut short": (then(maps_in_files, lambda root: cut(first(root / "maps/pure"))), "file: pure/"),
    "an image that is missing": (lambda root: first(root / "images").unlink(), "of no image"),
    "an image nobody looked at": (lambda root: shutil.copy(first(root / "images"), root / "images/new.png"),
                                  "images without fixations (1): new"),
    "an image that is cut short": (lambda root: cut(first(root / "images")), "file: images/"),
    "an image that is turned": (lambda root: turned(first(root / "images")), "EXIF"),
    "a point outside its image": (line("fixations.csv", "{image},pure,1000,1\n"), "fixations outside them"),
    "points that are no numbers": (line("fixations.csv", "{image},pure,a,b\n"), "are not numbers"),
    "a text that nobody read": (line("texts.csv", "{image},other,Look\n"), "conditions in texts.csv"),
    "a text twice": (lambda root: line("texts.csv", (root / "texts.csv").read_text().splitlines()[1] + "\n")(root),
                     "repeat another"),
    "an unknown key": (described(pictures="images"), "unknown keys"),
    "no table": (lambda root: (root / "texts.csv").unlink(), "texts.csv"),
    "a part of an image that is not there": (
        then(divided, line("parts.csv", "stranger,train\n")), "names in parts.csv of no image"),
}  # fmt: skip


@pytest.mark.parametrize("layout", CUSTOM)
def test_described_data_train_and_are_scored_or_are_refused_by_both(
    layout: str, originals: dict[str, Path], tmp_path: Path
) -> None:
    change, said = CUSTOM[layout]
    root = Path(shutil.copytree(originals["custom"], tmp_path / "data"))
    change(root)
    for table in root.glob("*.csv"):
        named = table.read_text(encoding="utf-8").replace("{image}", first(root / "images").stem)
        table.write_text(named, encoding="utf-8")
    description = root / "description.yaml"
    check(trained(Custom(description), tmp_path / "cache"), scored(description), said)


def of_kind(kind: str, then: Callable[[Path], object]) -> Change:
    return lambda root: then(first(root / f"{kind}_1800"))


SJTU_TIS: dict[str, tuple[Change, str]] = {
    "as published": (lambda root: None, ""),
    "shorter names of folders": (lambda root: [(root / f"{kind}_1800").rename(root / kind)
                                               for kind in ("image", "map", "fixation")], ""),
    "an image that is missing": (of_kind("image", Path.unlink), "missing image files"),
    "a map that is missing": (of_kind("map", Path.unlink), "missing map files"),
    "fixations that are missing": (of_kind("fixation", Path.unlink), "missing fixation files"),
    "no workbook": (lambda root: next(root.glob("*.xlsx")).unlink(), "the workbook of texts"),
    "two workbooks": (lambda root: shutil.copy(next(root.glob("*.xlsx")), root / "more.xlsx"), "several workbooks"),
    "no images": (without("image_1800"), "missing image_1800/"),
    "another name": (lambda root: (root / "map_1800/7_9.png").touch(), "map_1800/7_9.png"),
    "an image of another size": (of_kind("image", resized), "file: "),
    "an image that is cut short": (of_kind("image", cut), "file: image_1800/"),
    "a map of another size": (of_kind("map", resized), "file: "),
    "a map that is cut short": (of_kind("map", cut), "file: map_1800/"),
    "a map without a peak": (of_kind("map", grey), "one value everywhere"),
    "no fixations": (of_kind("fixation", black), "without a fixation"),
    "fixations of another size": (of_kind("fixation", resized), "file: "),
}  # fmt: skip


@pytest.mark.parametrize("layout", SJTU_TIS)
def test_a_folder_of_sjtu_tis_trains_and_is_scored_or_is_refused_by_both(
    layout: str, originals: dict[str, Path], tmp_path: Path
) -> None:
    change, said = SJTU_TIS[layout]
    root = Path(shutil.copytree(originals["sjtu_tis"], tmp_path / "data"))
    change(root)
    check(trained(SjtuTis(root), tmp_path / "cache"), scored(root), said)


def test_generated_data_train_and_are_scored_whoever_reads_them(tmp_path: Path) -> None:
    source = Synthetic(tmp_path / "data", images=4)
    served = trained(source, tmp_path / "cache")
    check(served, scored(tmp_path / "data"), "")
    check(trained(SjtuTis(tmp_path / "data"), tmp_path / "cache"), served, "")
    size = (120, 160)
    blurs = [SaliencyDataModule(one, cache_dir=tmp_path / "cache", **SIZES).sigma(size)
             for one in (source, SjtuTis(tmp_path / "data"))]  # fmt: skip
    assert blurs[0] == blurs[1] == open_data(source_of(tmp_path / "data"), lambda t, _, __: t).ground_truth._sigma(size)
