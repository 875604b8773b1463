import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from saltext.errors import ConfigError
from saltext.results.comparison import (
    Estimate,
    bootstrap_means,
    compare,
    differences,
    estimate,
    model_scores,
    spread_over_runs,
)
from tests.made_up_scores import run, spread


def table(cc: np.ndarray, ids: list[str], task: str = "salient") -> pd.DataFrame:
    return pd.DataFrame({"image_id": ids, "task": task, "cc": cc})


def test_the_interval_has_the_width_theory_gives() -> None:
    values = np.random.default_rng(0).normal(0.3, 1.0, 400)
    means = bootstrap_means(values, np.arange(400).astype(object))
    assert means.mean() == pytest.approx(values.mean(), abs=0.01)
    assert means.std() == pytest.approx(values.std() / 20, rel=0.05)  # sigma / sqrt(400)


def test_every_mean_is_of_the_same_draws_however_often_they_are_asked_for() -> None:
    values, images = np.array([0.0, 1.0, 5.0]), np.array(["a", "a", "b"], dtype=object)
    first, again = bootstrap_means(values, images, draws=50), bootstrap_means(values, images, draws=50)
    assert first.tolist() == again.tolist()
    assert set(first.round(6)) <= {0.5, 2.0, 5.0}  # both images a, one of each, both b
    assert first.tolist() != bootstrap_means(values, images, draws=50, seed=1).tolist()


def test_copies_of_an_image_do_not_narrow_the_interval() -> None:
    values = np.random.default_rng(1).normal(size=100)
    alone = bootstrap_means(values, np.arange(100).astype(object)).std()
    copied = bootstrap_means(np.repeat(values, 3), np.repeat(np.arange(100), 3).astype(object)).std()
    assert copied == pytest.approx(alone, rel=0.05)


def test_the_difference_is_paired() -> None:
    ids = [f"{i:03}" for i in range(50)]
    hard = np.random.default_rng(2).normal(size=50)  # how hard each image is, the same for both models
    (found,) = differences(table(hard + 0.1, ids), table(hard, ids).sample(frac=1, random_state=0))
    assert found.mean == pytest.approx(0.1)
    assert (found.low, found.high) == (pytest.approx(0.1), pytest.approx(0.1))
    assert found.excludes_zero


def test_a_model_does_not_differ_from_itself() -> None:
    ids = ["1", "2", "3"]
    (found,) = differences(table(np.array([0.1, 0.2, 0.3]), ids), table(np.array([0.1, 0.2, 0.3]), ids))
    assert found.mean == 0
    assert not found.excludes_zero


def test_runs_on_different_images_are_not_compared() -> None:
    with pytest.raises(ConfigError, match="0 are in both"):
        differences(table(np.array([0.1]), ["1"]), table(np.array([0.1]), ["2"]))


def test_seeds_of_one_model_are_one_side_of_a_comparison(tmp_path: Path) -> None:
    run(tmp_path / "a", {"salient": [0.8, 0.6]}, seed=1, baseline={"salient": [0.1, 0.1]})
    run(tmp_path / "b", {"salient": [0.6, 0.6]}, seed=2)
    (found,) = model_scores([tmp_path]).values()
    assert found["cc"].tolist() == pytest.approx([1.7, 1.6])  # standard scores are 1 higher


def test_runs_of_several_models_are_no_side_of_a_comparison(tmp_path: Path) -> None:
    run(tmp_path / "a", {"salient": [0.8, 0.6]}, label="with")
    run(tmp_path / "b", {"salient": [0.6, 0.6]}, label="without")
    with pytest.raises(ConfigError, match=r"runs of 2 models \(with, without\)"):
        model_scores([tmp_path])
    with pytest.raises(ConfigError, match="no finished run"):
        model_scores([tmp_path / "nowhere"])


def test_an_undefined_score_is_left_out_of_a_difference_and_of_nothing_else() -> None:
    ids = ["1", "2", "3"]
    one = table(np.array([0.5, np.nan, 0.7]), ids).assign(nss=[1.0, 2.0, np.nan])
    other = table(np.array([0.4, 0.1, 0.4]), ids).assign(nss=[0.5, np.nan, 1.0])
    cc, nss = differences(one, other)
    assert (cc.mean, cc.images) == (pytest.approx(0.2), 2)
    assert (nss.mean, nss.images) == (pytest.approx(0.5), 1)


