"""The gallery of the documentation: the pretrained model on free photographs, hits and failures.

    python -m tests.gallery docs/gallery.md

Writes the pictures into the folder ``gallery`` beside the page, and puts between ``<!-- gallery -->`` and
``<!-- /gallery -->``, a line each, what they show. Needs scikit-learn, which brings two of the photographs.

Every photograph has pairs of texts, each text about an object whose boxes are given here. Both texts are read in the
same condition, so that only the text differs. A text is a hit if the predicted density rises most inside its object,
from the other text to this one.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
import numpy.typing as npt

import saltext
from saltext import storage
from saltext.demo.examples import photographs
from saltext.images import read_photo
from saltext.prediction.model import Density, Model
from saltext.prediction.pictures import ImageRecord, TextMaps, moved_fraction, tiles
from tests.filled_pages import filled, given_page

CONDITION = "non_salient"
"""The condition of all texts: the one in which observers depended on the text most."""

FOLDER = "gallery"
"""Beside the page; also the mark around what is written."""

_SIDE = 360  # longest side of a picture, in pixels

Box = tuple[int, int, int, int]
"""Left, top, right, bottom; pixels of the photograph."""


@dataclass(frozen=True)
class Object:
    """What a text is about.

    Attributes:
        text: The text.
        boxes: Where the photograph shows it, drawn by hand; they may overlap.
    """

    text: str
    boxes: Sequence[Box]

    def mask(self, shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
        """The pixels in the boxes, for a photograph of a shape ``(height, width)``."""
        inside = np.zeros(shape, bool)
        for left, top, right, bottom in self.boxes:
            inside[top:bottom, left:right] = True
        return inside


@dataclass(frozen=True)
class Case:
    """A photograph and two texts.

    Attributes:
        name: Of the pictures' files.
        title: Heading of its section.
        photo: Name of the photograph's file, without ending.
        described: What the photograph shows, for alternative texts.
        objects: What the two texts are about.
    """

    name: str
    title: str
    photo: str
    described: str
    objects: tuple[Object, Object]


_ASTRONAUT = "an astronaut in an orange suit, with a flag, a helmet and a model of a space shuttle"
_COFFEE = "a cup of coffee with a spoon on a red saucer"
_CHINA = "a pagoda above trees and a lake"
_FLOWER = "an orange dahlia before dark leaves"
_OFFICER = "an officer in a dark uniform with cap, glasses, ribbons and a name plate, before a flag"

CASES = (
    Case("shuttle", "Face and shuttle", "astronaut", _ASTRONAUT, (
        Object("the face of the woman", [(150, 15, 300, 190)]),
        Object("the model of a space shuttle", [(350, 0, 465, 290)]),
    )),
    Case("helmet", "Flag and helmet", "astronaut", _ASTRONAUT, (
        Object("the flag", [(0, 0, 115, 512)]),
        Object("the black helmet", [(280, 345, 512, 512)]),
    )),
    Case("spoon", "Cup and spoon", "coffee", _COFFEE, (
        Object("the cup of coffee", [(172, 15, 412, 240)]),
        Object("the spoon", [(322, 235, 410, 330), (380, 65, 428, 235)]),
    )),
    Case("table", "Table and handle", "coffee", _COFFEE, (
        Object("the wooden table", [(485, 0, 600, 400), (0, 250, 85, 400), (0, 0, 170, 60)]),
        Object("the handle of the cup", [(195, 230, 260, 310)]),
    )),
    Case("trees", "Roof and trees", "china", _CHINA, (
        Object("the roof of the pagoda", [(92, 28, 322, 140)]),
        Object("the trees", [(545, 130, 640, 427), (320, 280, 560, 427), (0, 330, 310, 427), (0, 160, 75, 330)]),
    )),
    Case("lake", "Sky and boats", "china", _CHINA, (
        Object("the sky", [(0, 0, 90, 160), (325, 0, 640, 200)]),
        Object("the boats on the lake", [(320, 205, 570, 300)]),
    )),
    Case("leaves", "Flower and leaves", "flower", _FLOWER, (
        Object("the orange flower", [(168, 83, 447, 360)]),
        Object("the leaves in the background", [(0, 0, 165, 427), (450, 0, 640, 390)]),
    )),
    Case("bud", "Centre and bud", "flower", _FLOWER, (
        Object("the centre of the flower", [(262, 165, 362, 270)]),
        Object("the bud in the corner", [(575, 390, 640, 427)]),
    )),
    Case("ribbons", "Cap and ribbons", "grace_hopper", _OFFICER, (
        Object("the emblem on the cap", [(195, 20, 340, 100)]),
        Object("the ribbons on the uniform", [(320, 485, 455, 530)]),
    )),
    Case("plate", "Flag and name plate", "grace_hopper", _OFFICER, (
        Object("the flag", [(0, 0, 200, 385), (0, 385, 40, 600)]),
        Object("the name plate", [(75, 483, 170, 518)]),
    )),
)  # fmt: skip


@dataclass(frozen=True)
class Shown:
    """A case with its maps.

    Attributes:
        case: Photograph and texts.
        record: The photograph with the prediction under either text.
    """

    case: Case
    record: ImageRecord

    @property
    def predictions(self) -> tuple[Density, Density]:
        """The densities under the first and the second text."""
        first, second = (entry.prediction for entry in self.record.texts)
        return first, second

    def is_hit(self, index: int) -> bool:
        """Whether the density rises most inside the object of a text, from the other text to this one."""
        change = self.predictions[index] - self.predictions[1 - index]
        return bool(self.case.objects[index].mask(change.shape).flat[change.argmax()])

    def chance(self, index: int) -> float:
        """The probability that a pixel drawn at random lies in the object of a text."""
        return float(self.case.objects[index].mask(self.predictions[index].shape).mean())


def photo(name: str) -> Path:
    """The file of a photograph: of the package, of matplotlib, or of scikit-learn."""
    known = {example.image.stem: example.image for example in photographs()}
    known["grace_hopper"] = Path(str(files("matplotlib") / "mpl-data" / "sample_data" / "grace_hopper.jpg"))
    return known.get(name) or Path(str(files("sklearn.datasets.images") / f"{name}.jpg"))


def predicted(model: Model) -> Iterator[Shown]:
    """Every case with the maps of a model."""
    for case in CASES:
        file = photo(case.photo)
        texts = [TextMaps(one.text, model.predict(file, one.text, task=CONDITION)) for one in case.objects]
        yield Shown(case, ImageRecord(case.photo, read_photo(file).pixels, texts))


def write_pictures(shown: Sequence[Shown], folder: Path) -> None:
    """Write each photograph, and for each case both predictions and the change from the first to the second.

    Args:
        shown: The cases.
        folder: Gets ``PHOTO.jpg``, ``CASE-1.jpg``, ``CASE-2.jpg`` and ``CASE-change.jpg``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for one in shown:
        (image, first), (change, second) = tiles(one.record, _SIDE)
        pictures = {one.case.photo: image, f"{one.case.name}-1": first, f"{one.case.name}-2": second}
        for name, tile in {**pictures, f"{one.case.name}-change": change}.items():
            storage.write_bytes(folder / f"{name}.jpg", tile.jpeg())


