from dataclasses import replace
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from saltext.errors import ConfigError
from saltext.reporting.run_page import ShownRun
from saltext.runs.records import read_run, with_unique_names
from saltext.runs.report import with_predictions
from tests import made_up_scores


def shown(folder: Path, label: str, **more: object) -> ShownRun:
    return read_run(made_up_scores.run(folder, {"pure": [0.5, 0.7]}, label=label, **more))


def test_a_run_s_own_scores_are_those_of_its_model_by_the_standard_protocol(tmp_path: Path) -> None:
    run = shown(tmp_path / "a", "net", baseline={"pure": [0.1, 0.1]})
    assert run.own["cc"].tolist() == [1.5, 1.7]  # the made-up standard scores are 1 above the paper's
    assert run.of_model("centre prior")["cc"].tolist() == [1.1, 1.1]
    assert run.name == "net"


def test_names_are_labels_then_folders_then_numbers(tmp_path: Path) -> None:
    runs = [shown(tmp_path / "a", "net"), shown(tmp_path / "b", "net"), shown(tmp_path / "deep" / "b", "net")]
    other = shown(tmp_path / "c", "other")
    assert [run.name for run in with_unique_names([runs[0], other])] == ["net", "other"]
    assert [run.name for run in with_unique_names([*runs, other])] == ["net (a)", "net (b) 2", "net (b) 3", "other"]


def test_what_cannot_be_shown_is_refused_with_the_way_out(tmp_path: Path) -> None:
    begun = made_up_scores.run(tmp_path / "begun")
    begun.split.unlink()
    with pytest.raises(ConfigError, match=r"no split\.json.*resume="):
        read_run(begun)
    old = made_up_scores.run(tmp_path / "old")
    cfg = OmegaConf.load(old.config)
    del cfg.data.selection_split
    OmegaConf.save(cfg, old.config)
    with pytest.raises(ConfigError, match="earlier version"):
        read_run(old)


def test_a_run_that_was_not_scored_or_cannot_be_rebuilt_says_why_it_has_no_maps(tmp_path: Path) -> None:
    unscored = read_run(made_up_scores.run(tmp_path / "unscored"))
    nothing = OmegaConf.create({})
    assert "no scores of a trained model" in with_predictions(unscored, [], [], nothing, None).missing
    strange = with_predictions(shown(tmp_path / "strange", "net"), [], [], nothing, None)
    assert "not written by this version" in strange.missing
    assert not strange.predicted.pairs
    assert replace(strange, missing="").own["cc"].tolist() == [1.5, 1.7]
