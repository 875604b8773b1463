"""``saltext evaluate``."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from saltext.system.environment import restart_with_environment


def evaluate(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="folder of a finished run")],
    changes: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE ...]", help="changes of its configuration, such as where the data lies now"),
    ] = None,
    weights: Annotated[
        Literal["chosen", "last"], typer.Option(help="what the run itself tested, or its last epoch")
    ] = "chosen",
    trust: Annotated[
        bool,
        typer.Option(
            "--trust", help="the folder is yours, or of somebody you trust: build classes of its own, follow its paths"
        ),
    ] = False,
) -> None:
    """Score a run again, from its saved configuration and checkpoint alone.

    Writes scores and tables to RUN/evaluation, prints the tables, and says how far the scores are from the run's own.

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
    given = OmegaConf.from_cli(changes or [])
    found = configuration(folder, given, trust)
    preflight.check_changes(found.cfg, given)
    ranks = processes(found.cfg)
    own = [f"--weights={weights}", *(["--trust"] if trust else [])]
    if ranks > 1 and not is_launched():
        raise typer.Exit(launch("saltext", ["evaluate", str(run), *(changes or []), *own], ranks))
    evaluate_and_write(folder, weights, found)
