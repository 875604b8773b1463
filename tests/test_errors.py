"""What is printed of names that anybody may have given."""

import pickle
from pathlib import Path

import pytest

from saltext.data.files import InvalidFileError
from saltext.data.report import DataIssue, DataReport
from saltext.errors import DataError, SaltextError, printable


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("\x1b[2J\x07.png", "\\x1b[2J\\x07.png"),
        ("\x9b31m.png", "\\x9b31m.png"),
        ("a\nerror: forged\r.png", "a\\nerror: forged\\r.png"),
        ("gnp.\u202egpj.exe", "gnp.\\u202egpj.exe"),
        ("\udcff.png", "\\udcff.png"),
        ("text最终版本 – Zoë\u3000🐈.xlsx", "text最终版本 – Zoë\u3000🐈.xlsx"),
    ],
)
def test_names_are_printed_without_what_a_terminal_obeys(name: str, said: str) -> None:
    assert printable(name) == said
    issues = DataReport()
    issues.add("files that cannot be read", name)
    issues.add(*DataIssue.of(Path("folder") / name, InvalidFileError("maps that are zero")))
    with pytest.raises(DataError) as raised:
        issues.raise_if_any("The folder", "Replace them.")
    assert str(raised.value).count(said) == 2
    assert len(str(raised.value).splitlines()) == 4


def test_errors_keep_their_lines_and_nothing_else_that_controls() -> None:
    error = SaltextError("one:\n\ttwo \x1b[31m")
    assert str(error) == "one:\n\ttwo \\x1b[31m"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
