"""The one picture of an image: its texts, the human maps, the predictions, and what another text changes.

An :class:`ImageRecord` holds what is known. :func:`tiles` draws it, for pages and for the demo; :func:`write_picture`
lays the tiles of records out in one PNG, for runs and for ``saltext predict``.
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
"""Of PNG files: a quarter of the time of Pillow's own, 6, for a file that is a fifth larger."""

UNCHANGED = 5e-4
"""Less than this fraction of the predicted attention is nothing: it would be printed as 0.0 %."""

_COVER = 0.6  # of the image, by the colours of a density
_RISES, _FALLS, _STRONGEST = (255, 48, 32), (32, 112, 255), 0.9  # of a change: colours, and how far they cover
_VISIBLE = 0.6  # exponent of the strength of a change: below 1, so that what is spread out is seen beside a peak
_DARKENED = 0.6  # the image below a change
_LEAST_CHANGE = 0.05  # x uniform: the least end of a scale of changes, so that rounding errors are not shown
_TEXT = 18  # lines of text that are as high as a tile
_LEGEND, _ON_LEGEND = (30, 30, 30), (240, 240, 240)
_QUALITY = 85
_HIGHEST = 65535  # of 16 bits


@dataclass(frozen=True)
class TextMaps:
    """A text and its maps of an image.

    Attributes:
        text: What was read; empty for free viewing.
        prediction: Density, float32 (h,w), sums to 1, at the size of the image.
        truth: The human map, likewise; None where it is not known.
        name: In captions, such as the condition or the model; empty: "text 1".
        scores: Said beside the prediction, such as ``{"CC": 0.71}``.
    """

    text: str
    prediction: _Density
    truth: _Density | None = None
    name: str = ""
    scores: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class ImageRecord:
    """An image with its texts.

    Attributes:
        image_id: In descriptions; of an image of one's own, the name of its file.
        pixels: RGB, uint8 (h,w,3).
        texts: At least one. Two models that read the same text are two entries.
        title: Above all tiles; may be empty.

    Raises:
        ValueError: No text, or a map of another size.
    """

    image_id: str
    pixels: _Pixels
    texts: Sequence[TextMaps]
    title: str = ""

    def __post_init__(self) -> None:
        size = self.pixels.shape[:2]
        maps = [shown for of in self.texts for shown in (of.prediction, of.truth) if shown is not None]
        wrong = [shown.shape for shown in maps if shown.shape != size]
        if wrong or not maps:
            raise ValueError(f"expected maps of shape {size}, got {wrong[0] if wrong else 'none'}")

    @property
    def names(self) -> list[str]:
        """What the texts are called in captions: all different."""
        given = [of.name for of in self.texts]
        if all(given) and len(set(given)) == len(given):
            return given
        return [f"text {index} ({name})" if name else f"text {index}" for index, name in enumerate(given, start=1)]


@dataclass(frozen=True)
class Tile:
    """A picture with its legend, ready to be shown.

    Attributes:
        pixels: RGB, uint8 (h,w,3).
        caption: What stands beside it; plain text.
        alt: What it shows, for those who cannot see it.
    """

    pixels: _Pixels
    caption: str
    alt: str

    def jpeg(self) -> bytes:
        """The picture as a small file."""
        stream = BytesIO()
        Image.fromarray(self.pixels).save(stream, "JPEG", quality=_QUALITY)
        return stream.getvalue()


def write_density(path: Path, density: _Density) -> None:
    """Write a map: NPY as it is, PNG in 16 bits with a maximum of 65535."""
    with storage.replacing(path) as part, part.open("wb") as stream:
        if path.suffix == ".npy":
            np.save(stream, density, allow_pickle=False)
            return
        scaled = density.astype(np.float64) * (_HIGHEST / float(density.max()))  # a density has a value above 0
        Image.fromarray(scaled.round().astype(np.uint16)).save(stream, "PNG", compress_level=COMPRESS_LEVEL)


def density_of(values: npt.NDArray[Any]) -> _Density:
    """A map, not negative, divided by its sum; one that is zero everywhere says nothing, and becomes uniform."""
    total = float(values.sum(dtype=np.float64))
    density: _Density = (values / total if total > 0 else np.full(values.shape, 1 / values.size)).astype(np.float32)
    return density


def small(pixels: _Pixels, side: int = TILE_SIDE) -> _Pixels:
    """An image whose longer side is at most ``side``."""
    picture = Image.fromarray(pixels)
    picture.thumbnail((side, side))
    return np.asarray(picture)


def reduced(density: _Density, like: _Pixels) -> _Density:
    """A density at the size of a smaller image; sums to 1 again."""
    height, width = like.shape[:2]
    if density.shape == (height, width):
        return density
    shrunk = np.asarray(Image.fromarray(density).resize((width, height), Image.Resampling.BOX))
    scaled: _Density = shrunk / shrunk.sum(dtype=np.float64).astype(np.float32)
    return scaled


def moved(one: _Density, other: _Density) -> float:
    """The fraction of one density that lies elsewhere in the other, 0 to 1: half the sum of absolute differences."""
    return float(np.abs(one.astype(np.float64) - other).sum()) / 2


