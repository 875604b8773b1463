"""Example images of the demo: photographs, generated images, images of the data set, or the user's own."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from saltext.console import progress
from saltext.data.pairs import Pair
from saltext.data.report import DataReport
from saltext.data.sources.sjtu_tis import SjtuTis
from saltext.data.splits import Split
from saltext.data.synthetic import generate
from saltext.prediction.inputs import requests, usable
from saltext.prediction.texts import TextQuery

_log = logging.getLogger(__name__)

MOST = 24
"""Maximum number of examples."""

_PHOTOGRAPHS = Path(__file__).with_name("photographs")
_GENERATED_IMAGES = 12  # half of them have the two texts
_GENERATED_SIDES = (480, 640)  # pixels, smallest and largest


@dataclass(frozen=True)
class Example:
    """An image and, where it has them, two texts that may be read before it (empty for free viewing)."""

    image: Path
    queries: tuple[TextQuery, TextQuery] | None = None


def photographs() -> list[Example]:
    """Two photographs of the package, each with a text about its salient object and one about another.

    ``NOTICE.md`` says where they are from; both are in the public domain or under CC0.
    """
    texts = {
        "astronaut": ("the face of the woman", "the model of a space shuttle"),
        "coffee": ("the cup of coffee", "the spoon"),
    }
    return [
        Example(_PHOTOGRAPHS / f"{name}.jpg", (TextQuery(salient, "salient"), TextQuery(other, "non_salient")))
        for name, (salient, other) in texts.items()
    ]


def generated(folder: Path) -> list[Example]:
    """Images of the suite's own generator, each with a text about a large object and one about a small one.

    Args:
        folder: A new folder to write them to.
    """
    root = generate(folder, images=_GENERATED_IMAGES, size_range=_GENERATED_SIDES)
    return _with_two_texts(SjtuTis(root).read().pairs_with_images())


def of_data_set(root: Path, split: Split | None) -> list[Example]:
    """Images of SJTU-TIS with their text about the salient objects and the one about the others.

    Args:
        root: Folder of the data set.
        split: Split of the model: its training and validation images are not offered. None: all images are offered.

    Returns:
        At most ``MOST``, evenly spread over all.

    Raises:
        DataError: The data set is not complete.
    """
    pairs = SjtuTis(root).read().pairs_with_images()
    if split is not None:
        not_tested = {*split.parts["train"], *split.parts["val"]}
        pairs = [pair for pair in pairs if not {pair.image_id, pair.name} & not_tested]
    examples = _with_two_texts(pairs)
    return examples[:: max(1, -(-len(examples) // MOST))]


def _with_two_texts(pairs: Iterable[Pair]) -> list[Example]:
    """The images that have a text about the salient objects and one about the others."""
    examples = []
    for _, of_image in groupby(pairs, key=lambda pair: pair.image_id):
        by_task = {pair.task: pair for pair in of_image}
        if {"salient", "non_salient"} <= by_task.keys():
            salient, other = by_task["salient"], by_task["non_salient"]
            queries = TextQuery(salient.text, salient.task), TextQuery(other.text, other.task)
            examples.append(Example(salient.image, queries))
    return examples


def own(path: Path) -> list[Example]:
    """The user's own images.

    Args:
        path: A folder of images, or a table as ``saltext predict --texts`` reads it; each image gets its first two
            texts, or one text and free viewing.

    Returns:
        The first ``MOST`` of them.

    Raises:
        DataError: Invalid images or rows; names everything that is wrong.
    """
    issues = DataReport()
    folders, table = ([str(path)], None) if path.is_dir() else ([], path)
    wanted = requests(folders, [""], table, issues)
    offered = usable(wanted[:MOST], issues, progress)
    issues.raise_if_any(f"--examples {path}", "Fix or remove these.")
    if len(wanted) > MOST:
        _log.warning("the first %d of %d images are offered as examples", MOST, len(wanted))
    if path.is_dir():
        return [Example(request.image) for request in offered]
    free_viewing = TextQuery("")
    return [Example(r.image, (r.queries[0], r.queries[1] if r.queries[1:] else free_viewing)) for r in offered]
