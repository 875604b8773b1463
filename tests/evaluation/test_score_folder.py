"""The command, on folders."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from saltext.baselines import BASELINES
from saltext.data.datamodule import SaliencyDataModule
from saltext.data.density import density_from_points
from saltext.data.sources.detect import source_of
from saltext.data.sources.sjtu_tis import SjtuTis
from saltext.errors import ConfigError, DataError
from saltext.evaluation import score_folder as module
from saltext.evaluation.folders import open_data
from saltext.evaluation.score_folder import DEFAULT_METRICS, score_folder
from saltext.metrics import Fixations, auc_judd, cc, kl, nss
from saltext.results.score_table import read_scores
from tests.command_line import command, here, refused
from tests.data.made_up_layouts import own_copy
from tests.data.test_files import write_mat

SIZE = (60, 80)
NAMES = [f"COCO_val2014_{number:012d}" for number in (9, 42, 74, 133)]


def _predict(data: SaliencyDataModule, folder: Path, tasks: tuple[str, ...]) -> dict[str, np.ndarray]:
    """A float map for each pair, written as NPY; by pair name."""
    folder.mkdir()
    maps = {}
    for place, pair in enumerate(data.pairs):
        if pair.task in tasks:
            maps[pair.name] = np.random.default_rng(place).random(data.cache.native_size(place)).astype(np.float32)
            np.save(folder / f"{pair.name}.npy", maps[pair.name])
    return maps


def _salicon(root: Path, fixations: str = "mat", level: str = "") -> dict[str, list[tuple[int, int]]]:
    """A data set in SALICON's layout whose maps are blurred by 5 pixels; points (y, x) by name."""
    (root / "maps" / level).mkdir(parents=True)
    (root / "fixations" / level).mkdir(parents=True)
    points = {}
    for seed, name in enumerate(NAMES):
        rng = np.random.default_rng(seed)
        places = np.stack([rng.integers(0, side, 25) for side in SIZE], axis=1)
        points[name] = [(int(y), int(x)) for y, x in places]
        density = density_from_points([torch.from_numpy(places)], SIZE, 5.0)[0, 0]
        picture = Image.fromarray((255 * density).round().byte().numpy())
        picture.save(root / "maps" / level / f"{name}.png")
        target = root / "fixations" / level / f"{name}.{fixations}"
        if fixations == "mat":
            write_mat(target, [[(x + 1, y + 1) for y, x in points[name][k::3]] for k in range(3)], SIZE)
        else:
            target.write_text("x,y\n" + "".join(f"{x},{y}\n" for y, x in points[name]))
    return points


def _maps(folder: Path, size: tuple[int, int] = SIZE) -> Path:
    folder.mkdir()
    for seed, name in enumerate(NAMES):
        values = np.random.default_rng(100 + seed).integers(0, 65536, size).astype(np.uint16)
        Image.fromarray(values).save(folder / f"{name}.png")
    return folder


def test_scores_on_the_published_layout_equal_the_metric_functions(data: SaliencyDataModule, tmp_path: Path) -> None:
    maps = _predict(data, tmp_path / "mine", ("pure", "whole", "general", "salient", "non_salient"))
    scores = score_folder(tmp_path / "mine", source_of(data.root))
    own = scores[scores["model"] == "mine"]
    assert len(own) == len(data.pairs)
    for place in (0, 13, 41):
        pair, size = data.pairs[place], data.cache.native_size(place)
        row = own[(own["image_id"] == pair.image_id) & (own["task"] == pair.task)].iloc[0]
        pred = torch.from_numpy(maps[pair.name])[None, None]
        density = torch.from_numpy(data.cache.native_density(place).copy())[None, None]
        fixations = Fixations.from_points([torch.from_numpy(data.cache.points(place).astype(np.int64))], size)
        assert row["text"] == pair.text
        assert row["cc"] == pytest.approx(float(cc(pred, density)), abs=1e-9)
        assert row["kl"] == pytest.approx(float(kl(pred, density)), abs=1e-6)
        assert row["nss"] == pytest.approx(float(nss(pred, fixations)), abs=1e-9)
        assert row["auc_judd"] == pytest.approx(float(auc_judd(pred, fixations)), abs=1e-9)


