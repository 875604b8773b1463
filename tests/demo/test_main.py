"""The command line."""

import sys
import tempfile
from pathlib import Path

import pytest

from saltext.demo.__main__ import main


@pytest.fixture(autouse=True)
def _the_environment_is_left_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    for name in ("TMPDIR", "GRADIO_TEMP_DIR", "GRADIO_ANALYTICS_ENABLED", "NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "")  # what is set in its place is taken back


def refusal(*arguments: str) -> str:
    with pytest.raises(SystemExit) as raised:
        main(arguments)
    return str(raised.value.code)


@pytest.mark.parametrize("word", ["--help", "-h"])
def test_the_help_shows_examples_and_limits(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    main([word])
    said = capsys.readouterr().out
    assert "python -m saltext.demo run=outputs/run/FOLDER" in said
    for key in ("port=N", "max_mib=N", "max_pixels=N", "timeout=SECONDS", "examples=PATH"):
        assert key in said


def test_a_mistake_gets_one_clear_error() -> None:
    assert refusal("prot=1").startswith("error: The command line cannot be used:")


def test_without_the_extra_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    for name in ("saltext.demo.page", "saltext.demo.server"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    assert 'pip install "saltext[demo]"' in refusal("run=nowhere")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run=nowhere"], "nowhere is not there"),
        (["examples=nowhere"], "examples=nowhere cannot be used"),
    ],
)
def test_what_cannot_be_served_is_said_and_nothing_is_left(arguments: list[str], said: str, tmp_path: Path) -> None:
    pytest.importorskip("gradio", reason="the extra demo is not installed")
    assert said in refusal(*arguments)
    assert not list((tmp_path / "temporary").iterdir())
