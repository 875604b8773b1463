"""Every example of README, CONTRIBUTING and docs/ works: Python runs, programs take their commands."""

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from PIL import Image
from typer.exceptions import TyperException
from typer.main import get_command

from saltext.commands.app import app
from saltext.data.folds import Folds
from saltext.data.sources.sjtu_tis import SjtuTis
from saltext.data.synthetic import generate
from saltext.errors import ConfigError
from saltext.results.score_table import read_scores
from saltext.runs import build
from saltext.runs.composition import CommandLine, compose_run
from saltext.runs.reproduce import targets
from saltext.system.run_folder import RunFolder
from tests.command_line import here
from tests.conftest import ROOT
from tests.doc_pages import PAGES, written
from tests.small_runs import QUICK, composed, drop_weights, ran
from tests.worked_example import PAGE, installed
from tests.worked_example import written as written_example

_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>[^\n`]*)\n(?P<code>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL)
_COMMAND = re.compile(r"(?:^|[\s`])(?P<named>python -m saltext\.run|saltext (?=[a-z]))(?P<rest>[^`]*)")
_MAKE = re.compile(r"^make (?P<target>[\w-]+)", re.MULTILINE)
_SHELL = {"", "text", "console", "bash", "sh"}
_FLAGS = {"-m", "--multirun", "--help", "--cfg", "job"}  # of Hydra; the rest are overrides


def blocks(name: str) -> Iterator[re.Match[str]]:
    """Fenced blocks of a page, as the site shows it."""
    return _FENCE.finditer(written(name))


def python(name: str) -> list[str]:
    return [block["code"] for block in blocks(name) if block["language"].strip() == "python"]


def shell_lines(name: str) -> list[str]:
    """Lines of blocks that are no Python and no file; those of commands that the page took from docstrings, too."""
    shown = [
        block["code"] for block in blocks(name) if block["language"].strip() in ("", "text", "console", "bash", "sh")
    ]
    return [line.strip() for code in shown for line in code.replace("\\\n", " ").splitlines()]


def commands() -> dict[tuple[str, ...], str]:
    """Name and arguments of every command -> the page that shows it first; ``python -m saltext.run`` is ``train``."""
    found: dict[tuple[str, ...], str] = {}
    for name in PAGES:
        for line in shell_lines(name):
            if not line.startswith("Usage:") and (command := _COMMAND.search(line)):
                # What a column of explanations or a comment adds is no argument.
                rest = re.split(r"\s{3,}|\s#\s|; ", command["rest"])[0]
                words = shlex.split(rest)
                found.setdefault(("train", *words) if command["named"] != "saltext " else tuple(words), name)
    return found


COMMANDS = commands()


def overrides(words: list[str]) -> list[Override]:
    return OverridesParser.create().parse_overrides([word for word in words if word not in _FLAGS])


def composes(words: list[str]) -> None:
    """Composes the first job of a command, and its last one if it sweeps."""
    if resumed := [word for word in words if word.startswith("resume=")]:
        assert all(word.startswith(("resume=", "output_dir=")) for word in words), resumed
        return
    if words[0] == "--config-dir":
        CommandLine(words).check()
        return
    given = overrides(words)
    sweeps = {o.get_key_element(): list(o.sweep_string_iterator()) for o in given if o.is_discrete_sweep()}
    for place in (0, -1) if sweeps else (0,):
        chosen = [
            f"{o.get_key_element()}={sweeps[o.get_key_element()][place]}" if o.is_discrete_sweep() else o.input_line
            for o in given
            if o.is_discrete_sweep() or not o.is_sweep_override()  # a range to search in has no single values
        ]
        compose_run([word for word in chosen if word])


def is_read(words: tuple[str, ...]) -> None:
    """The command line takes it; nothing is run."""
    whole = get_command(app)
    with whole.make_context("saltext", [], resilient_parsing=True) as context:
        command = whole.get_command(context, words[0])
    assert command is not None, f"saltext has no command {words[0]}"
    command.make_context(words[0], [*words[1:]])
    if words[0] == "reproduce" and "--from" not in words:
        assert words[1] in targets()


def test_the_package_of_the_page_on_extending_passes_the_lint_that_a_part_inside_must_pass(tmp_path: Path) -> None:
    pytest.importorskip("ruff")
    package = written_example(tmp_path) / "mine"
    for arguments in (["check"], ["format", "--check", "--diff"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *arguments, "--no-cache", "--config", ROOT / "pyproject.toml", package],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_there_are_commands() -> None:
    assert {"train", "predict", "report"} <= {name for name, *_ in COMMANDS}


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: " ".join(command)[:80])
def test_a_command_that_is_shown_is_one_that_its_program_takes(
    command: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    importable: Callable[[Path], None],
) -> None:
    name, *words = command
    monkeypatch.chdir(tmp_path)
    if COMMANDS[command] == PAGE:  # what it shows is there: in a folder of one's own, or installed
        written_example(tmp_path)
        if "--config-dir" not in words:
            importable(installed(tmp_path))
    if not words or {"--help", "--list", "--install-completion"} & {*words}:
        return
    try:
        composes(words) if name == "train" else is_read(command)
    except (ConfigError, HydraException, TyperException) as error:
        pytest.fail(f"{COMMANDS[command]}: {' '.join(command)}: {error}")


@pytest.mark.parametrize("words", [["model/blend=no_such_one"], ["trainer.max_epoch=1"]])
def test_a_command_with_an_argument_that_does_not_exist_is_found(words: list[str]) -> None:
    with pytest.raises(HydraException):
        composes(words)


def test_every_make_target_that_is_shown_is_there() -> None:
    rules = re.findall(r"^([\w%-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    known = {rule.removesuffix("%") for rule in rules}
    for name in PAGES:
        for target in _MAKE.findall("\n".join(shell_lines(name))):
            assert target in known or re.sub(r"-\w+$", "-", target) in known, f"{name}: make {target}"


@pytest.fixture(scope="module")
def workplace(smoke_run: RunFolder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the examples speak of: a run, a picture, pictures and texts, a data set and maps of it."""
    place = tmp_path_factory.mktemp("workplace")
    for name in ("FOLDER", "A", "B"):
        shutil.copytree(smoke_run.root, place / "outputs" / "run" / name)
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    for name in ("street.jpg", "photo.jpg", "photos/hall.png", "more/deep/down.png"):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(place / name)
    index = SjtuTis(generate(place / "data" / "sjtu-tis", images=6, size_range=(96, 128))).read()
    images = sorted({pair.image_id for pair in index.pairs})
    Folds(tuple(tuple(images[first::3]) for first in range(3))).write(place / "folds.json")
    for pair in index.pairs:
        (place / "MAPS").mkdir(exist_ok=True)
        shutil.copyfile(pair.density, place / "MAPS" / f"{pair.name}.png")
    for name in ("OTHER_MAPS", "EMPTY", "SWAPPED"):  # predicted with other texts
        shutil.copytree(place / "MAPS", place / name)
    (place / "texts.csv").write_text("image,text\nstreet.jpg,the white lamps\nphoto.jpg,a dog\n", encoding="utf-8")
    return place


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in PAGES if python(name)])
def test_the_python_of_a_page_runs(name: str, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workplace)
    torch.manual_seed(0)
    known = {"__name__": "example", **_truths()} if name.startswith("docs/metrics/") else {"__name__": "example"}
    for code in python(name):
        exec(compile(code, name, "exec"), known)  # the project's own pages


def _truths() -> dict[str, torch.Tensor]:
    """What the call on the page of a metric is given."""
    counts = torch.zeros(2, 1, 12, 16)
    counts[:, 0, 3, 4:9] = 1
    return {
        "pred": torch.rand(2, 1, 12, 16),
        "density": torch.rand(2, 1, 12, 16),
        "fixations": counts,
        "others": counts.flip(2),
        "baseline": torch.ones(2, 1, 12, 16),
    }


_ELSEWHERE = (
    "+experiment=", "data=own", "checkpoint=",         # test_experiments.py, test_own_data.py
    "data/free_viewing=",                              # needs another data set: test_experiments.py
    "trainer.devices=", "resume=", "hydra", "logger",  # test_run.py, test_jobs.py, test_sweep.py, test_tracking.py
    "--config-dir",                                    # test_plugins.py, which also has the package of the examples
)  # fmt: skip
_SCORED_ALONE = re.compile(r"evaluation\.test_metrics=\[(?P<metric>\w+)\]")
_OF_PLACE_AND_SIZE = ("data.root=", "preset=", "data=")  # here they are those of the smoke preset


def small_runs() -> dict[tuple[str, ...], str]:
    """Overrides of the single runs that the pages show, of a sweep its last job -> the page that shows it first.

    The page of each metric shows a run that scores it alone: here one run scores them all.
    """
    found: dict[tuple[str, ...], str] = {}
    metrics: dict[str, str] = {}
    for (module, *words), name in COMMANDS.items():
        if module == "train" and not {"--help", "--cfg"} & {*words}:
            chosen = [word for word in words if word not in _FLAGS and not word.startswith(_OF_PLACE_AND_SIZE)]
            if len(chosen) == 1 and (alone := _SCORED_ALONE.fullmatch(chosen[0])):
                metrics.setdefault(alone["metric"], name)
            elif not any(word.startswith(_ELSEWHERE) for word in words):
                found.setdefault(tuple(chosen), name)
    return {**found, (f"evaluation.test_metrics=[{','.join(metrics)}]",): ", ".join(metrics.values())}


RUNS = small_runs()


DEFAULT_MODEL = compose_run([]).hydra.runtime.choices.model
"""The model of a command that names none; the smoke preset has another."""


@pytest.mark.parametrize(
    "words", [words for module, *words in COMMANDS if "data=own" in words and module == "train"], ids=" ".join
)
def test_a_command_for_own_data_takes_conditions_of_any_name(words: list[str]) -> None:
    build.check_conditions(compose_run(words), ["free", "described"])


@pytest.mark.slow
@pytest.mark.parametrize("words", RUNS, ids=" ".join)
def test_a_run_that_is_shown_runs_at_smoke_size(words: tuple[str, ...], outputs: Path) -> None:
    given = {o.get_key_element(): o for o in overrides([*words])}
    model = [] if "model" in given else [f"model={DEFAULT_MODEL}"]
    last = [
        f"{key}={list(o.sweep_string_iterator())[-1]}" if o.is_discrete_sweep() else str(o.input_line)
        for key, o in given.items()
    ]
    small = [word for word in (*QUICK, "data.images=16") if word.partition("=")[0] not in given]
    folder = ran(RunFolder(outputs / "_".join(["run", *words])), *small, f"output_dir={outputs}", *model, *last)
    assert folder.result.stat().st_size > 0
    scores = read_scores(folder.scores)
    assert len(scores) > 0
    assert {*composed(*last).evaluation.test_metrics} <= {*scores.columns}
    drop_weights(folder)


PROGRAMS = ("predict", "export", "score", "evaluate", "report", "compare")
_IN_THE_WORKPLACE = ("outputs/run/", "data/sjtu-tis")
_NOT_THERE = ("image_1800/", "--stage", "/elsewhere/", "trainer.devices=2", "--push")  # one stage, one process, no hub


def on_the_workplace(module: str, words: list[str]) -> bool:
    text = " ".join(words)
    return module in PROGRAMS and any(p in text for p in _IN_THE_WORKPLACE) and not any(p in text for p in _NOT_THERE)


@pytest.mark.slow
@pytest.mark.parametrize(
    "command", [c for c in COMMANDS if on_the_workplace(c[0], [*c[1:]])], ids=lambda command: " ".join(command)[:80]
)
def test_a_command_that_is_shown_runs(
    command: tuple[str, ...], workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(workplace)
    module, *words = command
    shutil.rmtree("my_model", ignore_errors=True)  # of an example before this one
    here(module, *words, *(["--device", "cpu"] if module == "predict" else []))
    assert capsys.readouterr().out
