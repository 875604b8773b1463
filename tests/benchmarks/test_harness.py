import argparse
import subprocess
import sys

import pytest

from tests.benchmarks import harness
from tests.conftest import ROOT


def test_the_sides_take_turns_and_the_first_turn_does_not_count(monkeypatch) -> None:
    order: list[str] = []
    clock = {"now": 0.0}
    seconds = {"a": iter([100.0, 1.0, 3.0, 2.0]), "b": iter([100.0, 7.0, 9.0, 8.0])}

    def call(name: str) -> None:
        order.append(name)
        clock["now"] += next(seconds[name])

    monkeypatch.setattr(harness.time, "perf_counter", lambda: clock["now"])
    found = harness.median_seconds({"a": lambda: call("a"), "b": lambda: call("b")}, rounds=3)
    assert order == ["a", "b"] * 4
    assert found == {"a": 2.0, "b": 8.0}


# In a process of its own, since more than a test process has held at most may be more than the machine has free.
HOLD_AND_RELEASE = """
from tests.benchmarks.harness import peak_memory
before = peak_memory()
if before is not None:
    held = bytearray(b"x") * int((before + 64) * 2**20)
    del held
    print(before, peak_memory())
"""


def test_the_peak_stays_when_memory_is_given_back() -> None:
    done = subprocess.run(
        [sys.executable, "-c", HOLD_AND_RELEASE], cwd=ROOT, capture_output=True, text=True, check=True
    )
    if not done.stdout:
        pytest.skip("this system does not tell a process's highest mark")
    before, after = map(float, done.stdout.split())
    assert after > before + 32


def test_a_system_without_memory_statistics_has_no_peak_and_no_limit(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(harness, "_STATUS", tmp_path / "none")
    monkeypatch.setattr(harness, "_MEMORY", tmp_path / "none")
    assert harness.peak_memory() is None
    assert harness.available_memory() == float("inf")


def test_memory_is_in_mebibytes(monkeypatch, tmp_path) -> None:
    (tmp_path / "meminfo").write_text("MemFree:   1024 kB\nMemAvailable:    3072 kB\n")
    monkeypatch.setattr(harness, "_MEMORY", tmp_path / "meminfo")
    assert harness.available_memory() == 3.0


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "many"])
def test_numbers_that_count_nothing_are_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="whole number of at least 1"):
        harness.positive(text)
