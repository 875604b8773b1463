"""Untrusted folders, and a user's own classes: what runs, what is written, who is asked, watched by an audit hook."""

import copy
import inspect
import io
import json
import logging
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf
from PIL import Image

import saltext
from saltext.demo.answer import load_model
from saltext.errors import CheckpointError, ConfigError, SaltextError
from saltext.runs import build_training, confinement, jobs, targets, train, trust, untrusted_yaml
from saltext.runs.composition import config_folder
from saltext.runs.own_classes import located
from saltext.system.run_folder import RunFolder
from saltext.training.scored import ScoredModule
from tests.command_line import here
from tests.small_runs import composed

pytestmark = pytest.mark.slow

BOMB = {"_target_": "os.mkdir", "path": "EXECUTED"}
_STARTS = ("subprocess.", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "pty.")
_CONTACTS = (
    "socket.connect",
    "socket.getaddrinfo",
    "socket.gethostby",
    "socket.sendto",
    "urllib.",
    "ftplib.",
    "smtplib.",
)
_CHANGES = ("os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.symlink", "os.link", "os.chmod", "os.truncate",
            "shutil.")  # fmt: skip


class Watch:
    """Notes what a block does, by Python's audit events."""

    def __init__(self) -> None:
        self.on = False
        self.allowed: tuple[Path, ...] = ()
        self.seen: list[str] = []
        sys.addaudithook(self.hook)  # for ever: hence the switch

    def hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.on:
            return
        self.on = False
        try:
            if event.startswith((*_STARTS, *_CONTACTS)) or (event == "import" and arguments[0] == "antigravity"):
                self.seen.append(f"{event} {arguments!r:.200}")
            writes = event == "open" and (
                any(letter in str(arguments[1] or "") for letter in "wax+")
                or (isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
            )
            if (writes or event.startswith(_CHANGES)) and isinstance(arguments[0], str | bytes | os.PathLike):
                opened = arguments[-1] if event in ("os.remove", "os.rmdir", "os.mkdir") else -1  # a folder, or -1
                beside = Path(f"/proc/self/fd/{opened}").readlink() if opened >= 0 else Path()
                path = Path(os.path.realpath(beside / os.fsdecode(arguments[0])))
                if not any(path.is_relative_to(folder) for folder in (*self.allowed, Path("/dev"), Path("/proc"))):
                    self.seen.append(f"{event} {arguments!r:.200}")
        finally:
            self.on = True


WATCH = Watch()
LAUNCHED: list[trust.Configuration] = []


@pytest.fixture
def untrusted(smoke_run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunFolder]:
    """A copy of a run, as from somebody else, and an empty folder to work in."""
    shutil.copytree(smoke_run.root, tmp_path / "untrusted")
    (tmp_path / "here").mkdir()
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    Image.new("RGB", (40, 30)).save(tmp_path / "photo.png")
    monkeypatch.setattr(train, "train_folder", _up_to_training)
    monkeypatch.setattr(jobs, "launch", _launched)
    yield RunFolder(tmp_path / "untrusted")
    logging.captureWarnings(False)


def _launched(module: str, arguments: list[str], ranks: int, machines: int, environment: dict[str, str]) -> int:
    assert (module, ranks, machines) == ("saltext.runs.worker", 1, 1)
    _up_to_training(RunFolder(Path(arguments[0])), environment.get(trust.STARTED_WITH))
    return 0


def _up_to_training(folder: RunFolder, started_with: str | None) -> None:
    found = trust.started(folder, started_with)
    LAUNCHED.append(found)
    build_training.module(found.cfg, found.own)
    build_training.datamodule(found.cfg, found.own)
    build_training.trainer(found.cfg, folder, True, found.own)


def _predict(folder: Path, *more: str) -> None:
    photo = folder.parent / "photo.png"
    here("predict", photo, "--text", "a", "--model", folder, "--out", "outputs/maps", *more)


def _export(folder: Path, *more: str) -> None:
    here("export", folder, "outputs/exported", *more)


COMMANDS: dict[str, Callable[..., None]] = {
    "load": lambda folder: saltext.load(folder),
    "demo": lambda folder: load_model(str(folder), None, "cpu"),
    "predict": _predict,
    "export": _export,
    "evaluate": lambda folder, *more: here("evaluate", folder, *more),
    "resume": lambda folder, *more: here("train", f"resume={folder}", *more),
}
SHOWING: dict[str, Callable[..., None]] = {
    "report": lambda folder, *more: here("report", folder, *more),
    "compare": lambda folder: here("compare", folder, folder),
    "sweep": lambda folder: here("sweep", folder.parent),
    "table": lambda folder: here("compare", folder.parent),
}


def watched(folder: RunFolder, command: Callable[..., None], *more: str) -> str:
    """What a command says when it ends with an error, in a line or more but without a traceback; empty if it does not.

    Whatever it does, it starts and contacts nothing, and writes into the run's folder and below the usual output folder
    alone.
    """
    allowed = (folder.root, Path("outputs"), Path(tempfile.gettempdir()))
    WATCH.seen, WATCH.allowed = [], tuple(path.resolve() for path in allowed)
    WATCH.on = True
    said, terminal = "", io.StringIO()
    try:
        with redirect_stderr(terminal):
            command(folder.root, *more)
    except SaltextError as error:
        said = str(error)
    except SystemExit as error:
        said = "" if error.code in (None, 0) else f"{terminal.getvalue()}{error.code}"
    finally:
        WATCH.on = False
    assert WATCH.seen == []
    assert not list(folder.root.parent.rglob("EXECUTED"))
    return said


def parsed(text: str) -> Any:
    """As ``yaml.safe_load``, with libyaml where it is there: a configuration is changed a thousand times here."""
    return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def write(folder: RunFolder, values: Any) -> None:
    """As ``yaml.safe_dump`` writes it, with libyaml where it is there."""
    folder.config.write_text(yaml.dump(values, Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper)))


