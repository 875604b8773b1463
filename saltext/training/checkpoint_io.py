"""Atomic checkpoints: written to a temporary file in the same folder, flushed, then renamed."""

import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO

from saltext.errors import CheckpointError
from saltext.storage import replacing
from saltext.system.run_folder import LAST, PREVIOUS


class ReplacingCheckpointIO(TorchCheckpointIO):
    """Writes checkpoints through :func:`saltext.storage.replacing`, without ``TMPDIR``.

    The former ``last.ckpt`` becomes ``last.prev.ckpt``, which is kept until the next checkpoint is written. At every
    instant one of the two is complete, and there are never more than two files, the one being written included: while
    a run trains it takes the space of one checkpoint more than afterwards.
    """

    def __init__(self) -> None:
        self._last_is_damaged = False

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Create or replace a checkpoint.

        Raises:
            OSError: It cannot be written, for example because the disk is full; the former checkpoint is unchanged.
        """
        file = Path(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        # Where last.ckpt is damaged, last.prev.ckpt is what the run resumed from: it is not replaced by the former.
        previous = file.with_name(PREVIOUS) if file.name == LAST and not self._last_is_damaged else None
        if previous is not None and file.is_file():
            previous.unlink(missing_ok=True)
        with replacing(file, durable=True, keep=previous) as part, part.open("wb") as stream:
            try:
                torch.save(checkpoint, stream)
            except RuntimeError as error:
                raise _os_error_behind(error) from error
        if file.name == LAST:
            self._last_is_damaged = False

    def load_checkpoint(
        self, path: Any, map_location: Callable[..., Any] | None = None, weights_only: bool | None = True
    ) -> dict[str, Any]:
        """Read a checkpoint of tensors and plain values; its folder may have been moved since it was written.

        Raises:
            CheckpointError: It cannot be read.
        """
        file = Path(path)
        try:
            content: dict[str, Any] = torch.load(file, map_location=map_location or "cpu", weights_only=weights_only)
        except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, OSError) as error:
            message = " ".join(str(error).split())[:200] or type(error).__name__
            raise CheckpointError(f"{file} cannot be read as a checkpoint ({message}). {_WAY_OUT}") from error
        self._last_is_damaged = file.name == PREVIOUS and file.with_name(LAST).exists()
        # Lightning forgets the best score so far where a folder was moved, or is named by another path.
        for state in content.get("callbacks", {}).values():
            if isinstance(state, dict) and "dirpath" in state:
                _set_checkpoint_folder(state, file.parent)
        return content


_WAY_OUT = (
    "Restore it from a copy; or start from the beginning: move the folder checkpoints away, or run the command that "
    "started the run again with rerun=true."
)


def newest_whole(last: Path) -> tuple[Path | None, str]:
    """The checkpoint to resume from.

    Args:
        last: Path of ``last.ckpt``.

    Returns:
        ``last.ckpt``, or ``last.prev.ckpt`` where it is missing or damaged, or None where there is neither; and what is
        wrong with ``last.ckpt``, empty if nothing.

    Raises:
        CheckpointError: There are checkpoints, but all are damaged.
    """
    problems: list[str] = []
    for file in (last, last.with_name(PREVIOUS)):
        if file.is_file():
            problem = _checkpoint_damage(file)
            if not problem:
                return file, "; ".join(problems)
            problems.append(f"{file} {problem}")
    if problems:
        raise CheckpointError(f"No checkpoint is complete: {'; '.join(problems)}. {_WAY_OUT}")
    return None, ""


def _checkpoint_damage(file: Path) -> str:
    """What is wrong with a checkpoint, after every byte was checked; empty if nothing."""
    try:
        with zipfile.ZipFile(file) as archive:
            damaged = archive.testzip()
    except (OSError, zipfile.BadZipFile, EOFError, ValueError, NotImplementedError) as error:
        return f"is damaged or cut ({error})"
    return "" if damaged is None else f"is damaged (at {damaged})"


def _os_error_behind(error: BaseException) -> BaseException:
    """The operating system's error that caused one of torch's; the error itself where there is none."""
    behind: BaseException | None = error
    while behind is not None and not isinstance(behind, OSError):
        behind = behind.__cause__ or behind.__context__
    return error if behind is None else behind


def _set_checkpoint_folder(state: dict[str, Any], folder: Path) -> None:
    """Make all paths in a ``ModelCheckpoint``'s state point into ``folder``."""

    def in_folder(path: str) -> str:
        return str(folder / Path(path).name) if path else path

    state["dirpath"] = str(folder)
    for key in ("best_model_path", "kth_best_model_path", "last_model_path"):
        state[key] = in_folder(state.get(key, ""))
    state["best_k_models"] = {in_folder(path): score for path, score in state.get("best_k_models", {}).items()}