def test_every_baseline_stands_beside_the_predictions_on_the_same_pairs(
    data: SaliencyDataModule, tmp_path: Path
) -> None:
    _predict(data, tmp_path / "mine", ("salient",))
    scores = score_folder(tmp_path / "mine", source_of(data.root), tasks=["salient"], name="my model")
    shown = [baseline.title for name, baseline in BASELINES.items() if name != "centre_prior"]  # nothing to train on
    assert list(scores["model"].unique()) == ["my model", *shown]
    assert set(scores["task"]) == {"salient"}
    own = list(scores["image_id"][scores["model"] == "my model"])
    assert all(list(of_model["image_id"]) == own for _, of_model in scores.groupby("model"))
    assert list(scores.columns[:7]) == ["image_id", "task", "text", "split", "model", "seed", "protocol"]
    assert list(scores.columns[7:]) == list(DEFAULT_METRICS)
    assert scores.notna().all(axis=None)


def test_baselines_alone_need_no_predictions(data: SaliencyDataModule) -> None:
    baselines = ["uniform", "centre_prior_others"]
    scores = score_folder(None, source_of(data.root), baselines=baselines, metrics=["cc", "ig"])
    means = scores.groupby("model")[["cc", "ig"]].mean()
    assert means.loc["uniform map", "cc"] == 0
    assert means.loc["centre prior (other images)", "ig"] == pytest.approx(0, abs=1e-12)


def test_fixations_of_generated_data_are_blurred_as_its_maps_were(data: SaliencyDataModule) -> None:
    truth = open_data(source_of(data.root), module.progress).ground_truth
    for place in (0, 20):
        points = torch.from_numpy(truth.points(place).astype(np.int64))
        (blurred,) = truth.blurred([points], truth.native_size(place))
        (published,) = truth.density([place])
        assert float((blurred - published).abs().max()) < 0.02


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """A data set as published, the same one described as somebody's own, and a folder of predictions of both."""
    folder = tmp_path_factory.mktemp("described")
    published, description = own_copy(folder, images=6)
    for number, pair in enumerate(SjtuTis(published).read().pairs):
        with Image.open(pair.image) as picture:
            values = np.random.default_rng(number).random((picture.height, picture.width))
        for path in (folder / "maps" / pair.name, folder / "own maps" / pair.task / pair.image_id):
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path.with_suffix(".npy"), values)
    return published, description, folder


def test_data_of_ones_own_are_scored_as_the_same_ones_published(described: tuple[Path, Path, Path]) -> None:
    published, description, folder = described
    settings = {"metrics": ["nss", "auc_judd", "auc_shuffled", "cc"], "baselines": ["human_pure"], "name": "mine"}
    one = score_folder(folder / "maps", source_of(published), **settings)
    own = score_folder(folder / "own maps", source_of(description), **settings)
    both = one.merge(own, on=["image_id", "task", "text", "model"], suffixes=("", "_own"))
    assert len(both) == len(one) == len(own) > 20
    mine = both[both["model"] == "mine"]
    for metric in ("nss", "auc_judd", "auc_shuffled"):
        np.testing.assert_allclose(mine[metric], mine[f"{metric}_own"], atol=1e-9)
    np.testing.assert_allclose(both["cc"], both["cc_own"], atol=5e-3)  # the generator's maps are rounded otherwise


