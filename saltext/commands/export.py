"""``saltext export``."""

from pathlib import Path
from typing import Annotated

import typer


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="folder of a run that has trained at least an epoch")],
    to: Annotated[Path, typer.Argument(metavar="DIR", help="folder to make")],
    stage: Annotated[str | None, typer.Option(metavar="NAME", help="which training of a run of several stages")] = None,
    single: Annotated[
        bool, typer.Option("--single", help="keep weights in single precision, which is twice as large")
    ] = False,
    trust: Annotated[
        bool, typer.Option("--trust", help="pass on classes that the run names and conf/ does not")
    ] = False,
) -> None:
    """A trained model to pass on: what it needs to predict and to be scored, and no more.

    Writes the configuration (without paths of this machine), the split (so that nobody takes a training image for a
    test image), and the tested weights: no optimizer, no record. The folder can be given wherever a run's can. Prints
    the files' SHA-256.

    \b
    saltext export outputs/run/FOLDER my_model
    saltext export outputs/run/FOLDER my_model --stage salient
    """
    import hashlib

    from saltext.errors import ConfigError
    from saltext.runs.export import export

    try:
        made = export(run, to, stage, half=not single, trust=trust)
    except RuntimeError as error:  # a full disk, as torch says it
        raise ConfigError(str(error)) from error
    for file in (made.config, made.split, made.best):
        print(f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file}  {file.stat().st_size / 1e6:.1f} MB")
