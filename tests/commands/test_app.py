"""What all commands have in common: names, help, errors, versions, and the first screen."""

import io
import subprocess
import sys
from pathlib import Path

import pytest

import saltext
from saltext.console import MISTAKE
from tests.command_line import here, refused

COMMANDS = (
    "train",
    "evaluate",
    "predict",
    "score",
    "report",
    "compare",
    "sweep",
    "reproduce",
    "export",
    "leaderboard",
    "demo",
    "cache",
)


def test_saltext_alone_lists_every_command_with_an_example_and_where_data_is_looked_for(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SALTEXT_DATA", "no/such/folder")
    here()
    said = capsys.readouterr().out
    for name in (*COMMANDS, "data check", "folds export"):
        assert f"saltext {name}" in said
    assert "no/such/folder: not found" in said
    assert len(said.splitlines()) <= 24, "one screen"


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "train"])
def test_every_help_has_an_example(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    here(name, "--help")
    assert f"\n  saltext {name}" in capsys.readouterr().out


def test_a_misspelt_command_or_option_is_answered_with_the_near_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert "Did you mean 'predict'?" in refused(capsys, "predcit")
    assert "--metric" in refused(capsys, "score", "--metricc", "cc", "a", "b")


def test_a_mistake_is_one_line_and_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (("evaluate", "no/run"), ("export", "no/run", "x"), ("sweep", "no/run"), ("compare", "no/run"),
                      ("report", "no/run"), ("reproduce", "table22"), ("data", "check", "no/data"),
                      ("folds", "export", "no/data")):  # fmt: skip
        said = refused(capsys, *arguments)
        assert said.startswith("error: "), arguments
        assert len(said.splitlines()) == 1, arguments


@pytest.mark.parametrize(
    "words",
    [*((name, "--没有") for name in COMMANDS if name != "train"), ("data", "check", "--没有"),
     ("folds", "export", "--没有"), ("train", "没有=1"), ("evaluate", "没有"), ("没有",)],
    ids=" ".join,
)  # fmt: skip
def test_every_command_answers_on_a_terminal_that_lacks_its_characters(
    words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = {name: io.TextIOWrapper(io.BytesIO(), encoding="latin-1") for name in ("stdout", "stderr")}
    for name, stream in shown.items():
        monkeypatch.setattr(sys, name, stream)
    with pytest.raises(SystemExit) as ended:
        here(*words)
    assert ended.value.code == MISTAKE
    shown["stderr"].seek(0)
    assert "??" in shown["stderr"].read()


def test_every_module_that_can_be_started_sets_up_its_streams() -> None:
    package = Path(saltext.__file__).parent
    texts = {path.relative_to(package).as_posix(): path.read_text("utf-8") for path in package.rglob("*.py")}
    started = {name: text for name, text in texts.items() if '__name__ == "__main__"' in text}
    del started["system/watched.py"]  # it starts another one of them, and says nothing
    assert len(started) >= 3
    for name, text in started.items():
        assert "    set_up_streams()\n" in text or "from saltext.commands.app import main" in text, name


def test_the_version_comes_with_those_of_the_libraries_and_the_device(capsys: pytest.CaptureFixture[str]) -> None:
    here("--version")
    said = capsys.readouterr().out
    assert said.startswith("saltext 0.")
    for line in ("torch 2.", "lightning 2.", "device: "):
        assert f"\n{line}" in said


HEAVY = (
    "torch",
    "lightning",
    "torchmetrics",
    "timm",
    "transformers",
    "albumentations",
    "matplotlib",
    "pandas",
    "hydra",
)


def test_no_help_imports_a_heavy_library() -> None:
    code = (
        "import sys\n"
        "from saltext.commands.app import main\n"
        "for words in ([], ['--help'], ['predict', '--help'], ['score', '--help'], ['nothing']):\n"
        "    try: main(words)\n"
        "    except SystemExit: pass\n"
        f"print(sorted(set({HEAVY!r}) & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[-1] == "[]"


def test_what_predicts_scores_or_shows_imports_no_library_of_training() -> None:
    modules = "prediction.results", "runs.load", "evaluation.score_folder", "runs.export", "runs.sweep"
    modules += "runs.reproduce", "runs.report", "reporting.run_files", "reporting.study_page"
    heavy = sorted({*HEAVY, "scipy", "openpyxl", "wandb"} - {"torch", "pandas", "hydra"})
    code = (
        f"import sys, {', '.join(f'saltext.{module}' for module in modules)}\n"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_python_m_saltext_is_the_same() -> None:
    said = [
        subprocess.run([*command, "score"], capture_output=True, text=True)
        for command in ([sys.executable, "-m", "saltext"], [str(sys.executable).replace("python", "saltext")])
    ]
    assert said[0].stderr == said[1].stderr
    assert [one.returncode for one in said] == [2, 2]
