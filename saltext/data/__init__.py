"""SJTU-TIS, its synthetic stand-in and other data: reading, checking, splitting, decoding once, and serving batches.

The data modules are imported when they are first asked for: they bring Lightning along, which scoring does not need.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from saltext.data.cache import CacheSettings, DecodedCache, open_cache
from saltext.data.dataset import SJTUTIS, Batch, Sample, collate
from saltext.data.geometry import Box, content_box, count_fixations
from saltext.data.pairs import Found, Pair, Points
from saltext.data.sjtu_tis import image_sets, read_index
from saltext.data.splits import Split
from saltext.data.synthetic import generate
from saltext.data.tasks import TASKS, Task, parse_tasks
from saltext.data.transforms import Augment, mirror_text

if TYPE_CHECKING:
    from saltext.data.datamodule import SaliencyDataModule, SyntheticDataModule
    from saltext.data.layouts import LayoutDataModule, OwnDataModule, SaliconDataModule

__all__ = [
    "SJTUTIS",
    "TASKS",
    "Augment",
    "Batch",
    "Box",
    "CacheSettings",
    "DecodedCache",
    "Found",
    "LayoutDataModule",
    "OwnDataModule",
    "Pair",
    "Points",
    "SaliconDataModule",
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


_MODULES = {
    "SaliencyDataModule": "datamodule",
    "SyntheticDataModule": "datamodule",
    "LayoutDataModule": "layouts",
    "OwnDataModule": "layouts",
    "SaliconDataModule": "layouts",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(f"saltext.data.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
