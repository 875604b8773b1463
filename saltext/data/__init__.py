"""SJTU-TIS and its synthetic stand-in: reading, checking, splitting, decoding once, and serving batches.

The data modules are imported when they are first asked for: they bring Lightning along, which scoring does not need.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from saltext.data.cache import CacheSettings, DecodedCache, open_cache
from saltext.data.dataset import SJTUTIS, Batch, Sample, collate
from saltext.data.geometry import Box, content_box, count_fixations
from saltext.data.sjtu_tis import Pair, image_sets, read_index
from saltext.data.splits import Split
from saltext.data.synthetic import generate
from saltext.data.tasks import TASKS, Task, parse_tasks
from saltext.data.transforms import Augment, mirror_text

if TYPE_CHECKING:
    from saltext.data.datamodule import SaliencyDataModule, SyntheticDataModule

__all__ = [
    "SJTUTIS",
    "TASKS",
    "Augment",
    "Batch",
    "Box",
    "CacheSettings",
    "DecodedCache",
    "Pair",
    "SaliencyDataModule",
    "Sample",
    "Split",
    "SyntheticDataModule",
    "Task",
    "collate",
    "content_box",
    "count_fixations",
    "generate",
    "image_sets",
    "mirror_text",
    "open_cache",
    "parse_tasks",
    "read_index",
]


def __getattr__(name: str) -> Any:
    if name in ("SaliencyDataModule", "SyntheticDataModule"):
        return getattr(import_module("saltext.data.datamodule"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
