"""``saltext folds``."""

from pathlib import Path
from typing import Annotated

import typer

from saltext.commands.options import ConfigDir, TrustReader

app = typer.Typer(help="The fixed folds.", rich_markup_mode=None, no_args_is_help=True)


@app.callback()
def _folds() -> None:
    """The fixed folds."""


@app.command()
def export(
    arguments: Annotated[
        list[str],
        typer.Argument(
            metavar="[FILE] DATA",
            help="JSON file to write (default: folds.json); SJTU-TIS, a folder of maps/ and fixations/, a YAML file "
            "that describes your own, or data=NAME [data.KEY=VALUE ...]",
        ),
    ],
    config_dir: ConfigDir = None,
    trust: TrustReader = False,
) -> None:
    """Write which images each of the five folds tests, as a JSON file of image IDs and digests.

    Train a model on the images of four folds, predict those of the fifth, five times; then all images have a map from
    a model that has not seen them. saltext score MAPS DATA --folds FILE checks and scores these maps.

    \b
    saltext folds export data/sjtu-tis
    saltext folds export my_folds.json my_data.yaml
    """
    is_file = Path(arguments[0]).suffix == ".json"
    file, data = (Path(arguments[0]), arguments[1:]) if is_file else (Path("folds.json"), arguments)
    if not data:
        raise typer.BadParameter(f"expected [FILE] DATA, got {' '.join(arguments)}")
    from saltext.data.folds import Folds
    from saltext.runs import data_sets

    folds = Folds.of(data_sets.named(data, config_dir, trust).read())
    file.parent.mkdir(parents=True, exist_ok=True)
    folds.write(file)
    sizes = ", ".join(str(len(images)) for images in folds.images)
    print(f"Wrote {len(folds.images)} folds of {sizes} images to {file} (digest {folds.digest[:12]})")
