from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from saltext.errors import ConfigError
from saltext.reporting.compare import bootstrap_means, compare, markdown, model_scores
from tests.reporting.test_collect import write_run


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
    (found,) = compare(table(hard + 0.1, ids), table(hard, ids).sample(frac=1, random_state=0))
    assert found.mean == pytest.approx(0.1)
    assert (found.low, found.high) == (pytest.approx(0.1), pytest.approx(0.1))
    assert found.excludes_zero


def test_a_model_does_not_differ_from_itself() -> None:
    ids = ["1", "2", "3"]
    (found,) = compare(table(np.array([0.1, 0.2, 0.3]), ids), table(np.array([0.1, 0.2, 0.3]), ids))
    assert found.mean == 0
    assert not found.excludes_zero


def test_runs_on_different_images_are_not_compared() -> None:
    with pytest.raises(ConfigError, match="0 are in both"):
        compare(table(np.array([0.1]), ["1"]), table(np.array([0.1]), ["2"]))


def test_seeds_of_one_model_are_one_side_of_a_comparison(tmp_path: Path) -> None:
    write_run(tmp_path / "a", "with", [0.8, 0.6], seed=1)
    write_run(tmp_path / "b", "with", [0.6, 0.6], seed=2)
    scores = model_scores(tmp_path)
    assert scores.set_index("image_id")["cc"].to_dict() == pytest.approx({"007": 0.7, "008": 0.6})


def test_runs_of_several_models_are_no_side_of_a_comparison(tmp_path: Path) -> None:
    write_run(tmp_path / "a", "with", [0.8, 0.6])
    write_run(tmp_path / "b", "without", [0.6, 0.6])
    with pytest.raises(ConfigError, match="2 models"):
        model_scores(tmp_path)
    with pytest.raises(ConfigError, match="no finished run"):
        model_scores(tmp_path / "nowhere")


def test_markdown_marks_what_excludes_zero() -> None:
    ids = [f"{i:03}" for i in range(50)]
    noise = np.random.default_rng(0).normal(size=50)
    sure = compare(table(noise + 0.5, ids), table(noise, ids))
    unsure = compare(table(noise, ids), table(-noise, ids))
    assert "**+0.500 (+0.500..+0.500)**" in markdown(sure)
    assert "**" not in markdown(unsure)