def change(folder: RunFolder, **changes: Any) -> None:
    """Set values of the configuration by their keys, a dot written as two underscores."""
    values = parsed(folder.config.read_text())
    for key, value in changes.items():
        *groups, name = key.split("__")
        node = values
        for group in groups:
            node = node.setdefault(group, {})
            assert isinstance(node, dict)
        node[name] = copy.deepcopy(value)
    write(folder, values)


PLACES = (
    "data", "data__tasks", "data__test_tasks", "data__augment", "data__split", "data__root", "data__cache_dir",
    "data__extra",
    "model", "model__encoder", "model__text_encoder", "model__blend", "model__freeze", "model__grid", "model__extra",
    "normalize__mean", "loss", "loss__weights", "optimizer", "optimizer__lr", "optimizer__extra", "scheduler",
    "scheduler__pct_start", "training", "training__lr_multipliers", "trainer", "trainer__plugins", "trainer__devices",
    "callbacks__best", "callbacks__extra", "callbacks__best__filename", "logger__csv", "logger__extra",
    "stages__sequence__s__tasks", "stages__sequence__s__epochs", "stages__sequence__s__lr", "stages__sequence__s",
    "evaluation__baselines", "evaluation__test_metrics", "evaluation__validation_metrics", "evaluation__paper",
    "evaluation__pictures", "prompt", "label", "name", "seed", "checkpoint", "output_dir",
    "hydra__callbacks__extra", "extra",
)  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_nothing_that_an_untrusted_configuration_names_is_run_wherever_it_stands(
    untrusted: RunFolder, command: str
) -> None:
    original = untrusted.config.read_text()
    for place in PLACES:
        for node in (BOMB, [BOMB], {"a": {"b": BOMB}}) if command == "load" else (BOMB,):
            untrusted.config.write_text(original)
            change(untrusted, **{place: node})
            assert watched(untrusted, COMMANDS[command]), (place, node)


def places_in_conf() -> list[str]:
    """The location of every value, list and group in the files of ``conf/``, but Hydra's own."""
    found = set()
    for file in config_folder().rglob("*.yaml"):
        text = file.read_text(encoding="utf-8")
        header = re.search(r"^# @package (\S+)", text, re.MULTILINE)
        package = header[1] if header else ".".join(file.relative_to(config_folder()).parent.parts)
        nodes = [(package.removeprefix("_global_"), untrusted_yaml.parsed(text, file))]
        while nodes:
            location, node = nodes.pop()
            found.add(location)
            if isinstance(node, dict):
                nodes += [(f"{location}.{key}".strip("."), value) for key, value in node.items()]
    return sorted(place for place in found if place and place.partition(".")[0] not in ("defaults", "hydra"))


