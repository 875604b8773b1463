"""Push an export to a repository on the Hugging Face hub. The command line is ``saltext export RUN DIR --push``."""

import re

from huggingface_hub import CommitInfo, CommitOperationAdd, HfApi

from saltext.errors import ConfigError
from saltext.models.hub import UNREACHABLE, hub_problem
from saltext.system.run_folder import RunFolder

_NAME = re.compile(r"[\w][\w.-]*/[\w][\w.-]*")
_REFUSED = (401, 403)


def check_repository(name: str) -> None:
    """Check the name of a repository.

    Raises:
        ConfigError: It is not ``owner/name``.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(f"--push: expected a repository on the Hugging Face hub, owner/name, got {name!r}")


def push(export: RunFolder, repository: str, *, private: bool = False, token: str | None = None) -> CommitInfo:
    """Push an export's weights, configuration, split and card to a repository, in one commit.

    Args:
        export: Folder that :func:`saltext.runs.export.export` wrote.
        repository: ``owner/name``; it is created where there is none.
        private: Whether nobody else may see it.
        token: Of the hub, with write access; None: the one that ``hf auth login`` stored, or of ``HF_TOKEN``.

    Returns:
        The commit; its ``oid`` is what ``saltext.load(..., revision=)`` pins.

    Raises:
        ConfigError: No valid name, no token with write access, a public repository where a private one is wanted, or
            the hub cannot be reached. The folder stays as it is.
    """
    check_repository(repository)
    api = HfApi(token=token, library_name="saltext")
    files = (export.exported, export.config, export.split, export.card)
    try:
        api.create_repo(repository, private=private or None, exist_ok=True)
        if private and not api.model_info(repository).private:
            raise ConfigError(
                f"{repository} exists on the hub and is public; nothing was pushed. Make it private in its settings, "
                "or leave out --private."
            )
        operations = [CommitOperationAdd(file.name, file) for file in files]
        return api.create_commit(repository, operations, commit_message="Export of saltext")
    except ConfigError:
        raise
    except (*UNREACHABLE, RuntimeError) as error:  # the hub's library raises a RuntimeError where an upload ends
        status = getattr(getattr(error, "response", None), "status_code", None)
        why = (
            f"expected a token with write access to {repository} (hf auth login, or HF_TOKEN), got "
            f"{'none or another' if status == 401 else 'one without it'}"
            if status in _REFUSED
            else hub_problem(repository, error)
        )
        raise ConfigError(
            f"{export.root} is written but was not pushed: {why}. Then: hf upload {repository} {export.root}"
        ) from error
