"""Detection of a data set's layout."""

from pathlib import Path

from saltext.data.index import Source
from saltext.data.sources.custom import Custom
from saltext.data.sources.mit1003 import Mit1003, is_mit1003_layout
from saltext.data.sources.osie import Osie, is_osie_layout
from saltext.data.sources.salicon import LEVELS, Salicon, is_salicon_layout
from saltext.data.sources.sjtu_tis import SjtuTis, is_published_layout
from saltext.errors import DataError


def source_of(root: Path) -> Source:
    """The reader of the data set under ``root``.

    Args:
        root: Folder of the data set, or the YAML file that describes it (docs/own-data.md).

    Raises:
        DataError: There is nothing, or nothing of a known layout.
    """
    if not root.exists():
        raise DataError(
            f"Expected a data set under {root}, but there is no such folder. Give the folder it lies in, or the YAML "
            "file that describes it (docs/own-data.md), or data=NAME for a reader of conf/data."
        )
    if root.is_file():
        return Custom(root)
    if is_published_layout(root):
        return SjtuTis(root)
    if is_salicon_layout(root):
        return Salicon(root)
    if is_osie_layout(root):
        return Osie(root)
    if is_mit1003_layout(root):
        return Mit1003(root)
    raise DataError(
        f"Expected a data set under {root}: image_1800/ map_1800/ fixation_1800/ and the workbook (SJTU-TIS), or "
        f"maps/ and fixations/ (SALICON-style; a level {', '.join(LEVELS)} may be below or above), or stimuli/ and "
        "eye/fixations.mat (OSIE), or ALLSTIMULI/ and ALLFIXATIONMAPS/ (MIT1003), but none of these folders is there. "
        "Give the folder that holds them, or data=NAME for a reader of conf/data."
    )
