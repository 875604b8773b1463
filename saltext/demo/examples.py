"""Example images of the demo: a photograph, generated images, images of the data set, or the user's own."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path

from saltext.console import progress
from saltext.data.pairs import Pair
from saltext.data.report import DataReport
from saltext.data.sources.sjtu_tis import SjtuTis
from saltext.data.splits import Split
from saltext.data.synthetic import generate
from saltext.errors import DataError
from saltext.prediction.inputs import requests, usable
from saltext.prediction.texts import TextQuery

_log = logging.getLogger(__name__)

MOST = 24
"""Maximum number of examples."""

_GENERATED_IMAGES = 12  # half of them have the two texts
_GENERATED_SIDES = (480, 640)  # pixels, smallest and largest


@dataclass(frozen=True)
class Example:
    """An image and, where it has them, two texts that may be read before it (empty for free viewing)."""

    image: Path
    queries: tuple[TextQuery, TextQuery] | None = None


def photograph() -> Example:
    """A photograph that is installed with Matplotlib, with a text about its salient object and one about another.

    A portrait of Grace Hopper by the United States Navy, in the public domain.

    Raises:
        DataError: Matplotlib is installed without its sample data.
    """
    spec = find_spec("matplotlib")  # faster than importing it
    package = Path(spec.origin).parent if spec and spec.origin else Path("matplotlib")
    image = package / "mpl-data" / "sample_data" / "grace_hopper.jpg"
    if not image.is_file():
        raise DataError(
            f"Expected the photograph that comes with Matplotlib, but {image} is not there. Give an image of your own."
        )
    return Example(
        image, (TextQuery("the face of a woman", "salient"), TextQuery("the medals on her uniform", "non_salient"))
    )


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
        _log.warning("the first %d of %d pictures are offered as examples", MOST, len(wanted))
    if path.is_dir():
        return [Example(request.image) for request in offered]
    free_viewing = TextQuery("")
    return [Example(r.image, (r.queries[0], r.queries[1] if r.queries[1:] else free_viewing)) for r in offered]
