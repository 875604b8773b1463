import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from saltext.data import files
from saltext.data.files import read_fixations, read_map
from saltext.errors import InvalidFileError

SIZE = (4, 6)
POINTS = [(0, 0), (3, 5), (1, 2)]  # y, x
RAMP = np.arange(24).reshape(SIZE)


def write_mat(path: Path, observers: list[list[tuple[float, float]]], size: tuple[int, int] = SIZE) -> None:
    """As SALICON publishes fixations: a structure for each observer, (x, y) counted from 1."""
    gaze = np.empty((len(observers), 1), dtype=[("location", object), ("timestamp", object), ("fixations", object)])
    for row, points in enumerate(observers):
        gaze[row, 0] = (np.zeros((2, 2)), np.zeros((2, 1)), np.array(points, np.uint16).reshape(-1, 2))
    savemat(path, {"image": path.stem, "resolution": np.array([size]), "gaze": gaze})


def _read(path: Path) -> list[tuple[int, int]]:
    return sorted((int(y), int(x)) for y, x in read_fixations(path, SIZE))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_grey_pictures_of_8_and_16_bits_keep_their_values(tmp_path: Path, dtype: type) -> None:
    values = (RAMP * (10 if dtype == np.uint8 else 2000)).astype(dtype)
    Image.fromarray(values).save(tmp_path / "a.png")
    read = read_map(tmp_path / "a.png")
    np.testing.assert_array_equal(read, values)
    assert read.dtype == (np.uint8 if dtype == np.uint8 else np.float32)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "1"])
def test_grey_pictures_in_other_modes_are_read(tmp_path: Path, mode: str) -> None:
    values = np.where(RAMP % 3 == 0, 255, 0).astype(np.uint8)
    Image.fromarray(values).convert(mode).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_map(tmp_path / "a.png"), values)


@pytest.mark.parametrize(
    ("dtype", "read_as"),
    [(np.float16, np.float32), (np.float32, np.float32), (np.float64, np.float64), (np.int64, np.float64)],
)
def test_arrays_keep_their_precision(tmp_path: Path, dtype: type, read_as: type) -> None:
    np.save(tmp_path / "a.npy", RAMP.astype(dtype))
    read = read_map(tmp_path / "a.npy")
    np.testing.assert_array_equal(read, RAMP)
    assert read.dtype == read_as


def _npy(values: np.ndarray) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        np.save(folder / "a.npy", values)
        return folder / "a.npy"

    return write


def _png(picture: np.ndarray) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        Image.fromarray(picture).save(folder / "a.png")
        return folder / "a.png"

    return write


def _bytes(name: str, content: bytes) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    return write


@pytest.mark.parametrize(
    ("write", "kind"),
    [
        (_npy(np.array([[0.0, np.nan]])), "NaN or infinite"),
        (_npy(np.array([[0.0, np.inf]], np.float32)), "NaN or infinite"),
        (_npy(np.array([[0.5, -0.25]])), "negative values: down to -0.25"),
        (_npy(np.zeros((1, 4, 6))), r"not 2-D of real numbers: shape \(1, 4, 6\)"),
        (_npy(np.zeros((4, 6), complex)), "not 2-D of real numbers"),
        (_npy(np.array([[{"a": 1}]], dtype=object)), "cannot be read"),
        (_npy(np.zeros((0, 6))), r"not 2-D of real numbers: shape \(0, 6\)"),
        (_png(np.arange(72, dtype=np.uint8).reshape(4, 6, 3)), "colour images"),
        (_bytes("a.png", b"no picture"), "not images"),
        (_bytes("a.npy", b""), "empty files"),
        (_bytes("a.npy", b"\x93NUMPY\x01\x00"), "cannot be read"),
    ],
)
def test_maps_that_cannot_be_scored_say_why(tmp_path: Path, write: Callable[[Path], Path], kind: str) -> None:
    with pytest.raises(InvalidFileError, match=kind):
        read_map(write(tmp_path))


