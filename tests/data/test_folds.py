"""The file of the fixed folds."""

import hashlib
import json
from pathlib import Path

import pytest

from saltext.data import splits
from saltext.data.datamodule import SaliencyDataModule
from saltext.data.folds import FOLDS, SEED, Folds, digest_of
from saltext.data.report import DataReport
from saltext.data.sources.synthetic import Synthetic
from saltext.errors import DataError
from saltext.runs.composition import compose_run


@pytest.fixture
def folds(data: SaliencyDataModule) -> Folds:
    return Folds.of(data.index)


def test_the_folds_are_those_that_the_kept_study_tested(data: SaliencyDataModule, folds: Folds) -> None:
    cfg = compose_run(["+experiment=embedded"]).data
    assert (cfg.folds, cfg.split_seed) == (FOLDS, SEED)
    for fold in range(FOLDS):
        settings = splits.SplitSettings(cfg.split_seed, cfg.val_fraction, cfg.folds, fold)
        assert folds.images[fold] == splits.KFold()(data.index, settings).parts["test"]


def test_every_image_is_in_one_fold_and_nothing_but_names_is_in_the_file(
    data: SaliencyDataModule, folds: Folds, tmp_path: Path
) -> None:
    folds.write(tmp_path / "folds.json")
    content = json.loads((tmp_path / "folds.json").read_text())
    assert set(content) == {"method", "seed", "digest", "folds"}
    assert all(set(fold) == {"digest", "images"} for fold in content["folds"])
    names = [name for fold in content["folds"] for name in fold["images"]]
    assert sorted(names) == sorted({pair.image_id for pair in data.pairs})


def test_a_file_is_read_as_it_was_written(folds: Folds, tmp_path: Path) -> None:
    folds.write(tmp_path / "folds.json")
    issues = DataReport()
    read = Folds.read(tmp_path / "folds.json", issues)
    assert read == folds
    assert read.digest == folds.digest
    assert not issues.names


def test_digests_are_those_of_lines_of_names() -> None:
    assert digest_of(["2", "1"]) == hashlib.sha256(b"1\n2\n").hexdigest()
    of_folds = sorted(digest_of([name]) for name in ("1", "2"))
    assert Folds((("1",), ("2",))).digest == hashlib.sha256("".join(f"{d}\n" for d in of_folds).encode()).hexdigest()


def test_an_edited_file_is_reported_with_all_that_is_wrong(folds: Folds, tmp_path: Path) -> None:
    path = tmp_path / "folds.json"
    folds.write(path)
    content = json.loads(path.read_text())
    moved = content["folds"][0]["images"][0]
    content["folds"][1]["images"].append(moved)
    path.write_text(json.dumps(content))
    issues = DataReport()
    Folds.read(path, issues)
    assert issues.names["images in two folds, or twice in one"] == [moved]
    assert issues.names["folds whose images do not fit their digest"] == [f"fold 1 of {path}"]


def test_folds_of_other_images_than_a_data_set_has_are_reported(folds: Folds, tmp_path: Path) -> None:
    issues, other = DataReport(), Synthetic(tmp_path, images=12).read()
    folds.check_against(other, issues)
    lacking = set(folds.fold_of) - {pair.image_id for pair in other.pairs}
    assert set(issues.names["images of the folds that the data set lacks"]) == lacking
    assert lacking


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"method": "", "seed": 0, "digest": "", "folds": [{"images": 1}]}']
)
def test_what_is_no_file_of_folds_is_refused_by_name(tmp_path: Path, content: str) -> None:
    (tmp_path / "folds.json").write_text(content)
    with pytest.raises(DataError, match=r"folds\.json is no file of folds"):
        Folds.read(tmp_path / "folds.json", DataReport())
