from pathlib import Path

import numpy as np
import pytest

from saltext.data.tables import read_cells
from saltext.errors import InvalidFileError


@pytest.mark.parametrize(
    "content",
    [
        'image,x,text\na.png,1.5,"one, two"\n',
        '\ufeffimage;x;text\r\na.png;1,5;"one, two"\r\n',
        "image\tx\ttext\na.png\t1.5\tone, two\n\n",
        '"image","x","text"\n"a.png","1.5","one, two"\n',
        '"image";"x";"text"\n"a.png";"1,5";one, two\n',
        'image, x, text,\na.png, 1.5, "one, two",\n',
    ],
    ids=["commas", "semicolons and a decimal comma", "tabs", "quoted", "quoted semicolons", "spaces"],
)
def test_every_dialect_says_the_same(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.csv").write_text(content, encoding="utf-8", newline="")
    cells = read_cells(tmp_path / "a.csv")
    image, x, text = (cells.column_index(name) for name in ("image", "X", "text"))
    assert None not in (image, x, text)
    assert (cells.column(image or 0), cells.column(text or 0)) == (["a.png"], ["one, two"])
    np.testing.assert_array_equal(cells.numbers(cells.column(x or 0)), [1.5])


def test_lines_are_those_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('image,text\n"a","two\nlines"\n\nb,c\n')
    assert read_cells(tmp_path / "a.csv").lines == [2, 5]


def test_a_comma_is_no_decimal_point_where_it_separates(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('x,y\n"1,5",2\n1_0,nan\n')
    assert np.isnan(read_cells(tmp_path / "a.csv").numbers(["1,5", "1_0", None, ""])).all()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty"),
        (b"\n\n", "no rows"),
        (b"a,b\n1,2,3\n", "at line 2"),
        (b'a,b\n"1,2\n', "unexpected end"),
        (b"a,b\n\xff,2\n", "not UTF-8"),
        ("a,b\n1,2\n".encode("utf-16"), "not UTF-8"),
        (b"a,b\n" + b"x" * 200_000 + b",1\n", "field larger"),
    ],
)
def test_a_table_that_cannot_be_read_says_why(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(InvalidFileError, match=f"tables that cannot be read: .*{said}"):
        read_cells(tmp_path / "a.csv")
