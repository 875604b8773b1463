"""Pictures of an image with its texts, human maps, predictions, and the change from one text to another.

An :class:`ImageRecord` holds the maps. :func:`tiles` draws them for reports and the demo; :func:`write_picture`
arranges the tiles of several records in one PNG, for runs and for ``saltext predict``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from saltext import storage
from saltext.prediction.captions import caption, font, quoted
from saltext.prediction.colours import inferno

_Pixels = npt.NDArray[np.uint8]
_Density = npt.NDArray[np.float32]

TILE_SIDE = 360
"""Longest side of the image in a tile, in pixels."""

PANEL_SIDE = 480
"""The same where pictures are few and large: panels of ``saltext predict``, the demo."""

COMPRESS_LEVEL = 1
"""Compression of PNG files: a quarter of the time of Pillow's default, 6, for files that are a fifth larger."""

UNCHANGED = 5e-4
"""A smaller moved fraction of the predicted attention counts as no change: it would be printed as 0.0 %."""

_OVERLAY_OPACITY = 0.6  # of the colours of a density over the image
_RISE_COLOUR, _FALL_COLOUR, _MAX_CHANGE_OPACITY = (255, 48, 32), (32, 112, 255), 0.9
_CHANGE_GAMMA = 0.6  # exponent of the strength of a change: below 1, so that a spread-out change is seen beside a peak
_IMAGE_BRIGHTNESS = 0.6  # of the image below a change
_MIN_CHANGE_SCALE = 0.05  # x uniform: the smallest end of a scale of changes, so that rounding errors are not shown
_LINES_PER_TILE = 18  # lines of text that are as high as a tile
_LEGEND_BACKGROUND, _LEGEND_TEXT = (30, 30, 30), (240, 240, 240)
_JPEG_QUALITY = 85
_UINT16_MAX = 65535


@dataclass(frozen=True)
class TextMaps:
    """A text and its maps of an image.

    Attributes:
        text: The text that was read; empty for free viewing.
        prediction: Density, float32 (h,w), sums to 1, at the size of the image.
        human_map: Likewise; None where it is not known.
        name: Name in captions, such as the condition or the model; empty: "text 1".
        scores: Shown in the caption of the prediction, such as ``{"CC": 0.71}``.
    """

    text: str
    prediction: _Density
    human_map: _Density | None = None
    name: str = ""
    scores: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class ImageRecord:
    """An image with its texts.

    Attributes:
        image_id: Name in alt texts; of an image outside a data set, the name of its file.
        pixels: RGB, uint8 (h,w,3).
        texts: At least one. Two models that read the same text are two entries.
        title: Printed above all tiles; may be empty.

    Raises:
        ValueError: No text, or a map of another size.
    """

    image_id: str
    pixels: _Pixels
    texts: Sequence[TextMaps]
    title: str = ""

    def __post_init__(self) -> None:
        size = self.pixels.shape[:2]
        maps = [
            density for entry in self.texts for density in (entry.prediction, entry.human_map) if density is not None
        ]
        wrong_shapes = [density.shape for density in maps if density.shape != size]
        if wrong_shapes or not maps:
            raise ValueError(f"expected maps of shape {size}, got {wrong_shapes[0] if wrong_shapes else 'none'}")

    @property
    def names(self) -> list[str]:
        """Names of the texts in captions, all different."""
        given = [entry.name for entry in self.texts]
        if all(given) and len(set(given)) == len(given):
            return given
        return [f"text {index} ({name})" if name else f"text {index}" for index, name in enumerate(given, start=1)]


@dataclass(frozen=True)
class Tile:
    """A picture with its legend, ready to be shown.

    Attributes:
        pixels: RGB, uint8 (h,w,3).
        caption: Plain text.
        alt: Alternative text for screen readers.
    """

    pixels: _Pixels
    caption: str
    alt: str

    def jpeg(self) -> bytes:
        """The picture as a small file."""
        stream = BytesIO()
        Image.fromarray(self.pixels).save(stream, "JPEG", quality=_JPEG_QUALITY)
        return stream.getvalue()


def write_density(path: Path, density: _Density) -> None:
    """Write a map: NPY as it is, PNG in 16 bits with a maximum of 65535."""
    with storage.replacing(path) as part, part.open("wb") as stream:
        if path.suffix == ".npy":
            np.save(stream, density, allow_pickle=False)
            return
        scaled = density.astype(np.float64) * (_UINT16_MAX / float(density.max()))  # a density has a value above 0
        Image.fromarray(scaled.round().astype(np.uint16)).save(stream, "PNG", compress_level=COMPRESS_LEVEL)


