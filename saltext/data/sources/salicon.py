"""Reader of SALICON: free viewing of 15,000 images, recorded with the mouse (Jiang et al. 2015)."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from saltext.data.files import FIXATION_ENDINGS, IMAGE_ENDINGS, MAP_ENDINGS
from saltext.data.index import DatasetIndex
from saltext.data.pairs import FilePair, Recording
from saltext.data.report import DataReport, files_by_stem
from saltext.data.sources.free_viewing import CONDITION, FreeViewing
from saltext.errors import DataError

LEVELS = ("train", "val", "test")
"""Sub-folders, above or below those of the kinds of files; a flat data set has none."""

_RECORDED = ("maps", "fixations")
_ENDINGS = {"maps": MAP_ENDINGS, "fixations": FIXATION_ENDINGS, "images": IMAGE_ENDINGS}
_ADVICE = "Unpack the published archives again, or fix or remove these files."


@dataclass(frozen=True)
class Salicon(FreeViewing):
    """SALICON, or a data set in its layout: files of equal stems in ``images/``, ``maps/`` and ``fixations/``.

    A folder of a level (``train``, ``val``, ``test``) may be below or above these three; without levels, all images
    are equal. A level counts where it has maps or fixations, and has to have both; the level ``test`` counts only where
    it has both, for SALICON's own has fixation files without fixations.

    Images may be left out altogether: maps can be scored without. Where there are some, every map has to have its own.

    Attributes:
        root: Folder of the data set.
    """

    root: Path | str

    def read(self) -> DatasetIndex:
        """All pairs, sorted by name.

        The level ``train`` is the training set. Where there is a level ``test``, it is the test set and ``val`` the
        validation set. As published, the ground truth of ``test`` is hidden, and ``val`` is the test set.

        Fixations in ``.mat`` files that lie outside their image are dropped; the edition of 2017 has a few.

        Raises:
            DataError: The layout is missing, or images, maps and fixations do not match. One error names all problems.
        """
        root = Path(self.root)
        levels = _levels_to_read(root)
        has_images = any(_folder(root, "images", level).is_dir() for level in levels)
        kinds = (*_RECORDED, "images") if has_images else _RECORDED
        issues = DataReport()
        found = {level: _read_level(root, level, kinds, issues) for level in levels}
        names = Counter(pair.name for pairs in found.values() for pair in pairs)
        issues.add(f"images that are in {' and in '.join(levels)}", *(name for name in names if names[name] > 1))
        if not names and not issues.names:
            raise DataError(f"The data set under {root} is empty: maps/ and fixations/ hold no files. Put them there.")
        issues.raise_if_any(f"The data set under {root}", _ADVICE)
        level_of = {pair.name: level for level, pairs in found.items() for pair in pairs}
        pairs = sorted((pair for pairs in found.values() for pair in pairs), key=lambda pair: pair.name)
        ids = {level: [pair.image_id for pair in pairs if level_of[pair.name] == level] for level in levels}
        parts = None
        if ids.get("train") and ids.get("test"):
            parts = ids
        elif ids.get("train") and ids.get("val"):
            parts = {"train": ids["train"], "test": ids["val"]}
        return DatasetIndex(
            root=root,
            pairs=pairs,
            conditions=self.conditions,
            levels=[level_of[pair.name] for pair in pairs],
            parts=parts,
        )


def is_salicon_layout(root: Path) -> bool:
    """Whether a folder has SALICON's layout, complete or not."""
    return (root / "maps").is_dir() or any(
        _folder(root, kind, level).is_dir() for kind in _RECORDED for level in LEVELS
    )


def _levels_to_read(root: Path) -> list[str]:
    """The levels to read; ``""`` alone where there are none.

    Raises:
        DataError: Nothing of the layout is there.
    """
    if not any(_folder(root, kind, level).is_dir() for kind in _RECORDED for level in ("", *LEVELS)):
        raise DataError(
            f"SALICON is not under {root}: expected the folders images/{{train,val}}, maps/{{train,val}} and "
            "fixations/{train,val}, but neither maps/ nor fixations/ is there. Put the published archives there, "
            "unpacked, or point data.root (or SALICON_DATA) elsewhere."
        )
    present = {level: [_folder(root, kind, level).is_dir() for kind in _RECORDED] for level in LEVELS}
    levels = [level for level in ("train", "val") if any(present[level])] + ["test"] * all(present["test"])
    return levels or [""]


def _folder(root: Path, kind: str, level: str) -> Path:
    """Folder of a kind of files at a level, which may be above it or below it."""
    above = root / level / kind
    return above if above.is_dir() else root / kind / level


def _read_level(root: Path, level: str, kinds: Sequence[str], issues: DataReport) -> list[FilePair | Recording]:
    """The pairs of a level that have a file of each kind."""
    folders = {kind: _folder(root, kind, level) for kind in kinds}
    files = {kind: files_by_stem(root, folder, _ENDINGS[kind], issues) for kind, folder in folders.items()}
    stems = set().union(*files.values())
    for kind, found in files.items():
        folder = folders[kind].relative_to(root)
        if found:
            issues.add(f"images without a file in {folder}", *(stems - found.keys()))
        elif stems and folders[kind].is_dir():
            issues.add("empty folders", f"{folder}/")
    pairs: list[FilePair | Recording] = []
    for name in set.intersection(*(set(found) for found in files.values())):
        density, fixations = files["maps"][name], files["fixations"][name]
        drop_outside = fixations.suffix.lower() == ".mat"
        if "images" in files:
            image = files["images"][name]
            pairs.append(FilePair(name, CONDITION, "", image, density, fixations, name, drop_outside))
        else:
            pairs.append(Recording(name, CONDITION, "", density, fixations, name, drop_outside))
    return pairs