def test_a_missing_prediction_of_data_of_ones_own_is_named_as_a_file(
    described: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    _, description, folder = described
    shutil.copytree(folder / "own maps", tmp_path / "maps")
    gone = next((tmp_path / "maps" / "salient").iterdir())
    gone.unlink()
    with pytest.raises(DataError, match=f"missing predictions.*salient/{gone.stem}.png"):
        score_folder(tmp_path / "maps", source_of(description))


def test_images_in_folders_have_predictions_in_folders(described: tuple[Path, Path, Path], tmp_path: Path) -> None:
    _, description, folder = described
    shutil.copytree(description.parent, tmp_path / "own")
    inner = tmp_path / "own" / "images" / "inner"
    inner.mkdir()
    image = next(path for path in sorted((tmp_path / "own" / "images").iterdir()) if path.is_file())
    image.rename(inner / image.name)
    for table in ("texts.csv", "fixations.csv"):
        path = tmp_path / "own" / table
        path.write_text(path.read_text().replace(f"\n{image.stem}", f"\ninner/{image.stem}"))
    shutil.copytree(folder / "own maps", tmp_path / "maps")
    for path in [*(tmp_path / "maps").glob(f"*/{image.stem}.npy")]:
        (path.parent / "inner").mkdir()
        path.rename(path.parent / "inner" / path.name)
    scores = score_folder(
        tmp_path / "maps", source_of(tmp_path / "own" / description.name), metrics=["nss"], baselines=[]
    )
    assert f"inner/{image.stem}" in set(scores["image_id"])


def test_a_condition_that_a_description_does_not_have_is_named(described: tuple[Path, Path, Path]) -> None:
    with pytest.raises(ConfigError, match="no pairs of silent; it has pure, whole, general, salient, non_salient"):
        score_folder(None, source_of(described[1]), tasks=["silent"])


@pytest.mark.parametrize("fixations", ["mat", "csv"])
def test_a_salicon_folder_is_scored_against_its_points(tmp_path: Path, fixations: str) -> None:
    points = _salicon(tmp_path / "data", fixations)
    folder = _maps(tmp_path / "mine")
    scores = score_folder(folder, source_of(tmp_path / "data"), metrics=["cc", "nss"])
    own = scores[scores["model"] == "mine"].set_index("image_id")
    assert list(own.index) == NAMES
    for name in NAMES:
        pred = torch.from_numpy(np.asarray(Image.open(folder / f"{name}.png")).astype(np.float32))[None, None]
        expected = nss(pred, Fixations.from_points([torch.tensor(points[name])], SIZE))
        assert own.loc[name, "nss"] == pytest.approx(float(expected), abs=1e-9)


def test_split_half_uses_the_blur_the_folders_maps_have(tmp_path: Path) -> None:
    _salicon(tmp_path / "data")
    data = open_data(source_of(tmp_path / "data"), module.progress)
    assert data.ground_truth._sigma(SIZE) == pytest.approx(5.0, rel=0.03)


def test_levels_are_the_split_and_the_training_level_makes_a_centre_prior(tmp_path: Path) -> None:
    _salicon(tmp_path / "data", level="train")
    for kind in ("maps", "fixations"):
        (tmp_path / "data" / kind / "val").mkdir()
        for path in sorted((tmp_path / "data" / kind / "train").iterdir())[2:]:
            path.rename(path.parent.parent / "val" / path.name)
    scores = score_folder(None, source_of(tmp_path / "data"), baselines=["centre_prior"], metrics=["cc"])
    assert list(scores["split"]) == ["train", "train", "val", "val"]
    assert set(scores["model"]) == {"centre prior"}


def test_predictions_may_lie_in_folders_of_their_task(data: SaliencyDataModule, tmp_path: Path) -> None:
    _predict(data, tmp_path / "flat", ("salient", "pure"))
    for task, suffix in (("salient", "_3"), ("pure", "_0")):
        (tmp_path / "sorted" / task).mkdir(parents=True)
        for path in (tmp_path / "flat").glob(f"*{suffix}.npy"):
            shutil.copy(path, tmp_path / "sorted" / task)
    settings = {"tasks": ["salient", "pure"], "baselines": [], "name": "same", "metrics": ["cc"]}
    flat, ordered = (score_folder(tmp_path / name, source_of(data.root), **settings) for name in ("flat", "sorted"))
    pd.testing.assert_frame_equal(flat, ordered)


def test_everything_wrong_with_predictions_is_said_at_once(tmp_path: Path) -> None:
    _salicon(tmp_path / "data")
    folder = _maps(tmp_path / "mine")
    (folder / f"{NAMES[0]}.png").unlink()
    Image.new("L", (7, 5)).save(folder / f"{NAMES[1]}.png")
    (folder / f"{NAMES[2]}.png").unlink()
    np.save(folder / f"{NAMES[2]}.npy", np.full(SIZE, np.nan))
    (folder / f"{NAMES[3]}.png").write_bytes(b"broken")
    np.save(folder / "stranger.npy", np.ones(SIZE))
    (folder / "notes.txt").write_text("")
    (folder / "old").mkdir()
    with pytest.raises(DataError) as raised:
        score_folder(folder, source_of(tmp_path / "data"))
    message = str(raised.value)
    for expected in (
        f"missing predictions (1): {NAMES[0]}.png",
        f"than the ground truth (1): mine/{NAMES[1]}.png (7 wide, 5 high; expected 80 wide, 60 high)",
        f"maps with NaN or infinite values (1): mine/{NAMES[2]}.npy",
        f"files that are not images (1): mine/{NAMES[3]}.png",
        "files that match no pair of the data set (1): stranger.npy",
        "files (1): notes.txt",
        "folders that are not a task or level of the data set (1): old/",
        "--resize",
    ):
        assert expected in message


def test_negative_values_are_refused(tmp_path: Path) -> None:
    _salicon(tmp_path / "data")
    folder = _maps(tmp_path / "mine")
    (folder / f"{NAMES[0]}.png").unlink()
    np.save(folder / f"{NAMES[0]}.npy", np.full(SIZE, -2.0))
    with pytest.raises(DataError, match=r"maps with negative values \(1\): .*down to -2"):
        score_folder(folder, source_of(tmp_path / "data"))


def test_two_predictions_of_one_pair_are_refused(tmp_path: Path) -> None:
    _salicon(tmp_path / "data")
    folder = _maps(tmp_path / "mine")
    np.save(folder / f"{NAMES[0]}.npy", np.ones(SIZE))
    with pytest.raises(DataError, match=r"pairs with two predictions \(1\)"):
        score_folder(folder, source_of(tmp_path / "data"))


def test_missing_predictions_can_be_left_out_but_not_all(tmp_path: Path) -> None:
    _salicon(tmp_path / "data")
    folder = _maps(tmp_path / "mine")
    (folder / f"{NAMES[0]}.png").unlink()
    scores = score_folder(folder, source_of(tmp_path / "data"), allow_missing=True, metrics=["cc"])
    assert set(scores["image_id"]) == set(NAMES[1:])
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"missing predictions \(4\)"):
        score_folder(tmp_path / "empty", source_of(tmp_path / "data"), allow_missing=True)


