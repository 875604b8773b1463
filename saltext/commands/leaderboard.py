"""``saltext leaderboard``."""

from pathlib import Path
from typing import Annotated

import typer


def leaderboard(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILES",
            help="score tables (scores.csv, scores.csv.gz) of saltext score, runs or studies, and YAML files that "
            "describe rows, such as experiments/leaderboard/rows.yaml",
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="folder to write into")] = Path("outputs/leaderboard"),
) -> None:
    """One table of many models by condition, with 95 % intervals, from kept score files alone.

    Writes leaderboard.md, leaderboard.html and leaderboard.csv. CC stands first; text ablation and text-swap test are
    shown where a text_ablation.csv lies beside a file. A row that lacks images says so, and published values are
    marked as not comparable. docs/leaderboard.md has the protocol.

    \b
    saltext leaderboard experiments/leaderboard/rows.yaml
    saltext leaderboard experiments/leaderboard/rows.yaml mine/scores.csv      with your model
    """
    from saltext.reporting import leaderboard_page
    from saltext.results.leaderboard import read

    print(leaderboard_page.write(read(files), files, out))
