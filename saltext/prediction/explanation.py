"""What each phrase and word of a text adds to the predicted map; see :meth:`saltext.prediction.model.Model.explain`."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from saltext import storage
from saltext.prediction.captions import quoted
from saltext.prediction.phrases import Part
from saltext.prediction.pictures import (
    COMPRESS_LEVEL,
    Tile,
    change_scale,
    change_tile,
    density_tile,
    how_much_moves,
    sheet,
)

MAX_SIDE = 640
"""Longest side of the maps of an explanation, in pixels."""

_MAX_TILES, _COLUMNS, _TILE_SIDE = 12, 4, 300

_Pixels = npt.NDArray[np.uint8]
_Density = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class PartEffect:
    """What a phrase or word adds to the map.

    Attributes:
        part: The phrase or word, and the texts without it.
        change: The map under the whole text minus the one without the part: positive where the part adds attention.
            Float32 (h,w), sums to 0.
        change_replaced: The same with a neutral word in the part's place instead.
    """

    part: Part
    change: _Density
    change_replaced: _Density

    @property
    def moved(self) -> float:
        """Fraction of the predicted attention that lies elsewhere without the part, 0 to 1 (total variation)."""
        return float(np.abs(self.change).sum(dtype=np.float64)) / 2

    @property
    def moved_replaced(self) -> float:
        """The same with a neutral word in its place."""
        return float(np.abs(self.change_replaced).sum(dtype=np.float64)) / 2

    @property
    def caption(self) -> str:
        """What moves, in words."""
        percent = "less than 1" if self.moved_replaced < 0.01 else f"{100 * self.moved_replaced:.0f}"
        return f"{quoted(self.part.words)}: {how_much_moves(self.moved)} ({percent} % with a neutral word)"


@dataclass(frozen=True, eq=False)
class Explanation:
    """A text, its map, and what each phrase and word adds to it. In a notebook it shows its picture.

    Attributes:
        text: The text.
        pixels: The image, RGB, uint8 (h,w,3), at most :data:`MAX_SIDE` on its longer side.
        density: The map under the text, float32 (h,w), sums to 1.
        effects: Of each phrase and word, in the order of the text.
        image_id: The image's name in alternative texts.
    """

    text: str
    pixels: _Pixels
    density: _Density
    effects: tuple[PartEffect, ...]
    image_id: str = "image"

    @property
    def ranked(self) -> list[PartEffect]:
        """The effects, the strongest first."""
        return sorted(self.effects, key=lambda effect: -effect.moved)

    def part_tiles(self, side: int = _TILE_SIDE) -> list[Tile]:
        """The change by each phrase and word, in the order of the text, on one common colour scale.

        Args:
            side: Longest side of the image in a tile, in pixels.
        """
        if not self.effects:
            return []
        end = change_scale([effect.change for effect in self.effects])
        return [
            change_tile(
                self.pixels,
                effect.change,
                end,
                side,
                effect.caption,
                f"What {quoted(effect.part.words)} adds to the predicted density on image {self.image_id}: "
                f"{how_much_moves(effect.moved)} without it; red where it adds, blue where it takes away",
            )
            for effect in self.effects
        ]

    def tiles(self, side: int = _TILE_SIDE, most: int = _MAX_TILES) -> list[Tile]:
        """The map, and the change by each phrase and word on one common colour scale.

        Args:
            side: Longest side of the image in a tile, in pixels.
            most: Number of tiles; the weakest parts are left out.
        """
        shown = self.ranked[: most - 1]
        alt = f"Predicted density of fixations on image {self.image_id} after reading {quoted(self.text)}"
        of_parts = zip(self.effects, self.part_tiles(side), strict=True)
        return [
            density_tile(self.pixels, self.density, side, "prediction", alt),
            *(tile for effect, tile in of_parts if effect in shown),
        ]

    def picture(self) -> _Pixels:
        """The text, and all tiles below it in rows; RGB, uint8 (height, width, 3)."""
        tiles = self.tiles()
        hidden = len(self.effects) + 1 - len(tiles)
        note = f" The {hidden} parts with the smallest effects are left out." if hidden else ""
        heading = (
            f"{quoted(self.text)}: what each part adds to the map (red: more, blue: less attention with it).{note}"
        )
        rows = [tiles[start : start + _COLUMNS] for start in range(0, len(tiles), _COLUMNS)]
        return sheet(rows, heading, _TILE_SIDE)

    def write(self, path: str | Path) -> None:
        """Write the picture as PNG."""
        storage.write_bytes(path, self._repr_png_())

    def rows(self) -> Iterator[tuple[str, float, float]]:
        """Words, fraction moved without them, fraction moved with a neutral word in their place, of each part."""
        return ((effect.part.words, effect.moved, effect.moved_replaced) for effect in self.effects)

    def _repr_png_(self) -> bytes:
        with io.BytesIO() as stream:
            Image.fromarray(self.picture()).save(stream, "PNG", compress_level=COMPRESS_LEVEL)
            return stream.getvalue()

    def __repr__(self) -> str:
        lines = [f"Explanation of {self.text!r}: share of the predicted attention that moves without each part"]
        for effect in self.effects:
            indent = "" if effect.part.is_phrase else "  "
            lines.append(f"  {100 * effect.moved:5.1f} %  {indent}{effect.part.words}")
        return "\n".join(lines)


def effects_of(parts: Sequence[Part], whole: _Density, others: Sequence[_Density]) -> tuple[PartEffect, ...]:
    """The effects of the parts of a text.

    Args:
        parts: Of the text.
        whole: The map under the whole text.
        others: For each part, the map without it and the one with a neutral word in its place, one after the other.
    """
    pairs = zip(others[::2], others[1::2], strict=True)
    return tuple(
        PartEffect(part, whole - without, whole - replaced)
        for part, (without, replaced) in zip(parts, pairs, strict=True)
    )
