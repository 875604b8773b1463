import json
from pathlib import Path

import pandas as pd
import pytest

from saltext.errors import ConfigError
from saltext.reporting.collect import collect


def write_run(folder: Path, label: str, cc: list[float]) -> None:
    folder.mkdir()
    common = {
        "image_id": ["007", "008"],
        "task": ["salient", "salient"],
        "text": ["a cat", None],
        "split": "test",
        "seed": 1,
    }
    ours = pd.DataFrame({**common, "model": label, "cc": cc})
    prior = pd.DataFrame({**common, "model": "centre prior", "cc": [0.3, 0.3]})
    pd.concat([ours, prior]).to_csv(folder / "scores.csv", index=False)
    (folder / "result.json").write_text(json.dumps({"label": label}))


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
    with pytest.raises(ConfigError, match=r"no result\.json"):
        collect(tmp_path)
