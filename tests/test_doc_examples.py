"""Every example of README, CONTRIBUTING and docs/ works: Python runs, programs take their commands."""

import re
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import OmegaConf
from PIL import Image

from saltext import build, evaluate, export, predict, report, score
from saltext.composition import compose_run, config_folder
from saltext.data.sjtu_tis import read_index
from saltext.data.synthetic import generate
from saltext.demo.settings import parse
from saltext.errors import ConfigError
from saltext.metrics import METRICS
from saltext.reporting import collect, compare
from saltext.reporting.scores import read_scores
from saltext.reproduce import targets
from saltext.run_folder import RunFolder
from tests.conftest import ROOT
from tests.doc_pages import PAGES, written
from tests.small_runs import QUICK, drop_weights, ran

_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>[^\n`]*)\n(?P<code>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL)
_COMMAND = re.compile(r"python -m (?P<module>saltext[\w.]*)(?P<rest>[^`]*)")
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
    """Module and arguments of every command -> the page that shows it first."""
    found: dict[tuple[str, ...], str] = {}
    for name in PAGES:
        for line in shell_lines(name):
            if command := _COMMAND.search(line):
                # What a column of explanations or a comment adds is no argument.
                rest = re.split(r"\s{3,}|\s#\s|; ", command["rest"])[0]
                found.setdefault((command["module"], *shlex.split(rest)), name)
    return found


COMMANDS = commands()


def overrides(words: list[str]) -> list[Override]:
    return OverridesParser.create().parse_overrides([word for word in words if word not in _FLAGS])


def composes(words: list[str]) -> None:
    """Composes the first job of a command, and its last one if it sweeps."""
    if resumed := [word for word in words if word.startswith("resume=")]:
        assert all(word.startswith(("resume=", "output_dir=")) for word in words), resumed
        return
    given = overrides(words)
    sweeps = {o.get_key_element(): list(o.sweep_string_iterator()) for o in given if o.is_discrete_sweep()}
    for place in (0, -1) if sweeps else (0,):
        chosen = [
            f"{o.get_key_element()}={sweeps[o.get_key_element()][place]}" if o.is_discrete_sweep() else o.input_line
            for o in given
            if o.is_discrete_sweep() or not o.is_sweep_override()  # a range to search in has no single values
        ]
        with initialize_config_dir(str(config_folder()), version_base="1.3"):
            compose("config", [word for word in chosen if word], return_hydra_config=True)


def is_read(main: Callable[[list[str]], None], words: list[str]) -> None:
    """The parser takes it: what stops it is what the arguments name, which is not here."""
    with pytest.raises(SystemExit) as left:
        main(words)
    assert str(left.value.code).startswith("error:"), left.value.code


def reproduces(words: list[str]) -> None:
    assert words[0] in targets()
    assert all("=" in word for word in words[1:])


def has_folders(number: int) -> Callable[[list[str]], None]:
    def check(words: list[str]) -> None:
        assert len(words) == number

    return check


def names_a_run(words: list[str]) -> None:
    given = OmegaConf.from_cli(words)
    assert "run" in given


CHECKS: Mapping[str, Callable[[list[str]], object]] = {
    "saltext.run": composes,
    "saltext.evaluate": names_a_run,
    "saltext.predict": lambda words: is_read(predict.main, [*words, "--run", "nowhere"]),
    "saltext.export": lambda words: is_read(export.main, words),
    "saltext.score": lambda words: is_read(score.main, words),
    "saltext.report": report.requested,
    "saltext.demo": parse,
    "saltext.reproduce": reproduces,
    "saltext.reporting.collect": has_folders(1),
    "saltext.reporting.compare": has_folders(2),
    "saltext.reporting.study": lambda words: None,  # a study's name and folders
    "saltext.reporting.marked_tables": lambda words: None,  # files
}


