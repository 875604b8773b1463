"""What all commands have in common: names, help, errors, versions, and the first screen."""

import subprocess
import sys

import pytest

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
    "demo",
    "cache",
)


def test_saltext_alone_lists_every_command_with_an_example_and_where_data_is_looked_for(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SALTEXT_DATA", "no/such/folder")
    here()
    said = capsys.readouterr().out
    for name in (*COMMANDS, "data check"):
        assert f"saltext {name}" in said
    assert "no/such/folder, which is not there" in said
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
                      ("report", "no/run"), ("reproduce", "table22"), ("data", "check", "no/data")):  # fmt: skip
        said = refused(capsys, *arguments)
        assert said.startswith("error: "), arguments
        assert len(said.splitlines()) == 1, arguments


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


def test_python_m_saltext_is_the_same() -> None:
    said = [
        subprocess.run([*command, "score"], capture_output=True, text=True)
        for command in ([sys.executable, "-m", "saltext"], [str(sys.executable).replace("python", "saltext")])
    ]
    assert said[0].stderr == said[1].stderr
    assert [one.returncode for one in said] == [2, 2]
