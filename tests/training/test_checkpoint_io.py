"""Checkpoints that are whole at every instant."""

import errno
import os
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.fabric.utilities import cloud_io
from lightning.pytorch.callbacks import ModelCheckpoint

from saltext import storage
from saltext.errors import CheckpointError
from saltext.training.checkpoint_io import ReplacingCheckpointIO, newest_whole


def state(number: int) -> dict[str, Any]:
    return {"state_dict": {"weight": torch.full((300, 300), float(number))}, "epoch": number}


def epoch(path: Path) -> int:
    return int(torch.load(path, weights_only=True)["epoch"])


@pytest.fixture
def last(tmp_path: Path) -> Path:
    """Two epochs saved."""
    writer = ReplacingCheckpointIO()
    for number in (1, 2):
        writer.save_checkpoint(state(number), tmp_path / "checkpoints" / "last.ckpt")
    return tmp_path / "checkpoints" / "last.ckpt"


def test_the_last_checkpoint_but_one_is_kept_until_the_next_is_written(last: Path) -> None:
    assert {path.name: epoch(path) for path in last.parent.iterdir()} == {"last.ckpt": 2, "last.prev.ckpt": 1}


def test_best_checkpoints_are_replaced_and_none_is_kept(tmp_path: Path) -> None:
    for number in (1, 2):
        ReplacingCheckpointIO().save_checkpoint(state(number), tmp_path / "best.ckpt")
    assert [epoch(path) for path in tmp_path.iterdir()] == [2]


def test_lightnings_own_way_of_saving_and_the_temporary_folder_play_no_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: Any) -> None:
        raise AssertionError("saved by Lightning")

    monkeypatch.setattr(cloud_io, "_atomic_save", refuse)
    monkeypatch.setattr("lightning.fabric.plugins.io.torch_io._atomic_save", refuse)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "not there"))
    ReplacingCheckpointIO().save_checkpoint(state(1), tmp_path / "last.ckpt")
    assert epoch(tmp_path / "last.ckpt") == 1


def test_a_full_disk_is_the_systems_error_and_leaves_what_was_there(
    last: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Path.open

    class Full:
        def __init__(self, stream: Any) -> None:
            self.stream = stream

        def write(self, data: Any) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        def __enter__(self) -> "Full":
            return self

        def __exit__(self, *error: object) -> None:
            self.stream.close()

        def flush(self) -> None: ...

    monkeypatch.setattr(Path, "open", lambda path, *how: Full(real(path, *how)))
    with pytest.raises(OSError, match="No space left"):
        ReplacingCheckpointIO().save_checkpoint(state(3), last)
    monkeypatch.undo()
    assert [path.name for path in last.parent.iterdir()] == ["last.ckpt"]  # the one before made room
    assert newest_whole(last) == (last, "")


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "missing"])
def test_a_run_goes_on_from_the_one_before_where_the_last_is_damaged(last: Path, damage: str) -> None:
    content = bytearray(last.read_bytes())
    if damage == "cut":
        content = content[: len(content) // 2]
    elif damage == "flipped":
        content[len(content) // 2] ^= 1
    elif damage == "empty":
        content.clear()
    last.unlink()
    if damage != "missing":
        last.write_bytes(content)
    found, problem = newest_whole(last)
    assert found is not None
    assert epoch(found) == 1
    assert (damage == "missing") == (problem == "")
    if problem:
        assert str(last) in problem

    # Until the next one is written, the whole one is not given up for the damaged one.
    writer = ReplacingCheckpointIO()
    writer.load_checkpoint(found)
    seen = []
    real = storage._fsync
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(storage, "_fsync", lambda path: (seen.append(newest_whole(last)[0]), real(path)))
        writer.save_checkpoint(state(2), last)
    assert seen[0] is not None
    assert epoch(last) == 2
    writer.save_checkpoint(state(3), last)
    assert (epoch(last), epoch(found)) == (3, 2)


def test_without_any_whole_one_both_are_named_with_the_way_out(last: Path) -> None:
    assert newest_whole(last.with_name("other") / "last.ckpt") == (None, "")
    for path in last.parent.iterdir():
        path.write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"last\.ckpt is damaged.*last\.prev\.ckpt is damaged.*rerun=true"):
        newest_whole(last)
    with pytest.raises(CheckpointError, match=r"last\.ckpt cannot be read as a checkpoint.*Restore it"):
        ReplacingCheckpointIO().load_checkpoint(last)


def test_the_best_score_so_far_survives_a_folder_that_was_moved(tmp_path: Path) -> None:
    before, now = tmp_path / "before", tmp_path / "now"
    saved = ModelCheckpoint(dirpath=before, monitor="cc", filename="best")
    saved.best_model_score = torch.tensor(0.5)
    saved.best_model_path = saved.kth_best_model_path = str(before / "best.ckpt")
    saved.best_k_models = {str(before / "best.ckpt"): torch.tensor(0.5)}
    writer = ReplacingCheckpointIO()
    writer.save_checkpoint({"callbacks": {saved.state_key: saved.state_dict()}}, before / "last.ckpt")
    before.rename(now)
    read = ModelCheckpoint(monitor="cc", filename="best")
    read.dirpath = str(now)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read.load_state_dict(writer.load_checkpoint(now / "last.ckpt")["callbacks"][saved.state_key])
    assert read.best_model_score == torch.tensor(0.5)
    assert list(read.best_k_models) == [read.best_model_path] == [str(now / "best.ckpt")]
