"""Pictures to choose from, for who has none at hand."""

import logging
from collections.abc import Iterable, Sequence
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
"""Examples that are offered."""

_IMAGES = 12  # to generate; half of them have the two texts
_SIDES = (480, 640)


@dataclass(frozen=True)
class Example:
    """A picture and, if it has some, two texts that may be read before it (empty for free viewing)."""

    image: Path
    queries: tuple[TextQuery, TextQuery] | None = None


def photograph() -> Example:
    """A photograph that is installed with Matplotlib, with a text about its salient object and one about another.

    A portrait of Grace Hopper by the United States Navy, in the public domain.

    Raises:
        DataError: Matplotlib is installed without its sample data.
    """
    found = find_spec("matplotlib")  # importing it takes longer than to find it
    package = Path(found.origin).parent if found and found.origin else Path("matplotlib")
    image = package / "mpl-data" / "sample_data" / "grace_hopper.jpg"
    if not image.is_file():
        raise DataError(
            f"Expected the photograph that Matplotlib brings, but {image} is not there. Name an image of your own."
        )
    return Example(
        image, (TextQuery("the face of a woman", "salient"), TextQuery("the medals on her uniform", "non_salient"))
    )


def generated(folder: Path) -> list[Example]:
    """Pictures of the suite's own generator, each with a text about a large object and one about a small one.

    Args:
        folder: Where to write them; a new one.
    """
    return _with_two_texts(SjtuTis(generate(folder, images=_IMAGES, size_range=_SIDES)).read().pairs_with_images())


def of_data_set(root: Path, split: Split | None) -> list[Example]:
    """Images of SJTU-TIS with their text about the salient objects and the one about the others.

    Args:
        root: Its folder.
        split: Of the model: images that it trained on, or that chose its epoch, are not offered. None: all are.

    Returns:
        At most ``MOST``, evenly taken from all.

    Raises:
        DataError: The data set is not complete.
    """
    pairs = SjtuTis(root).read().pairs_with_images()
    if split is not None:
        not_tested = {*split.parts["train"], *split.parts["val"]}
        pairs = [pair for pair in pairs if not {pair.image_id, pair.name} & not_tested]
    found = _with_two_texts(pairs)
    return found[:: max(1, -(-len(found) // MOST))]


def _with_two_texts(pairs: Iterable[Pair]) -> list[Example]:
    found = []
    for _, of_image in groupby(pairs, key=lambda pair: pair.image_id):
        by_task = {pair.task: pair for pair in of_image}
        if {"salient", "non_salient"} <= by_task.keys():
            salient, other = by_task["salient"], by_task["non_salient"]
            queries = TextQuery(salient.text, salient.task), TextQuery(other.text, other.task)
            found.append(Example(salient.image, queries))
    return found


def own(path: Path) -> list[Example]:
    """Pictures of the user's own.

    Args:
        path: A folder of pictures, or a table as ``saltext predict --texts`` reads it, of which each picture
            gets its first two texts.

    Returns:
        The first ``MOST`` of them.

    Raises:
        DataError: Something among them cannot be used; says everything that is wrong.
    """
    issues = DataReport()
    folders, table = ([str(path)], None) if path.is_dir() else ([], path)
    wanted = requests(folders, [""], table, issues)
    offered = usable(wanted[:MOST], issues, progress)
    issues.raise_if_any(f"--examples {path}", "Fix or remove these.")
    if len(wanted) > MOST:
        _log.warning("the first %d of %d pictures are offered as examples", MOST, len(wanted))
    return [Example(request.image, None if path.is_dir() else _two(request.queries)) for request in offered]


def _two(queries: Sequence[TextQuery]) -> tuple[TextQuery, TextQuery]:
    """Free viewing stands in where there is no second text."""
    first, second = [*queries, TextQuery("")][:2]
    return first, second
