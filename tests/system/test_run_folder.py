from pathlib import Path

import pytest

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
