"""What a shell gets when TAB is pressed, by the protocols that Typer's scripts for bash and zsh speak."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from saltext.commands.app import main
from saltext.runs.composition import completions
from tests.conftest import ROOT


@pytest.fixture
def answered(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> "Answered":
    return Answered(monkeypatch, capsys)


class Answered:
    """Asks as a shell's script does."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch, self._capsys = monkeypatch, capsys

    def _lines(self, **variables: str) -> list[str]:
        for name, value in variables.items():
            self._monkeypatch.setenv(name, value)
        self._capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([])
        assert not ended.value.code
        said = self._capsys.readouterr()
        assert said.err == ""
        return said.out.splitlines()

    def in_bash(self, *words: str) -> list[str]:
        """Words as bash splits them; the cursor is behind the last one."""
        return self._lines(
            _SALTEXT_COMPLETE="complete_bash", COMP_WORDS="\n".join(words), COMP_CWORD=str(len(words) - 1)
        )

    def in_zsh(self, line: str) -> str:
        return "\n".join(self._lines(_SALTEXT_COMPLETE="complete_zsh", _TYPER_COMPLETE_ARGS=line))


def test_commands_and_options_are_completed(answered: Answered) -> None:
    assert answered.in_bash("saltext", "tr") == ["train"]
    assert answered.in_bash("saltext", "data", "") == ["check"]
    assert answered.in_bash("saltext", "predict", "--te") == ["--text", "--texts"]
    assert '"train":' in answered.in_zsh("saltext tr")
    assert '"--text":' in answered.in_zsh("saltext predict --te")


def test_a_group_of_the_configuration_is_completed(answered: Answered) -> None:
    assert answered.in_bash("saltext", "train", "mod") == ["model.", "model/", "model="]
    assert '"model."\n"model/"\n"model="' in answered.in_zsh("saltext train mod")


@pytest.mark.parametrize("words", [("model", "="), ("model", "=", "")])
def test_bash_gets_choices_without_what_it_has_already(answered: Answered, words: tuple[str, ...]) -> None:
    assert {"tranblend", "grounded_gaze"} <= {*answered.in_bash("saltext", "train", *words)}


def test_bash_s_three_words_of_one_argument_are_one(answered: Answered) -> None:
    assert answered.in_bash("saltext", "train", "model", "=", "tranb") == ["tranblend"]
    assert answered.in_bash("saltext", "train", "seed", "=", "1", "+experiment", "=", "fo") == ["folds"]
    assert "checkpoint=" in answered.in_bash("saltext", "train", "model", "=", "tranblend", "checkp")


def test_zsh_gets_whole_arguments(answered: Answered) -> None:
    assert '"model=tranblend"' in answered.in_zsh("saltext train model=tranb")
    assert '"model=grounded_gaze"' in answered.in_zsh("saltext train seed=1 model=")
    assert '"model=' not in answered.in_zsh("saltext train seed=1 data=")


def test_keys_are_those_of_the_arguments_before(answered: Answered) -> None:
    assert "model.blend." in completions(["model=tranblend"], "model.")
    assert "model.blend." not in completions([], "model.")
    assert "seed=" in completions(["model=no_such_model", "model/bl"], "see")  # which the command will refuse
    assert "seed=" in completions(["seed=0,1", "-m"], "see")


def test_a_variant_is_completed_where_the_experiment_before_it_has_some() -> None:
    assert completions(["+experiment=loss_ablation"], "variant=without_m") == ["variant=without_mse"]
    assert completions(["+experiment=loss_ablation"], "variant=paper,without_k") == ["variant=paper,without_kl"]
    assert completions([], "variant=") == []


@pytest.mark.parametrize(
    ("begun", "found"),
    [
        ("trainer.max_e", ["trainer.max_epochs=", "trainer.max_epochs=5"]),
        ("trainer.det", ["trainer.deterministic=", "trainer.deterministic=false"]),
        ("checkp", ["checkpoint=", "checkpoint=null"]),
        ("data.tasks=", ["data.tasks=[pure,whole,general,salient,non_salient]"]),
        ("seed=0,", ["seed=0,42"]),
        ("model=clip_salgan,transa", ["model=clip_salgan,transalnet"]),
        ("+debug=f", ["+debug=fast_dev_run"]),
        ("resume=la", ["resume=latest"]),
        ("no_such_key=", []),
        ("no.such", []),
    ],
)
def test_what_goes_on_is_never_the_only_candidate(begun: str, found: list[str]) -> None:
    assert completions([], begun) == found


def test_files_are_completed_where_a_key_takes_a_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "maps" / "a").mkdir(parents=True)
    (tmp_path / "maps" / ".hidden").mkdir()
    assert completions([], "checkpoint=ma") == ["checkpoint=maps/", "checkpoint=maps/a/"]
    assert completions([], "seed=ma") == []


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_bash_and_typer_s_script_for_it_agree_with_us(tmp_path: Path) -> None:
    program = tmp_path / "saltext"
    program.write_text(f'#!/bin/sh\ncd "{ROOT}" && exec "{sys.executable}" -m saltext "$@"\n')
    program.chmod(0o755)
    named = {**os.environ, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}  # whatever started this test
    script = subprocess.run([program, "--show-completion", "bash"], capture_output=True, text=True, env=named)
    ask = (
        f"PATH={tmp_path}:$PATH; COMP_WORDS=(saltext train model = tranb); COMP_CWORD=4; _saltext_completion saltext; "
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    text = script.stdout or ""
    assert "_saltext_completion" in text, script.stderr
    done = subprocess.run(["bash", "-c", f"{text}\n{ask}"], capture_output=True, text=True)
    assert done.stdout == "tranblend\n", done.stderr
