"""The leaderboard as Markdown and as a page."""

import re
from pathlib import Path

from saltext.reporting import leaderboard_page
from saltext.results.leaderboard import read
from tests.conftest import ROOT

KEPT = ROOT / "experiments" / "leaderboard"


def test_the_kept_leaderboard_is_what_the_kept_scores_give(tmp_path: Path) -> None:
    files = [Path("experiments/leaderboard/rows.yaml")]
    found = read([ROOT / file for file in files])
    page = leaderboard_page.write(found, files, tmp_path)
    again = "write it again: saltext leaderboard experiments/leaderboard/rows.yaml --out experiments/leaderboard"
    for name in ("leaderboard.md", "leaderboard.csv"):
        assert (tmp_path / name).read_text() == (KEPT / name).read_text(), again
    html = page.read_text()
    assert "<svg" in html
    text = (tmp_path / "leaderboard.md").read_text()
    for task in ("pure", "whole", "general", "salient", "non_salient"):
        part = text.partition(f"**{task.replace('_', '_')}**")[2].partition("\n\n**")[0]
        lines = part.splitlines()
        assert re.search(r"\| model \| protocol \| images \(whole folds\) \| CC ↑ \| SIM ↑", part)
        assert any(line.startswith("| GroundedGaze | the four other folds |") for line in lines)
        assert any("published | protocol not comparable (TranBlend paper)" in line for line in lines)
        assert any(line.startswith("| TGSal, published | protocol not comparable |") for line in lines)
        assert any("not all folds: 80 % of the images" in line and "(0 of 5)" in line for line in lines)
