"""YAML from anybody is read as plain values, within limits."""

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from saltext.errors import DamagedFileError
from saltext.runs import untrusted_yaml


def test_values_are_read_as_omegaconf_reads_them(tmp_path: Path) -> None:
    text = "\n".join(
        f"v{number}: {value}"
        for number, value in enumerate(
            ["1e3", "1e-4", "1_000", ".5", "1.", "-.inf", ".nan1", "yes", "off", "0x1f", "012", "1:20", "~", "null",
             "''", "'1'", "2001-01-01", "2001-01-01 10:00:00", "é", "[1, {a: b}]", "|\n  two\n  lines"]
        )
    )  # fmt: skip
    (tmp_path / "config.yaml").write_text(text, encoding="utf-8")
    expected = OmegaConf.to_container(OmegaConf.load(tmp_path / "config.yaml"))
    found = untrusted_yaml.parsed(text, tmp_path / "config.yaml")
    assert repr(found) == repr(expected)  # 1 is not 1.0
    with pytest.raises(DamagedFileError, match="duplicate key"):
        untrusted_yaml.parsed("a: 1\na: 2", tmp_path / "config.yaml")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: &a [x]\nb: *a", "no aliases"),
        ("a: " + "[" * 60 + "]" * 60, "50 levels"),
        ("[" + "x, " * 60_000 + "]", "at most 50000 values"),
        (f"a: {'1' * 50_000}", "cannot be read as a configuration"),
        ("a: !!binary aGk=", "expected texts and numbers, got a bytes"),
        ('a: !!python/object/apply:os.system ["true"]', "could not determine a constructor"),
        ("a: [", "line 2"),
    ],
)
def test_yaml_beyond_a_limit_or_with_other_values_is_refused_with_its_file(text: str, said: str) -> None:
    with pytest.raises(DamagedFileError) as refused:
        untrusted_yaml.parsed(text, Path("run/config.yaml"))
    assert str(refused.value).startswith("run/config.yaml cannot be read as a configuration")
    assert said in str(refused.value)


@pytest.mark.parametrize("text", ["${oc.env:HOME}", "\\${a}", "a \\\\${b", "plain"])
def test_a_literal_value_is_no_interpolation(text: str) -> None:
    cfg = OmegaConf.create({"a": [untrusted_yaml.literal(text)]})
    assert OmegaConf.to_container(cfg, resolve=True) == {"a": [text]}
