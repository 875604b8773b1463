"""Reads SALICON's published layout: free viewing of 15,000 pictures, followed with the mouse (Jiang et al. 2015)."""

from collections.abc import Sequence
from pathlib import Path

from saltext.data.faults import Faults, files_by_stem
from saltext.data.pairs import FilePair, Found
from saltext.errors import DataError

CONDITION = "pure"
"""The only one: nothing was read."""

_KINDS = {"images": (".jpg", ".jpeg", ".png"), "maps": (".png",), "fixations": (".mat",)}
_WAY_OUT = "Put the published archives there, unpacked, or point data.root (or SALICON_DATA) elsewhere."


def find_salicon(root: Path | str) -> Found:
    """SALICON with its own division: its training images train, its validation images test.

    Where people looked at its test images was never published, so these are not read. Fixations outside an image, of
    which the edition of 2017 has a few, are left out.

    Args:
        root: Folder that holds ``images/{train,val}``, ``maps/{train,val}`` and ``fixations/{train,val}``.

    Raises:
        DataError: The layout is not there, or images, maps and fixations do not belong together. One error names all
            problems.
    """
    root = Path(root)
    if not any((root / kind).is_dir() for kind in _KINDS):
        expected = ", ".join(f"{kind}/{{train,val}}" for kind in _KINDS)
        raise DataError(f"SALICON is not under {root}: expected the folders {expected}, none is there. {_WAY_OUT}")
    faults = Faults()
    levels = {level: _level(root, level, faults) for level in ("train", "val")}
    twice = {pair.name for pair in levels["train"]} & {pair.name for pair in levels["val"]}
    faults.add("images that are in train and in val", *twice)
    faults.add("empty folders", *(f"images/{level}/" for level, pairs in levels.items() if not pairs))
    faults.refuse(f"SALICON under {root}", "Unpack the published archives again, or remove what is not theirs.")
    parts = {part: [pair.image_id for pair in levels[level]] for part, level in (("train", "train"), ("test", "val"))}
    return Found(sorted((*levels["train"], *levels["val"]), key=lambda pair: pair.image_id), parts)


def _level(root: Path, level: str, faults: Faults) -> Sequence[FilePair]:
    """The images of a part with all of their files."""
    files = {kind: files_by_stem(root, root / kind / level, endings, faults) for kind, endings in _KINDS.items()}
    everything = set().union(*files.values())
    for kind, present in files.items():
        missing = everything - present.keys()
        faults.add(f"images without a file in {kind}/{level}", *(missing if present else ()))
    complete = set.intersection(*(set(present) for present in files.values()))
    return [
        FilePair(
            image_id=name,
            task=CONDITION,
            text="",
            image=files["images"][name],
            density=files["maps"][name],
            fixations=files["fixations"][name],
            name=name,
            drop_outside=True,
        )
        for name in sorted(complete)
    ]
