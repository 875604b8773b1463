"""The best and the worst test pairs of each task: image, text, truth and prediction."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from saltext.data.tasks import TASK_BY_NAME
from saltext.prediction.pictures import overlay
from saltext.reporting.page import Block, Shot, Strip, Strips, Subheading
from saltext.reporting.predicted import Key, PairMaps

COUNT = 3
"""Pairs shown at either end of a task."""

_QUALITY = 80


@dataclass(frozen=True)
class Extreme:
    """A pair at one end of its task's scores.

    Attributes:
        end: ``best`` or ``worst``.
        place: From that end, from 1.
        image_id: Its image.
        task: Its task.
        text: What was read; empty for free viewing.
        cc: The score in the run's table.
    """

    end: str
    place: int
    image_id: str
    task: str
    text: str
    cc: float

    @property
    def rank(self) -> str:
        """Such as ``best 1``."""
        return f"{self.end} {self.place}"

    @property
    def key(self) -> Key:
        """Image and task."""
        return self.image_id, self.task


def extremes(scores: pd.DataFrame, count: int = COUNT) -> list[Extreme]:
    """The pairs with the highest and lowest CC of each task, best first, then the worst; no pair is both.

    Args:
        scores: Of a run's own model, one protocol: ``image_id``, ``task``, ``text`` and ``cc``.
        count: At either end, as far as there are pairs; equal scores stand in the order of their images.
    """
    found = []
    for task in TASK_BY_NAME:
        part = scores[(scores["task"] == task) & scores["cc"].notna()].sort_values(["cc", "image_id"])
        ranked = list(part[["image_id", "task", "text", "cc"]].itertuples(index=False, name=None))
        best, worst = min(count, (len(ranked) + 1) // 2), min(count, len(ranked) // 2)
        found += [Extreme("best", place, *ranked[-place]) for place in range(1, best + 1)]
        found += [Extreme("worst", place, *ranked[place - 1]) for place in range(1, worst + 1)]
    return found


def blocks(chosen: Sequence[Extreme], maps: Mapping[str, Mapping[Key, PairMaps]]) -> list[Block]:
    """A part for each task: the best pairs on the left, the worst on the right, where there is room.

    Args:
        chosen: Pairs of the first run.
        maps: Run -> its maps; those of the first run have to hold all chosen pairs.
    """
    found: list[Block] = []
    for task in dict.fromkeys(one.task for one in chosen):
        in_turns = sorted((one for one in chosen if one.task == task), key=lambda one: one.place)
        found += [Subheading(task), Strips([_strip(one, maps) for one in in_turns])]
    return found


def _strip(one: Extreme, maps: Mapping[str, Mapping[Key, PairMaps]]) -> Strip:
    own = next(iter(maps.values()))[one.key]
    shown = f"image {one.image_id}, {one.task}"
    shots = [
        Shot(jpeg(own.pixels), "image", f"The {shown}"),
        Shot(
            jpeg(overlay(own.pixels, own.truth)), "where people looked", f"Density of people's fixations over {shown}"
        ),
    ]
    for name, of_run in maps.items():
        if one.key in of_run:
            found = of_run[one.key]
            who = "predicted" if len(maps) == 1 else f"predicted by {name}"
            alt = f"Density {who} over {shown}; bright where much is predicted"
            shots.append(Shot(jpeg(overlay(found.pixels, found.prediction)), f"{who}, CC {found.cc:.3f}", alt))
    return Strip(f"{one.rank}: CC {one.cc:.3f}, image {one.image_id}", one.text, shots)


def jpeg(pixels: NDArray[np.uint8]) -> bytes:
    """A picture, RGB, uint8 (h,w,3), as a small file."""
    stream = BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=_QUALITY)
    return stream.getvalue()
