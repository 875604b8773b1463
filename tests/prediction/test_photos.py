"""Image files of every kind, and files that only look like one."""

import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from saltext.errors import InvalidFileError
from saltext.images import read_values
from saltext.prediction.photos import open_photo

CORNERS = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]], [[255, 255, 0], [0, 255, 255], [255, 0, 255]]], np.uint8)
# What each EXIF orientation says the stored rows and columns are, as a person sees them.
UPRIGHT = {
    1: CORNERS,
    2: CORNERS[:, ::-1],
    3: CORNERS[::-1, ::-1],
    4: CORNERS[::-1],
    5: CORNERS.transpose(1, 0, 2),
    6: CORNERS[::-1].transpose(1, 0, 2),
    7: CORNERS[::-1, ::-1].transpose(1, 0, 2),
    8: CORNERS[:, ::-1].transpose(1, 0, 2),
}


def noise(height: int = 40, width: int = 60) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def refusal(image: object) -> str:
    with pytest.raises(InvalidFileError) as raised:
        open_photo(image)  # type: ignore[arg-type]
    return str(raised.value)


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("ending", ["png", "tif", "webp"])
def test_a_picture_is_turned_as_its_exif_data_say(tmp_path: Path, orientation: int, ending: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"turned.{ending}"
    Image.fromarray(CORNERS).save(path, exif=exif, **({"lossless": True} if ending == "webp" else {}))
    np.testing.assert_array_equal(open_photo(path).pixels, UPRIGHT[orientation])


def test_exif_data_that_cannot_be_read_do_not_cost_the_picture(tmp_path: Path) -> None:
    path = tmp_path / "odd.png"
    exif = b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x0c\x00\x00\x00\x01garbage"
    Image.fromarray(CORNERS).save(path, exif=exif)
    np.testing.assert_array_equal(open_photo(path).pixels, CORNERS)


def test_cmyk_becomes_rgb(tmp_path: Path) -> None:
    path = tmp_path / "print.jpg"
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(path, quality=100)
    assert np.abs(open_photo(path).pixels.astype(int) - (255, 0, 0)).max() <= 3


@pytest.mark.parametrize("ending", ["png", "tif", "pgm"])
def test_sixteen_bits_are_scaled_not_clipped(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"deep.{ending}"
    values = np.array([[0, 128, 256, 257], [32768, 65278, 65280, 65535]], np.uint16)
    Image.fromarray(values).save(path)
    expected = [[0, 0, 1, 1], [128, 254, 254, 255]]  # v / 257, to the nearest
    np.testing.assert_array_equal(open_photo(path).pixels, np.stack([expected] * 3, axis=-1))


def test_sixteen_bits_of_big_endian_files_are_scaled_as_well(tmp_path: Path) -> None:
    path = tmp_path / "deep.tif"
    Image.frombytes("I;16B", (2, 1), b"\xff\xff\x80\x00").save(path)
    np.testing.assert_array_equal(open_photo(path).pixels[0, :, 0], [255, 128])


DEEP = np.array([[0, 128, 255, 256, 384, 32767, 32768, 65407, 65408, 65535]], np.uint16)
NEAREST = [0, 0, 1, 1, 1, 127, 128, 255, 255, 255]
UPPER = [0, 0, 0, 1, 1, 127, 128, 255, 255, 255]


def write_png(path: Path, values: np.ndarray) -> Path:
    """8 or 16 bits: grey, grey and opacity, RGB, RGBA; Pillow writes no colours of 16."""
    height, width, channels = values.shape
    bits = values.dtype.itemsize * 8
    lines = b"".join(b"\0" + line.astype(f">u{values.dtype.itemsize}").tobytes() for line in values)
    head = struct.pack(">IIBBBBB", width, height, bits, {1: 0, 2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    parts = (b"IHDR" + head, b"IDAT" + zlib.compress(lines), b"IEND")
    chunks = [struct.pack(">I", len(part) - 4) + part + struct.pack(">I", zlib.crc32(part)) for part in parts]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))
    return path


def write_tiff(path: Path, values: np.ndarray, planes: bool = False, compressed: bool = False) -> Path:
    """16 bits of RGB: together, or each colour in a plane."""
    height, width, channels = values.shape
    parts = [part.astype("<u2").tobytes() for part in (np.moveaxis(values, 2, 0) if planes else [values])]
    parts = [zlib.compress(part) for part in parts] if compressed else parts
    sizes = [len(part) for part in parts]
    starts = [8 + sum(sizes[:number]) for number in range(len(parts))]
    tags = {256: [width], 257: [height], 258: [16] * channels, 259: [8 if compressed else 1], 262: [2], 273: starts,
            277: [channels], 278: [height], 279: sizes, 284: [2 if planes else 1]}  # fmt: skip
    directory = 8 + sum(sizes)
    entries, behind = b"", b""
    for tag, numbers in tags.items():
        said = struct.pack(f"<{len(numbers)}I", *numbers)
        if len(numbers) > 1:
            said, behind = struct.pack("<I", directory + 2 + 12 * len(tags) + 4 + len(behind)), behind + said
        entries += struct.pack("<HHI", tag, 4, len(numbers)) + said
    head = b"II*\0" + struct.pack("<I", directory)
    path.write_bytes(head + b"".join(parts) + struct.pack("<H", len(tags)) + entries + bytes(4) + behind)
    return path


def channels_of(values: np.ndarray, count: int) -> np.ndarray:
    opaque = np.full_like(values, np.iinfo(values.dtype).max)
    return np.stack([values] * (count - (count % 2 == 0)) + [opaque] * (count % 2 == 0), axis=-1)


@pytest.mark.parametrize("channels", [1, 2, 3, 4], ids=["grey", "grey and opacity", "RGB", "RGBA"])
def test_of_sixteen_bits_in_a_png_grey_is_scaled_and_colours_keep_the_upper_eight(
    tmp_path: Path, channels: int
) -> None:
    path = write_png(tmp_path / "deep.png", channels_of(DEEP, channels))
    np.testing.assert_array_equal(open_photo(path).pixels[0], np.stack([NEAREST if channels == 1 else UPPER] * 3, -1))
    if channels == 1:
        np.testing.assert_array_equal(read_values(path)[0], DEEP)
    else:
        with pytest.raises(InvalidFileError, match="several channels of 16 bits"):
            read_values(path)
    eight = (DEEP >> 8).astype(np.uint8)
    path = write_png(tmp_path / "plain.png", channels_of(eight, channels))
    np.testing.assert_array_equal(open_photo(path).pixels[0], np.stack([eight[0]] * 3, axis=-1))


@pytest.mark.parametrize("compressed", [False, True])
def test_of_sixteen_bits_of_colour_in_a_tiff_the_upper_eight_are_kept(tmp_path: Path, compressed: bool) -> None:
    path = write_tiff(tmp_path / "deep.tif", channels_of(DEEP, 3), compressed=compressed)
    np.testing.assert_array_equal(open_photo(path).pixels[0], np.stack([UPPER] * 3, axis=-1))
    with pytest.raises(InvalidFileError, match="several channels of 16 bits"):
        read_values(path)


def test_a_tiff_that_would_be_misread_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "deep.tif"
    assert "planes of their own" in refusal(write_tiff(path, channels_of(DEEP, 3), planes=True))
    write_tiff(path, channels_of(DEEP, 3), planes=True, compressed=True)
    np.testing.assert_array_equal(open_photo(path).pixels[0], np.stack([UPPER] * 3, axis=-1))
    Image.fromarray(DEEP).save(path, tiffinfo={262: 0})
    assert "0 is white" in refusal(path)


def test_sixteen_bits_of_a_ppm_are_scaled(tmp_path: Path) -> None:
    path = tmp_path / "deep.ppm"
    path.write_bytes(b"P6 10 1 65535\n" + channels_of(DEEP, 3).astype(">u2").tobytes())
    np.testing.assert_array_equal(open_photo(path).pixels[0], np.stack([NEAREST] * 3, axis=-1))
    with pytest.raises(InvalidFileError, match="several channels of 16 bits"):
        read_values(path)


@pytest.mark.parametrize("values", [np.zeros((2, 2), np.int32), np.zeros((2, 2), np.float32)], ids=["int", "float"])
def test_thirty_two_bits_are_refused_since_their_range_is_not_known(tmp_path: Path, values: np.ndarray) -> None:
    path = tmp_path / "measured.tif"
    Image.fromarray(values).save(path)
    assert "32 bits" in refusal(path)


def test_transparent_pixels_lie_on_white(tmp_path: Path) -> None:
    black_fading = np.zeros((1, 3, 4), np.uint8)
    black_fading[0, :, 3] = 0, 128, 255
    Image.fromarray(black_fading).save(tmp_path / "rgba.png")
    Image.fromarray(black_fading[..., 2:]).save(tmp_path / "la.png")
    for name in ("rgba.png", "la.png"):
        np.testing.assert_array_equal(open_photo(tmp_path / name).pixels[0, :, 0], [255, 127, 0])


def test_palettes_give_their_colours_and_their_hole_is_white(tmp_path: Path) -> None:
    picture = Image.fromarray(np.array([[0, 1, 2]], np.uint8), mode=None).convert("P")
    picture.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    picture.putdata([0, 1, 2])
    picture.save(tmp_path / "palette.png")
    np.testing.assert_array_equal(open_photo(tmp_path / "palette.png").pixels[0], np.eye(3) * 255)
    picture.save(tmp_path / "hole.png", transparency=1)
    np.testing.assert_array_equal(open_photo(tmp_path / "hole.png").pixels[0, 1], [255, 255, 255])


def test_black_and_white_pictures_become_rgb(tmp_path: Path) -> None:
    Image.fromarray(np.array([[True, False]])).save(tmp_path / "line.png")
    np.testing.assert_array_equal(open_photo(tmp_path / "line.png").pixels, [[[255] * 3, [0] * 3]])


@pytest.mark.parametrize(("ending", "exact"), [("gif", True), ("png", True), ("tif", True), ("webp", False)])
def test_the_first_frame_of_several_is_taken_and_said(tmp_path: Path, ending: str, exact: bool) -> None:
    path = tmp_path / f"moving.{ending}"
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue", "green")]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    photo = open_photo(path)
    assert np.abs(photo.pixels.astype(int) - (255, 0, 0)).max() <= (0 if exact else 4)
    assert "first one is taken" in photo.remarks[0]


def test_a_single_frame_needs_no_remark(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8), "red").save(tmp_path / "still.gif")
    assert open_photo(tmp_path / "still.gif").remarks == ()


def test_the_further_pictures_of_a_phones_jpeg_need_no_remark(tmp_path: Path) -> None:
    first = Image.new("RGB", (16, 16), "red")
    first.save(tmp_path / "phone.jpg", format="MPO", save_all=True, append_images=[Image.new("RGB", (16, 16), "blue")])
    photo = open_photo(tmp_path / "phone.jpg")
    assert photo.pixels[0, 0, 0] > 250
    assert photo.remarks == ()


@pytest.mark.parametrize("kept", [0.05, 0.3, 0.7, 0.95])
@pytest.mark.parametrize("ending", ["jpg", "png", "gif", "webp", "tif"])
def test_a_file_that_is_cut_short_is_refused(tmp_path: Path, ending: str, kept: float) -> None:
    path = tmp_path / f"cut.{ending}"
    Image.fromarray(noise()).save(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    said = refusal(path)
    assert "damaged" in said or "not images" in said


def png_head(width: int, height: int) -> bytes:
    """A PNG that ends where its pixels should begin."""
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = struct.pack(">I", 2**20) + b"IDAT" + zlib.compress(bytes(2**16))
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body)) + pixels


