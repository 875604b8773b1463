from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from omegaconf import OmegaConf

from saltext.data.splits import Split
from saltext.results.run_record import (
    RunRecord,
    chosen_epochs,
    evaluation_setting,
    history,
    monitored,
    read_history,
)
from saltext.runs.records import read_record
from saltext.system.run_folder import RunFolder
from tests import made_up_scores
from tests.made_up_scores import log


def values(table: pd.DataFrame, name: str, stage: str = "") -> list[float]:
    return table[(table["name"] == name) & (table["stage"] == stage)].sort_values("epoch")["value"].tolist()


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    rows = [
        {"epoch": 0, "step": 6, "val/cc": 0.1, "val/cc_pure": 0.2, "val/cc_salient": 0.0},
        {"epoch": 0, "step": 6, "train/loss": 9.0},
        {"epoch": 1, "step": 13, "val/cc": 0.3, "val/cc_pure": 0.4, "val/cc_salient": 0.2},
        {"epoch": 1, "step": 13, "train/loss": 7.0},
    ]
    log(tmp_path, 0, rows)
    return RunFolder(tmp_path)


def test_lines_of_an_epoch_become_rows_without_gaps(run: RunFolder) -> None:
    found = read_history(run)
    assert list(found.columns) == ["stage", "epoch", "name", "value"]
    assert values(found, "val/cc") == [0.1, 0.3]
    assert values(found, "train/loss") == [9.0, 7.0]
    assert set(found["name"]) == {"val/cc", "val/cc_pure", "val/cc_salient", "train/loss"}
    assert found["value"].notna().all()
    assert found["epoch"].dtype == int


def test_a_resumed_run_goes_on_in_later_files_which_win(run: RunFolder) -> None:
    for version in range(2, 11):  # version_10 is later than version_9, whatever the alphabet says
        log(run.root, version, [{"epoch": 1, "step": 13, "train/loss": 60.0 + version}])
    found = read_history(run)
    assert values(found, "train/loss") == [9.0, 70.0]
    assert values(found, "val/cc") == [0.1, 0.3]


def test_damaged_lines_are_left_out(run: RunFolder) -> None:
    file = run.root / "metrics" / "version_0" / "metrics.csv"
    file.write_text(file.read_text() + "2,20,0.5,0.5,0.5,6.0,more,than,columns\nx,21,,,,5.0\n")
    pd.testing.assert_frame_equal(read_history(run), read_history(run).query("epoch < 2"))


def test_stages_stand_in_the_order_of_the_schedule_and_others_follow(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    for name in ("a_last", "another", "warmup"):
        log(run.stage(name).root, 0, [{"epoch": 0, "step": 1, "train/loss": float(len(name))}])
    found = read_history(run, ["warmup", "a_last"])
    assert found["stage"].tolist() == ["warmup", "a_last", "another"]
    assert values(found, "train/loss", "warmup") == [6.0]


def test_a_run_that_logged_nothing_yet_has_no_rows(tmp_path: Path) -> None:
    (tmp_path / "metrics" / "version_0").mkdir(parents=True)
    (tmp_path / "metrics" / "version_0" / "metrics.csv").touch()  # stopped before its first line
    found = read_history(RunFolder(tmp_path))
    assert found.empty
    assert list(found.columns) == ["stage", "epoch", "name", "value"]


def of(folder: RunFolder, monitor: str = "val/cc", mode: str = "max") -> RunRecord:
    record = read_record(folder)
    changed = OmegaConf.merge(record.cfg, {"evaluation": {"monitor": monitor, "mode": mode}})
    return replace(record, cfg=changed)


def test_the_epoch_is_the_best_in_the_metric_s_own_direction(tmp_path: Path) -> None:
    folder = made_up_scores.run(tmp_path / "job", curve={"val/cc": [0.2, 0.6, 0.4], "val/kl": [0.5, 0.3, 0.4]})
    assert [found[1:] for found in chosen_epochs(of(folder))] == [(1, 0.6)]
    assert [found[1:] for found in chosen_epochs(of(folder, "val/kl", "min"))] == [(1, 0.3)]
    assert monitored(of(folder)) == 0.6
    assert monitored(of(folder, "val/kl", "min")) == 0.3


def test_where_nothing_was_validated_nothing_selected_the_epoch(tmp_path: Path) -> None:
    record = of(made_up_scores.run(tmp_path / "job", curve={"train/loss": [0.5]}))
    assert chosen_epochs(record) == []
    assert monitored(record) is None


def test_each_tested_stage_selects_its_own_epoch_and_their_mean_is_the_run_s_value(tmp_path: Path) -> None:
    stages = {"warmup": {"test": False, "epochs": 5}, "pure": {"start": "warmup"}, "whole": {"start": "warmup"}}
    folder = made_up_scores.run(tmp_path / "job", stages=stages)
    for name, cc in {"warmup": [0.9], "pure": [0.1, 0.2], "whole": [0.6, 0.5]}.items():
        log(
            folder.stage(name).root, 0, [{"epoch": epoch, "step": 1, "val/cc": value} for epoch, value in enumerate(cc)]
        )
    record = of(folder)
    assert [(stage.name, stage.epochs, stage.tests) for stage in record.stages] == [
        ("warmup", 5, False), ("pure", 3, True), ("whole", 3, True)
    ]  # fmt: skip
    assert [(stage.name, epoch, value) for stage, epoch, value in chosen_epochs(record)] == [
        ("pure", 1, 0.2), ("whole", 0, 0.6)
    ]  # fmt: skip
    assert monitored(record) == pytest.approx(0.4)
    assert history(record)["stage"].drop_duplicates().tolist() == ["warmup", "pure", "whole"]


def split(unit: str = "image", val: tuple[str, ...] = ("2",)) -> Split:
    names = {"image": ("1", "3"), "pair": ("1/pure", "1/whole")}[unit]
    return Split("by hand", 7, unit, {"train": names[:1], "val": val, "test": names[1:]})


def test_the_evaluation_setting_says_how_the_split_was_made_and_what_selected_the_epoch() -> None:
    said = evaluation_setting(split(), "val")
    assert said.startswith("Split: by hand, seed 7, grouped by image.")
    assert "by row: test images may train under other texts" in evaluation_setting(split("pair"), "val")
    assert "optimistic" in evaluation_setting(split(), "test")
    assert len({said, evaluation_setting(split(val=()), "val"), evaluation_setting(split(), "test")}) == 3


def test_a_record_says_its_label_its_monitor_and_the_sizes_of_its_split(tmp_path: Path) -> None:
    record = read_record(made_up_scores.run(tmp_path / "job", label="net", selection_split="val"))
    assert (record.label, record.monitor, record.mode) == ("net", "val/cc", "max")
    assert record.split_sizes == "train 1, val 1, test 1 images"
    assert record.failure == ""
