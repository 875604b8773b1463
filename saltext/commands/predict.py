"""``saltext predict``."""

import logging
import sys
import warnings
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import typer

from saltext.commands.options import Device, StageName, TrustRun


class _Kind(StrEnum):
    density = "density"
    overlay = "overlay"
    panel = "panel"


def predict(
    images: Annotated[
        list[str] | None, typer.Argument(metavar="IMAGE...", help="file, folder, or pattern in quotes")
    ] = None,
    text: Annotated[
        list[str] | None,
        typer.Option(metavar="TEXT", help='read before viewing; may be given several times; "" for none'),
    ] = None,
    texts: Annotated[
        Path | None,
        typer.Option(metavar="CSV", help="columns image (from the table's folder) and text, optionally task"),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="RUN",
            help="folder of a trained run or an export, or ORG/NAME on the Hugging Face hub (default: the pretrained "
            "model)",
        ),
    ] = None,
    revision: Annotated[
        str | None, typer.Option(metavar="COMMIT", help="commit, tag or branch of --model on the hub (default: newest)")
    ] = None,
    stage: StageName = None,
    task: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="condition, for models that are conditioned on it (pure, general, salient, non_salient, whole, or its "
            "own; default: general, without text pure): once, or once for each --text",
        ),
    ] = None,
    example: Annotated[
        bool,
        typer.Option(
            "--example", help="two photographs and their texts, which come with the package, instead of yours"
        ),
    ] = False,
    out: Annotated[Path, typer.Option(metavar="DIR")] = Path("predictions"),
    only: Annotated[list[_Kind] | None, typer.Option(help="write only this kind; may be given twice")] = None,
    density: Annotated[Literal["npy", "png"], typer.Option(help="format of density maps")] = "npy",
    explain: Annotated[
        bool, typer.Option("--explain", help="also draw what each phrase and word of a text adds to the map")
    ] = False,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="report unusable inputs and continue without them")
    ] = False,
    device: Device = None,
    inference: Annotated[
        Literal["reference", "fp32", "bf16"] | None,
        typer.Option(help="how frozen modules compute on a CPU (default: as the run says); fp32 and bf16 are faster"),
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, metavar="N", help="image-text pairs per batch")] = 8,
    trust: TrustRun = False,
) -> None:
    """Predict where people look in your own images after reading a text.

    Writes, for each image and text, at the image's own size (rotated as its EXIF data say):

    \b
    OUT/density/NAME.npy     float32 (height, width), sums to 1; NAME_text1, NAME_text2 ... for an image with
                             several texts; --density png: 16 bits, the largest value is 65535
    OUT/overlay/NAME.png     heat map over the image
    OUT/panel/NAME.png       for an image with several texts: image, first text, another text, what changes
    OUT/explanation/NAME.png with --explain, for each text: what each of its phrases and words adds to the map;
                             OUT/explanations.csv has the fraction of the attention that moves without each
    OUT/predictions.csv      index: image, text, and the files written for them

    All inputs are checked first: if any is unusable, all problems are reported and nothing is predicted.
    In Python: saltext.load().predict("street.jpg", "the white lamps")

    \b
    saltext predict --example                                                      photographs of the package
    saltext predict street.jpg --text "the white lamps"
    saltext predict street.jpg --text "the white lamps" --text "the people"        also side by side
    saltext predict street.jpg --text "a man beside a red bus" --explain           which words move the map?
    saltext predict photos/ 'more/**/*.png' --text ""                              free viewing, many images
    saltext predict --texts texts.csv                                              columns image,text (and task)
    saltext predict photos/ --text "a cat" --only density --density png --out maps --skip-bad
    saltext predict street.jpg --text "the white lamps" --model outputs/run/FOLDER
    saltext predict street.jpg --text "the white lamps" --model org/model --revision COMMIT
    """
    texts_given, tasks = text or [], task or []
    if example and (images or texts_given or tasks or texts is not None):
        raise typer.BadParameter("--example has its own image and texts; leave out IMAGE, --text, --texts and --task")
    if texts is None and not images and not example:
        raise typer.BadParameter("expected an image, a folder or a pattern, --texts CSV or --example, got none")
    of_runs = ("checkpoints", "stages", "model.safetensors")  # photos may lie beside a config.yaml, too
    runs = [
        image
        for image in images or ()
        if Path(image, "config.yaml").is_file() and any(Path(image, name).exists() for name in of_runs)
    ]
    if runs:
        raise typer.BadParameter(
            f"expected images, got the folder of a run or an export, {runs[0]}; a model is named by --model {runs[0]}"
        )
    if bool(images) != bool(texts_given):
        raise typer.BadParameter('images and --text go together; --text "" is free viewing')
    if len(tasks) not in (0, 1, len(texts_given)):
        raise typer.BadParameter(
            f"expected --task once, or once for each of {len(texts_given)} --text, got it {len(tasks)} times"
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
        logging.getLogger("saltext").setLevel(logging.INFO)
        # The model before the images: its problems show sooner than those of many images.
        loaded = load(model, stage=stage, device=device, inference=inference, trust=trust, revision=revision)
    issues = DataReport()
    if example:
        from saltext.demo.examples import photographs

        requested = []
        for photo in photographs():
            queries = photo.queries or ()
            conditions = [q.condition if q.condition in loaded.conditions else loaded.conditions[0] for q in queries]
            texts_given = [query.text for query in queries]
            requested += requests([str(photo.image)], texts_given, None, issues, conditions, loaded.conditions)
    else:
        requested = requests(images or [], texts_given, texts, issues, tasks, loaded.conditions)
    valid = usable(requested, issues, progress)
    try:
        issues.raise_if_any("Some of the input", "Fix or remove these, or pass --skip-bad to continue without them.")
    except DataError as error:
        if not skip_bad or not valid:
            raise
        logging.getLogger(__name__).warning("%s", error)
    predict(loaded, valid, Output(out, tuple(map(str, only or KINDS)), density, explain), batch_size=batch_size)
    count = sum(len(request.queries) for request in valid)
    maps = "1 map" if count == 1 else f"{count} maps"
    number_of_images = "1 image" if len(valid) == 1 else f"{len(valid)} images"
    print(f"Wrote {maps} for {number_of_images} to {out} (index: predictions.csv)")
