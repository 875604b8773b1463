"""The command ``saltext`` (also ``python -m saltext``), with all its subcommands."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from saltext.commands import (
    cache,
    compare,
    data,
    demo,
    evaluate,
    export,
    folds,
    leaderboard,
    predict,
    report,
    reproduce,
    score,
    sweep,
    train,
)
from saltext.commands.completion import for_bash
from saltext.console import ending_in_words, set_up_streams
from saltext.system.garbage import leave_to_the_system

app = typer.Typer(
    name="saltext",
    help="Where do people look in an image after reading a sentence about it?",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)

app.command(
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []},
    add_help_option=False,
)(train.train)
for command in (
    evaluate.evaluate,
    predict.predict,
    score.score,
    report.report,
    compare.compare,
    sweep.sweep,
    reproduce.reproduce,
    export.export,
    demo.demo,
    leaderboard.leaderboard,
    cache.cache,
):
    app.command()(command)
app.add_typer(data.app, name="data")
app.add_typer(folds.app, name="folds")

_EXAMPLES = (
    ("train", "train a model and score it", "saltext train preset=smoke"),
    ("predict", "maps of your own photo", 'saltext predict photo.jpg --text "the white lamps"'),
    ("score", "score anybody's maps", "saltext score MAPS data/sjtu-tis"),
    ("evaluate", "score a run again, also on other data", "saltext evaluate outputs/run/FOLDER"),
    ("report", "one page about a run", "saltext report outputs/run/FOLDER"),
    ("compare", "tables and differences of several runs", "saltext compare outputs/run/A outputs/run/B"),
    ("sweep", "state and table of a sweep's jobs", "saltext sweep outputs/blend_variants"),
    ("reproduce", "a paper's table or figure", "saltext reproduce table2"),
    ("export", "a trained model to pass on", "saltext export outputs/run/FOLDER my_model"),
    ("data check", "is this data set right?", "saltext data check data/sjtu-tis"),
    ("folds export", "the fixed folds as a file", "saltext folds export data/sjtu-tis"),
    ("leaderboard", "one table of many models", "saltext leaderboard experiments/leaderboard/rows.yaml"),
    ("cache", "what the caches hold", "saltext cache"),
    ("demo", "a page in your browser", "saltext demo"),
)


@app.callback(invoke_without_command=True)
def start(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Show versions and device, and exit.")] = False,
) -> None:
    """Where do people look in an image after reading a sentence about it?"""
    if version:
        _show_versions()
        raise typer.Exit
    if context.invoked_subcommand is None:
        _show_commands()


def _show_commands() -> None:
    print("saltext: where do people look in an image after reading a sentence about it?\n")
    widths = [max(len(row[column]) for row in _EXAMPLES) for column in range(2)]
    for name, purpose, example in _EXAMPLES:
        print(f"  {name:{widths[0]}}  {purpose:{widths[1]}}  {example}")
    root = Path(os.environ.get("SALTEXT_DATA", "data/sjtu-tis"))  # as conf/data/sjtu_tis.yaml says
    state = "found" if root.is_dir() else "not found; set SALTEXT_DATA=DIR or data.root=DIR to its folder"
    print(f"\nSJTU-TIS in {root}: {state}.")
    print("saltext COMMAND --help describes a command; saltext train --help lists the configuration.")


def _show_versions() -> None:
    from importlib.metadata import version

    import torch

    from saltext import __version__

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} threads"
    print(f"saltext {__version__}")
    print(f"Python {sys.version.split()[0]}")
    for package in ("torch", "lightning", "hydra-core", "torchmetrics", "transformers", "timm", "open_clip_torch"):
        print(f"{package} {version(package)}")
    print(f"device: {device}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the console script.

    Args:
        arguments: Those of the command line by default.

    Raises:
        SystemExit: Always, with the command's status.
    """
    if arguments is None:
        leave_to_the_system()
    set_up_streams()
    with ending_in_words(), for_bash():
        app(arguments, prog_name="saltext")