def how_much_moves(fraction: float) -> str:
    """What :func:`moved` found, in words.

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
    return np.asarray(Image.blend(grey, Image.fromarray(inferno()[level]), _COVER))


def change_overlay(pixels: _Pixels, change: _Density, highest: float) -> _Pixels:
    """Red where a density rises and blue where it falls, over the image in dark grey; the more, the less of the image.

    Args:
        pixels: RGB, uint8 (h,w,3).
        change: Difference of two densities, (h,w).
        highest: The change of the strongest colours, above 0.

    Returns:
        RGB, uint8 (h,w,3).
    """
    strength = np.clip(change / highest, -1, 1)[..., None]
    cover = _STRONGEST * np.abs(strength) ** _VISIBLE
    grey = _DARKENED * np.asarray(Image.fromarray(pixels).convert("L"), np.float32)[..., None]
    mixed: _Pixels = (grey * (1 - cover) + np.where(strength > 0, _RISES, _FALLS) * cover).round().astype(np.uint8)
    return mixed


def tiles(record: ImageRecord, side: int = TILE_SIDE) -> list[list[Tile]]:
    """What is known of an image, as pictures.

    A row for each text: the image (in the first row) or what changes from the first text to this one (in the others),
    the human map where there is one (once, where several rows have the same), and the prediction. The predictions
    share a colour scale, and so do the human maps; each change has its own. The scales stand in the tiles, in multiples
    of the density that is the same everywhere.

    Args:
        record: The image, of any size.
        side: Longest side of the image in a tile, in pixels; smaller images are enlarged.

    Returns:
        Rows of two or three tiles, as many as there are texts.
    """
    pixels = small(record.pixels, side)
    names, of_image = record.names, f"image {record.image_id}"
    predictions = [reduced(of.prediction, pixels) for of in record.texts]
    truths: list[_Density | None] = []
    for of in record.texts:
        truth = None if of.truth is None else reduced(of.truth, pixels)
        known = any(np.array_equal(truth, other) for other in truths if truth is not None and other is not None)
        truths.append(None if known else truth)
    several = sum(truth is not None for truth in truths) > 1
    highest, highest_truth = (
        max((float(density.max()) for density in densities if density is not None), default=0.0)
        for densities in (predictions, truths)
    )
    rows = []
    for index, (of, name) in enumerate(zip(record.texts, names, strict=True)):
        called = f", {name}" if len(names) > 1 else ""
        read = f"{of_image} after reading {quoted(of.text)}" if of.text else f"{of_image} without a text"
        if index == 0:
            row = [Tile(_framed(pixels, side), "image", f"Image {record.image_id}")]
        else:
            change = predictions[index] - predictions[0]
            most = max(float(np.abs(change).max()), _LEAST_CHANGE / change.size)
            moves = how_much_moves(moved(record.texts[0].prediction, of.prediction))
            said = f"change from {names[0]} to {name}: {moves}"
            alt = f"Predicted density on {of_image}: {said}; red where it rises, blue where it falls"
            row = [Tile(_framed(change_overlay(pixels, change, most), side, most * change.size, True), said, alt)]
        truth = truths[index]
        if truth is not None:
            shown = _framed(overlay(pixels, truth, highest_truth), side, highest_truth * truth.size)
            row.append(Tile(shown, f"human map{called if several else ''}", f"Density of human fixations on {read}"))
        scores = ", ".join(f"{score} {value:z.2f}" for score, value in of.scores.items())
        shown = _framed(overlay(pixels, predictions[index], highest), side, highest * pixels[..., 0].size)
        said = f"prediction{called}" + (f": {scores}" if scores else "")
        rows.append([*row, Tile(shown, said, f"Predicted density of fixations on {read}")])
    return rows


def _framed(shown: _Pixels, side: int, end: float | None = None, signed: bool = False) -> _Pixels:
    """A picture enlarged to a tile, above its legend if its colours have a scale.

    Args:
        shown: RGB, uint8 (h,w,3).
        side: Of the longer side.
        end: Of the scale, x uniform; None without one.
        signed: Whether the scale is one of changes and begins at ``-end``.
    """
    from PIL import ImageDraw

    size = side // _TEXT
    picture = Image.fromarray(shown)
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
    framed = Image.new("RGB", (width, picture.height + 2 * line + round(1.5 * margin)), _LEGEND)
    framed.paste(picture, ((width - picture.width) // 2, 0))
    draw = ImageDraw.Draw(framed)
    for index, (left, right) in enumerate(words):
        below = picture.height + margin // 2 + index * line
        draw.text((margin, below), left, _ON_LEGEND, letters)
        draw.text((width - margin, below), right, _ON_LEGEND, letters, anchor="ra")
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
        path: Where to.
        note: Above everything, such as how the images were chosen.
        side: Of a tile, see :func:`tiles`.
    """
    from PIL import ImageDraw

    shown = [(record, tiles(record, side)) for record in records]
    rows = [row for _, of_image in shown for row in of_image]
    size = gap = side // _TEXT
    line = round(1.3 * size)
    cell = max(tile.pixels.shape[1] for row in rows for tile in row)
    width = max(len(row) for row in rows) * (cell + gap) - gap
    words: list[tuple[int, int, str]] = []  # with their indices, left and top
    pictures: list[tuple[int, int, _Pixels]] = []
    top = gap

    def say(text: str) -> None:
        nonlocal top
        for text_line in caption(text, width, size).splitlines():
            words.append((gap, top, text_line))
            top += line

    say(note)
    for record, of_image in shown:
        top += gap
        say(record.title)
        for of, name, row in zip(record.texts, record.names, of_image, strict=True):
            heading = [name, quoted(of.text)] if len(of_image) > 1 else [quoted(of.text)]
            say(": ".join(dict.fromkeys(heading)))
            captions = [caption(tile.caption, cell, size).splitlines() for tile in row]
            top += gap // 2 + line * max(map(len, captions))
            for index, (tile, lines) in enumerate(zip(row, captions, strict=True)):
                # Predictions stand below each other, also where a text has no human map.
                left = gap + (index and index + max(map(len, of_image)) - len(row)) * (cell + gap)
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
