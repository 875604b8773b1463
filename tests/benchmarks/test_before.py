"""The comparison with an earlier commit measures both sides."""

import subprocess

import pytest

from tests.benchmarks import before


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 2])
def test_scoring_is_measured_in_a_process_with_the_code_of_a_side(threads, tmp_path) -> None:
    package = tmp_path / "saltext"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "metrics.py").write_text(
        "import time\n"
        "class Fixations:\n"
        "    from_points = staticmethod(lambda points, size, name: points)\n"
        "def score(pred, density, fixations, names, others):\n"
        "    time.sleep(.032)\n"
    )
    (milliseconds,) = before._in_process(tmp_path, "scoring", threads)
    assert 1 <= milliseconds < 20


def test_a_side_that_fails_ends_the_comparison(tmp_path) -> None:
    with pytest.raises(RuntimeError, match="ended with status 3"):
        before._python(tmp_path, ["-c", "raise SystemExit(3)"])


def test_a_part_is_measured_alone(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(before, "_in_process", lambda source, what, argument: [float(source.name)])
    found = before.measure(tmp_path / "1", tmp_path / "2", None, tmp_path, "scoring")
    assert list(found.values()) == [(2.0, 1.0)] * 2


def test_the_earlier_commit_is_one_of_this_repository() -> None:
    found = subprocess.run(["git", "cat-file", "-t", before.BASE], cwd=before.ROOT, capture_output=True, text=True)
    if found.returncode:
        pytest.skip("the checkout is shallow, or none of git")
    assert found.stdout.strip() == "commit"
