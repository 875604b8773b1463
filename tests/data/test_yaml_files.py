from pathlib import Path

import pytest

from saltext.data.yaml_files import read_yaml
from saltext.errors import InvalidFileError


def _bomb() -> str:
    lines = ["a0: &a0 [" + ", ".join(["x"] * 10) + "]"]
    return "\n".join([*lines, *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9))])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (_bomb(), "more than 20000 values"),
        ("a: &a [*a]", "more than 20000 values"),
        ("[" * 3000 + "]" * 3000, "more than 40 levels"),
        ("\n".join(" " * level + "a:" for level in range(60)), "more than 40 levels"),
        ("a: " + "9" * 10_000, "4300 digits"),
        ("a: 'b", "unexpected end.*line"),
        ("a: !!python/object:os.system x", "could not determine a constructor"),
        ("a: 1\na: 2", "duplicate"),
        ("a: \0", "special characters|control characters"),
        ("a: " + "b" * 2**17, "more than 128 KiB"),
    ],
    ids=["bomb", "of itself", "deep", "deep keys", "digits", "quote", "tag", "twice", "zero", "long"],
)
def test_a_file_that_costs_or_says_too_much_is_refused_in_a_line(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "a.yaml").write_text(content)
    with pytest.raises(InvalidFileError, match=said) as raised:
        read_yaml(tmp_path / "a.yaml")
    assert "\n" not in str(raised.value)


def test_honest_aliases_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("a: &x {image: file}\nb: *x\nc: *x\n")
    assert read_yaml(tmp_path / "a.yaml") == {key: {"image": "file"} for key in "abc"}
