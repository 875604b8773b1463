"""What this machine and a user's own code cannot do is said before a run starts."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from saltext.errors import ConfigError
from saltext.runs import preflight
from saltext.runs.composition import CommandLine
from tests.small_runs import composed


def said(*overrides: str) -> str:
    with pytest.raises(ConfigError) as raised:
        preflight.check([composed("preset=smoke", *overrides)])
    return str(raised.value)


@pytest.mark.parametrize("accelerator", ["gpu", "cuda", "mps", "tpu"])
def test_a_device_that_is_not_there_is_refused(accelerator: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert said(f"trainer.accelerator={accelerator}").startswith("trainer.accelerator: expected auto or cpu")


def test_more_gpus_than_there_are_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for devices in ("3", "[0,2]"):
        assert "at most the 2 GPU(s)" in said("trainer.accelerator=gpu", f"trainer.devices={devices}")
    preflight.check([composed("preset=smoke", "trainer.accelerator=gpu", "trainer.devices=-1")])
    preflight.check([composed("preset=smoke", "trainer.devices=3")])  # processes of the CPU


@pytest.mark.parametrize("fast", [True, False])
def test_bfloat16_on_a_cpu_that_does_not_multiply_in_it_is_refused(fast: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": fast})
    if fast:
        preflight.check([composed("preset=smoke", "trainer.accelerator=cpu", "inference=bf16")])
    else:
        assert said("trainer.accelerator=cpu", "inference=bf16").startswith("inference: expected fp32 or reference")


def test_own_classes_are_imported_and_asked_what_they_take(tmp_path: Path, importable: Callable[[Path], None]) -> None:
    (tmp_path / "mine.py").write_text("class Loss:\n    def __init__(self, scale=1.0): ...\n")
    (tmp_path / "broken.py").write_text("1 / 0\n")
    importable(tmp_path)
    own = ["~loss.weights", "loss._target_=mine.Loss"]
    preflight.check([composed("preset=smoke", *own, "+loss.scale=2")])
    assert "loss.scal: no argument of mine.Loss (did you mean 'scale'?)" in said(*own, "+loss.scal=2")
    assert "mine.Los cannot be imported" in said("~loss.weights", "loss._target_=mine.Los")
    assert "ZeroDivisionError" in said("~loss.weights", "loss._target_=broken.Loss")


@pytest.mark.parametrize(
    ("part", "code", "expected"),
    [
        (
            "blend",
            "class Part(nn.Module): ...",
            "a subclass of saltext.models.blending.base.Blend, got `class Part(nn.Mod",
        ),
        (
            "encoder",
            "class Part(Blend): ...",
            "a subclass of saltext.models.image.base.Encoder, got `class Part(Blend)",
        ),
        (
            "blend",
            "class Part(Blend):\n    def __init__(self, dim): ...",
            "`def __init__(self, channels: int, text_dim",
        ),
        (
            "blend",
            "class Part(Blend):\n    def __init__(self, **sizes): ...\n    def forward(self, x): ...",
            "`def forward(self, x, text)`, got (self, x)",
        ),
    ],
)
def test_a_class_that_cannot_be_a_network_s_part_is_named_with_its_file_and_the_line_to_write(
    part: str, code: str, expected: str, tmp_path: Path, importable: Callable[[Path], None]
) -> None:
    (tmp_path / "mine.py").write_text(f"from torch import nn\nfrom saltext.models.blending.base import Blend\n{code}\n")
    importable(tmp_path)
    cfg = composed("preset=smoke", "model=tranblend")
    partial = {"_partial_": True} if part == "blend" else {}
    cfg.model[part] = OmegaConf.create({"_target_": "mine.Part", **partial})
    with pytest.raises(ConfigError) as raised:
        preflight.check([cfg])
    assert f"model.{part}._target_: expected {expected}" in str(raised.value)
    assert f"in {tmp_path / 'mine.py'}:3" in str(raised.value)


def test_a_class_that_is_not_there_is_named_with_the_file_and_line_that_names_it(
    tmp_path: Path, importable: Callable[[Path], None]
) -> None:
    (tmp_path / "mine_gate.py").write_text("class Gate: ...\n")
    importable(tmp_path)
    file = tmp_path / "conf/model/blend/gate.yaml"
    file.parent.mkdir(parents=True)
    for name, said in (("mine_gate.Xyz", "got 'Xyz'"), ("saltext.models.blending.film.Xyz", "FiLMBlend")):
        file.write_text(f"# @package model\nname: x\nblend:\n  _target_: {name}\n  _partial_: true\n")
        arguments = [f"--config-dir={tmp_path}/conf", "preset=smoke", "model=tranblend", "model/blend=gate"]
        with pytest.raises(ConfigError) as raised:
            preflight.check(CommandLine(arguments).check())
        assert said in str(raised.value)
        assert str(raised.value).endswith(f" in {file}:4")


def test_changes_of_a_run_are_of_keys_that_exist_and_the_rest_may_be_older() -> None:
    cfg = composed("preset=smoke")
    older = OmegaConf.merge(cfg, {"data": {"key_of_another_version": 1}})
    good = OmegaConf.create({"data": {"eval_batch_size": 8}})
    preflight.check_changes(OmegaConf.merge(older, good), good)  # type: ignore[arg-type]
    bad = OmegaConf.create({"data": {"eval_batch_sze": 8}, "evaluation": {"test_metrics": []}})
    with pytest.raises(ConfigError, match=r"(?s)data.eval_batch_sze: no such key.*'eval_batch_size'") as raised:
        preflight.check_changes(OmegaConf.merge(older, bad), bad)  # type: ignore[arg-type]
    assert "evaluation.test_metrics: expected at least 1" in str(raised.value)
    assert "another_version" not in str(raised.value)
