import json
from pathlib import Path

import pandas as pd
import pytest

from saltext.errors import ConfigError
from saltext.reporting.collect import collect, summarise


def write_run(folder: Path, label: str, cc: list[float], seed: int = 1) -> None:
    folder.mkdir(parents=True)
    common = {
        "image_id": ["007", "008"],
        "task": ["salient", "salient"],
        "text": ["a cat", None],
        "split": "test",
        "seed": seed,
        "protocol": "standard",
    }
    ours = pd.DataFrame({**common, "model": label, "cc": cc})
    prior = pd.DataFrame({**common, "model": "centre prior", "cc": [0.3, 0.3]})
    pd.concat([ours, prior]).to_csv(folder / "scores.csv", index=False)
    (folder / "result.json").write_text(json.dumps({"label": label, "seconds": 1, "test": {}}))


@pytest.fixture
def study(tmp_path: Path) -> Path:
    write_run(tmp_path / "0_with", "with", [0.8, 0.6])
    write_run(tmp_path / "1_without", "without", [0.5, 0.5])
    return tmp_path


def test_a_baseline_that_runs_share_is_kept_once(study: Path) -> None:
    scores = collect(study)
    assert scores["model"].value_counts().to_dict() == {"with": 2, "without": 2, "centre prior": 2}
    assert scores["model"].iloc[-1] == "centre prior"


def test_ids_keep_their_zeros_and_an_empty_text_stays_a_text(study: Path) -> None:
    scores = collect(study)
    assert set(scores["image_id"]) == {"007", "008"}
    assert set(scores["text"]) == {"a cat", ""}


def test_a_folder_without_finished_runs_is_an_error_that_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no whole result\.json"):
        collect(tmp_path)


def test_a_baseline_is_kept_once_over_seeds_and_the_models_are_not(tmp_path: Path) -> None:
    write_run(tmp_path / "a", "with", [0.8, 0.6], seed=1)
    write_run(tmp_path / "b", "with", [0.6, 0.6], seed=2)
    scores = collect(tmp_path)
    assert scores["model"].value_counts().to_dict() == {"with": 4, "centre prior": 2}
    assert set(scores.loc[scores["model"] == "with", "run"]) == {"a", "b"}


def test_the_summary_shows_means_the_spread_over_runs_and_the_difference(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path / "a", "with", [0.8, 0.6], seed=1)
    write_run(tmp_path / "b", "with", [0.6, 0.6], seed=2)
    write_run(tmp_path / "c", "without", [0.5, 0.5])
    summarise(tmp_path)
    said = capsys.readouterr().out
    assert "0.650 ± 0.050" in said  # pairs 0.7 and 0.6, seeds averaged; and runs 0.7 and 0.6
    assert "mean of their means" in said
    assert "with - without" in said
    assert "+0.150" in said