@pytest.mark.filterwarnings("default::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("width", [7072, 10_000, 20_000, 2_000_000_000], ids=str)
def test_a_huge_picture_is_refused_by_its_head(tmp_path: Path, width: int) -> None:
    (tmp_path / "huge.png").write_bytes(png_head(width, min(width, 20_000)))
    if width == 10_000:  # Pillow warns in this range before it is asked for pixels
        with pytest.warns(Image.DecompressionBombWarning):
            said = refusal(tmp_path / "huge.png")
    else:
        said = refusal(tmp_path / "huge.png")
    assert "more than 50000000 pixels" in said


def test_a_huge_picture_is_refused_where_warnings_are_errors(tmp_path: Path) -> None:
    (tmp_path / "huge.png").write_bytes(png_head(10_000, 10_000))
    assert "more than 50000000 pixels" in refusal(tmp_path / "huge.png")


def test_a_single_pixel_is_a_picture(tmp_path: Path) -> None:
    Image.new("RGB", (1, 1), "red").save(tmp_path / "dot.png")
    np.testing.assert_array_equal(open_photo(tmp_path / "dot.png").pixels, [[[255, 0, 0]]])


def test_what_is_no_picture_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.png").write_text("not a picture")
    (tmp_path / "empty.png").touch()
    assert "not images" in refusal(tmp_path / "notes.png")
    assert "empty" in refusal(str(tmp_path / "empty.png"))
    assert "folders" in refusal(tmp_path)
    assert "not found" in refusal(tmp_path / "nowhere.png")
    assert "not found" in refusal("a\0b.png")
    assert "not found" in refusal(tmp_path / ("x" * 5000))
    assert "NoneType" in refusal(None)


def test_a_pipe_is_refused_without_waiting_for_a_writer(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    assert "pipes" in refusal(tmp_path / "pipe.png")


def test_formats_that_start_other_programs_are_not_opened(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "drawing.eps")
    (tmp_path / "drawing.eps").rename(tmp_path / "drawing.png")
    assert "not images" in refusal(tmp_path / "drawing.png")


def test_a_file_without_the_right_to_read_it_is_named_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError

    (tmp_path / "secret.png").write_bytes(b"x")
    monkeypatch.setattr(Image, "open", refuse)  # a super-user may read everything
    assert "without permission to read" in refusal(tmp_path / "secret.png")


@pytest.mark.parametrize("ending", ["jpg", "png", "gif", "webp", "tif", "bmp", "jp2"])
def test_damaged_files_give_a_picture_or_a_refusal_and_nothing_else(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"damaged.{ending}"
    Image.fromarray(noise(12, 16)).save(path)
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(150):
        bent = bytearray(content)
        for place in rng.integers(0, len(bent), 4):
            bent[place] = rng.integers(0, 256)
        path.write_bytes(bent)
        try:
            assert open_photo(path).pixels.dtype == np.uint8
        except InvalidFileError:
            refused += 1
    assert refused


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (CORNERS, CORNERS),
        (CORNERS[..., 0], CORNERS[..., [0, 0, 0]]),
        (CORNERS[..., :1], CORNERS[..., [0, 0, 0]]),
        (np.dstack([CORNERS, np.full((2, 3), 255, np.uint8)]), CORNERS),
        (CORNERS / 255, CORNERS),
        ((CORNERS / 255).astype(np.float16), CORNERS),
        (CORNERS.astype(np.uint16) * 257, CORNERS),
        (np.asfortranarray(CORNERS)[:, ::-1], CORNERS[:, ::-1]),
    ],
    ids=["rgb", "grey", "one channel", "rgba", "float64", "float16", "uint16", "strided"],
)
def test_arrays_are_pictures(array: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_array_equal(open_photo(array).pixels, expected)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((3, 2, 2), np.uint8),  # channels first
        np.zeros((2, 2, 2), np.uint8),
        np.zeros((0, 5, 3), np.uint8),
        np.zeros(7, np.uint8),
        np.zeros((2, 2, 3), np.int64),
        np.full((2, 2), 255.0),
        np.full((2, 2), np.nan),
        np.full((2, 2), -0.1),
        np.array([["a"]]),
    ],
    ids=lambda array: f"{array.shape}-{array.dtype}",
)
def test_other_arrays_are_refused_with_what_is_expected(array: np.ndarray) -> None:
    said = refusal(array)
    assert "expected" in said
    assert str(array.shape) in said


def test_an_array_may_not_be_larger_than_a_file() -> None:
    assert "more than 50000000 pixels" in refusal(np.broadcast_to(np.uint8(0), (10_000, 10_000)))


def test_a_pillow_picture_is_not_changed() -> None:
    picture = Image.fromarray(CORNERS)
    picture.getexif()[0x0112] = 6
    np.testing.assert_array_equal(open_photo(picture).pixels, UPRIGHT[6])
    assert picture.size == (3, 2)
    assert picture.getexif()[0x0112] == 6


def test_a_caller_may_take_fewer_pixels(tmp_path: Path) -> None:
    Image.fromarray(noise(10, 11)).save(tmp_path / "photo.png")
    assert open_photo(tmp_path / "photo.png", max_pixels=110).size == (10, 11)
    for image in (tmp_path / "photo.png", Image.fromarray(noise(10, 11)), noise(10, 11)):
        with pytest.raises(InvalidFileError, match="more than 109 pixels: 11x10"):
            open_photo(image, max_pixels=109)