def normalize_density(values: npt.NDArray[Any]) -> _Density:
    """A non-negative map divided by its sum, float32; a map that is zero everywhere becomes uniform."""
    total = float(values.sum(dtype=np.float64))
    density: _Density = (values / total if total > 0 else np.full(values.shape, 1 / values.size)).astype(np.float32)
    return density


def shrink_image(pixels: _Pixels, side: int = TILE_SIDE) -> _Pixels:
    """An image whose longer side is at most ``side``."""
    picture = Image.fromarray(pixels)
    picture.thumbnail((side, side))
    return np.asarray(picture)


def shrink_density(density: _Density, image: _Pixels) -> _Density:
    """A density at the size of a smaller image; sums to 1 again."""
    height, width = image.shape[:2]
    if density.shape == (height, width):
        return density
    smaller = np.asarray(Image.fromarray(density).resize((width, height), Image.Resampling.BOX))
    scaled: _Density = smaller / smaller.sum(dtype=np.float64).astype(np.float32)
    return scaled


def moved_fraction(one: _Density, other: _Density) -> float:
    """The fraction of one density that lies elsewhere in the other, 0 to 1: half the sum of absolute differences."""
    return float(np.abs(one.astype(np.float64) - other).sum()) / 2


def how_much_moves(fraction: float) -> str:
    """The result of :func:`moved_fraction` as a sentence.

    Example:
        >>> how_much_moves(0.24)
        '24 % of the predicted attention moves'
    """
    if fraction < UNCHANGED:
        return "nothing moves"
    return f"{'less than 1' if fraction < 0.01 else f'{100 * fraction:.0f}'} % of the predicted attention moves"


def overlay(pixels: _Pixels, density: _Density, highest: float | None = None) -> _Pixels:
    """A heat map over the image in grey.

    Args:
        pixels: RGB, uint8 (h,w,3).
        density: Not negative, (h,w).
        highest: The density of the brightest colour, by default the largest.

    Returns:
        RGB, uint8 (h,w,3).
    """
    top = float(density.max()) if highest is None else highest
    level = np.clip(density * (255 / top), 0, 255).astype(np.uint8) if top > 0 else np.zeros(density.shape, np.uint8)
    grey = Image.fromarray(pixels).convert("L").convert("RGB")
    return np.asarray(Image.blend(grey, Image.fromarray(inferno()[level]), _OVERLAY_OPACITY))


def change_overlay(pixels: _Pixels, change: _Density, highest: float) -> _Pixels:
    """A change of density over the image in dark grey: red where it rises, blue where it falls, opaque where strong.

    Args:
        pixels: RGB, uint8 (h,w,3).
        change: Difference of two densities, (h,w).
        highest: The change of the strongest colours, above 0.

    Returns:
        RGB, uint8 (h,w,3).
    """
    strength = np.clip(change / highest, -1, 1)[..., None]
    cover = _MAX_CHANGE_OPACITY * np.abs(strength) ** _CHANGE_GAMMA
    grey = _IMAGE_BRIGHTNESS * np.asarray(Image.fromarray(pixels).convert("L"), np.float32)[..., None]
    mixed: _Pixels = (
        (grey * (1 - cover) + np.where(strength > 0, _RISE_COLOUR, _FALL_COLOUR) * cover).round().astype(np.uint8)
    )
    return mixed


def change_scale(changes: Sequence[_Density]) -> float:
    """The end of a colour scale for some changes of density, never so small that rounding errors are shown."""
    return max(max(float(np.abs(change).max()), _MIN_CHANGE_SCALE / change.size) for change in changes)


def change_tile(pixels: _Pixels, change: _Density, end: float, side: int, text: str, alt: str) -> Tile:
    """A change of density over an image with its legend, see :func:`change_overlay`.

    Args:
        pixels: RGB, uint8 (h,w,3).
        change: Difference of two densities, (h,w).
        end: The change of the strongest colours, see :func:`change_scale`.
        side: Longest side of the image in the tile, in pixels.
        text: Caption.
        alt: Alternative text.
    """
    return Tile(_with_legend(change_overlay(pixels, change, end), side, end * change.size, True), text, alt)


def density_tile(
    pixels: _Pixels, density: _Density, side: int, text: str, alt: str, highest: float | None = None
) -> Tile:
    """A density over an image with its legend, see :func:`overlay`; arguments as for :func:`change_tile`."""
    top = float(density.max()) if highest is None else highest
    return Tile(_with_legend(overlay(pixels, density, top), side, top * density.size), text, alt)


