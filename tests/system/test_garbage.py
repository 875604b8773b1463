"""The collector is off while libraries are imported, and only then."""

import gc
import subprocess
import sys

import pytest

from saltext.system.garbage import uncollected


@pytest.fixture(autouse=True)
def _as_before():
    yield
    gc.unfreeze()
    gc.enable()


def test_nothing_is_collected_inside_and_what_was_made_is_not_looked_at_afterwards() -> None:
    with uncollected():
        assert not gc.isenabled()
        kept = [[] for _ in range(1000)]
    assert gc.isenabled()
    assert gc.get_freeze_count() > len(kept)


def test_after_an_error_it_collects_again_and_where_it_was_off_it_stays_off() -> None:
    with pytest.raises(ValueError, match="inside"), uncollected():
        raise ValueError("inside")
    assert gc.isenabled()
    gc.disable()
    with uncollected():
        pass
    assert not gc.isenabled()


@pytest.mark.parametrize("start", ["leave_to_the_system()", ""])
def test_at_the_end_of_a_command_nothing_is_looked_through(start: str) -> None:
    code = (
        "import atexit, gc\n"
        "from saltext.system.garbage import leave_to_the_system\n"
        "atexit.register(lambda: print(gc.get_freeze_count() > 1000))\n"  # runs last
        f"{start}"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(bool(start))
