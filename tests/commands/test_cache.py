"""``saltext cache``."""

from pathlib import Path

import pytest

from tests.command_line import here


def test_caches_are_listed_with_their_sizes_and_nothing_else_is_deleted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("0123456789abcdef01234567", "features", ".building-0123", "holiday"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.npy").write_bytes(bytes(2**20))
    here("cache", tmp_path)
    said = capsys.readouterr().out
    assert said.count("1.0 MiB") == 3
    assert "3.0 MiB  in total" in said
    here("cache", tmp_path, "--clear")
    assert [path.name for path in tmp_path.iterdir()] == ["holiday"]
    capsys.readouterr()
    here("cache", tmp_path)
    assert "nothing is cached" in capsys.readouterr().out