def tiles(record: ImageRecord, side: int = TILE_SIDE) -> list[list[Tile]]:
    """The tiles of an image.

    A row for each text: the image (in the first row) or the change from the first text to this one (in the others), the
    human map where there is one (once, where several rows have the same), and the prediction. The predictions share a
    colour scale, and so do the human maps and the changes. The legends give the scales in multiples of the uniform
    density.

    Args:
        record: The image, of any size, with its maps.
        side: Longest side of the image in a tile, in pixels; smaller images are enlarged.

    Returns:
        Rows of two or three tiles, as many as there are texts.
    """
    pixels = shrink_image(record.pixels, side)
    names, of_image = record.names, f"image {record.image_id}"
    predictions = [shrink_density(entry.prediction, pixels) for entry in record.texts]
    human_maps: list[_Density | None] = []
    for entry in record.texts:
        human_map = None if entry.human_map is None else shrink_density(entry.human_map, pixels)
        shown = [other for other in human_maps if other is not None]
        if human_map is not None and any(np.array_equal(human_map, other) for other in shown):
            human_map = None
        human_maps.append(human_map)
    several_human_maps = sum(human_map is not None for human_map in human_maps) > 1
    highest, highest_human = (
        max((float(density.max()) for density in densities if density is not None), default=0.0)
        for densities in (predictions, human_maps)
    )
    changes = [prediction - predictions[0] for prediction in predictions[1:]]
    rows = []
    for index, (entry, name) in enumerate(zip(record.texts, names, strict=True)):
        suffix = f", {name}" if len(names) > 1 else ""
        viewing = f"{of_image} after reading {quoted(entry.text)}" if entry.text else f"{of_image} without a text"
        if index == 0:
            row = [Tile(_with_legend(pixels, side), "image", f"Image {record.image_id}")]
        else:
            moves = how_much_moves(moved_fraction(record.texts[0].prediction, entry.prediction))
            text = f"change from {names[0]} to {name}: {moves}"
            alt = f"Predicted density on {of_image}: {text}; red where it rises, blue where it falls"
            row = [change_tile(pixels, changes[index - 1], change_scale(changes), side, text, alt)]
        human_map = human_maps[index]
        if human_map is not None:
            text = f"human map{suffix if several_human_maps else ''}"
            alt = f"Density of human fixations on {viewing}"
            row.append(density_tile(pixels, human_map, side, text, alt, highest_human))
        scores = ", ".join(f"{score} {value:z.2f}" for score, value in entry.scores.items())
        text = f"prediction{suffix}" + (f": {scores}" if scores else "")
        alt = f"Predicted density of fixations on {viewing}"
        rows.append([*row, density_tile(pixels, predictions[index], side, text, alt, highest)])
    return rows


