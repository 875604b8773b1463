"""``saltext leaderboard``."""

from pathlib import Path

import pandas as pd
import pytest

from tests.command_line import here, refused


def test_score_files_become_one_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, cc in (("one", 0.5), ("two", 0.6)):
        labels = {"image_id": ["1", "2"], "task": "pure", "model": name, "protocol": "standard"}
        (tmp_path / name).mkdir()
        pd.DataFrame({**labels, "cc": [cc, cc + 0.1]}).to_csv(
            tmp_path / name / "scores.csv", index=False, lineterminator="\n"
        )
    files = [tmp_path / name / "scores.csv" for name in ("one", "two")]
    here("leaderboard", *files, "--out", tmp_path / "out")
    assert capsys.readouterr().out == f"{tmp_path / 'out' / 'leaderboard.html'}\n"
    table = (tmp_path / "out" / "leaderboard.md").read_text()
    assert table.index("| two | not stated | 2 | 0.650") < table.index("| one | not stated | 2 | 0.550")
    assert {path.name for path in (tmp_path / "out").glob("leaderboard.*")} == {
        "leaderboard.md",
        "leaderboard.html",
        "leaderboard.csv",
    }


def test_a_file_of_another_kind_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(capsys, "leaderboard", tmp_path / "maps.png")
    assert "files that are neither .yaml, .csv nor .csv.gz (1)" in said
