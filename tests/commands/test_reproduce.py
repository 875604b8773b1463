"""``saltext reproduce``: where the study's page goes, and arguments that would have no effect."""

from pathlib import Path

import pytest

from saltext.results.study import studies_folder
from tests.command_line import here

KEPT = studies_folder() / "embedded"


def test_a_study_from_kept_scores_is_written_below_the_output_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    here("reproduce", "embedded", "--from", KEPT)
    page = Path("outputs/reproduce/embedded/results.html")
    assert capsys.readouterr().out.split() == [str(page)]
    assert page.is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["outputs"]
    here("reproduce", "embedded", "--from", KEPT, "--out", "elsewhere")
    assert Path("elsewhere/results.md").read_text() == page.with_name("results.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["embedded", "data.root=x", "--from", KEPT], "expected no KEY=VALUE, got data.root=x"),
        (["--from", KEPT], "expected the NAME of a study, got none"),
        (["embedded", "--out", "elsewhere"], "--out: expected only with --from"),
    ],
)
def test_arguments_without_an_effect_are_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str | Path],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        here("reproduce", *arguments)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err
    assert not any(tmp_path.iterdir())