def test_another_size_is_accepted_when_asked_for(tmp_path: Path) -> None:
    _salicon(tmp_path / "data")
    folder = _maps(tmp_path / "mine", size=(30, 40))
    with pytest.raises(
        DataError, match=r"files of another size .*\(4\): .*40 wide, 30 high; expected 80 wide, 60 high"
    ):
        score_folder(folder, source_of(tmp_path / "data"))
    scores = score_folder(folder, source_of(tmp_path / "data"), resize=True, metrics=["cc"], baselines=[])
    with (
        Image.open(folder / f"{NAMES[0]}.png") as small,
        Image.open(tmp_path / "data/maps" / f"{NAMES[0]}.png") as truth,
    ):
        pred = torch.from_numpy(np.asarray(small).astype(np.float32))[None, None]
        density = torch.from_numpy(np.asarray(truth).copy())[None, None]
    pred = torch.nn.functional.interpolate(pred, SIZE, mode="bilinear", align_corners=False)
    assert scores["cc"][0] == pytest.approx(float(cc(pred, density)), abs=1e-6)


def test_everything_wrong_with_a_data_set_is_said_at_once(tmp_path: Path) -> None:
    _salicon(tmp_path / "data", "csv")
    (tmp_path / "data/fixations" / f"{NAMES[0]}.csv").write_text("x,y\n80,3\n")
    (tmp_path / "data/fixations" / f"{NAMES[1]}.csv").write_text("x,y\n")
    Image.new("L", SIZE[::-1], 9).save(tmp_path / "data/maps" / f"{NAMES[2]}.png")
    with pytest.raises(DataError) as raised:
        score_folder(None, source_of(tmp_path / "data"))
    message = str(raised.value)
    assert f"fixations outside the image (1): fixations/{NAMES[0]}.csv (1 of 1, first x=80, y=3 in 80x60" in message
    assert f"fixation lists without a fixation (1): fixations/{NAMES[1]}.csv" in message
    assert f"maps with one value everywhere (1): maps/{NAMES[2]}.png" in message


