"""``saltext report``."""

from pathlib import Path
from typing import Annotated

import typer


def report(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="folder of a run, of two, or one with several runs below it")
    ],
    data: Annotated[Path | None, typer.Option(metavar="DIR", help="folder of the data set, if it has moved")] = None,
    predict: Annotated[bool, typer.Option(help="let the networks predict the maps that the page shows again")] = True,
    trust: Annotated[
        bool,
        typer.Option(
            "--trust",
            help="the folders are yours, or of somebody you trust: build classes of their own, follow their paths",
        ),
    ] = False,
) -> None:
    """One page about a run, a sweep, or two runs side by side, readable without saltext.

    Writes RUN/report.html: findings, one image under two texts, tables, best and worst pairs, calibration of the
    density, scores pair by pair, learning curves, provenance, glossary.

    \b
    saltext report outputs/run/FOLDER
    saltext report outputs/run/A outputs/run/B           A and B side by side
    saltext report outputs/blend_variants                all runs below a folder
    saltext report outputs/run/FOLDER --no-predict       without predicting anything again
    """
    if len(runs) > 2:
        raise typer.BadParameter(f"expected the folder of one run or of two, got {len(runs)}")
    from omegaconf import OmegaConf

    from saltext.console import quiet_libraries
    from saltext.runs.report import Request, write

    quiet_libraries()
    changes = OmegaConf.create({} if data is None else {"data": {"root": str(data)}})
    print(write(Request(runs[0], runs[1] if runs[1:] else None, predict, changes, trust)))
