"""Files of repositories on the Hugging Face hub: fetched once, after saying how large they are."""

import hashlib
import logging
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from huggingface_hub import constants, snapshot_download
from huggingface_hub.constants import is_offline_mode
from huggingface_hub.errors import (
    DryRunError,
    GatedRepoError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.errors import HTTPError as HTTPError  # type: ignore[attr-defined]  # of httpx, or its successor

from saltext import storage
from saltext.errors import CheckpointError, ConfigError, DamagedFileError

WEIGHTS = ("model.safetensors", "pytorch_model.bin")
"""Weight files as transformers names them, the preferred first."""

UNREACHABLE = (HTTPError, HFValidationError, LocalEntryNotFoundError, OSError)
"""What the hub's library raises where a repository cannot be read or written; none of its users has to know more."""

_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_log = logging.getLogger(__name__)


def hub_folder(
    name: str,
    revision: str | None,
    files: Sequence[str],
    local_files_only: bool = False,
    weights: Sequence[str] = WEIGHTS,
    token: str | bool | None = None,
) -> Path:
    """The folder with files of a repository and one of its weight files, which are downloaded once.

    What is to be downloaded is said in the log, with its size, and the hub's own progress bar follows. A commit whose
    files are here is not asked for again.

    Args:
        name: ``owner/name``.
        revision: Commit, tag or branch. Only a commit never changes.
        files: Names of the files besides the weights; those that the repository does not have are left out.
        local_files_only: Whether to take only what was downloaded before. So does the variable ``HF_HUB_OFFLINE=1``.
        weights: Names of the weight files that will do, the preferred first.
        token: Of the hub, for private repositories; None: the one that ``hf auth login`` stored, or of ``HF_TOKEN``.

    Returns:
        The folder, which lacks what the repository does not have.

    Raises:
        CheckpointError: There is no such repository or revision, it cannot be reached, or a download is incomplete.
    """
    offline = is_offline(local_files_only)
    try:
        if offline or is_commit(revision):
            downloaded = _downloaded(name, revision, files, weights)
            if downloaded is not None:
                return downloaded
        # The older format only where there is no other: it would be the same gigabytes a second time.
        for file in weights:
            chosen = [*files, file]
            if not offline:
                _announce(name, revision, chosen, token)
            folder = Path(
                snapshot_download(name, revision=revision, allow_patterns=chosen, local_files_only=offline, token=token)
            )
            if (folder / file).is_file():
                break
        return folder
    except UNREACHABLE as error:
        raise CheckpointError(
            f"{name!r}: no such file or folder here, and {hub_problem(name, error, revision)}. Where there is a "
            f"connection, fetch it (hf download {name}{f' --revision {revision}' if revision else ''}), and give the "
            f"folder's path or copy {constants.HF_HUB_CACHE}; or give another owner/name that can be reached."
        ) from error


def hub_problem(name: str, error: Exception, revision: str | None = None) -> str:
    """Why a repository cannot be read or written, as part of a sentence: for the errors in :data:`UNREACHABLE`.

    Args:
        name: ``owner/name``.
        error: What the hub's library raised.
        revision: The requested one.
    """
    reason = " ".join(str(error).split())
    if isinstance(error, GatedRepoError):
        return f"the repository is gated: agree to its terms at {constants.ENDPOINT}/{name} first ({reason})"
    if isinstance(error, RepositoryNotFoundError):
        return (
            "the hub has no repository of that name: a private one needs a token (token=, HF_TOKEN or hf auth login) "
            f"({reason})"
        )
    if isinstance(error, RevisionNotFoundError):
        return f"the repository on the hub has no commit, tag or branch {revision!r} ({reason})"
    if isinstance(error, HFValidationError):
        return f"the hub has no repository of such a name, only owner/name ({reason})"
    return f"the hub ({constants.ENDPOINT}) cannot be reached, or sends only a part ({reason})"


def pinned_folder(
    weights: str | Path,
    revision: str | None,
    files: Sequence[str],
    local_files_only: bool = False,
    weight_files: Sequence[str] = WEIGHTS,
) -> Path:
    """A folder with a model's files: one that is here, or that of a repository at one commit.

    Args:
        weights: The folder, or ``owner/name`` of a repository on the hub, downloaded once.
        revision: The repository's commit, 40 hexadecimal digits: a branch or tag may be other weights tomorrow.
        files: As of :func:`hub_folder`, as are the others.
        local_files_only: As above.
        weight_files: Names of the weight files that will do, the preferred first.

    Raises:
        ConfigError: A repository without a commit.
        CheckpointError: As of :func:`hub_folder`.
    """
    folder = Path(weights).expanduser()
    if folder.is_dir():
        return folder
    if not is_commit(revision):
        raise ConfigError(
            f"{weights}: expected the commit of a repository on the hub as revision, 40 hexadecimal digits, or the "
            f"path of a folder as weights; got revision {revision!r}. A branch such as main may have other weights "
            "tomorrow."
        )
    return hub_folder(str(weights), revision, files, local_files_only, weight_files)


def checked_digest(file: Path) -> str:
    """The SHA-256 of a file of a repository, after comparing it with the digest under which the hub keeps it.

    Args:
        file: In a folder of :func:`hub_folder`: there large files are links to files that are named by their SHA-256.

    Raises:
        CheckpointError: The content is another one: the download was cut or changed.
    """
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    stored = file.resolve()
    if _SHA256.fullmatch(stored.name) and stored.name != digest:
        raise CheckpointError(
            f"{file}: expected SHA-256 {stored.name}, got {digest}. The download was cut or changed: delete {stored} "
            "and fetch it again."
        )
    return digest


def read_json(path: Path) -> dict[str, Any]:
    """The content of a configuration beside weights.

    Raises:
        CheckpointError: It cannot be read.
    """
    try:
        content: dict[str, Any] = storage.read_json(path, dict)
    except DamagedFileError as error:
        raise CheckpointError(f"{path} cannot be read as a configuration ({error}).") from error
    return content


def is_offline(local_files_only: bool = False) -> bool:
    """Whether the hub may not be asked: by an argument, or by ``HF_HUB_OFFLINE=1``."""
    return local_files_only or is_offline_mode()


def is_commit(revision: str | None) -> bool:
    """Whether a revision is a whole commit, which never changes."""
    return revision is not None and _COMMIT.fullmatch(revision) is not None


def _downloaded(name: str, revision: str | None, files: Sequence[str], weights: Sequence[str]) -> Path | None:
    """The folder of what was downloaded before; None if there are no weights in it."""
    try:
        folder = Path(
            snapshot_download(name, revision=revision, allow_patterns=[*files, *weights], local_files_only=True)
        )
    except LocalEntryNotFoundError:
        return None
    return folder if any((folder / file).is_file() for file in weights) else None


def _announce(name: str, revision: str | None, files: Sequence[str], token: str | bool | None) -> None:
    with suppress(DryRunError):  # not reached: the download says why, or takes what was downloaded before
        planned = snapshot_download(name, revision=revision, allow_patterns=list(files), dry_run=True, token=token)
        size = sum(file.file_size or 0 for file in planned if file.will_download)
        if size:
            _log.info("downloading %s (%.0f MB) to %s", name, size / 1e6, constants.HF_HUB_CACHE)
