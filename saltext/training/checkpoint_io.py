"""Checkpoints that are whole at every instant: written beside their place, flushed, then replaced."""

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
    """Writes checkpoints through :func:`saltext.storage.replacing`; ``TMPDIR`` plays no part.

    What ``last.ckpt`` was becomes ``last.prev.ckpt``, which is kept until the next one is written. At every instant one
    of the two is whole, and together with what is being written there are never more than two of them: while a run
    trains it takes the space of one checkpoint more than afterwards.
    """

    def __init__(self) -> None:
        self._last_is_damaged = False

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Create or replace a checkpoint.

        Raises:
            OSError: It cannot be written, for example because the disk is full; what was there is as before.
        """
        file = Path(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        # What a run has just gone on from is not dropped in favour of a file that could not be read.
        previous = file.with_name(PREVIOUS) if file.name == LAST and not self._last_is_damaged else None
        if previous is not None and file.is_file():
            previous.unlink(missing_ok=True)
        with replacing(file, durable=True, keep=previous) as part, part.open("wb") as stream:
            try:
                torch.save(checkpoint, stream)
            except RuntimeError as error:
                raise _cause(error) from error
        if file.name == LAST:
            self._last_is_damaged = False

    def load_checkpoint(
        self, path: Any, map_location: Callable[..., Any] | None = None, weights_only: bool | None = True
    ) -> dict[str, Any]:
        """Read a checkpoint that holds tensors and plain values alone, from wherever its folder lies now.

        Raises:
            CheckpointError: It cannot be read.
        """
        file = Path(path)
        try:
            content: dict[str, Any] = torch.load(file, map_location=map_location or "cpu", weights_only=weights_only)
        except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, OSError) as error:
            said = " ".join(str(error).split())[:200] or type(error).__name__
            raise CheckpointError(f"{file} cannot be read as a checkpoint ({said}). {_WAY_OUT}") from error
        self._last_is_damaged = file.name == PREVIOUS and file.with_name(LAST).exists()
        # Lightning forgets the best score so far where a folder was moved, or is named by another path.
        for state in content.get("callbacks", {}).values():
            if isinstance(state, dict) and "dirpath" in state:
                _move(state, file.parent)
        return content


_WAY_OUT = (
    "Restore it from a copy; or start from the beginning: move the folder checkpoints away, or run the command that "
    "started the run again with rerun=true."
)


def newest_whole(last: Path) -> tuple[Path | None, str]:
    """The checkpoint to go on from.

    Args:
        last: Place of ``last.ckpt``.

    Returns:
        It, or the one before where it is missing or damaged; None where there is neither. And what is wrong with the
        file in the place of ``last.ckpt``, if something is.

    Raises:
        CheckpointError: There are checkpoints, but none is whole.
    """
    problems: list[str] = []
    for file in (last, last.with_name(PREVIOUS)):
        if file.is_file():
            problem = _damage(file)
            if not problem:
                return file, "; ".join(problems)
            problems.append(f"{file} {problem}")
    if problems:
        raise CheckpointError(f"No checkpoint is whole: {'; '.join(problems)}. {_WAY_OUT}")
    return None, ""


def _damage(file: Path) -> str:
    """What is wrong with a checkpoint, every byte of which is checked; empty if nothing."""
    try:
        with zipfile.ZipFile(file) as archive:
            damaged = archive.testzip()
    except (OSError, zipfile.BadZipFile, EOFError, ValueError, NotImplementedError) as error:
        return f"is damaged or cut ({error})"
    return "" if damaged is None else f"is damaged (at {damaged})"


def _cause(error: BaseException) -> BaseException:
    """The system's error behind one of torch's, which names a place in its own source; else that one itself."""
    behind: BaseException | None = error
    while behind is not None and not isinstance(behind, OSError):
        behind = behind.__cause__ or behind.__context__
    return error if behind is None else behind


def _move(state: dict[str, Any], folder: Path) -> None:
    """Let a ``ModelCheckpoint``'s state name the folder in which its checkpoints lie now."""

    def moved(path: str) -> str:
        return str(folder / Path(path).name) if path else path

    state["dirpath"] = str(folder)
    for key in ("best_model_path", "kth_best_model_path", "last_model_path"):
        state[key] = moved(state.get(key, ""))
    state["best_k_models"] = {moved(path): score for path, score in state.get("best_k_models", {}).items()}