def test_a_picture_cut_short_is_refused(tmp_path: Path) -> None:
    path = _png(np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8))(tmp_path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(InvalidFileError, match="cut short"):
        read_map(path)


@pytest.mark.parametrize("write", [_png(np.ones(SIZE, np.uint8)), _npy(np.ones(SIZE))])
def test_a_map_too_large_is_refused(tmp_path: Path, write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MAX_PIXELS", 23)
    with pytest.raises(InvalidFileError, match="more than 23 pixels"):
        read_map(write(tmp_path))


def test_every_form_of_fixations_gives_the_same_points(tmp_path: Path) -> None:
    mask = np.zeros(SIZE, np.uint8)
    mask[tuple(np.array(POINTS).T)] = 255
    Image.fromarray(mask).convert("RGB").save(tmp_path / "picture.png")
    np.save(tmp_path / "mask.npy", mask > 0)
    np.save(tmp_path / "list.npy", np.array([(x, y) for y, x in POINTS]))
    (tmp_path / "plain.csv").write_text("".join(f"{x},{y}\n" for y, x in POINTS))
    (tmp_path / "headed.csv").write_text("time, Y, X\n" + "".join(f"0,{y},{x}\n" for y, x in POINTS))
    write_mat(tmp_path / "gaze.mat", [[(x + 1, y + 1) for y, x in POINTS[:2]], [], [(3, 2)]])
    for path in tmp_path.iterdir():
        assert _read(path) == sorted(POINTS), path.name


def test_repeated_fixations_are_kept(tmp_path: Path) -> None:
    counts = np.zeros(SIZE, int)
    counts[1, 2] = 2
    np.save(tmp_path / "counts.npy", counts)
    write_mat(tmp_path / "gaze.mat", [[(3, 2)], [(3, 2)]])
    assert _read(tmp_path / "counts.npy") == _read(tmp_path / "gaze.mat") == [(1, 2), (1, 2)]


def test_a_point_between_pixels_belongs_to_the_pixel_it_lies_in(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,y\n5.9,0.2\n")
    assert _read(tmp_path / "a.csv") == [(0, 5)]


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("a.csv", "x,y\n", "without a fixation"),
        ("a.csv", "", "empty files"),
        ("a.csv", "x,y\n6,0\n", r"outside the image: 1 of 1, first x=6, y=0 in 6x4"),
        ("a.csv", "x,y\n1,1\n-0.5,0\n", "1 of 2, first x=-1"),
        ("a.csv", "x,y\n1,nan\n", "coordinates that are not numbers"),
        ("a.csv", "x,y\n1,one\n", "coordinates that are not numbers"),
        ("a.csv", "x,y\n1\n", "coordinates that are not numbers"),
        ("a.csv", "x,y\n1,2,3\n", "more cells than the 2 of the first, the first of them at line 2"),
        ("a.mat", "no mat file", "cannot be read"),
        ("a.png", "no picture", "not images"),
    ],
)
def test_fixations_that_cannot_be_used_say_why(tmp_path: Path, name: str, content: str, kind: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(InvalidFileError, match=kind):
        read_fixations(tmp_path / name, SIZE)


def test_fixations_outside_are_left_out_if_asked_for(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,y\n6,0\n1,2\n-0.1,0\n")
    assert read_fixations(tmp_path / "a.csv", SIZE, drop_outside=True).tolist() == [[2, 1]]
    (tmp_path / "b.csv").write_text("x,y\n6,0\n")
    with pytest.raises(InvalidFileError, match="without a fixation"):
        read_fixations(tmp_path / "b.csv", SIZE, drop_outside=True)


def test_fixations_of_another_size_are_refused(tmp_path: Path) -> None:
    Image.new("L", (7, 4), 255).save(tmp_path / "a.png")
    np.save(tmp_path / "a.npy", np.ones((4, 7)))
    write_mat(tmp_path / "a.mat", [[(1, 1)]], size=(4, 7))
    for path in tmp_path.iterdir():
        with pytest.raises(InvalidFileError, match="7 wide, 4 high; expected 6 wide, 4 high"):
            read_fixations(path, SIZE)


def test_a_mat_file_counts_from_one(tmp_path: Path) -> None:
    write_mat(tmp_path / "a.mat", [[(0, 1)]])
    with pytest.raises(InvalidFileError, match="first x=-1, y=0"):
        read_fixations(tmp_path / "a.mat", SIZE)


def test_a_mat_file_broken_anywhere_is_refused(tmp_path: Path) -> None:
    write_mat(tmp_path / "a.mat", [[(1, 1), (2, 2)]])
    whole = (tmp_path / "a.mat").read_bytes()
    for length in range(0, len(whole), 37):
        (tmp_path / "a.mat").write_bytes(whole[:length])
        with pytest.raises(InvalidFileError, match=r"cannot be read|empty files|variables found"):
            read_fixations(tmp_path / "a.mat", SIZE)


def test_a_mat_file_without_gaze_is_refused(tmp_path: Path) -> None:
    savemat(tmp_path / "a.mat", {"resolution": np.array([SIZE])})
    with pytest.raises(InvalidFileError, match=r"without gaze.*variables found: resolution \(1x2 "):
        read_fixations(tmp_path / "a.mat", SIZE)


@pytest.mark.parametrize("values", [np.full(SIZE, 0.5), np.full(SIZE, -1.0), np.full(SIZE, np.nan)])
def test_a_blurred_fixation_map_is_no_count(tmp_path: Path, values: np.ndarray) -> None:
    np.save(tmp_path / "a.npy", values)
    with pytest.raises(InvalidFileError, match="hold no counts"):
        read_fixations(tmp_path / "a.npy", SIZE)


def _array_head(shape: str, descr: str = "'|u1'") -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}"
    text += " " * (63 - (10 + len(text)) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


@pytest.mark.parametrize(
    "content",
    [
        _array_head("(" * 4000 + ")" * 4000),
        _array_head("-" * 9000 + "1"),
        _array_head("(1000000000, 1000000000)"),
        _array_head("(" + "9" * 5000 + ", 2)"),
        _array_head("(-4, 6)"),
        _array_head("(4, 6)", "'|O'"),
        _array_head("(4, 6)", "[('a', '<f4')]"),
        b"PK\x03\x04" + bytes(100),
    ],
    ids=["deep", "deep negation", "vast", "digits", "negative", "objects", "structure", "npz"],
)
@pytest.mark.parametrize("read", [read_map, lambda path: read_fixations(path, SIZE)], ids=["map", "fixations"])
def test_heads_of_arrays_that_say_nonsense_are_refused_in_a_line(
    tmp_path: Path, content: bytes, read: Callable[[Path], np.ndarray]
) -> None:
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(InvalidFileError) as raised:
        read(tmp_path / "a.npy")
    assert len(str(raised.value)) < 400
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["a.png", "a.npy", "a.csv", "a.mat"])
@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: path.symlink_to("nowhere"), "lead nowhere"),
        (lambda path: path.symlink_to(path.name), "not found"),
        (os.mkfifo, "pipes or devices"),
        (lambda path: path.symlink_to("/dev/zero"), "pipes or devices"),
        (lambda path: path.mkdir(), "folders where"),
    ],
    ids=["dangling", "loop", "pipe", "device", "folder"],
)
def test_what_is_no_file_is_never_opened(tmp_path: Path, name: str, make: Callable[[Path], object], said: str) -> None:
    make(tmp_path / name)
    with pytest.raises(InvalidFileError, match=said):
        read_fixations(tmp_path / name, SIZE)
    if name in ("a.png", "a.npy"):
        with pytest.raises(InvalidFileError, match=said):
            read_map(tmp_path / name)


