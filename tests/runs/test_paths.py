import json
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from saltext.runs.paths import reached
from saltext.system.run_folder import RunFolder


def test_relative_paths_of_a_run_are_found_from_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cfg = OmegaConf.create({"data": {"root": None, "description": "own/my.yaml", "cache_dir": "cache"}, "seed": 1})
    run = RunFolder(tmp_path / "project" / "outputs" / "run")
    run.root.mkdir(parents=True)
    (tmp_path / "project" / "own").mkdir()
    (tmp_path / "project" / "own" / "my.yaml").touch()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    assert reached(RunFolder(Path("outputs/run")), cfg) == cfg
    monkeypatch.chdir(tmp_path / "elsewhere")
    found = reached(RunFolder(Path("../project/outputs/run")), cfg)
    assert found.data.description == str(tmp_path / "project" / "own" / "my.yaml")
    assert found.data.cache_dir == str(tmp_path / "project" / "cache")
    assert (found.data.root, found.seed) == (None, 1)

    apart = RunFolder(tmp_path / "scratch")  # where output_dir was elsewhere, the record says where the run began
    apart.root.mkdir()
    assert reached(apart, cfg) == cfg
    apart.provenance.write_text(json.dumps([{"folder": str(tmp_path / "project")}]))
    assert reached(apart, cfg).data.description == str(tmp_path / "project" / "own" / "my.yaml")
