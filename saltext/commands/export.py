"""``saltext export``."""

from pathlib import Path
from typing import Annotated

import typer


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="folder of a run that has trained at least an epoch")],
    to: Annotated[Path, typer.Argument(metavar="DIR", help="new folder to write")],
    stage: Annotated[str | None, typer.Option(metavar="NAME", help="which training of a run of several stages")] = None,
    single: Annotated[
        bool, typer.Option("--single", help="keep weights in single precision, which is twice as large")
    ] = False,
    trust: Annotated[
        bool, typer.Option("--trust", help="trust the run: keep classes that it names and conf/ does not")
    ] = False,
) -> None:
    """Export a trained model: only what is needed to predict and to be scored.

    Writes the configuration (without paths of this machine), the split (so that training images are not taken for test
    images), and the tested weights, without optimizer state and logs. Other commands accept the folder in place of a
    run's. Prints the files' SHA-256.

    \b
    saltext export outputs/run/FOLDER my_model
    saltext export outputs/run/FOLDER my_model --stage salient
    """
    import hashlib

    from saltext.errors import ConfigError
    from saltext.runs.export import export

    try:
        exported = export(run, to, stage, half=not single, trust=trust)
    except RuntimeError as error:  # torch raises it for a full disk
        raise ConfigError(str(error)) from error
    for file in (exported.config, exported.split, exported.best):
        print(f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file}  {file.stat().st_size / 1e6:.1f} MB")