@pytest.mark.parametrize("value", [2.0**40, 1e300, np.inf])
def test_a_map_of_counts_with_one_huge_value_is_refused_before_it_is_repeated(tmp_path: Path, value: float) -> None:
    counts = np.zeros(SIZE)
    counts[1, 1] = value
    np.save(tmp_path / "a.npy", counts)
    with pytest.raises(InvalidFileError, match=r"more than 1000000 fixations|no counts"):
        read_fixations(tmp_path / "a.npy", SIZE)


@pytest.mark.parametrize(
    "values",
    [np.full(SIZE, 3e38, np.float32), np.full(SIZE, 1e30, np.float32), np.full(SIZE, 1e200)],
    ids=["mean", "variance", "double"],
)
def test_a_map_whose_mean_or_variance_overflows_is_refused(tmp_path: Path, values: np.ndarray) -> None:
    values[0, 0] = 0
    np.save(tmp_path / "a.npy", values)
    with pytest.raises(InvalidFileError, match="too large for a mean and variance"):
        read_map(tmp_path / "a.npy")


def test_long_doubles_and_half_precision_are_read_as_what_torch_has(tmp_path: Path) -> None:
    for dtype, read_as in ((np.longdouble, np.float64), (np.float16, np.float32), (">f8", np.float64)):
        values = np.full(SIZE, 60_000, dtype)
        values[0, 0] = 0
        np.save(tmp_path / "a.npy", values)
        read = read_map(tmp_path / "a.npy")
        assert (read.dtype, read.max()) == (read_as, 60_000)
        assert read.dtype.isnative


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif"])
def test_any_channel_that_is_not_zero_is_a_fixation(tmp_path: Path, name: str) -> None:
    marked = np.zeros((*SIZE, 3), np.uint8)
    marked[1, 2, 2] = 1  # as grey, it would be rounded to 0
    marked[3, 5, 0] = 255
    Image.fromarray(marked).save(tmp_path / name)
    assert _read(tmp_path / name) == [(1, 2), (3, 5)]


