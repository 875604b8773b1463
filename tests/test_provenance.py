import json
from pathlib import Path

from saltext import provenance


def test_a_start_names_what_decides_a_result() -> None:
    start = provenance.describe()
    assert start["packages"]["torch"].startswith("2.14")
    assert start["cores"] >= 1
    assert isinstance(start["gpus"], list)


def test_a_resumed_run_has_one_entry_a_start(tmp_path: Path) -> None:
    path = tmp_path / "provenance.json"
    provenance.write(path)
    provenance.write(path)
    assert len(json.loads(path.read_text())) == 2
