"""Predict where people look in pictures of your own after reading a text.

    python -m saltext.predict street.jpg --text "the white lamps"
    python -m saltext.predict street.jpg --text "the white lamps" --text "the people"              # also side by side
    python -m saltext.predict photos/ 'more/**/*.png' --text ""              # free viewing, many pictures
    python -m saltext.predict --texts texts.csv                              # columns image,text (and task)
    python -m saltext.predict photos/ --text "a cat" --only density --density png --out maps --skip-bad
    python -m saltext.predict street.jpg --text "the white lamps" --run outputs/run/FOLDER        # a model of your own

Writes, for each picture and text, at the picture's own size (turned as its EXIF data say):
    OUT/density/NAME.npy     float32 (height, width), sums to 1; NAME_text1, NAME_text2 ... for a picture with
                             several texts; --density png: 16 bits, the largest value is 65535
    OUT/overlay/NAME.png     heat map over the picture
    OUT/panel/NAME.png       for a picture with several texts: picture, first text, another text, what changes
    OUT/predictions.csv      which files belong to which picture and text

All inputs are checked first: what is wrong with them is said at once, and nothing is predicted.
The same in Python: saltext.load().predict("street.jpg", "the white lamps")
"""

import argparse
import csv
import io
import logging
import sys
import warnings
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from PIL import Image

from saltext import storage
from saltext.console import quiet_libraries, set_up_streams
from saltext.data.faults import Faults
from saltext.data.tasks import TASK_BY_NAME
from saltext.errors import ConfigError, DataError, SaltextError, UnusableError, printable
from saltext.images import Photo, reason
from saltext.prediction.inputs import Request, requests, usable
from saltext.prediction.loading import load
from saltext.prediction.model import Density, Model
from saltext.prediction.photos import open_photo
from saltext.prediction.pictures import TextMap, draw_panel, overlay, reduced, small, write_density
from saltext.prediction.texts import Reading
from saltext.score import progress

_log = logging.getLogger("saltext.predict")  # by name: run as a program, the module is called __main__

KINDS = ("density", "overlay", "panel")
PANEL_TEXTS = 8
"""Texts of a picture that its panel shows."""


@dataclass(frozen=True)
class Output:
    """Where and what to write.

    Attributes:
        folder: See the module's help.
        kinds: Of :data:`KINDS`.
        ending: Of density maps, ``npy`` or ``png``.
    """

    folder: Path
    kinds: Sequence[str] = KINDS
    ending: str = "npy"

    def path(self, kind: str, name: str) -> Path:
        """The file of a result of one kind."""
        return self.folder / kind / f"{name}.{self.ending if kind == 'density' else 'png'}"

    def panel(self, request: Request) -> Path | None:
        """The file of a picture's panel, if it gets one."""
        return self.path("panel", request.name) if "panel" in self.kinds and len(request.readings) > 1 else None

    def of_text(self, name: str) -> dict[str, Path]:
        """The files of a picture and one of its texts, by kind."""
        return {kind: self.path(kind, name) for kind in ("density", "overlay") if kind in self.kinds}

    def paths(self, request: Request) -> list[Path]:
        """Every file that is written for a picture."""
        panel = self.panel(request)
        of_texts = [path for name in request.results for path in self.of_text(name).values()]
        return of_texts if panel is None else [*of_texts, panel]


def predict(model: Model, wanted: Sequence[Request], output: Output, *, batch_size: int = 8) -> None:
    """Predict and write everything.

    Args:
        model: What predicts.
        wanted: Usable requests, see :mod:`saltext.prediction.inputs`.
        output: Where to.
        batch_size: Pictures with a text that go through the network together.

    Raises:
        ConfigError: A file to write is one of the pictures, or the folder cannot be written to.
        DataError: At the end: files that could not be written, such as one whose name is too long.
    """
    _prepare(output, wanted)
    faults = Faults()
    stream = io.StringIO(newline="")
    table = csv.writer(stream)
    table.writerow(["image", "text", "task", *KINDS])
    try:
        for request, photo, densities in _predictions(model, wanted, batch_size):
            table.writerows(_write(output, request, photo, densities, faults))
    finally:  # also of what was written before something went wrong; a name that is not UTF-8 is written with escapes
        storage.write_bytes(_table(output), stream.getvalue().encode("utf-8", "backslashreplace"))
    faults.refuse("Some of the results", "All others were written, and are in predictions.csv.")


def _table(output: Output) -> Path:
    return output.folder / "predictions.csv"


def _predictions(
    model: Model, wanted: Sequence[Request], batch_size: int
) -> Iterator[tuple[Request, Photo, Iterator[Density]]]:
    """Each picture with the densities of its texts, which have to be taken before the next one."""
    opened: deque[Photo] = deque()  # a batch ahead of what is written

    def readings() -> Iterator[tuple[Photo, Reading]]:
        for request in wanted:
            photo = _photo(request)
            opened.append(photo)
            yield from ((photo, reading) for reading in request.readings)

    densities = model.densities(readings(), batch_size=batch_size)
    for request in progress(wanted, "predicting", len(wanted)):
        of_request = islice(densities, len(request.readings))
        first = next(of_request)  # opens the picture
        yield request, opened.popleft(), _chained(first, of_request)


def _chained(first: Density, rest: Iterator[Density]) -> Iterator[Density]:
    yield first
    yield from rest


def _photo(request: Request) -> Photo:
    try:
        photo = open_photo(request.image)
    except UnusableError as error:
        raise DataError(f"{request.image} changed after it was checked: {error}") from error
    for remark in photo.remarks:
        _log.warning("%s %s", printable(str(request.image)), remark)
    return photo


def _prepare(output: Output, wanted: Sequence[Request]) -> None:
    pictures = {request.image.resolve() for request in wanted}
    lost = [str(path) for request in wanted for path in output.paths(request) if path.resolve() in pictures]
    if lost:
        raise ConfigError(f"{lost[0]} is a picture to read and would be overwritten. Choose another --out.")
    try:
        for kind in output.kinds:
            (output.folder / kind).mkdir(parents=True, exist_ok=True)
        storage.write_bytes(_table(output), b"")
    except OSError as error:
        raise ConfigError(f"--out: {output.folder} cannot be written to ({error}). Choose another folder.") from error


def _write(
    output: Output, request: Request, photo: Photo, densities: Iterator[Density], faults: Faults
) -> Iterator[list[str]]:
    """Write what belongs to a picture; its rows of the table, which name what was written."""
    panel = output.panel(request)
    thumbnail = small(photo.pixels)
    shown: list[TextMap] = []
    rows = []
    for reading, name, density in zip(request.readings, request.results, densities, strict=True):
        written = {}
        for kind, path in output.of_text(name).items():
            with _noted(path, faults):
                if kind == "density":
                    write_density(path, density)
                else:
                    with storage.replacing(path) as part:
                        Image.fromarray(overlay(photo.pixels, density)).save(part, "PNG")
                written[kind] = path
        if panel is not None and len(shown) < PANEL_TEXTS:
            shown.append(TextMap(reading.text, reduced(density, thumbnail), reading.task))
        rows.append((reading, written))
    if panel is not None:
        with _noted(panel, faults):
            draw_panel(thumbnail, shown, panel)
            for _, written in rows:
                written["panel"] = panel
    for reading, written in rows:
        named = [written[kind].relative_to(output.folder).as_posix() if kind in written else "" for kind in KINDS]
        yield [str(request.image), reading.text, reading.task or "", *named]


@contextmanager
def _noted(path: Path, faults: Faults) -> Iterator[None]:
    """A file that cannot be written is noted, and the others are written all the same."""
    try:
        yield
    except (OSError, ValueError) as error:  # ValueError: of a name that no file can have
        faults.add("files that cannot be written", f"{path} ({reason(error)})")


def _arguments() -> argparse.ArgumentParser:
    description, _, details = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        prog="python -m saltext.predict",
        description=description,
        epilog=details,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("images", metavar="IMAGE", nargs="*", help="file, folder, or pattern in quotes")
    add("--text", action="append", default=[], metavar="TEXT", help='what is read before; several allowed; "" for none')
    add("--texts", type=Path, metavar="CSV", help="columns image (from the table's folder) and text, optionally task")
    add("--run", metavar="DIR", help="folder of a trained run (default: the shipped model)")
    add("--trust", action="store_true", help="build classes that the run names and conf/ does not: it is yours")
    add("--stage", metavar="NAME", help="which training of a run with a schedule")
    add(
        "--task",
        action="append",
        default=[],
        metavar="NAME",
        help=f"condition told to models that read it ({', '.join(TASK_BY_NAME)}, or the model's own; default: general, "
        "without text pure): once, or once for each --text",
    )
    add("--out", type=Path, default=Path("predictions"), metavar="DIR", help="default: predictions")
    add("--only", action="append", choices=KINDS, help="write this alone; may be given twice (default: everything)")
    add("--density", choices=("npy", "png"), default="npy", help="format of density maps (default: npy)")
    add("--skip-bad", action="store_true", help="say what cannot be used and predict the others")
    add("--device", metavar="NAME", help="cpu, cuda, cuda:1 ... (default: an accelerator if there is one)")
    add("--batch-size", type=_positive, default=8, metavar="N", help="pictures with a text at once (default: 8)")
    return parser


def _positive(word: str) -> int:
    number = int(word)
    if number < 1:
        raise argparse.ArgumentTypeError(f"at least 1 expected, {word} came")
    return number


def _wanted(given: argparse.Namespace, known: Sequence[str]) -> list[Request]:
    faults = Faults()
    found = usable(requests(given.images, given.text, given.texts, faults, given.task, known), faults, progress)
    try:
        faults.refuse("Some of the input", "Mend or leave out what is named; --skip-bad predicts the others.")
    except DataError as error:
        if not given.skip_bad or not found:
            raise
        _log.warning("%s", error)
    return found


def _run(given: argparse.Namespace) -> None:
    # Both say quickly what is wrong with them, and the model more quickly than many pictures.
    model = load(given.run, stage=given.stage, device=given.device, trust=given.trust)
    wanted = _wanted(given, model.conditions)
    output = Output(given.out, tuple(given.only or KINDS), given.density)
    predict(model, wanted, output, batch_size=given.batch_size)
    count = sum(len(request.readings) for request in wanted)
    print(f"{count} maps of {len(wanted)} pictures are in {output.folder}; predictions.csv there says which is which")


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point; see the module's help."""
    set_up_streams()
    parser = _arguments()
    given = parser.parse_args(arguments)
    if given.texts is None and not given.images:
        parser.error("name a picture, a folder or a pattern, or --texts CSV")
    if bool(given.images) != bool(given.text):
        parser.error('pictures and --text go together; --text "" is free viewing')
    if len(given.task) not in (0, 1, len(given.text)):
        parser.error(f"--task once, or once for each of {len(given.text)} --text; it came {len(given.task)} times")
    quiet_libraries()
    warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)  # its bound is above ours
    try:
        _run(given)
    except (SaltextError, OSError) as error:  # OSError: a full disk
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