def markdown(shown: Sequence[Shown]) -> str:
    """What the pictures show: how many texts are hits, then a section for each case."""
    hits = sum(one.is_hit(index) for one in shown for index in (0, 1))
    by_chance = sum(one.chance(index) for one in shown for index in (0, 1))
    lines = [f"{hits} of {2 * len(shown)} texts are hits; pixels drawn at random would give {by_chance:.1f}.", ""]
    for one in shown:
        lines += _section(one)
    return "\n".join(lines)


def _section(shown: Shown) -> list[str]:
    case = shown.case
    kinds = ["hit" if shown.is_hit(index) else "failure" for index in (0, 1)]
    moved = round(100 * moved_fraction(*shown.predictions))
    lines = [f"## {case.title}: {kinds[0]}, {kinds[1]}", "", "````{container} maps"]
    lines += _figure(case.photo, f"Photograph: {case.described}.", "The photograph")
    for index, one in enumerate(case.objects):
        alternative = f"Predicted density after reading “{one.text}”, over the photograph."
        lines += _figure(f"{case.name}-{index + 1}", alternative, f"“{one.text}”: {kinds[index]}")
    caption = f"From the first text to the second: {moved} % of the predicted attention moves"
    lines += _figure(f"{case.name}-change", "Change of the density: red where it rises, blue where it falls.", caption)
    return [*lines, "````", ""]


def _figure(name: str, alternative: str, caption: str) -> list[str]:
    return [f"```{{figure}} {FOLDER}/{name}.jpg", f":alt: {alternative}", "", caption, "```"]


def main() -> None:
    """Entry point; see the module's help."""
    page = given_page(__doc__)
    shown = list(predicted(saltext.load(device="cpu", inference="reference")))
    write_pictures(shown, page.parent / FOLDER)
    storage.write_text(page, filled(page.read_text(encoding="utf-8"), FOLDER, markdown(shown)))


if __name__ == "__main__":
    main()
