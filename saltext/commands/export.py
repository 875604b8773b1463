"""``saltext export``."""

from pathlib import Path
from typing import Annotated

import typer

from saltext.commands.options import StageName


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="folder of a run that has trained at least an epoch")],
    to: Annotated[Path, typer.Argument(metavar="DIR", help="new folder to write")],
    stage: StageName = None,
    single: Annotated[
        bool, typer.Option("--single", help="keep weights in single precision, which is twice as large")
    ] = False,
    self_contained: Annotated[
        bool,
        typer.Option("--self-contained", help="with the frozen weights of packages, which then need not be installed"),
    ] = False,
    push: Annotated[
        str | None,
        typer.Option(metavar="ORG/NAME", help="also push it to this repository on the Hugging Face hub (HF_TOKEN)"),
    ] = None,
    private: Annotated[
        bool, typer.Option("--private", help="with --push: nobody else may see a new repository")
    ] = False,
    license: Annotated[
        str | None, typer.Option(metavar="ID", help="the model's licence, for its card, such as mit")
    ] = None,
    trust: Annotated[
        bool, typer.Option("--trust", help="trust the run: keep classes that it names and conf/ does not")
    ] = False,
) -> None:
    """Export a trained model: only what is needed to predict and to be scored.

    Writes the configuration (without paths of this machine), the split (so that training images are not taken for test
    images), the tested weights as safetensors, without optimizer state and logs, and a model card with the scores.
    Other commands accept the folder in place of a run's. Prints the files' SHA-256.

    \b
    saltext export outputs/run/FOLDER my_model
    saltext export outputs/run/FOLDER my_model --stage salient
    saltext export outputs/run/FOLDER my_model --self-contained
    saltext export outputs/run/FOLDER my_model --push org/model --license mit
    """
    if private and push is None:
        raise typer.BadParameter("--private goes with --push ORG/NAME")
    import hashlib

    from saltext.runs import publish
    from saltext.runs.export import export

    if push is not None:
        publish.check_repository(push)
    exported = export(
        run, to, stage, not single, trust, self_contained=self_contained, repository=push, licence=license
    )
    for file in (exported.config, exported.split, exported.exported, exported.class_names, exported.card):
        if not file.is_file():
            continue
        print(f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file}  {file.stat().st_size / 1e6:.1f} MB")
    if push is not None:
        commit = publish.push(exported, push, private=private)
        print(f'Pushed to {commit.repo_url}: saltext.load("{push}", revision="{commit.oid}")')
