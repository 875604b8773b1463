"""``saltext demo`` on the command line; the page has tests of its own."""

import os
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest

from saltext.commands.demo import _LARGEST
from saltext.demo.settings import Settings
from saltext.errors import ConfigError
from saltext.images import MAX_PIXELS
from saltext.system.extras import install_command
from tests.command_line import here, refused


@pytest.fixture(autouse=True)
def _an_own_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))


def test_nothing_given_means_this_machine_alone_and_bounds_on_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Settings] = []
    monkeypatch.setattr("saltext.demo.start.start", lambda settings, folder: given.append(settings))
    here("demo")
    here("demo", "outputs/run/2026=1", "--port", 0, "--max-mib", 0.5, "--timeout", 2.5, "--examples", "a b")
    assert given[0] == Settings(None, None, None, None, "127.0.0.1", 7860, 20.0, 16_000_000, 60.0, False)
    assert given[1] == Settings(run="outputs/run/2026=1", port=0, max_mib=0.5, timeout=2.5, examples=Path("a b"))


@pytest.mark.parametrize("ends", [None, KeyboardInterrupt(), ConfigError("no such run")], ids=str)
def test_it_writes_into_one_folder_and_leaves_the_process_as_it_was(
    ends: BaseException | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Path] = []

    def serve(settings: Settings, folder: Path) -> None:
        assert tempfile.gettempdir() == os.environ["TMPDIR"] == str(folder)
        assert folder.parent == tmp_path / "temporary"
        seen.append(folder)
        if ends:
            raise ends

    monkeypatch.setattr("saltext.demo.start.start", serve)
    before = dict(os.environ)
    with suppress(ConfigError, SystemExit):
        here("demo")
    assert dict(os.environ) == before
    assert tempfile.gettempdir() == str(tmp_path / "temporary")
    assert not seen[0].exists()


@pytest.mark.parametrize("word", ["--help", "-h"])
def test_the_help_shows_examples_and_limits(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    here("demo", word)
    said = capsys.readouterr().out
    assert "saltext demo outputs/run/FOLDER" in said
    for option in ("--port", "--max-mib", "--max-pixels", "--timeout", "--examples"):
        assert option in said


@pytest.mark.parametrize(
    ("option", "value"),
    [("port", "70000"), ("port", "-1"), ("port", "eighty"), ("timeout", "nan"), ("timeout", "0"), ("timeout", "-1"),
     ("max-pixels", "0"), ("max-pixels", "99999999999"), ("max-mib", "inf")],
)  # fmt: skip
def test_a_value_out_of_range_is_named(option: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert f"'--{option}'" in refused(capsys, "demo", f"--{option}={value}")


def test_the_largest_picture_is_that_of_the_one_reader() -> None:
    assert _LARGEST == MAX_PIXELS


def test_a_misspelt_option_is_answered_with_the_near_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert "--port" in refused(capsys, "demo", "--prot", "1")


def test_without_the_extra_it_is_said_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    assert install_command("demo") in refused(capsys, "demo", "nowhere")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["nowhere"], "nowhere is not there"), (["--examples", "nowhere"], "--examples nowhere cannot be used")],
)
def test_what_cannot_be_served_is_said_and_nothing_is_left(
    arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("gradio", reason="the extra demo is not installed")
    assert said in refused(capsys, "demo", *arguments)
    assert not list((tmp_path / "temporary").iterdir())
