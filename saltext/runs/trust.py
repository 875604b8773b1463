"""Trust in run folders: what a configuration from anybody may build, and which of its paths are followed.

A configuration names classes and functions, and building it calls them. Names in the files of ``conf/`` may be built by
everybody (:mod:`saltext.runs.targets`). Any other name, an own class, is built only if the user of the command named it
(on the command line, in ``--config-dir``) or trusts the folder: ``--trust``.

``train`` writes ``trust.json`` beside ``config.yaml``: facts that bind that very file to the user who started the run.
They include the time at which the system created the file, which nobody can choose, so they no longer hold in a folder
that was copied, unpacked or cloned. Where they hold, ``resume=`` builds own classes, and the configuration's paths are
followed. Elsewhere a configuration cannot cause anything to be written, read, fetched or started
(:mod:`saltext.runs.confinement`).
"""

import hashlib
import json
import os
import re
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from saltext import storage
from saltext.errors import ConfigError, SaltextError
from saltext.runs import schema
from saltext.runs.confinement import confine_to_folder
from saltext.runs.paths import reached
from saltext.runs.targets import check_targets, missing_targets, own_targets, packaged
from saltext.runs.untrusted_yaml import literal, mapping
from saltext.system.run_folder import RunFolder

TRUST = "--trust"
"""Option of a command line by which a user trusts a run's folder."""

STARTED_WITH = "SALTEXT_STARTED_WITH"
"""Environment variable that gives the processes of a run the SHA-256 of the config.yaml they may trust."""

_ENV = re.compile(r"\$\{\s*oc\.env\s*:[^${}]*\}")
_NESTED_ENV = re.compile(r"\$\{[^{}]*\$\{\s*oc\.env\s*:")
_REFERENCE = re.compile(r"\$\{[\w.]+\}")


@dataclass(frozen=True)
class Configuration:
    """A run's configuration, and how far it is trusted.

    Attributes:
        cfg: Checked, and resolved; a trusted one may still have interpolations of the environment.
        own: Names that may be built besides those in ``conf/``.
        not_followed: Key -> value of an untrusted configuration that was replaced: locations, devices, loggers.
    """

    cfg: DictConfig
    own: frozenset[str] = frozenset()
    not_followed: Mapping[str, Any] = field(default_factory=dict)

    def remark(self) -> str:
        """A sentence on ``not_followed``; empty if nothing was replaced."""
        values = ", ".join(f"{key}={value!r:.80}" for key, value in self.not_followed.items())
        return (
            values
            and f"Ignored, since the folder is not trusted: {values}. Give such values on the command line "
            "(data.root=DIR), or add --trust if the folder is yours."
        )


# Reading


def record(folder: RunFolder, needed: Sequence[str] = ()) -> DictConfig:
    """A run's configuration for showing it and for comparing with it, not for building anything.

    No resolver is run, except that of the environment for a run that this user started here.

    Args:
        folder: The run's.
        needed: Keys that must exist.

    Returns:
        A configuration that cannot be changed, since it is read once for all that ask for it.

    Raises:
        ConfigError: It cannot be read, a value has an unexpected type, or a needed key is missing.
    """
    text = storage.read_text(folder.config)
    # What a text with interpolations says depends on the environment.
    read_values = _recorded.__wrapped__ if "${" in text else _recorded
    cfg, values, unfit = read_values(text, folder.config, is_own(folder, text))
    _raise_if_any([*_missing_keys(values, needed), *unfit], folder)
    return cfg


@lru_cache(maxsize=256)
def _recorded(text: str, source: Path, own: bool) -> tuple[DictConfig, dict[str, Any], list[str]]:
    """The configuration in the text of a config.yaml, as plain values too, and its values of unexpected types."""
    values = _resolve_interpolations(mapping(text, source), source, own)
    cfg = OmegaConf.create(values)
    OmegaConf.set_readonly(cfg, True)
    return cfg, values, _unfit_values(values)


