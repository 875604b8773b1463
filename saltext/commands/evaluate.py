"""``saltext evaluate``."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from saltext.system.environment import restart_with_environment


def evaluate(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="folder of a finished run")],
    changes: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE ...]", help="overrides of its configuration, such as the data's new folder"),
    ] = None,
    weights: Annotated[
        Literal["chosen", "last"], typer.Option(help="the checkpoint that the run itself tested, or its last epoch")
    ] = "chosen",
    trust: Annotated[
        bool,
        typer.Option(
            "--trust", help="the folder is yours, or of somebody you trust: build classes of its own, follow its paths"
        ),
    ] = False,
) -> None:
    """Score a run again, from its saved configuration and checkpoint alone.

    Writes scores and tables to RUN/evaluation, prints the tables and the maximum difference from the original scores.

    \b
    saltext evaluate outputs/run/FOLDER
    saltext evaluate outputs/run/FOLDER data.root=/elsewhere/sjtu-tis data.eval_batch_size=8
    saltext evaluate outputs/run/FOLDER trainer.devices=2 trainer.strategy=ddp
    """
    restart_with_environment(trains=True)
    from omegaconf import OmegaConf

    from saltext.runs import preflight
    from saltext.runs.evaluate import evaluate_and_write
    from saltext.runs.launch import launch, processes
    from saltext.runs.saved import configuration
    from saltext.system.run_folder import RunFolder
    from saltext.system.watched import is_launched

    folder = RunFolder.existing(str(run))
    overrides = OmegaConf.from_cli(changes or [])
    configured = configuration(folder, overrides, trust)
    preflight.check_changes(configured.cfg, overrides)
    ranks = processes(configured.cfg)
    options = [f"--weights={weights}", *(["--trust"] if trust else [])]
    if ranks > 1 and not is_launched():
        raise typer.Exit(launch("saltext", ["evaluate", str(run), *(changes or []), *options], ranks))
    evaluate_and_write(folder, weights, configured)