def test_transparent_pixels_are_no_fixations_and_no_map(tmp_path: Path) -> None:
    marked = np.full((*SIZE, 4), 255, np.uint8)
    marked[..., 3] = 0
    marked[1, 2, 3] = 255
    Image.fromarray(marked).save(tmp_path / "a.png")
    assert _read(tmp_path / "a.png") == [(1, 2)]
    with pytest.raises(InvalidFileError, match="maps with transparent pixels"):
        read_map(tmp_path / "a.png")


def test_a_turned_map_is_read_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(RAMP.astype(np.uint8)).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(read_map(tmp_path / "a.png"), np.rot90(RAMP, -1))


@pytest.mark.parametrize("name", ["I", "fixLocs"])
def test_a_mat_file_with_one_matrix_of_the_images_shape_is_a_mask(tmp_path: Path, name: str) -> None:
    mask = np.zeros(SIZE, np.uint8)
    mask[tuple(np.array(POINTS).T)] = 1
    savemat(tmp_path / "a.mat", {name: mask, "other": np.zeros((2, 2))})
    assert _read(tmp_path / "a.mat") == sorted(POINTS)
    savemat(tmp_path / "a.mat", {name: mask, "second": mask})
    with pytest.raises(InvalidFileError, match=rf"variables found: {name} \(4x6 uint8\), second \(4x6 uint8\)"):
        read_fixations(tmp_path / "a.mat", SIZE)


def test_a_mat_file_of_cells_is_read_as_one_of_structures(tmp_path: Path) -> None:
    cells = np.empty(2, object)
    for place, points in enumerate(([(1, 1), (6, 4)], [(3, 2)])):
        cells[place] = {"fixations": np.array(points)}
    savemat(tmp_path / "a.mat", {"gaze": cells, "resolution": np.array([SIZE])})
    assert _read(tmp_path / "a.mat") == sorted(POINTS)


@pytest.mark.parametrize("resolution", [np.array([4, 6, 3]), np.array(["a", "b"], object), np.zeros((0, 0))])
def test_a_mat_file_with_an_odd_resolution_is_refused(tmp_path: Path, resolution: np.ndarray) -> None:
    gaze = np.zeros((1, 1), dtype=[("fixations", object)])
    gaze[0, 0]["fixations"] = np.array([[1, 1]])
    savemat(tmp_path / "a.mat", {"gaze": gaze, "resolution": resolution})
    with pytest.raises(InvalidFileError, match="not a height and a width"):
        read_fixations(tmp_path / "a.mat", SIZE)


def test_a_mat_file_that_unpacks_to_too_much_is_refused_without_unpacking_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    savemat(tmp_path / "a.mat", {"I": np.zeros((2000, 2000))}, do_compression=True)
    assert (tmp_path / "a.mat").stat().st_size < 10**5
    monkeypatch.setattr(files, "_MAT_BYTES", 2**20)
    monkeypatch.setattr("scipy.io.loadmat", lambda *_, **__: pytest.fail("it was unpacked"))
    with pytest.raises(InvalidFileError, match="hold more than 1 MiB"):
        read_fixations(tmp_path / "a.mat", SIZE)


@pytest.mark.parametrize("quality", [75, 95])
def test_white_pixels_of_a_lossy_picture_are_fixated_and_their_haze_is_not(tmp_path: Path, quality: int) -> None:
    marked = np.zeros((240, 320), np.uint8)
    places = np.random.default_rng(0).integers(0, (240, 320), (80, 2))
    marked[tuple(places.T)] = 255
    Image.fromarray(marked).save(tmp_path / "a.jpg", quality=quality)
    found = read_fixations(tmp_path / "a.jpg", (240, 320))
    np.testing.assert_array_equal(found, np.argwhere(marked))
