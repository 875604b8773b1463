"""``saltext data check``."""

from pathlib import Path

import pytest

from saltext.data.synthetic import generate
from saltext.images import read_photo
from tests.command_line import here, refused


def test_a_data_set_is_read_and_counted_or_refused_with_all_that_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    generate(tmp_path / "data", images=6, size_range=(96, 128))
    here("data", "check", tmp_path / "data")
    said = capsys.readouterr().out
    assert "no problems found" in said
    assert "salient: " in said
    here("data", "check", tmp_path / "data", "--picture", tmp_path / "check.png", "--pairs", "2")
    assert "Wrote 2 pairs to " in capsys.readouterr().out
    assert read_photo(tmp_path / "check.png").size > (500, 1000)
    maps = sorted((tmp_path / "data").rglob("*.png"))
    for path in (maps[0], maps[-1]):
        path.write_bytes(b"")
    said = refused(capsys, "data", "check", tmp_path / "data")
    assert maps[0].name in said
    assert maps[-1].name in said
