"""The benchmark of commands' starts measures what it says."""

from pathlib import Path

import pytest

from tests.benchmarks.start import Timed, commands, cpu_seconds, measure


def test_time_of_a_process_and_of_those_it_waits_for_counts(tmp_path: Path) -> None:
    spins = "import time\nwhile time.process_time() < .3: pass"
    both = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {spins!r}]); {spins.splitlines()[0]}"
    assert cpu_seconds(Timed("spins", ("-c", spins)), tmp_path, tmp_path / "cache") >= 0.3
    assert cpu_seconds(Timed("waits", ("-c", both)), tmp_path, tmp_path / "cache") >= 0.3


def test_another_status_than_expected_ends_the_benchmark_with_what_was_said(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"(?s)fails: expected status 0, got 3.*because"):
        cpu_seconds(Timed("fails", ("-c", "print('because'); raise SystemExit(3)")), tmp_path, tmp_path / "cache")


def test_a_cold_command_finds_its_caches_empty(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    own = tmp_path / "outputs" / "cache"
    for folder in (cache / "kept", own):
        folder.mkdir(parents=True)
    cpu_seconds(Timed("warm", ("-c", "")), tmp_path, cache)
    assert (cache / "kept").is_dir()
    assert own.is_dir()
    cpu_seconds(Timed("cold", ("-c", ""), cold=True), tmp_path, cache)
    assert not cache.exists()
    assert not own.exists()


def test_commands_take_turns_and_the_first_turn_does_not_count() -> None:
    one, other = Timed("one", ()), Timed("other", ())
    taken = iter([100.0, 100.0, 1.0, 2.0, 3.0, 4.0, 2.0, 9.0])
    asked: list[str] = []

    def run(timed: Timed) -> float:
        asked.append(timed.name)
        return next(taken)

    assert measure([one, other], 3, run) == {"one": 2.0, "other": 4.0}
    assert asked == ["one", "other"] * 4


def test_every_command_that_is_timed_is_one_of_this_interpreter(tmp_path: Path) -> None:
    timed = commands(tmp_path, None)
    assert len({command.name for command in timed}) == len(timed)
    assert all(command.words[0] in ("-c", "-m") for command in timed)
    assert len(list((tmp_path / "photos").iterdir())) == 20