@pytest.mark.parametrize("command", COMMANDS)
def test_nothing_is_run_at_any_place_that_the_files_of_conf_have(untrusted: RunFolder, command: str) -> None:
    original = parsed(untrusted.config.read_text())
    places = places_in_conf()
    assert {"model.grounders.detections", "model.backbones.vit.encoder", "model.smoothing", "callbacks.throughput",
            "trainer.profiler", "inference", "data.split", "stages.sequence"} <= set(places)  # fmt: skip
    for number, place in enumerate(places):
        if command != "load" and number % 5:  # they build by one function
            continue
        values = copy.deepcopy(original)
        node = values
        *groups, name = place.split(".")
        for group in groups:
            node[group] = node[group] if isinstance(node.get(group), dict) else {}
            node = node[group]
        node[name] = {**node[name], **BOMB} if isinstance(node.get(name), dict) else BOMB
        write(untrusted, values)
        assert "os.mkdir" in watched(untrusted, COMMANDS[command]), place


PROGRAMS: tuple[Any, ...] = (
    {"_target_": "subprocess.run", "_args_": [["touch", "EXECUTED"]]},
    {"_target_": "builtins.exec", "_args_": ["import os; os.mkdir('EXECUTED')"]},
    {"_target_": "os.mkdir", "_partial_": True, "path": "EXECUTED"},
    {"_target_": "pandas.read_pickle", "filepath_or_buffer": "https://example.invalid/x"},
    {"_target_": "hydra.utils.instantiate", "config": BOMB, "_recursive_": False},
    {"_target_": "torch.optim.AdamW", "params": [BOMB]},
    {"_target_": "saltext.data.synthetic.generate", "_args_": ["EXECUTED"]},  # of this very package, and not in conf/
    {"_target_": "saltext.training.loggers.StageLogger", "save_dir": "EXECUTED", "project": "x"},  # of another group
    {"_target_": "saltext.data.sources.synthetic.Synthetic", "root": "EXECUTED"},
    {"_target_": "lightning.Trainer", "default_root_dir": "EXECUTED"},
    {"_target_": "antigravity"},
    {"_target_": ["os", "mkdir"]},
    {"_target_": None},
    {"_target_": "${label}"},
    {"_target_": "${oc.env:HOME}"},
)


@pytest.mark.parametrize("trust", [(), ("--trust",)])
@pytest.mark.parametrize("command", ["predict", "evaluate", "export", "resume"])
def test_a_run_of_a_version_with_other_names_is_refused_in_words(
    untrusted: RunFolder, command: str, trust: tuple[str, ...]
) -> None:
    change(untrusted, model___target_="saltext.models.transalnet.TranSalNet")
    said = watched(untrusted, COMMANDS[command], *trust)
    assert "was not written by this version of saltext: model: there is no saltext.models.transalnet.TranSalNet" in said
    assert f"or use saltext {saltext.__version__}" in said


@pytest.mark.parametrize("command", COMMANDS)
def test_no_form_of_a_node_is_a_way_in(untrusted: RunFolder, command: str) -> None:
    original = untrusted.config.read_text()
    for node in PROGRAMS:
        for place in ("stages__sequence__s__tasks", "model__encoder", "loss", "scheduler"):
            untrusted.config.write_text(original)
            change(untrusted, **{place: node})
            assert watched(untrusted, COMMANDS[command]), (place, node)


RESOLVED = ("${oc.env:HOME}/x", "${oc.decode:'1'}", "${hydra:runtime.cwd}", "${job_digest:}", "${oc.create:{a:1}}",
            "${now:%Y}", "${evaluation}", "${label}", "x ${name}", "${oc.env:${label}}", "???")  # fmt: skip