def read(
    folder: RunFolder, changes: DictConfig | None = None, *, trust: bool = False, resumes: bool = False
) -> Configuration:
    """A run's configuration for building it.

    Args:
        folder: The run's.
        changes: Overrides by the user of the command, who may name anything.
        trust: Whether the folder is trusted: everything it names may be built, and its paths are followed.
        resumes: Whether the run will be resumed. Its own classes may then be built if this user started it here, and
            values that affect its training are not replaced but refused.

    Raises:
        ConfigError: It cannot be read, lacks values or has some of unexpected types, or names what may not be built.
    """
    text = storage.read_text(folder.config)
    mine = is_own(folder, text)
    values = _resolve_interpolations(mapping(text, folder.config), folder.config, trust or mine)
    given = OmegaConf.create() if changes is None else changes
    own = own_targets(OmegaConf.to_container(given, resolve=False))
    not_followed = {}
    if trust or (mine and resumes):
        own |= own_targets(values)
    elif not resumes and isinstance(values.get("evaluation"), dict) and values["evaluation"].get("extra_metrics"):
        # Most commands score nothing, and do not need them.
        not_followed["evaluation.extra_metrics"] = values["evaluation"].pop("extra_metrics")
    _raise_if_any(missing_targets(values), folder)
    check_targets(values, "", own)
    _raise_if_any(_value_problems(values, schema.NEEDED), folder)
    if not (trust or mine):
        not_followed |= confine_to_folder(values, folder, resumes)
    else:
        values = OmegaConf.to_container(reached(folder, OmegaConf.create(values)))  # type: ignore[assignment]
    try:
        merged: DictConfig = OmegaConf.merge(OmegaConf.create(values), given)  # type: ignore[assignment]
        resolved: Any = OmegaConf.to_container(merged, resolve=True)
    except OmegaConfBaseException as error:
        raise ConfigError(f"{folder.config} with {OmegaConf.to_yaml(given).strip()!r}: {error}") from error
    check_targets(resolved, "", own)
    _raise_if_any(_value_problems(resolved, schema.NEEDED), folder)
    return Configuration(
        OmegaConf.create(literal(resolved)),
        own,
        {key: value for key, value in not_followed.items() if OmegaConf.select(given, key) is None},
    )


def started(folder: RunFolder, trusted_digest: str | None) -> Configuration:
    """A run's configuration in the processes that run it: trusted as far as the user who started it trusts it.

    Args:
        folder: The run's.
        trusted_digest: SHA-256 of the trusted config.yaml; None if it is not trusted.

    Raises:
        ConfigError: As :func:`read`, or the file changed since the run was started.
    """
    if trusted_digest is None:
        return read(folder, resumes=True)
    text = storage.read_text(folder.config)
    if digest_of(text) != trusted_digest:
        raise ConfigError(f"{folder.config} was changed since the run was started. Start it again.")
    cfg = OmegaConf.create(mapping(text, folder.config))
    try:
        return Configuration(cfg, own_targets(OmegaConf.to_container(cfg, resolve=True)))
    except OmegaConfBaseException as error:
        raise ConfigError(f"{folder.config} needs a variable of the environment that is not set: {error}") from error


def _raise_if_any(problems: Sequence[str], folder: RunFolder) -> None:
    """Raise a ConfigError with the problems of a configuration, if there are any."""
    if problems:
        raise ConfigError(
            f"{folder.config} was not written by this version of saltext: {'; '.join(problems[:10])}. Train the model "
            f"again, or use {folder.version()}."
        )


def _resolve_interpolations(values: dict[str, Any], source: Path, trusted: bool) -> dict[str, Any]:
    """Values of a config.yaml with their interpolations resolved.

    A run's configuration is resolved when it is written, except for the environment: a trusted one gets the variables,
    another one gets None in their place. A plain reference to a text or number (``${key}``) is resolved in either.

    Raises:
        ConfigError: An untrusted configuration has any other interpolation.
    """
    unresolved: list[str] = []

    @cache
    def config() -> Any:
        return OmegaConf.create(values)

    def resolve(node: Any, keys: tuple[Any, ...]) -> Any:
        if isinstance(node, dict):
            return {key: resolve(value, (*keys, key)) for key, value in node.items()}
        if isinstance(node, list):
            return [resolve(value, (*keys, index)) for index, value in enumerate(node)]
        if not isinstance(node, str) or ("${" not in node and node != "???"):
            return node
        if trusted:
            try:
                value = config()
                for key in keys:
                    value = value[key]
            except (OmegaConfBaseException, TypeError):  # the variable is no longer set
                return None
            return value
        if _REFERENCE.fullmatch(node):
            referred: Any = values
            for name in node[2:-1].split("."):
                referred = referred.get(name) if isinstance(referred, dict) else None
            if isinstance(referred, int | float) or (isinstance(referred, str) and "${" not in referred):
                return referred
        if "oc.env" not in node:
            unresolved.append(f"{'.'.join(map(str, keys))}={node!r:.80}")
        return None

    resolved: dict[str, Any] = resolve(values, ())
    if unresolved:
        raise ConfigError(
            f"{source} cannot be read as the configuration of a run: expected resolved values, got "
            f"{', '.join(unresolved[:5])}"
        )
    return resolved


