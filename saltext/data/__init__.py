"""SJTU-TIS, its synthetic stand-in and other data: reading, checking, splitting, decoding once, and serving batches.

Data modules and augmentation, which configurations name, are imported when they are first asked for: they bring
Lightning and albumentations along, which neither scoring nor prediction needs.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from saltext.data.datamodule import SaliencyDataModule, SyntheticDataModule
    from saltext.data.layouts import LayoutDataModule, OwnDataModule, SaliconDataModule
    from saltext.data.transforms import Augment

__all__ = [
    "Augment",
    "LayoutDataModule",
    "OwnDataModule",
    "SaliconDataModule",
    "SaliencyDataModule",
    "SyntheticDataModule",
]

_MODULES = {
    "Augment": "transforms",
    "LayoutDataModule": "layouts",
    "OwnDataModule": "layouts",
    "SaliconDataModule": "layouts",
    "SaliencyDataModule": "datamodule",
    "SyntheticDataModule": "datamodule",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(f"saltext.data.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