def _with_legend(pixels: _Pixels, side: int, end: float | None = None, signed: bool = False) -> _Pixels:
    """A picture enlarged to a tile, above its legend if its colours have a scale.

    Args:
        pixels: RGB, uint8 (h,w,3).
        side: Length of the longer side of the picture in the tile, in pixels.
        end: End of the colour scale, x uniform; None for no legend.
        signed: Whether the scale is one of changes and begins at ``-end``.
    """
    from PIL import ImageDraw

    size = side // _LINES_PER_TILE
    picture = Image.fromarray(pixels)
    ratio = side / max(picture.size)
    picture = picture.resize((max(1, round(picture.width * ratio)), max(1, round(picture.height * ratio))))
    if end is None:
        return np.asarray(picture)
    number = f"{end:.1f}" if end >= 1 else f"{end:.2g}"
    words = (
        [("less", "more"), (f"−{number}", f"+{number} × uniform")]
        if signed
        else [("", ""), ("0", f"{number} × uniform")]
    )
    letters, line, margin = font(size), round(1.2 * size), size // 2
    widths = [[round(letters.getlength(word)) for word in pair] for pair in words]
    width = max(picture.width, sum(widths[1]) + 3 * margin)
    framed = Image.new("RGB", (width, picture.height + 2 * line + round(1.5 * margin)), _LEGEND_BACKGROUND)
    framed.paste(picture, ((width - picture.width) // 2, 0))
    draw = ImageDraw.Draw(framed)
    for index, (left, right) in enumerate(words):
        below = picture.height + margin // 2 + index * line
        draw.text((margin, below), left, _LEGEND_TEXT, letters)
        draw.text((width - margin, below), right, _LEGEND_TEXT, letters, anchor="ra")
    # The bar between the words of the first line, in the colours as they come out over middle grey.
    start, stop = (edge + margin * (edge > 0) + margin for edge in widths[0])
    grey = np.full((line // 2, width - start - stop, 3), 128, np.uint8)
    levels = np.tile(np.linspace(-1 if signed else 0, 1, grey.shape[1], dtype=np.float32), (grey.shape[0], 1))
    bar = change_overlay(grey, levels, 1) if signed else overlay(grey, levels, 1)
    framed.paste(Image.fromarray(bar), (start, picture.height + margin // 2 + line // 4))
    return np.asarray(framed)


def write_picture(records: Sequence[ImageRecord], path: Path, note: str = "", side: int = TILE_SIDE) -> None:
    """Write a PNG with the tiles of images below each other, a row for each text, and nothing over a picture.

    Args:
        records: At least one.
        path: The file to write.
        note: Text above everything, such as how the images were chosen.
        side: Size of a tile, see :func:`tiles`.
    """
    from PIL import ImageDraw

    drawn = [(record, tiles(record, side)) for record in records]
    rows = [row for _, rows_of_image in drawn for row in rows_of_image]
    size = gap = side // _LINES_PER_TILE
    line = round(1.3 * size)
    cell = max(tile.pixels.shape[1] for row in rows for tile in row)
    width = max(len(row) for row in rows) * (cell + gap) - gap
    words: list[tuple[int, int, str]] = []  # left, top, text
    pictures: list[tuple[int, int, _Pixels]] = []
    top = gap

    def add_lines(text: str) -> None:
        nonlocal top
        for text_line in caption(text, width, size).splitlines():
            words.append((gap, top, text_line))
            top += line

    add_lines(note)
    for record, rows_of_image in drawn:
        top += gap
        add_lines(record.title)
        for entry, name, row in zip(record.texts, record.names, rows_of_image, strict=True):
            heading = [name, quoted(entry.text)] if len(rows_of_image) > 1 else [quoted(entry.text)]
            add_lines(": ".join(dict.fromkeys(heading)))
            captions = [caption(tile.caption, cell, size).splitlines() for tile in row]
            top += gap // 2 + line * max(map(len, captions))
            for index, (tile, lines) in enumerate(zip(row, captions, strict=True)):
                # Predictions stand below each other, also where a text has no human map.
                left = gap + (index and index + max(map(len, rows_of_image)) - len(row)) * (cell + gap)
                words += [(left, top - line * (len(lines) - n), text) for n, text in enumerate(lines)]
                pictures.append((left, top, tile.pixels))
            top += max(tile.pixels.shape[0] for tile in row) + gap
    canvas = Image.new("RGB", (width + 2 * gap, top), "white")
    draw = ImageDraw.Draw(canvas)
    for left, above, text in words:
        draw.text((left, above), text, "black", font(size))
    for left, above, pixels in pictures:
        canvas.paste(Image.fromarray(pixels), (left, above))
    with storage.replacing(path) as part:
        canvas.save(part, "PNG", compress_level=COMPRESS_LEVEL)


def sheet(rows: Sequence[Sequence[Tile]], heading: str, side: int = TILE_SIDE) -> _Pixels:
    """Tiles in rows, each below its caption, under a heading; RGB, uint8 (height, width, 3).

    Args:
        rows: At least one, none of them empty.
        heading: Above everything.
        side: Size of a tile, see :func:`tiles`; it decides the size of the letters.
    """
    from PIL import ImageDraw

    size = gap = side // _LINES_PER_TILE
    line = round(1.3 * size)
    cell = max(tile.pixels.shape[1] for row in rows for tile in row)
    width = max(len(row) for row in rows) * (cell + gap) - gap
    above = caption(heading, width, size).splitlines()
    captions = [[caption(tile.caption, cell, size).splitlines() for tile in row] for row in rows]
    text_heights = [line * max(map(len, of_row)) for of_row in captions]
    heights = [
        text + max(tile.pixels.shape[0] for tile in row) + 2 * gap for text, row in zip(text_heights, rows, strict=True)
    ]
    canvas = Image.new("RGB", (width + 2 * gap, gap + line * len(above) + sum(heights) + gap), "white")
    draw = ImageDraw.Draw(canvas)
    for number, text in enumerate(above):
        draw.text((gap, gap + number * line), text, "black", font(size))
    top = gap + line * len(above)
    for row, of_row, text_height, height in zip(rows, captions, text_heights, heights, strict=True):
        for column, (tile, lines) in enumerate(zip(row, of_row, strict=True)):
            left = gap + column * (cell + gap)
            for number, text in enumerate(lines):
                draw.text((left, top + gap + number * line), text, "black", font(size))
            canvas.paste(Image.fromarray(tile.pixels), (left, top + gap + text_height))
        top += height
    return np.asarray(canvas)
