from pathlib import Path
from typing import Any

import pytest

from saltext import storage
from saltext.errors import ConfigError
from saltext.system.run_folder import RunFolder


def test_a_folder_that_is_not_a_run_s_is_refused_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"holds no config\.yaml.*outputs"):
        RunFolder.existing(tmp_path)
    with pytest.raises(ConfigError, match="is not there"):
        RunFolder.existing(tmp_path / "missing")


def test_the_last_epoch_is_tested_where_no_images_chose_one(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    assert folder.chosen == folder.last
    folder.checkpoints.mkdir()
    folder.best.touch()
    assert folder.chosen == folder.best


def test_a_folder_names_the_version_and_commit_that_last_wrote_it(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    starts = [{"commit": letter * 40, "packages": {"saltext": "0.2.0.dev0"}} for letter in "ab"]
    storage.write_json(folder.provenance, starts)
    assert folder.version() == "saltext 0.2.0.dev0 of commit bbbbbbbbbbbb, which wrote it"
    installed = {"commit": None, "packages": {"saltext": "0.2.0"}}  # no checkout, so no commit
    storage.write_json(folder.provenance, [installed])
    assert folder.version() == "saltext 0.2.0, which wrote it"


@pytest.mark.parametrize(
    "starts",
    [
        None,
        [],
        ["a"],
        [{}],
        [{"commit": "a" * 40, "packages": []}],
        [{"commit": "a" * 40, "packages": {"saltext": None}}],
        [{"commit": "a" * 40, "packages": {"saltext": "\x1b[2J"}}],
        {},
    ],
)
def test_a_folder_without_a_usable_record_names_no_version(tmp_path: Path, starts: Any) -> None:
    folder = RunFolder(tmp_path)
    if starts is not None:
        storage.write_json(folder.provenance, starts)
    assert folder.version() == "the version that wrote it"


def test_the_last_epoch_does_not_stand_in_for_a_best_one_that_cannot_be_read(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.checkpoints.mkdir()
    folder.last.touch()
    folder.best.symlink_to("gone")
    assert folder.chosen == folder.best


@pytest.mark.parametrize("damaged", [False, True])
def test_the_last_epoch_does_not_stand_in_for_a_best_one_that_is_gone(tmp_path: Path, damaged: bool) -> None:
    folder = RunFolder(tmp_path)
    folder.checkpoints.mkdir()
    folder.last.touch()
    storage.write_json(folder.finished_stage, {"tasks": ["pure"], "weights": "best.ckpt"})
    assert folder.chosen == folder.best
    storage.write_json(folder.finished_stage, {"tasks": ["pure"], "weights": "last.ckpt"})
    assert folder.chosen == folder.last
    if damaged:
        folder.finished_stage.write_text("{")
        assert folder.chosen == folder.last
    else:
        storage.write_json(folder.finished_stage, {"tasks": ["pure"], "weights": "../../elsewhere.ckpt"})
        assert folder.chosen == folder.last
