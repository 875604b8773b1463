"""Reads SALICON's published layout: free viewing of 15,000 pictures, followed with the mouse (Jiang et al. 2015)."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from saltext.data.faults import Faults, files_by_stem
from saltext.data.files import FIXATION_ENDINGS, IMAGE_ENDINGS, MAP_ENDINGS
from saltext.data.pairs import FilePair, Found, Recording
from saltext.errors import DataError

CONDITION = "pure"
"""The only one: nothing was read."""

LEVELS = ("train", "val", "test")
"""Sub-folders, above or below those of the kinds of files; a flat data set has none."""

_KINDS = {"maps": MAP_ENDINGS, "fixations": FIXATION_ENDINGS, "images": IMAGE_ENDINGS}
_WAY_OUT = "Put the published archives there, unpacked, or point data.root (or SALICON_DATA) elsewhere."
_ADVICE = "Unpack the published archives again, or mend or remove these files."


def find_salicon(root: Path | str) -> Found:
    """SALICON with its own division: its training images train, its validation images test.

    Where people looked at its test images was never published, so these are not read. Fixations of ``.mat`` files
    that lie outside their image, of which the edition of 2017 has a few, are left out.

    Args:
        root: Folder that holds ``images/{train,val}``, ``maps/{train,val}`` and ``fixations/{train,val}``, or
            ``{train,val}`` with these three in each.

    Raises:
        DataError: The layout is not there, or images, maps and fixations do not belong together. One error names all
            problems.
    """
    root = Path(root)
    if not any(_folder(root, kind, level).is_dir() for kind in _KINDS for level in LEVELS):
        expected = ", ".join(f"{kind}/{{train,val}}" for kind in ("images", "maps", "fixations"))
        raise DataError(f"SALICON is not under {root}: expected the folders {expected}, none is there. {_WAY_OUT}")
    faults = Faults()
    found = {level: _read_level(root, level, _KINDS, faults) for level in ("train", "val")}
    faults.add("empty folders", *(f"images/{level}/" for level, (recordings, _) in found.items() if not recordings))
    _check(root, {level: recordings for level, (recordings, _) in found.items()}, faults)
    parts = {part: [one.image_id for one in found[level][0]] for part, level in (("train", "train"), ("test", "val"))}
    pairs = [
        FilePair(**vars(one), image=images[one.name]) for recordings, images in found.values() for one in recordings
    ]
    return Found(sorted(pairs, key=lambda pair: pair.image_id), parts)


def find_recordings(root: Path) -> dict[str, list[Recording]]:
    """What maps can be scored on, in the same layout: without images, by level; flat, too, under the level ``""``.

    Raises:
        DataError: Maps and fixations do not belong together, or there are none. One error names all problems.
    """
    levels = levels_of(root)
    faults = Faults()
    kinds = ("maps", "fixations")
    found = {level: _read_level(root, level, kinds, faults)[0] for level in levels}
    _check(root, found, faults)
    if not any(found.values()):
        raise DataError(f"The data set under {root} is empty: maps/ and fixations/ hold no files. Put them there.")
    return found


def levels_of(root: Path) -> list[str]:
    """The levels that have maps or fixations; ``""`` where none has."""
    kinds = ("maps", "fixations")
    return [level for level in LEVELS if any(_folder(root, kind, level).is_dir() for kind in kinds)] or [""]


def _folder(root: Path, kind: str, level: str) -> Path:
    above = root / level / kind
    return above if above.is_dir() else root / kind / level


def _read_level(
    root: Path, level: str, kinds: Collection[str], faults: Faults
) -> tuple[list[Recording], Mapping[str, Path]]:
    """The recordings of a level that have a file of each kind, sorted by name; and the images by name."""
    folders = {kind: _folder(root, kind, level) for kind in kinds}
    files = {kind: files_by_stem(root, folder, _KINDS[kind], faults) for kind, folder in folders.items()}
    everything = set().union(*files.values())
    for kind, present in files.items():
        missing = everything - present.keys()
        faults.add(f"images without a file in {folders[kind].relative_to(root)}", *(missing if present else ()))
    complete = [
        Recording(
            image_id=name,
            task=CONDITION,
            text="",
            density=files["maps"][name],
            fixations=files["fixations"][name],
            name=name,
            drop_outside=files["fixations"][name].suffix.lower() == ".mat",
        )
        for name in sorted(set.intersection(*(set(present) for present in files.values())))
    ]
    return complete, files.get("images", {})


def _check(root: Path, levels: Mapping[str, Sequence[Recording]], faults: Faults) -> None:
    names = Counter(one.name for recordings in levels.values() for one in recordings)
    faults.add(f"images that are in {' and in '.join(levels)}", *(name for name, count in names.items() if count > 1))
    faults.refuse(f"The data set under {root}", _ADVICE)
