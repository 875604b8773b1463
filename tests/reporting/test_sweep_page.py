from pathlib import Path

import pytest
from omegaconf import OmegaConf

from saltext.reporting.sweep_page import SweepRuns
from saltext.results.score_table import pooled
from saltext.runs.records import read_run, with_unique_names
from saltext.system.run_folder import RunFolder
from tests import made_up_scores


def make(root: Path, label: str, best: float, monitor: str, mode: str) -> RunFolder:
    folder = made_up_scores.run(root, {"pure": [0.5, 0.7]}, label=label, curve={monitor: [0.0, best, 0.0]})
    choice = {"evaluation": {"monitor": monitor, "mode": mode}}
    OmegaConf.save(OmegaConf.merge(OmegaConf.load(folder.config), choice), folder.config)
    return folder


def sweep(folders: list[RunFolder]) -> SweepRuns:
    finished = [folder for folder in folders if folder.result.is_file()]
    runs = with_unique_names([read_run(folder) for folder in folders])
    return SweepRuns("study", runs, pooled(finished), list(dict.fromkeys(run.record.label for run in runs)))


@pytest.mark.parametrize(("monitor", "mode", "sign"), [("val/cc", "max", 1), ("val/kl", "min", -1)])
def test_runs_are_ranked_by_what_chose_their_epochs_and_models_by_its_mean(
    tmp_path: Path, monitor: str, mode: str, sign: int
) -> None:
    # Of model a one seed is the best of all, the other the worst: b is better on average.
    made = [("a", 0.9), ("a", 0.1), ("b", 0.6), ("b", 0.7)]
    folders = [
        make(tmp_path / str(place), label, sign * value, monitor, mode) for place, (label, value) in enumerate(made)
    ]
    found = sweep(folders)
    assert [run.record.folder.root.name for run, _ in found.ranked()] == ["0", "3", "2", "1"]
    assert found.leaders() == ["b", "a"]


def test_unfinished_runs_are_not_ranked(tmp_path: Path) -> None:
    folders = [make(tmp_path / name, name, value, "val/cc", "max") for name, value in (("a", 0.3), ("b", 0.9))]
    folders[1].result.unlink()
    found = sweep(folders)
    assert [run.name for run, _ in found.ranked()] == ["a"]
    assert found.leaders() == ["a"]
