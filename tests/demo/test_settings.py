from pathlib import Path

import pytest

from saltext.demo.settings import Settings, parse
from saltext.errors import ConfigError


def refusal(*arguments: str) -> str:
    with pytest.raises(ConfigError) as raised:
        parse(arguments)
    return str(raised.value)


def test_nothing_given_means_this_machine_alone_and_bounds_on_everything() -> None:
    settings = parse([])
    assert settings == Settings()
    assert settings.host == "127.0.0.1"
    assert settings.max_mib == 20
    assert settings.max_pixels == 16_000_000
    assert settings.timeout == 60


def test_values_come_as_what_they_are() -> None:
    words = ["run=outputs/run/2026=1", "port=0", "max_mib=0.5", "max_pixels=1_000_000", "timeout=2.5", "examples=a b"]
    assert parse(words) == Settings(
        run="outputs/run/2026=1", port=0, max_mib=0.5, max_pixels=1_000_000, timeout=2.5, examples=Path("a b")
    )


def test_everything_wrong_is_said_at_once() -> None:
    said = refusal("--run", "prot=1", "port=eighty", "timeout=-1", "max_mib=inf", "max_pixels=99999999999", "run=")
    for expected in (
        "'--run': key=value expected (did you mean 'run'?)",
        "'prot=1': key=value expected (did you mean 'port'?)",
        "port=eighty: expected an integer",
        "timeout=-1: expected more than 0",
        "max_mib=inf: expected a finite number",
        "max_pixels=99999999999: expected 50000000 or less",
        "'run=': key=value expected",
        "--help",
    ):
        assert expected in said


@pytest.mark.parametrize("word", ["port=70000", "port=-1", "timeout=nan", "timeout=0", "max_pixels=0", "max_mib=0"])
def test_a_value_out_of_range_is_named(word: str) -> None:
    assert f"{word.partition('=')[0]}=" in refusal(word)


def test_an_unknown_key_is_answered_with_those_that_are() -> None:
    assert "keys run, stage, device, examples, host, port" in refusal("zzz=1")