def _value_problems(values: dict[str, Any], needed: Sequence[str]) -> list[str]:
    """Missing keys of a configuration, and its values of unexpected types."""
    return [*_missing_keys(values, needed), *_unfit_values(values)]


def _unfit_values(values: dict[str, Any]) -> list[str]:
    return [f"{key}: {text}" for key, text in schema.unfit(values).items()]


def _missing_keys(values: dict[str, Any], needed: Sequence[str]) -> list[str]:
    """What is said of the keys that a configuration lacks; empty if it has all."""
    missing = []
    for key in needed:
        node: Any = values
        for name in key.split("."):
            if not isinstance(node, dict) or name not in node:
                missing.append(key)
                break
            node = node[name]
    return [f"it lacks {', '.join(missing[:10])}"] if missing else []


# Writing


def recorded(cfg: DictConfig) -> str:
    """The text of a run's config.yaml: its configuration, resolved except for interpolations of the environment.

    ``${oc.env:NAME}`` may resolve to a password, so the record keeps the interpolation, also inside other values, and
    the run's own processes resolve it again. Only the folders of data sets that ``conf/`` takes from the environment
    are written resolved, since a run can be repeated only with the same data.

    Args:
        cfg: As composed; Hydra's own part is left out.
    """
    own: Any = OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "hydra"])
    escaped = OmegaConf.create(_escape_environment(OmegaConf.to_container(own, resolve=False)))
    return OmegaConf.to_yaml(OmegaConf.create(OmegaConf.to_container(escaped, resolve=True)))


def _escape_environment(node: Any) -> Any:
    """Unresolved values with escaped interpolations of the environment, except for texts of ``conf/``."""
    if isinstance(node, dict):
        return {key: _escape_environment(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_escape_environment(value) for value in node]
    if not isinstance(node, str) or "oc.env" not in node or node in packaged().texts:
        return node
    if _NESTED_ENV.search(node) or "oc.env" in _ENV.sub("", node):
        return literal(node)
    return _ENV.sub(lambda match: f"\\{match[0]}", node)


def write(cfg: DictConfig, folder: RunFolder) -> str:
    """Write a run's config.yaml, and beside it ``trust.json``, which binds the file to this user and this folder.

    Args:
        cfg: As composed by the user who starts the run.
        folder: The run's, which exists.

    Returns:
        The text of its config.yaml.
    """
    text = recorded(cfg)
    storage.write_text(folder.config, text, durable=True)
    storage.write_json(folder.trust, _binding_facts(folder, text), durable=True)
    folder.trust.chmod(0o600)
    return text


def digest_of(text: str) -> str:
    """The SHA-256 of a config.yaml's text."""
    return hashlib.sha256(text.encode()).hexdigest()


def _binding_facts(folder: RunFolder, text: str) -> dict[str, Any]:
    """Facts that hold for no other file: SHA-256 of its text, inode, and time of creation in the folder."""
    status = folder.config.lstat()
    return {"sha256": digest_of(text), "inode": status.st_ino, "ctime_ns": status.st_ctime_ns}


def is_own(folder: RunFolder, text: str) -> bool:
    """Whether this user started the run in this very folder, with this very configuration.

    Args:
        folder: The run's.
        text: Of its config.yaml, as read.
    """
    try:
        config, trust = folder.config.lstat(), folder.trust.lstat()
        mine = all(stat.S_ISREG(file.st_mode) and file.st_uid == os.getuid() for file in (config, trust))
        if not mine or trust.st_mode & 0o077:
            return False
        return bool(json.loads(storage.read_text(folder.trust)) == _binding_facts(folder, text))
    except (OSError, SaltextError, ValueError, RecursionError):
        return False


def check_links(folder: RunFolder) -> None:
    """Check, before writing into a run's folder, that no link in it leads elsewhere.

    Raises:
        ConfigError: This user did not start the run here, and its folder has a link that leads out of it, or a file
            that is no regular one.
    """
    try:
        if is_own(folder, storage.read_text(folder.config)):
            return
    except SaltextError:
        pass
    root = folder.root.resolve()
    for where, folders, files in os.walk(root):
        for path in (Path(where) / name for name in (*folders, *files)):
            mode = path.lstat().st_mode
            outside = stat.S_ISLNK(mode) and not path.resolve().is_relative_to(root)
            if outside or not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode)):
                raise ConfigError(
                    f"{path} is a link that leads out of {folder.root}, or no regular file. Nothing is written into "
                    "such a folder unless its run was started here. Remove it, or replace it by a copy of its target."
                )