def test_maps_and_fixations_must_belong_together(tmp_path: Path) -> None:
    _salicon(tmp_path / "data")
    (tmp_path / "data/maps" / f"{NAMES[0]}.png").unlink()
    (tmp_path / "data/fixations" / f"{NAMES[1]}.mat").unlink()
    with pytest.raises(
        DataError,
        match=rf"without a file in fixations \(1\): {NAMES[1]}\n  images without a file in maps \(1\): {NAMES[0]}",
    ):
        score_folder(None, source_of(tmp_path / "data"))


def test_a_data_set_that_is_not_there_or_empty_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        score_folder(None, source_of(tmp_path / "nowhere"))
    with pytest.raises(DataError, match=r"none of these\s+folders is there"):
        score_folder(None, source_of(tmp_path))
    (tmp_path / "maps").mkdir()
    with pytest.raises(DataError, match=r"missing folders \(1\): fixations/"):
        score_folder(None, source_of(tmp_path))
    (tmp_path / "fixations").mkdir()
    with pytest.raises(DataError, match="is empty"):
        score_folder(None, source_of(tmp_path))


def test_unknown_names_are_refused_together_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as raised:
        score_folder(None, SjtuTis(tmp_path), metrics=["nsss"], tasks=["silent"], baselines=["human"])
    assert all(word in str(raised.value) for word in ("did you mean 'nss'", "unknown task 'silent'", "'human'"))


@pytest.mark.parametrize("label", [*BASELINES, *(baseline.title for baseline in BASELINES.values())])
@pytest.mark.parametrize("is_given", [True, False])
def test_predictions_named_as_a_baseline_are_refused_and_do_not_replace_it(
    tmp_path: Path, label: str, is_given: bool
) -> None:
    folder = tmp_path / ("maps" if is_given else label)
    expected = f"neither the name nor the title of a baseline, got {label!r}; give the predictions another label"
    with pytest.raises(ConfigError, match=re.escape(expected)):
        score_folder(folder, SjtuTis(tmp_path), baselines=["uniform"], name=label if is_given else None)


def test_a_task_the_data_set_does_not_have_is_refused(tmp_path: Path) -> None:
    _salicon(tmp_path / "data")
    with pytest.raises(ConfigError, match="unknown task 'salient'; choose from pure"):
        score_folder(None, source_of(tmp_path / "data"), tasks=["salient"])


def _run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return command("score", *map(str, arguments), module="saltext")


def test_the_command_prints_the_table_and_writes_its_cache_alone_without_out(tmp_path: Path) -> None:
    _salicon(tmp_path / "data")
    _maps(tmp_path / "mine")
    (tmp_path / "here").mkdir()
    words = (tmp_path / "mine", tmp_path / "data", "--name", "my model", "--metric", "cc", "--metric", "nss")
    done = command("score", *map(str, words), module="saltext", cwd=tmp_path / "here")
    assert done.returncode == 0, done.stderr
    assert "my model" in done.stdout
    assert "split-half fixations" in done.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "here", "mine"]
    assert [path.relative_to(tmp_path / "here").as_posix() for path in (tmp_path / "here").glob("*/*")] == [
        "outputs/cache"
    ]
    done = _run(tmp_path / "mine", tmp_path / "data", "--metric", "cc", "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "| pure | mine | 4 |" in (tmp_path / "out/table.md").read_text()
    assert len(read_scores(tmp_path / "out/scores.csv")) == 4 * 4  # the model, uniform, centre prior, split-half


def test_the_command_says_what_is_wrong_without_a_traceback(tmp_path: Path) -> None:
    _salicon(tmp_path / "data")
    done = _run(tmp_path / "nowhere", tmp_path / "data")
    assert done.returncode == 2
    assert "error: Expected predictions in" in done.stderr
    assert "Traceback" not in done.stderr


def test_predictions_and_baselines_alone_exclude_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["DATA"], ["--baselines", "PRED", "DATA"]):
        assert "expected MAPS DATA, or --baselines DATA" in refused(capsys, "score", *arguments)


def test_the_help_shows_examples(capsys: pytest.CaptureFixture[str]) -> None:
    here("score", "--help")
    assert "saltext score --baselines data/sjtu-tis" in capsys.readouterr().out


def test_scoring_loads_neither_lightning_nor_hydra() -> None:
    code = (
        "import json, sys, saltext.evaluation.score_folder\n"
        "print(json.dumps(sorted({'lightning', 'hydra'} & set(sys.modules))))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []
