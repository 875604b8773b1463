"""What is done in the process that predicts: everything the page shows of an image and two texts."""

import re
import tempfile
import warnings
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from saltext.console import quiet_libraries
from saltext.demo.comparison import Comparison
from saltext.errors import DataError, InvalidFileError, SaltextError
from saltext.images import Photo
from saltext.prediction.model import Density, Model
from saltext.prediction.photos import open_photo
from saltext.prediction.pictures import (
    PANEL_SIDE,
    ImageRecord,
    TextMaps,
    Tile,
    reduced,
    small,
    tiles,
    write_density,
    write_picture,
)
from saltext.prediction.texts import MAX_CHARACTERS, TextQuery, checked
from saltext.runs.load import load

_LONGEST_NAME = 60
_MANY = 10_000  # pixels; more than the image has that is predicted before any other


@dataclass(frozen=True)
class Question:
    """What a visitor of the page asks.

    Attributes:
        image: A file that anybody may have made.
        max_pixels: A larger image is refused before it is decoded.
        queries: The two texts to compare.
        folder: An empty one, for the files to download.
    """

    image: Path
    max_pixels: int
    queries: tuple[TextQuery, TextQuery]
    folder: Path


@dataclass(frozen=True)
class Shown:
    """The map of a text, as it is shown and downloaded.

    Attributes:
        text: Without outer white space.
        tile: The prediction over the image.
        npy: File of the density as it is predicted, float32 at the image's own size.
        png: The same in 16 bits, with a maximum of 65535.
    """

    text: str
    tile: Tile
    npy: Path
    png: Path


@dataclass(frozen=True)
class Answer:
    """What the page shows; the same colours mean the same density under both texts.

    Attributes:
        first: The map of the first text.
        second: The map of the second text.
        change: Where the prediction rises and falls from the first text to the second.
        panel: PNG of everything side by side.
        comparison: Of the two maps.
        remarks: What was decided on the way and should be said; often nothing.
    """

    first: Shown
    second: Shown
    change: Tile
    panel: Path
    comparison: Comparison
    remarks: tuple[str, ...]


def load_model(run: str | None, stage: str | None, device: str | None, trust: bool = False) -> Model:
    """As :func:`saltext.runs.load.load`, without notices that help nobody, and ready to answer at once."""
    quiet_libraries()
    warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)  # its bound is above ours
    model = load(run, stage=stage, device=device, trust=trust)
    warm_up(model)
    return model


def warm_up(model: Model) -> None:
    """Answer a question once: what is imported and computed for the first one takes longer than an answer."""
    condition = model.conditions[0] if model.reads_condition else None
    with tempfile.TemporaryDirectory() as folder, suppress(SaltextError, OSError):  # visitors will be told
        image = Path(folder) / "grey.png"
        Image.new("RGB", (64, 48), "grey").save(image)
        queries = TextQuery("a white lamp", condition), TextQuery("", condition)
        answer(model, Question(image, _MANY, queries, Path(folder)))


def answer(model: Model, question: Question) -> Answer:
    """Predict, compare, and write the files to download.

    Args:
        model: What predicts.
        question: See there.

    Raises:
        DataError: The image or a text cannot be used; says everything that is wrong.
        SaltextError: As :meth:`saltext.prediction.model.Model.densities` raises.
        OSError: A file cannot be written.
    """
    photo, queries = _usable(question)
    densities = list(model.densities([(photo, query) for query in queries]))
    thumbnail = small(photo.pixels, PANEL_SIDE)
    maps = [
        TextMaps(query.text, reduced(density, thumbnail), name=query.task or "")
        for query, density in zip(queries, densities, strict=True)
    ]
    name = _name(question.image)
    record = ImageRecord(name, thumbnail, maps)
    panel = question.folder / f"{name}_panel.png"
    write_picture([record], panel, side=PANEL_SIDE)
    (_, *of_first), (change, *of_second) = tiles(record, PANEL_SIDE)
    files = [_written(question.folder / f"{name}_text{n}", density) for n, density in enumerate(densities, start=1)]
    first, second = (
        Shown(query.text, tile, *paths)
        for query, (tile,), paths in zip(queries, (of_first, of_second), files, strict=True)
    )
    return Answer(first, second, change, panel, Comparison.of(*densities), _remarks(model, photo, queries))


def _written(path: Path, density: Density) -> list[Path]:
    """The files of a map, NPY and PNG."""
    files = [path.with_suffix(ending) for ending in (".npy", ".png")]  # a name made here has no dot
    for file in files:
        write_density(file, density)
    return files


def check_image(model: Model, image: Path, max_pixels: int) -> None:
    """Find out whether an image can be used, as a question to the process that holds the model.

    Raises:
        DataError: It cannot.
    """
    _opened(image, max_pixels)


def _opened(image: Path, max_pixels: int) -> Photo:
    try:
        return open_photo(image, max_pixels)
    except InvalidFileError as error:
        raise DataError(f"The image cannot be used ({error}).") from error


def _usable(question: Question) -> tuple[Photo, list[TextQuery]]:
    problems = []
    photo = None
    try:
        photo = _opened(question.image, question.max_pixels)
    except DataError as error:
        problems.append(str(error))
    queries = []
    for number, query in enumerate(question.queries, start=1):
        try:
            text = checked(query.text)
        except InvalidFileError as error:
            problems.append(f"Text {number} cannot be used ({error}).")
            continue
        if len(text) > MAX_CHARACTERS:
            problems.append(f"Text {number} has {len(text)} characters; up to {MAX_CHARACTERS} are taken.")
        queries.append(TextQuery(text, query.task))
    if photo is None or problems:
        raise DataError("\n".join(problems))
    return photo, queries


def _remarks(model: Model, photo: Photo, queries: list[TextQuery]) -> tuple[str, ...]:
    of_texts = [remark for query in queries for remark in model.remarks(query)]
    return *(f"the image {remark}" for remark in photo.remarks), *dict.fromkeys(of_texts)


def _name(image: Path) -> str:
    """What files made from an image are called, whatever it was called where it comes from."""
    return re.sub(r"[^\w-]+", "_", image.stem)[:_LONGEST_NAME]
