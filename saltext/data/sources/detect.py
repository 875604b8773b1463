"""Detection of a data set's layout."""

from pathlib import Path
from typing import Literal

from saltext.data.index import Layout, Source
from saltext.data.sources.custom import Custom
from saltext.data.sources.salicon import LEVELS, Salicon, is_salicon_layout
from saltext.data.sources.sjtu_tis import SjtuTis, is_published_layout
from saltext.errors import DataError


def source_of(root: Path, layout: Layout | Literal["auto"] = "auto") -> Source:
    """The reader of the data set under ``root``.

    Args:
        root: Folder of the data set, or the YAML file that describes it (docs/own-data.md).
        layout: How it is laid out; ``auto`` looks.

    Raises:
        DataError: There is nothing, or nothing of a known layout.
    """
    if not root.exists():
        raise DataError(
            f"Expected a data set under {root}, but there is no such folder. Give the folder it lies in, or the YAML "
            "file that describes it (docs/own-data.md)."
        )
    if layout == "own" or (layout == "auto" and root.is_file()):
        return Custom(root)
    if layout == "sjtu-tis" or (layout == "auto" and is_published_layout(root)):
        return SjtuTis(root)
    if layout == "salicon" or is_salicon_layout(root):
        return Salicon(root)
    raise DataError(
        f"Expected a data set under {root}: image_1800/ map_1800/ fixation_1800/ and the workbook (SJTU-TIS), or "
        f"maps/ and fixations/ (SALICON-style; a level {', '.join(LEVELS)} may be below or above), but none of these "
        "folders is there. Give the folder that holds them."
    )
