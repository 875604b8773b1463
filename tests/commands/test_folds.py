"""``saltext folds export``, and ``saltext score --folds`` with what it writes."""

import json
from pathlib import Path

import numpy as np
import pytest

from saltext.data.datamodule import SaliencyDataModule
from saltext.results.score_table import read_scores
from tests.command_line import here, refused


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scoring caches in ``outputs/`` of the working folder."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def exported(data: SaliencyDataModule, tmp_path: Path) -> Path:
    file = tmp_path / "folds.json"
    here("folds", "export", file, data.root)
    return file


@pytest.fixture
def maps(data: SaliencyDataModule, tmp_path: Path) -> Path:
    """A map of random numbers for each pair."""
    (tmp_path / "maps").mkdir()
    for index, pair in enumerate(data.pairs):
        values = np.random.default_rng(index).random(data.cache.native_size(index), np.float32)
        np.save(tmp_path / "maps" / f"{pair.name}.npy", values)
    return tmp_path / "maps"


def _score(maps: Path, data: SaliencyDataModule, folds: Path, *more: object) -> None:
    here("score", maps, data.root, "--folds", folds, "--metric", "cc", "--beside", "uniform", *more)


def test_what_is_written_is_named_with_its_sizes(
    data: SaliencyDataModule, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here("folds", "export", data.root)
    assert "Wrote 5 folds of 4, 4, 4, 4, 4 images to folds.json" in capsys.readouterr().out


def test_scores_carry_the_fold_of_their_image(
    data: SaliencyDataModule, exported: Path, maps: Path, tmp_path: Path
) -> None:
    _score(maps, data, exported, "--out", tmp_path / "out")
    scores = read_scores(tmp_path / "out" / "scores.csv")
    folds = json.loads(exported.read_text())["folds"]
    expected = {image: number for number, fold in enumerate(folds) for image in fold["images"]}
    assert dict(zip(scores["image_id"], scores["fold"], strict=True)) == expected


def test_whole_folds_may_be_missing_but_no_pair_of_one_that_is_begun(
    data: SaliencyDataModule,
    exported: Path,
    maps: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    of_fold = json.loads(exported.read_text())["folds"][3]["images"]
    for pair in data.pairs:
        if pair.image_id not in of_fold:
            (maps / f"{pair.name}.npy").unlink()
    _score(maps, data, exported, "--allow-missing", "--out", tmp_path / "out")
    scores = read_scores(tmp_path / "out" / "scores.csv")
    assert set(scores["fold"]) == {3}
    assert set(scores["image_id"]) == set(of_fold)
    gone = next(maps.iterdir())
    gone.unlink()
    words = ("score", maps, data.root, "--folds", exported, "--metric", "cc", "--allow-missing")
    assert f"missing predictions (1): {gone.stem}.png" in refused(capsys, *words)


def test_all_that_is_wrong_with_maps_and_file_is_said_at_once(
    data: SaliencyDataModule,
    exported: Path,
    maps: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    names = [f"{pair.name}.npy" for pair in data.pairs]
    (maps / names[0]).unlink()
    np.save(maps / names[1], np.ones(data.cache.native_size(1)))
    np.save(maps / names[2], np.full(data.cache.native_size(2), np.nan))
    np.save(maps / names[3], np.random.default_rng(0).random((7, 5)))
    content = json.loads(exported.read_text())
    content["folds"][2]["images"].append("no such image")
    exported.write_text(json.dumps(content))
    said = refused(capsys, "score", maps, data.root, "--folds", exported, "--metric", "cc")
    for expected in (
        f"missing predictions (1): {data.pairs[0].name}.png",
        f"maps with one value everywhere (1): maps/{names[1]} (1)",
        f"maps with NaN or infinite values (1): maps/{names[2]}",
        f"files of another size than the ground truth (1): maps/{names[3]}",
        "folds whose images do not fit their digest (1): fold 2",
        "images of the folds that the data set lacks (1): no such image",
    ):
        assert expected in said


def test_a_file_without_a_data_set_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert "expected [FILE] DATA, got folds.json" in refused(capsys, "folds", "export", "folds.json")


def test_maps_with_other_texts_are_kept_beside_the_scores_for_the_leaderboard(
    data: SaliencyDataModule, exported: Path, maps: Path, tmp_path: Path
) -> None:
    tasks = ("--task", "salient", "--task", "non_salient")
    out = ("--name", "mine", "--out", tmp_path / "out")
    _score(maps, data, exported, *tasks, *out)
    for variant in ("empty", "opposite", "opposite"):  # again: in place of the first
        _score(maps, data, exported, *tasks, *out, "--variant", variant)
    kept = read_scores(tmp_path / "out" / "text_ablation.csv")
    own = read_scores(tmp_path / "out" / "scores.csv").query("model == 'mine'")
    assert kept["variant"].value_counts().to_dict() == {"empty": len(own), "opposite": len(own)}
    assert set(kept["model"]) == {"mine"}
    here("leaderboard", tmp_path / "out" / "scores.csv", "--out", tmp_path / "board")
    table = (tmp_path / "board" / "leaderboard.md").read_text()
    assert "+0.000 (+0.000 to +0.000) | 0 % (" in table, "the same maps: nothing changes with the text"


def test_other_texts_need_a_name_and_a_folder(
    data: SaliencyDataModule, maps: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "expected --out DIR" in refused(capsys, "score", maps, data.root, "--variant", "empty")
    words = ("score", maps, data.root, "--out", tmp_path / "out", "--variant", "oposite")
    assert "did you mean 'opposite'?" in refused(capsys, *words)
