"""``saltext predict``."""

import logging
import sys
import warnings
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import typer


class _Kind(StrEnum):
    density = "density"
    overlay = "overlay"
    panel = "panel"


def predict(
    images: Annotated[
        list[str] | None, typer.Argument(metavar="IMAGE...", help="file, folder, or pattern in quotes")
    ] = None,
    text: Annotated[
        list[str] | None, typer.Option(metavar="TEXT", help='what is read before; several allowed; "" for none')
    ] = None,
    texts: Annotated[
        Path | None,
        typer.Option(metavar="CSV", help="columns image (from the table's folder) and text, optionally task"),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(metavar="RUN", help="folder of a trained run or an export (default: the pretrained model)"),
    ] = None,
    stage: Annotated[str | None, typer.Option(metavar="NAME", help="which training of a run of several stages")] = None,
    task: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="condition, for models that are conditioned on it (pure, general, salient, non_salient, whole, or its "
            "own; default: general, without text pure): once, or once for each --text",
        ),
    ] = None,
    example: Annotated[
        bool, typer.Option("--example", help="a photograph and two texts that come with the package, instead of yours")
    ] = False,
    out: Annotated[Path, typer.Option(metavar="DIR")] = Path("predictions"),
    only: Annotated[list[_Kind] | None, typer.Option(help="write this alone; may be given twice")] = None,
    density: Annotated[Literal["npy", "png"], typer.Option(help="format of density maps")] = "npy",
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="say what cannot be used and predict the others")
    ] = False,
    device: Annotated[
        str | None, typer.Option(metavar="NAME", help="cpu, cuda, cuda:1 ... (default: an accelerator if there is one)")
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, metavar="N", help="pictures with a text at once")] = 8,
    trust: Annotated[
        bool, typer.Option("--trust", help="build classes that the run names and conf/ does not: it is yours")
    ] = False,
) -> None:
    """Predict where people look in pictures of your own after reading a text.

    Writes, for each picture and text, at the picture's own size (turned as its EXIF data say):

    \b
    OUT/density/NAME.npy     float32 (height, width), sums to 1; NAME_text1, NAME_text2 ... for a picture with
                             several texts; --density png: 16 bits, the largest value is 65535
    OUT/overlay/NAME.png     heat map over the picture
    OUT/panel/NAME.png       for a picture with several texts: picture, first text, another text, what changes
    OUT/predictions.csv      which files belong to which picture and text

    All inputs are checked first: what is wrong with them is said at once, and nothing is predicted.
    In Python: saltext.load().predict("street.jpg", "the white lamps")

    \b
    saltext predict --example                                                      a photograph that is installed
    saltext predict street.jpg --text "the white lamps"
    saltext predict street.jpg --text "the white lamps" --text "the people"        also side by side
    saltext predict photos/ 'more/**/*.png' --text ""                              free viewing, many pictures
    saltext predict --texts texts.csv                                              columns image,text (and task)
    saltext predict photos/ --text "a cat" --only density --density png --out maps --skip-bad
    saltext predict street.jpg --text "the white lamps" --model outputs/run/FOLDER
    """
    given, tasks = text or [], task or []
    if example and (images or given or tasks or texts is not None):
        raise typer.BadParameter("--example has its own image and texts; leave out IMAGE, --text, --texts and --task")
    if texts is None and not images and not example:
        raise typer.BadParameter("name a picture, a folder or a pattern, or --texts CSV, or try --example")
    if bool(images) != bool(given):
        raise typer.BadParameter('pictures and --text go together; --text "" is free viewing')
    if len(tasks) not in (0, 1, len(given)):
        raise typer.BadParameter(
            f"expected --task once, or once for each of {len(given)} --text, got it {len(tasks)} times"
        )
    from saltext.system.environment import keep_memory, spin_briefly
    from saltext.system.garbage import uncollected

    spin_briefly()  # before torch loads
    keep_memory()
    with uncollected():
        from PIL import Image

        from saltext.console import progress, quiet_libraries
        from saltext.data.report import DataReport
        from saltext.errors import DataError
        from saltext.prediction.inputs import requests, usable
        from saltext.prediction.results import KINDS, Output, predict
        from saltext.runs.load import load

        quiet_libraries()
        warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)  # its bound is above ours
        logging.basicConfig(format="%(message)s", stream=sys.stderr)
        # Both say quickly what is wrong with them, and the model more quickly than many pictures.
        loaded = load(model, stage=stage, device=device, trust=trust)
    if example:
        from saltext.demo.examples import photograph

        offered = photograph()
        images, given = [str(offered.image)], [query.text for query in offered.queries or ()]
        conditions = [query.condition for query in offered.queries or ()]
        tasks = [task if task in loaded.conditions else loaded.conditions[0] for task in conditions]
    issues = DataReport()
    wanted = usable(requests(images or [], given, texts, issues, tasks, loaded.conditions), issues, progress)
    try:
        issues.raise_if_any("Some of the input", "Fix or remove these, or pass --skip-bad to continue without them.")
    except DataError as error:
        if not skip_bad or not wanted:
            raise
        logging.getLogger(__name__).warning("%s", error)
    predict(loaded, wanted, Output(out, tuple(map(str, only or KINDS)), density), batch_size=batch_size)
    count = sum(len(request.queries) for request in wanted)
    written = "1 map" if count == 1 else f"{count} maps"
    predicted = "1 image" if len(wanted) == 1 else f"{len(wanted)} images"
    print(f"Wrote {written} for {predicted} to {out} (index: predictions.csv)")