def test_where_no_pair_has_both_scores_the_difference_is_unknown() -> None:
    (found,) = differences(table(np.array([np.nan, 0.5]), ["1", "2"]), table(np.array([0.1, np.nan]), ["1", "2"]))
    assert math.isnan(found.mean)
    assert (found.images, found.excludes_zero, found.signed()) == (0, False, "–")


def test_conditions_stand_in_their_usual_order() -> None:
    both = pd.concat([table(np.array([0.3]), ["1"]), table(np.array([0.5]), ["1"], "pure")])
    found = differences(both, both.assign(cc=0.1))
    assert [one.task for one in found] == ["pure", "salient"]


def test_an_estimate_is_a_mean_with_its_interval_and_counts_images() -> None:
    scores = table(np.array([0.2, 0.4, np.nan, 0.6]), ["1", "1", "2", "3"])
    found = estimate(scores, "cc")
    assert (found.mean, found.images) == (pytest.approx(0.4), 2)
    assert found.low == pytest.approx(0.3)  # both draws image 1
    assert found.high == pytest.approx(0.6)


def test_intervals_of_few_images_are_not_shown_and_leave_nothing_out() -> None:
    found = [Estimate(0.4, 0.3, 0.6, images) for images in (0, 1, 2, 5, 6)]
    shown = [str(each) for each in found]
    assert shown[0] == shown[4] == "0.400 (0.300 to 0.600)"
    assert shown[1:4] == [f"0.400 ({which}, no interval)" for which in ("1 image", "2 images", "5 images")]
    assert [each.signed() for each in found[2::2]] == ["+0.400 (2 images, no interval)", "+0.400 (+0.300 to +0.600)"]
    assert [each.excludes_zero for each in found] == [True, False, False, False, True]


def test_of_a_metric_that_is_not_there_nothing_is_known() -> None:
    found = estimate(table(np.array([0.2]), ["1"]), "kl")
    assert math.isnan(found.mean)
    assert str(found) == Estimate(math.nan, math.nan, math.nan, 0).signed() == "–"


def test_several_runs_are_compared_with_the_first_in_one_table(tmp_path: Path) -> None:
    noise = spread(0.5, 0.1, 20)
    run(tmp_path / "first", {"pure": noise, "salient": noise})
    run(tmp_path / "higher", {"pure": noise, "salient": [value + 0.2 for value in noise]}, label="higher")
    run(tmp_path / "other" / "1", {"pure": noise}, seed=1)  # seeds of one model are one side
    run(tmp_path / "other" / "2", {"pure": [value - 0.1 for value in noise]}, seed=2)
    found = compare([tmp_path / name for name in ("first", "higher", "other")])
    assert list(found) == ["run", "minus", "task", "metric", "difference", "low", "high", "images"]
    assert set(found["run"]) == {"net (first)"}
    assert found[["minus", "task", "metric", "images"]].to_numpy().tolist() == [
        ["higher", "pure", "cc", 20], ["higher", "salient", "cc", 20], ["net (other)", "pure", "cc", 20]
    ]  # fmt: skip
    assert found["difference"].tolist() == pytest.approx([0, -0.2, 0.05])
    assert found["low"].tolist() == pytest.approx(found["high"].tolist())


def test_runs_of_one_label_in_folders_of_one_name_are_numbered(tmp_path: Path) -> None:
    folders = [run(tmp_path / name / "job", {"pure": [cc]}).root for name, cc in (("a", 0.5), ("b", 0.4))]
    (row,) = compare(folders).to_dict("records")
    assert (row["run"], row["minus"]) == ("net (job) 1", "net (job) 2")
    assert row["difference"] == pytest.approx(0.1)


def test_one_run_is_not_compared() -> None:
    with pytest.raises(ConfigError, match="at least two runs, got 1"):
        compare(["outputs/run/A"])


def test_the_error_is_over_the_means_of_runs() -> None:
    scores = pd.DataFrame(
        {"task": "pure", "model": "m", "run": ["a", "a", "b", "b", "c", "c"], "cc": [0.1, 0.3, 0.3, 0.5, 0.4, 0.8]}
    )
    (row,) = spread_over_runs(scores).to_dict("records")
    assert row["mean"] == pytest.approx(0.4)  # run means 0.2, 0.4, 0.6
    assert row["error"] == pytest.approx(0.2 / math.sqrt(3))
    assert row["runs"] == 3


def test_a_single_run_has_no_spread() -> None:
    assert spread_over_runs(pd.DataFrame({"task": "pure", "model": "m", "run": "a", "cc": [0.1, 0.3]})).empty
