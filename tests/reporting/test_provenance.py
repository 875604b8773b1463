import json
from pathlib import Path

from omegaconf import OmegaConf

from saltext.reporting import provenance
from saltext.results.run_record import RunRecord
from saltext.runs.records import read_record
from saltext.system.run_folder import RunFolder
from tests import made_up_scores


def record(folder: RunFolder, **changes: object) -> RunRecord:
    more = {"model": {"name": "net"}, "data": {"split_seed": 3}, "evaluation": {"monitor": "val/cc", "mode": "max"}}
    OmegaConf.save(OmegaConf.merge(OmegaConf.load(folder.config), more, changes), folder.config)
    return read_record(folder, provenance.SHOWN)


def test_the_facts_of_a_run_are_those_of_its_records(tmp_path: Path) -> None:
    folder = made_up_scores.run(tmp_path / "job", {"pure": [0.5, 0.7]}, curve={"val/cc": [0.2, 0.6, 0.4]})
    begun = {"time": "2026-01-02T03:04:05+00:00", "commit": "0123456789", "uncommitted_changes": True, "cores": 2,
             "cpu": "Quick", "gpus": ["Big"], "packages": {"torch": "2.14"}}  # fmt: skip
    folder.provenance.write_text(json.dumps([begun, {**begun, "time": "later"}]))
    facts = provenance.facts(record(folder), made_up_scores.table({"pure": [0.5, 0.7]}, "net", 42)[:2])
    assert facts["run"] == "one: net"
    assert facts["folder"] == "job"
    assert facts["state"] == "finished, 2.0 min in its last start"
    assert facts["started"] == "2026-01-02 03:04:05 UTC, 2 times"
    assert facts["commit"] == "0123456+ (with uncommitted changes)"
    assert facts["machine"] == "2 cores, Quick, Big"
    assert facts["versions"] == "saltext –, torch 2.14, lightning –"
    assert facts["evaluation setting"].startswith("Split: by hand, seed 0, grouped by image.")
    assert facts["split sizes"] == "train 1, val 1, test 1 images"
    assert facts["test pairs"] == "pure 2"
    assert facts["seed"] == "42 (of the split: 3)"
    assert facts["input"] == "96x128 pixels (height x width)"
    assert facts["selected epoch (from 0)"] == "1 (val/cc 0.600)"


def test_the_selected_epoch_is_the_best_in_the_metric_s_own_direction(tmp_path: Path) -> None:
    folder = made_up_scores.run(tmp_path / "job", curve={"val/kl": [0.5, 0.3, 0.4]})
    nothing = made_up_scores.table({}, "net", 42)
    selected = "selected epoch (from 0)"
    assert provenance.facts(record(folder), nothing)[selected] == provenance.UNKNOWN  # val/cc was not logged
    lowest = record(folder, evaluation={"monitor": "val/kl", "mode": "min"})
    assert provenance.facts(lowest, nothing)[selected] == "1 (val/kl 0.300)"


def test_each_tested_stage_selected_its_own(tmp_path: Path) -> None:
    stages = {"warmup": {"test": False, "epochs": 5}, "pure": {"start": "warmup"}}
    folder = made_up_scores.run(tmp_path / "job", stages=stages, stage="pure", curve={"val/cc": [0.1, 0.2]})
    facts = provenance.facts(record(folder), made_up_scores.table({}, "net", 42))
    assert facts["selected epoch (from 0)"] == "pure 1 (val/cc 0.200)"
    assert facts["epochs"] == "warmup 5, pure 3"


def test_what_is_not_known_is_said(tmp_path: Path) -> None:
    folder = made_up_scores.run(tmp_path / "job")
    facts = provenance.facts(record(folder), made_up_scores.table({}, "net", 42))
    assert facts["state"] == "not finished"
    assert facts["commit"] == facts["test pairs"] == facts["started"] == provenance.UNKNOWN