@pytest.mark.parametrize("command", ["load", "evaluate", "resume"])
def test_no_resolver_runs(untrusted: RunFolder, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    original = untrusted.config.read_text()
    monkeypatch.setenv("HOME", "/told")
    for text in RESOLVED:
        untrusted.config.write_text(original)
        change(untrusted, label=text)
        said = watched(untrusted, COMMANDS[command])
        assert said, text
        assert "/told" not in said


WRONG: tuple[dict[str, Any], ...] = (
    {"label": [7]}, {"label": "\x1b[2J"}, {"seed": "one"}, {"seed": 10**30}, {"prompt": "{text:>999999999}"},
    {"prompt": "{text.__class__}"}, {"evaluation": []}, {"evaluation__pictures": 10**9}, {"data": "x"},
    {"evaluation__baselines": {"a": 1}}, {"evaluation__mode": "best"}, {"normalize__mean": [1]}, {"trainer": None},
    {"data__image_size": [10**6, 10**6]}, {"data__image_size": [96]}, {"data__tasks": {"a": 1}},
    {"data__selection_split": 3}, {"stages__sequence": ["a"]}, {"stages__sequence": {"../../x": {}}},
    {"model__name": []},
    {"stages__sequence": {"/tmp": {}}}, {"stages__sequence": {"s": {"start": {}}}}, {"stages__sequence": {"s": 1}},
    {"callbacks": {"best": 1}}, {"logger": []}, {"model": None}, {"model__grid": "x"}, {"model__hidden": {"a": 1}},
    {"model__encoder": 3}, {"loss": {}}, {"optimizer__lr": "fast"}, {"trainer__devices": "many"},
    {"model___partial_": True}, {"loss___partial_": True}, {"data___partial_": True}, {"model___args_": [1]},
    {"model__encoder__name": "hf-hub:timm/test_resnet"}, {"model__encoder__name": "../../x"},
    {"model__text_encoder": {"_target_": "saltext.models.text.open_clip.OpenCLIP", "name": "hf-hub:a/b"}},
    {"model__text_encoder": {"_target_": "saltext.models.text.open_clip.OpenCLIP", "weights": "openai"}},
    {"model__text_encoder": {"_target_": "saltext.models.text.open_clip.OpenCLIP", "name": {
        "embed_dim": 8, "text_cfg": {}, "vision_cfg": {"timm_model_name": "x", "timm_model_pretrained": True}}}},
    {"model__text_encoder": {"_target_": "saltext.models.text.blip.Blip", "text": {"attn_implementation": "flash"}}},
    {"model__text_encoder": {"_target_": "saltext.models.text.blip.Blip", "weights": "a/b"}},
    {"model__text_encoder": {"_target_": "saltext.models.text.blip.Blip", "vocabulary": "words"}},
    {"model__text_encoder": {"_target_": "saltext.models.text.siglip.SigLIP", "weights": "a/b", "revision": "0" * 40}},
    {"model__text_encoder": {"_target_": "saltext.models.text.open_clip.OpenCLIP", "revision": "0" * 40}},
    *({"model__grounders": {"g": {"_target_": f"saltext.models.grounding.{target}", **given}}} for target, given in (
        ("grounding_dino.GroundingDinoGrounder", {"weights": "a/b", "revision": "0" * 40}),
        ("grounding_dino.GroundingDinoGrounder", {"weights": "folder"}),
        ("grounding_dino.GroundingDinoGrounder", {}),
        ("owlv2.Owlv2Grounder", {"weights": "a/b", "revision": "0" * 40}),
        ("clipseg.ClipSegGrounder", {"weights": "../../x"}),
        ("clip_dense.ClipDenseGrounder", {"weights": "openai"}),
        ("clip_dense.ClipDenseGrounder", {"name": "hf-hub:a/b"}),
    )),
    {"trainer__profiler": "advanced"}, {"trainer__plugins": "slurm"}, {"callbacks__best__filename": "../../x"},
    {"callbacks__best__dirpath": "/tmp"}, {"data__images": 10**9},
)  # fmt: skip


# What predicts builds neither a loss nor a data module.
BUILT_TO_TRAIN: tuple[dict[str, Any], ...] = ({"loss": {}}, {"loss___partial_": True}, {"data___partial_": True})


@pytest.mark.parametrize("command", ["load", "resume"])
def test_a_value_of_another_type_or_that_leads_away_is_named_in_words(untrusted: RunFolder, command: str) -> None:
    original = untrusted.config.read_text()
    for changes in WRONG:
        if command == "load" and changes in BUILT_TO_TRAIN:
            continue
        untrusted.config.write_text(original)
        change(untrusted, **changes)
        said = watched(untrusted, COMMANDS[command])
        assert said.removeprefix("error: "), changes


@pytest.mark.parametrize("command", SHOWING)
def test_what_only_shows_a_run_reads_values_alone(untrusted: RunFolder, command: str) -> None:
    original = untrusted.config.read_text()
    for changes in ({"label": BOMB}, {"evaluation__monitor": "${oc.env:HOME}"}, {"stages__sequence": {"../x": {}}},
                    {"stages__sequence__s__tasks": BOMB}, {"data__selection_split": BOMB}):  # fmt: skip
        untrusted.config.write_text(original)
        change(untrusted, **changes)
        watched(untrusted, SHOWING[command])


GROUPS = ("data", "model", "normalize", "loss", "optimizer", "scheduler", "training", "trainer", "callbacks", "logger",
          "stages", "evaluation", "hydra", "extra", "prompt", "label", "name", "seed", "checkpoint", "output_dir",
          "cache_features", "inference", "compile", "rerun", "ddp_strategy")  # fmt: skip


def test_a_report_runs_nothing_that_any_group_of_an_untrusted_configuration_names(untrusted: RunFolder) -> None:
    assert {place.partition("__")[0] for place in PLACES} <= set(GROUPS)
    assert set(parsed(untrusted.config.read_text())) <= set(GROUPS)
    original = untrusted.config.read_text()
    for group in GROUPS:
        untrusted.config.write_text(original)
        is_group = isinstance(parsed(original).get(group), dict)
        change(untrusted, **({group: BOMB, f"{group}__extra": BOMB} if is_group else {group: BOMB}))
        watched(untrusted, SHOWING["report"])


def test_a_report_says_why_nothing_is_predicted_of_an_untrusted_run(untrusted: RunFolder) -> None:
    change(untrusted, stages__sequence={"s": {"tasks": ["salient"]}}, model__encoder=BOMB)
    assert not watched(untrusted, SHOWING["report"])
    assert "os.mkdir" in untrusted.report.read_text()


def test_no_path_of_an_untrusted_configuration_is_written_to_or_read(untrusted: RunFolder, tmp_path: Path) -> None:
    away = tmp_path / "away"
    change(untrusted, output_dir=str(away), data__cache_dir=f"{away}/cache", data__root=f"{away}/data",
           checkpoint=f"{away}/x.ckpt", trainer__default_root_dir=str(away), trainer__devices=3,
           model__encoder__checkpoint=f"{away}/weights.pth", data__num_workers=50)  # fmt: skip
    change(
        untrusted, logger={"wandb": {"_target_": "saltext.training.loggers.StageLogger", "project": "x", "tags": []}}
    )
    assert "default_root_dir" in watched(untrusted, COMMANDS["evaluate"])
    values = parsed(untrusted.config.read_text())
    del values["trainer"]["default_root_dir"]
    write(untrusted, values)
    assert trust.read(untrusted).cfg.data.num_workers == 1
    change(untrusted, data__num_workers=0)
    found = trust.read(untrusted)
    assert set(found.not_followed) == {"output_dir", "data.cache_dir", "data.root", "checkpoint", "trainer.devices",
                                       "TimmEncoder.checkpoint", "logger"}  # fmt: skip
    assert watched(untrusted, COMMANDS["evaluate"]) == ""
    assert (untrusted.root / "evaluation" / "scores.csv").is_file()
    assert "data.root=DIR" in (untrusted.root / "evaluation.log").read_text()
    assert not away.exists()
    said = watched(untrusted, COMMANDS["resume"])
    assert "TimmEncoder.checkpoint" in said
    assert "--trust" in said


def test_an_untrusted_run_has_no_weights_fetched_from_a_hub(untrusted: RunFolder) -> None:
    encoder = {"_target_": "saltext.models.image.vit.VitEncoder", "name": "test_vit.r160_in1k", "pretrained": True}
    timm = {"_target_": "saltext.models.image.timm_encoder.TimmEncoder", "name": "test_convnext", "pretrained": True}
    backbones = {
        name: {"_target_": "saltext.models.grounded_gaze.backbone.Backbone", "encoder": each, "grounder": None}
        for name, each in {"vit": {**encoder, "revision": "0" * 40}, "convnext": timm}.items()
    }
    change(untrusted, model__backbones=backbones)
    found = trust.read(untrusted)
    for backbone in found.cfg.model.backbones.values():
        assert backbone.encoder.pretrained is False
        assert backbone.encoder.get("revision") is None
    assert {"VitEncoder.pretrained", "VitEncoder.revision", "TimmEncoder.pretrained"} <= {*found.not_followed}


def test_every_argument_by_which_a_part_of_a_model_reads_a_file_or_asks_a_hub_is_confined() -> None:
    names = {name for (group, _), names in targets.packaged().targets.items() if group == "model" for name in names}
    leading = set()
    for name in names:
        for argument, parameter in inspect.signature(located(name)).parameters.items():
            if "Path" in str(parameter.annotation) or argument in ("pretrained", "revision", "weights", "checkpoint"):
                replaced = argument in confinement._FIRST_WEIGHTS.get(name, {})
                assert replaced or argument in confinement._NAMES_OF_FILES, (name, argument)
                leading.add(name.rpartition(".")[2])
    assert leading >= {
        "TimmEncoder", "VitEncoder", "DenseNet161", "SalGANVGG", "OpenCLIP", "Blip", "SigLIP", "GroundingDinoGrounder",
        "Owlv2Grounder", "ClipSegGrounder", "ClipDenseGrounder",
    }  # fmt: skip


def test_a_split_file_of_an_untrusted_configuration_is_not_read(untrusted: RunFolder, tmp_path: Path) -> None:
    change(untrusted, data__split={"_target_": "saltext.data.splits.FromFile", "path": str(tmp_path / "split.json")})
    assert trust.read(untrusted, resumes=True).cfg.data.split.path == str(untrusted.split)
    untrusted.split.unlink()
    assert f"data.split.path='{tmp_path}" in watched(untrusted, COMMANDS["resume"])


def test_row_files_that_an_untrusted_run_names_are_not_read(untrusted: RunFolder, tmp_path: Path) -> None:
    rows = {"pure": str(tmp_path / "pure.csv")}
    change(untrusted, data__split={"_target_": "saltext.data.splits.PublishedArm", "arm": "leaky", "rows": rows})
    untrusted.split.unlink()
    assert "data.split.rows=" in watched(untrusted, COMMANDS["resume"])


@pytest.mark.parametrize("name", ["evaluation", "evaluation.log", "run.log", "metrics", "stages"])
def test_nothing_is_written_through_an_untrusted_link(untrusted: RunFolder, tmp_path: Path, name: str) -> None:
    (tmp_path / "away").mkdir()
    link = untrusted.root / name
    if link.is_dir():
        shutil.rmtree(link)
    link.unlink(missing_ok=True)
    link.symlink_to(tmp_path / "away" / ("" if "." not in name else "file"))
    assert "link" in watched(untrusted, COMMANDS["evaluate"])
    assert "link" in watched(untrusted, COMMANDS["resume"])
    assert not list((tmp_path / "away").iterdir())


@pytest.mark.parametrize("file", ["config.yaml", "split.json", "checkpoints/best.ckpt", "checkpoints/last.ckpt",
                                  "result.json", "provenance.json", "scores.csv", "trust.json"])  # fmt: skip
def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(untrusted: RunFolder, file: str) -> None:
    (untrusted.root / file).unlink(missing_ok=True)
    os.mkfifo(untrusted.root / file)
    needed = dict.fromkeys(COMMANDS.values(), ("config.yaml", "checkpoints/best.ckpt"))
    needed[COMMANDS["evaluate"]] = needed[COMMANDS["export"]] = (*needed[COMMANDS["load"]], "split.json")
    needed[COMMANDS["resume"]] = ("config.yaml", "split.json")
    needed[SHOWING["report"]] = ("config.yaml", "split.json")
    for command in needed:
        started = time.monotonic()
        said = watched(untrusted, command)
        assert said or file not in needed[command]
        assert time.monotonic() - started < 60


def test_a_configuration_that_unfolds_to_gigabytes_is_refused_at_once(untrusted: RunFolder) -> None:
    levels = ["a: &a [x, x, x, x, x, x, x, x, x, x]"]
    levels += [f"{b}: &{b} [{', '.join([f'*{a}'] * 10)}]" for a, b in zip("abcdefghi", "bcdefghij", strict=True)]
    deep = "a: " + "[" * 3000 + "]" * 3000
    tagged = 'label: !!python/object/apply:os.system ["touch EXECUTED"]'
    path = 'label: !!python/object/apply:pathlib.PosixPath ["/etc/passwd"]'
    for text in ("\n".join(levels), deep, f"a: {'1' * 50_000}", "a: " + "x" * 2**21, tagged, path, "{1: 2}", "[]", ""):
        untrusted.config.write_text(text)
        started = time.monotonic()
        for command in ("load", "evaluate", "resume", "export"):
            assert "config" in watched(untrusted, COMMANDS[command])
        assert time.monotonic() - started < 20


def test_a_copy_of_a_run_without_own_classes_can_be_used_without_a_word(untrusted: RunFolder) -> None:
    for command in ("load", "predict", "export"):
        assert watched(untrusted, COMMANDS[command]) == ""
    assert watched(untrusted, COMMANDS["resume"]) == ""
    assert watched(RunFolder(Path("outputs/exported")), COMMANDS["load"]) == ""


# Classes of one's own

OWN = """
from saltext.losses import SaliencyLoss


class OwnLoss(SaliencyLoss):
    pass
"""


@pytest.fixture
def own(smoke_run: RunFolder, untrusted: RunFolder, importable: Callable[[Path], None]) -> RunFolder:
    """A run with a loss of its own, as ``train`` leaves it; nothing was copied."""
    Path("mine.py").write_text(OWN)
    importable(Path.cwd())
    cfg = OmegaConf.load(smoke_run.config)
    cfg.loss._target_ = "mine.OwnLoss"
    trust.write(cfg, untrusted)  # type: ignore[arg-type]
    return untrusted


def test_own_classes_need_a_word_everywhere_but_to_go_on_with_a_run_that_was_started_here(own: RunFolder) -> None:
    for name in ("load", "predict", "export", "evaluate", "demo"):
        said = watched(own, COMMANDS[name])
        assert "mine.OwnLoss (at loss)" in said, name
        assert "--trust" in said
        assert "trust=True" in said
    assert watched(own, COMMANDS["resume"]) == ""
    for name in ("predict", "export", "evaluate"):
        assert watched(own, COMMANDS[name], "--trust") == "", name
    for model in (saltext.load(own.root, trust=True), load_model(str(own.root), None, "cpu", trust=True)):
        assert model.predict(np.zeros((40, 30, 3), np.uint8), "a lamp").shape == (40, 30)


def test_a_copy_of_a_run_with_own_classes_goes_on_with_a_word_alone(own: RunFolder, tmp_path: Path) -> None:
    shutil.copytree(own.root, tmp_path / "copy")
    copy = RunFolder(tmp_path / "copy")
    assert copy.trust.read_bytes() == own.trust.read_bytes()
    assert "mine.OwnLoss (at loss)" in watched(copy, COMMANDS["resume"])
    assert watched(copy, COMMANDS["resume"], "--trust") == ""


@pytest.mark.parametrize("way", ["edited", "touched", "replaced", "record of others", "record for all", "no record"])
def test_a_run_is_ones_own_only_with_the_very_file_that_was_written(own: RunFolder, way: str) -> None:
    assert trust.is_own(own, own.config.read_text())
    text = own.config.read_text()
    match way:
        case "edited":
            own.config.write_text(text.replace("mine.OwnLoss", "mine.Other"))
        case "touched":
            os.utime(own.config)  # sets its times, but the one that nobody can set
        case "replaced":
            own.config.rename(own.root / "before")
            own.config.write_text(text)
            os.utime(own.config, ns=((before := (own.root / "before").stat()).st_atime_ns, before.st_mtime_ns))
        case "record of others":
            own.trust.rename(own.root / "theirs")
            own.trust.symlink_to("theirs")
        case "record for all":
            own.trust.chmod(0o666)
        case "no record":
            own.trust.unlink()
    assert not trust.is_own(own, own.config.read_text())
    assert "--trust" in watched(own, COMMANDS["resume"])


def test_a_process_trusts_the_very_text_it_was_started_with(own: RunFolder) -> None:
    wanted = trust.digest_of(own.config.read_text())
    assert trust.started(own, wanted).own == {"mine.OwnLoss"}
    change(own, label="other")
    with pytest.raises(ConfigError, match="changed since"):
        trust.started(own, wanted)


def test_what_the_command_line_names_is_built(untrusted: RunFolder, own: RunFolder) -> None:
    change(untrusted, loss___target_="saltext.losses.SaliencyLoss")
    assert watched(untrusted, COMMANDS["evaluate"], "loss._target_=mine.OwnLoss") == ""


def test_what_a_folder_of_configurations_names_trains_alone_and_in_a_sweep_and_goes_on(
    untrusted: RunFolder, importable: Callable[[Path], None]
) -> None:
    importable(Path.cwd())
    Path("mine.py").write_text(OWN)
    Path("my_conf/loss").mkdir(parents=True)
    Path("my_conf/loss/mine.yaml").write_text("_target_: mine.OwnLoss\nweights: {kl: 1}\n")
    LAUNCHED.clear()

    def train(*arguments: str) -> None:
        GlobalHydra.instance().clear()
        with suppress(SystemExit):  # a sweep whose jobs left no results
            here("train", *arguments)

    start = ("--config-dir", "my_conf", "preset=smoke", "model=tranblend", "loss=mine")
    train(*start, "hydra.run.dir=outputs/run/one")
    train(*start, "seed=0,1", "-m")
    assert [found.own for found in LAUNCHED] == [{"mine.OwnLoss"}] * 3
    shutil.copyfile(untrusted.split, "outputs/run/one/split.json")
    LAUNCHED.clear()
    train("resume=latest")
    assert [(found.own, found.cfg.data.root) for found in LAUNCHED] == [({"mine.OwnLoss"}, "outputs/synthetic-smoke")]
    shutil.move("outputs/run/one", "outputs/run/moved")
    shutil.copytree("outputs/run/moved", "outputs/run/copied")
    shutil.rmtree("outputs/run/moved")
    train("resume=latest")
    assert len(LAUNCHED) == 1


def test_a_checkpoint_cannot_have_files_deleted_elsewhere() -> None:
    def load(path: str) -> None:
        trainer = SimpleNamespace(checkpoint_callbacks=[SimpleNamespace(dirpath="/a/checkpoints")])
        state = {"callbacks": {"ModelCheckpoint": {"best_k_models": {path: 1.0}}}}
        ScoredModule.on_load_checkpoint(SimpleNamespace(trainer=trainer), state)  # type: ignore[arg-type]

    load("/a/checkpoints/best.ckpt")
    load("/elsewhere/checkpoints/best.ckpt")  # of a folder that was moved: Lightning leaves it alone
    with pytest.raises(CheckpointError, match="as one of its files"):
        load("/a/checkpoints/../../home/thesis.tex")


# What the environment says


def test_what_the_environment_says_is_in_no_file_but_known_to_the_runs_processes(
    untrusted: RunFolder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MY_PASSWORD", "hunter2-and-more")
    monkeypatch.setenv("SALTEXT_DATA", "/data/tis")
    asked = "${oc.env:MY_PASSWORD}"
    cfg = composed("preset=smoke", "data=sjtu_tis", "logger=wandb", f"logger.wandb.entity='{asked}'",
                   f"+logger.wandb.notes='with {asked}'", "+again=${logger.wandb.entity}",
                   "+number='${oc.decode:${oc.env:MY_PASSWORD,5}}'")  # fmt: skip
    assert cfg.again == "hunter2-and-more"  # `composed` resolves
    raw = OmegaConf.create(
        {"data": {"root": "${oc.env:SALTEXT_DATA,data/sjtu-tis}"}, "key": asked, "again": "${key}", "in": f"a {asked}",
         "number": "${oc.decode:${oc.env:MY_NUMBER}}", "two": f"{asked}${{oc.env:MY_PASSWORD,x}}"}
    )  # fmt: skip
    monkeypatch.setenv("MY_NUMBER", "5")
    folder = RunFolder(tmp_path / "secret")
    folder.root.mkdir()
    trust.write(raw, folder)
    text = folder.config.read_text()
    assert "hunter2" not in text
    assert parsed(text)["data"]["root"] == "/data/tis"  # which data a run read is no secret
    started = trust.started(folder, trust.digest_of(text))
    assert OmegaConf.to_container(started.cfg, resolve=True) == OmegaConf.to_container(raw, resolve=True)
    copied = OmegaConf.create(parsed(text))
    OmegaConf.save(copied, folder.config)
    assert trust.record(folder).key is None  # an untrusted question is not answered
    assert untrusted.config.is_file()


def test_an_export_holds_neither_passwords_nor_paths(
    own: RunFolder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MY_PASSWORD", "hunter2-and-more")
    cfg = OmegaConf.load(own.config)
    cfg.note, cfg.loss._target_ = "${oc.env:MY_PASSWORD}", "saltext.losses.SaliencyLoss"
    cfg.model.encoder.checkpoint = str(tmp_path / "secret-folder" / "weights.pth")
    trust.write(cfg, own)  # type: ignore[arg-type]
    assert watched(own, COMMANDS["export"]) == ""
    text = Path("outputs/exported/config.yaml").read_text()
    assert "hunter2" not in text
    assert str(tmp_path) not in text
    assert watched(RunFolder(Path("outputs/exported")), COMMANDS["load"]) == ""


def test_a_job_is_the_same_one_whatever_the_environment_says(
    untrusted: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    cfg = OmegaConf.load(untrusted.config)
    cfg.note = "${oc.env:MY_PASSWORD}"
    monkeypatch.setenv("MY_PASSWORD", "one")
    trust.write(cfg, untrusted)  # type: ignore[arg-type]
    monkeypatch.setenv("MY_PASSWORD", "two")
    jobs._check_same(cfg, untrusted)  # type: ignore[arg-type]
    cfg.seed = 8
    with pytest.raises(ConfigError, match="another configuration"):
        jobs._check_same(cfg, untrusted)  # type: ignore[arg-type]


def test_the_watch_sees_what_it_watches_for(tmp_path: Path, untrusted: RunFolder) -> None:
    def reaches(folder: Path) -> None:
        (tmp_path / "out").write_text(json.dumps(1))
        os.system("true")

    with pytest.raises(AssertionError):
        watched(untrusted, reaches)
    assert [event.partition(" ")[0] for event in WATCH.seen] == ["open", "os.system"]
    assert torch.load(untrusted.best, weights_only=True)
