"""The demo's answers to an image and two or three texts, computed in the prediction process."""

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
from saltext.prediction.model import Model
from saltext.prediction.photos import open_photo
from saltext.prediction.phrases import parts
from saltext.prediction.pictures import (
    PANEL_SIDE,
    ImageRecord,
    TextMaps,
    Tile,
    shrink_density,
    shrink_image,
    tiles,
    write_density,
    write_picture,
)
from saltext.prediction.texts import MAX_CHARACTERS, TextQuery, checked
from saltext.runs.load import load

_MAX_NAME_LENGTH = 60
_WARM_UP_MAX_PIXELS = 10_000


@dataclass(frozen=True)
class Question:
    """The input of a visitor of the page.

    Attributes:
        image: An untrusted file.
        max_pixels: A larger image is refused before it is decoded.
        queries: The texts to compare, at least two.
        folder: An empty folder for the files to download.
    """

    image: Path
    max_pixels: int
    queries: tuple[TextQuery, ...]
    folder: Path


@dataclass(frozen=True)
class Shown:
    """The map of a text, as it is shown and downloaded.

    Attributes:
        text: Without outer white space.
        tile: The prediction over the image.
        npy: File of the predicted density, float32 at the image's own size.
        png: File of the density in 16 bits, with a maximum of 65535.
    """

    text: str
    tile: Tile
    npy: Path
    png: Path


@dataclass(frozen=True)
class Change:
    """What another text changes, compared with the first.

    Attributes:
        tile: Where the prediction rises and falls.
        comparison: Comparison of the two maps.
    """

    tile: Tile
    comparison: Comparison


@dataclass(frozen=True)
class Answer:
    """The results that the page shows; all maps have the same colour scale.

    Attributes:
        maps: Of the texts.
        changes: From the first text to each other one.
        panel: PNG of everything side by side.
        remarks: Remarks on the image and the texts; often none.
    """

    maps: tuple[Shown, ...]
    changes: tuple[Change, ...]
    panel: Path
    remarks: tuple[str, ...]


@dataclass(frozen=True)
class Word:
    """What a phrase or word adds to the map.

    Attributes:
        words: The phrase or word.
        is_phrase: Whether it is a phrase, and not a word of one.
        moved: Fraction of the predicted attention that moves without it, 0 to 1.
        caption: What moves, in words.
        alt: Alternative text of the picture.
        jpeg: Picture of the change.
        ratio: Its height divided by its width.
    """

    words: str
    is_phrase: bool
    moved: float
    caption: str
    alt: str
    jpeg: bytes
    ratio: float


def load_model(run: str | None, stage: str | None, device: str | None, trust: bool = False) -> Model:
    """Load a model as :func:`saltext.runs.load.load` does, silence its libraries, and warm it up."""
    quiet_libraries()
    warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)  # Pillow's limit is above ours
    model = load(run, stage=stage, device=device, trust=trust)
    warm_up(model)
    return model


def warm_up(model: Model) -> None:
    """Answer a question once: the imports and set-up of the first answer take longer than the answer itself."""
    condition = model.conditions[0] if model.reads_condition else None
    with tempfile.TemporaryDirectory() as folder, suppress(SaltextError, OSError):  # visitors will see the error
        image = Path(folder) / "grey.png"
        Image.new("RGB", (64, 48), "grey").save(image)
        queries = TextQuery("a white lamp", condition), TextQuery("", condition)
        answer(model, Question(image, _WARM_UP_MAX_PIXELS, queries, Path(folder)))


def answer(model: Model, question: Question) -> Answer:
    """Predict, compare, and write the files to download.

    Args:
        model: The model that predicts.
        question: Image and texts.

    Raises:
        DataError: The image or a text is invalid; names everything that is wrong.
        SaltextError: As :meth:`saltext.prediction.model.Model.densities` raises.
        OSError: A file cannot be written.
    """
    photo, queries = _checked_image_and_texts(question)
    densities = list(model.densities([(photo, query) for query in queries]))
    thumbnail = shrink_image(photo.pixels, PANEL_SIDE)
    maps = [
        TextMaps(query.text, shrink_density(density, thumbnail), name=query.task or "")
        for query, density in zip(queries, densities, strict=True)
    ]
    name = re.sub(r"[^\w-]+", "_", question.image.stem)[:_MAX_NAME_LENGTH]  # the visitor's name is not trusted
    record = ImageRecord(name, thumbnail, maps)
    panel = question.folder / f"{name}_panel.png"
    write_picture([record], panel, side=PANEL_SIDE)
    rows = tiles(record, PANEL_SIDE)
    shown = []
    for number, (query, (*_, tile), density) in enumerate(zip(queries, rows, densities, strict=True), start=1):
        npy, png = (question.folder / f"{name}_text{number}{ending}" for ending in (".npy", ".png"))
        write_density(npy, density)
        write_density(png, density)
        shown.append(Shown(query.text, tile, npy, png))
    remarks = [f"the image {remark}" for remark in photo.remarks]
    remarks += dict.fromkeys(remark for query in queries for remark in model.remarks(query))
    changes = [
        Change(row[0], Comparison.of(densities[0], density))
        for row, density in zip(rows[1:], densities[1:], strict=True)
    ]
    return Answer(tuple(shown), tuple(changes), panel, tuple(remarks))


def explain(model: Model, question: Question) -> list[list[Word]]:
    """What each phrase and word adds to the map, of each text; none for a text without words.

    Args:
        model: The model that predicts.
        question: Image and texts; nothing is written.

    Raises:
        DataError: The image or a text is invalid; names everything that is wrong.
        SaltextError: As :meth:`saltext.prediction.model.Model.explanation` raises.
    """
    photo, queries = _checked_image_and_texts(question)
    explained: list[list[Word]] = []
    for query in queries:
        if not parts(query.text):
            explained.append([])
            continue
        explanation = model.explanation(photo, query)
        found = []
        for effect, tile in zip(explanation.effects, explanation.part_tiles(PANEL_SIDE), strict=True):
            part, (height, width) = effect.part, tile.pixels.shape[:2]
            picture = tile.jpeg(), height / width
            found.append(Word(part.words, part.is_phrase, effect.moved, tile.caption, tile.alt, *picture))
        explained.append(found)
    return explained


def check_image(model: Model, image: Path, max_pixels: int) -> None:
    """Check an uploaded image in the prediction process, where decoding it can do no harm.

    Raises:
        DataError: The image is invalid.
    """
    _open_image(image, max_pixels)


def _open_image(image: Path, max_pixels: int) -> Photo:
    try:
        return open_photo(image, max_pixels)
    except InvalidFileError as error:
        raise DataError(f"The image cannot be used ({error}).") from error


def _checked_image_and_texts(question: Question) -> tuple[Photo, list[TextQuery]]:
    """The decoded image and the checked texts; one error names everything that is wrong."""
    problems = []
    photo = None
    try:
        photo = _open_image(question.image, question.max_pixels)
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