def test_there_are_commands() -> None:
    assert {"saltext.run", "saltext.predict", "saltext.report"} <= {module for module, *_ in COMMANDS}


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: " ".join(command)[:80])
def test_a_command_that_is_shown_is_one_that_its_program_takes(
    command: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, *words = command
    monkeypatch.chdir(tmp_path)
    assert module in CHECKS, f"{COMMANDS[command]}: no check for {module}; add one"
    if not words or "--help" in words:
        return
    try:
        CHECKS[module](words)
    except (ConfigError, HydraException) as error:
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
    here = tmp_path_factory.mktemp("workplace")
    for name in ("FOLDER", "A", "B"):
        shutil.copytree(smoke_run.root, here / "outputs" / "run" / name)
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    for name in ("street.jpg", "photo.jpg", "photos/hall.png", "more/deep/down.png"):
        (here / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(here / name)
    for pair in read_index(generate(here / "data" / "sjtu-tis", images=6, size_range=(96, 128))):
        (here / "PRED_DIR").mkdir(exist_ok=True)
        shutil.copyfile(pair.density, here / "PRED_DIR" / f"{pair.name}.png")
    (here / "texts.csv").write_text("image,text\nstreet.jpg,the white lamps\nphoto.jpg,a dog\n", encoding="utf-8")
    return here


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
    "trainer.devices=", "resume=", "hydra", "logger",  # test_run.py, test_jobs.py, test_sweep.py, test_tracking.py
)  # fmt: skip
_OF_PLACE_AND_SIZE = ("data.root=", "preset=", "data=")  # here they are those of the smoke preset


def small_runs() -> dict[tuple[str, ...], str]:
    """Overrides of the single runs that the pages show, of a sweep its last job -> the page that shows it first."""
    found: dict[tuple[str, ...], str] = {}
    for (module, *words), name in COMMANDS.items():
        if module == "saltext.run" and not {"--help", "--cfg"} & {*words}:
            chosen = [word for word in words if word not in _FLAGS and not word.startswith(_OF_PLACE_AND_SIZE)]
            if not any(word.startswith(_ELSEWHERE) for word in words):
                found.setdefault(tuple(chosen), name)
    return found


RUNS = small_runs()


DEFAULT_MODEL = compose_run([]).hydra.runtime.choices.model
"""The model of a command that names none; the smoke preset has another."""


@pytest.mark.parametrize("words", [words for module, *words in COMMANDS if "data=own" in words], ids=" ".join)
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
    small = [word for word in (*QUICK, "data.images=24") if word.partition("=")[0] not in given]
    folder = ran(RunFolder(outputs / "_".join(["run", *words])), *small, f"output_dir={outputs}", *model, *last)
    assert folder.result.stat().st_size > 0
    assert len(read_scores(folder.scores)) > 0
    drop_weights(folder)


def called(main: Callable[[], None], words: list[str]) -> None:
    """A program that reads its arguments from the command line alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["saltext", *words])
        main()


PROGRAMS: Mapping[str, Callable[[list[str]], object]] = {
    "saltext.predict": lambda words: predict.main([*words, "--device", "cpu"]),
    "saltext.export": export.main,
    "saltext.score": score.main,
    "saltext.evaluate": lambda words: called(evaluate.main, words),
    "saltext.report": lambda words: called(report.main, words),
    "saltext.reporting.collect": lambda words: called(collect.main, words),
    "saltext.reporting.compare": lambda words: called(compare.main, words),
}
_IN_THE_WORKPLACE = ("outputs/run/", "data/sjtu-tis")
_NOT_THERE = ("image_1800/", "--stage", "/elsewhere/", "trainer.devices=2")  # its run has one stage and one process


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
    PROGRAMS[module](words)
    assert capsys.readouterr().out


def test_the_pages_of_metrics_are_those_of_the_metrics() -> None:
    assert {Path(name).stem for name in PAGES if name.startswith("docs/metrics/")} == {"index", *METRICS}
