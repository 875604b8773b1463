"""Trust in run folders: what a configuration from anybody may build, and which of its paths are followed.

A configuration names classes and functions, and building it calls them. Names in the files of ``conf/`` may be built by
everybody, at the keys where those files have them. Any other name, an own class, is built only if the user of the
command named it (on the command line, in ``--config-dir``) or trusts the folder: ``--trust``.

``train`` writes ``trust.json`` beside ``config.yaml``: facts that bind that very file to the user who started the run.
They include the time at which the system created the file, which nobody can choose, so they no longer hold in a folder
that was copied, unpacked or cloned. Where they hold, ``resume=`` builds own classes, and the configuration's paths are
followed. Elsewhere a configuration cannot cause anything to be written, read, fetched or started.
"""

import hashlib
import json
import os
import re
import stat
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]
from omegaconf import DictConfig, OmegaConf
from omegaconf._utils import get_yaml_loader
from omegaconf.errors import OmegaConfBaseException

from saltext import storage
from saltext.errors import ConfigError, DamagedFileError, SaltextError
from saltext.runs import schema
from saltext.runs.composition import config_folder
from saltext.runs.paths import reached
from saltext.runs.plugins import plugin_of
from saltext.runs.signatures import signature
from saltext.system.run_folder import RunFolder

TRUST = "--trust"
"""Option of a command line by which a user trusts a run's folder."""

STARTED_WITH = "SALTEXT_STARTED_WITH"
"""Environment variable that gives the processes of a run the SHA-256 of the config.yaml they may trust."""

_BYTES, _DEPTH, _NODES = 2**20, 50, 50_000  # limits of a config.yaml; a real one has 4 kB, 7 levels and 200 nodes
_EVENTS: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# OmegaConf's loader, a safe one that reads numbers its way, behind libyaml's parser: ten times as fast.
_OMEGACONF: Any = get_yaml_loader()
_VALUES: Any = type("_Values", (yaml.CSafeLoader, _OMEGACONF), {}) if hasattr(yaml, "CSafeLoader") else _OMEGACONF
_ENV = re.compile(r"\$\{\s*oc\.env\s*:[^${}]*\}")
_NESTED_ENV = re.compile(r"\$\{[^{}]*\$\{\s*oc\.env\s*:")
_REFERENCE = re.compile(r"\$\{[\w.]+\}")
_CHANNEL = re.compile(r"(val|test|train)/[\w/]+")  # what is logged has a slash in its name, and is no path
_LEADS_TO_A_FILE = re.compile(r"[/\\:~$\x00-\x1f]|\.\.")
_PLACED = ("model", "normalize", "loss", "optimizer", "scheduler", "training", "trainer", "callbacks")
_MOST_IMAGES = 1000

# Class -> arguments that say where its initial weights are from, which a run's checkpoint replaces -> without any.
_FIRST_WEIGHTS: Mapping[str, Mapping[str, Any]] = {
    "saltext.models.image.timm_encoder.TimmEncoder": {"checkpoint": None},
    "saltext.models.image.vit.VitEncoder": {"checkpoint": None, "pretrained": False},
    "saltext.models.image.staged.DenseNet161": {"weights": None},
    "saltext.models.image.staged.ResNet50": {"weights": None},
    "saltext.models.clip_salgan.sal_gan_vgg.SalGANVGG": {"weights": None},
}
_NAMES_OF_FILES = ("weights", "checkpoint", "vocabulary", "revision")
_OUTPUTS = "outputs"  # conf/config.yaml's output_dir
_TRAINER_TEXTS = ("_target_", "accelerator", "precision", "strategy", "gradient_clip_algorithm")


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


# What may be built


@dataclass(frozen=True)
class _Packaged:
    """The names, texts and data folders in ``conf/``.

    Attributes:
        targets: (group, whether it is the group's own ``_target_`` or one inside it) -> names.
        texts: Every text value.
        roots: Reader -> default folder of its data.
        generated: Default folders of synthetic data.
    """

    targets: Mapping[tuple[str, bool], frozenset[str]]
    texts: frozenset[str]
    roots: Mapping[str, str | None]
    generated: frozenset[str]


@cache
def _packaged() -> _Packaged:
    targets: dict[tuple[str, bool], set[str]] = {}
    texts: set[str] = set()
    roots: dict[str, str | None] = {}
    generated: set[str] = set()
    folder = config_folder()
    for file in sorted(folder.rglob("*.yaml")):
        text = file.read_text(encoding="utf-8")
        content = parsed(text, file) or {}
        header = re.search(r"^# @package (\S+)", text, re.MULTILINE)
        package = header[1] if header else ".".join(file.relative_to(folder).parent.parts) or "_global_"
        start = () if package == "_global_" else tuple(package.split("."))
        for location, name in _targets(content, start):
            targets.setdefault(_position(location), set()).add(name)
        texts |= {value for _, value in _leaves(content, ()) if isinstance(value, str)}
        if start == ("data",) and "_target_" in content and "root" in content:
            roots[content["_target_"]] = content["root"]
        if start == ("data",) and str(content.get("root")).startswith("${output_dir}/"):
            generated.add(content["root"].replace("${output_dir}", _OUTPUTS))
    for position, names in targets.items():
        for name in [name for name in names if name.startswith("${")]:  # ${optimizer._target_}
            names.remove(name)
            targets[position] = names | targets[name.strip("${}").removesuffix("._target_"), True]
    return _Packaged(
        {key: frozenset(names) for key, names in targets.items()}, frozenset(texts), roots, frozenset(generated)
    )


def _position(location: Sequence[str]) -> tuple[str, bool]:
    """The group of a location, and whether the location is the group itself."""
    return (location[0] if location else "", len(location) == 1)


def _targets(node: Any, location: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    """Location and value of every ``_target_`` in a plain value."""
    if isinstance(node, Mapping):
        if "_target_" in node:
            target = node["_target_"]
            yield location, target if isinstance(target, str) else f"a {type(target).__name__}"
        for key, value in node.items():
            yield from _targets(value, (*location, str(key)))
    elif isinstance(node, list | tuple):
        for number, value in enumerate(node):
            yield from _targets(value, (*location, str(number)))


def _leaves(node: Any, location: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Location and value of everything in a plain value that is neither mapping nor list."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield from _leaves(value, (*location, str(key)))
    elif isinstance(node, list | tuple):
        for number, value in enumerate(node):
            yield from _leaves(value, (*location, str(number)))
    else:
        yield location, node


def own_targets(values: Any) -> frozenset[str]:
    """Names of a configuration's ``_target_`` that no file in ``conf/`` has.

    Args:
        values: Plain and resolved.
    """
    packaged = frozenset().union(*_packaged().targets.values())
    return frozenset(name for _, name in _targets(values, ())) - packaged


def check_targets(values: Any, location: str, own: Collection[str]) -> None:
    """Check that every ``_target_`` may be built.

    Args:
        values: Plain and resolved: the node to build, or a whole configuration.
        location: Its key in the configuration, such as ``callbacks.best``; empty for the whole.
        own: Names that may be built besides those in ``conf/``.

    Raises:
        ConfigError: Any other name, or a name at a location where ``conf/`` does not have it.
    """
    start = tuple(location.split(".")) if location else ()
    allowed = _packaged().targets
    refused = [
        (".".join(where), name)
        for where, name in _targets(values, start)
        if name not in own and name not in allowed.get(_position(where), ())
    ]
    if refused:
        listed = ", ".join(f"{_printable(name)} (at {_printable(where)})" for where, name in sorted(refused)[:10])
        installed = {str(plugin) for _, name in refused if (plugin := plugin_of(name))}
        remark = (
            f" {', '.join(sorted(installed))} is installed here, which is no reason to trust it." if installed else ""
        )
        raise ConfigError(
            f"The configuration names {listed}, which no file in {config_folder()} names there.{remark} Nothing of it "
            "was run, since a configuration can name any program. If you trust whoever wrote it, add --trust "
            "(in Python: trust=True)."
        )


def _printable(name: str) -> str:
    """A name from a configuration for a message: at most 100 characters, none of them a control character."""
    return name[:100] if name.isprintable() else repr(name[:100])


# Reading


def read_text(path: Path, most: int = _BYTES) -> str:
    """The text of a small regular file in a run's folder.

    Raises:
        DamagedFileError: The file is missing, is no regular file (reading a pipe would wait for ever), is larger than
            ``most`` bytes, or is not UTF-8.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as stream:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise DamagedFileError(f"{path} cannot be read: expected a regular file")
            content = stream.read(most + 1)
        if len(content) > most:
            raise DamagedFileError(f"{path} cannot be read: expected at most {most} bytes, got more")
        return content.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DamagedFileError(f"{path} cannot be read: {error}") from error


def parsed(text: str, source: Path) -> Any:
    """Parse a YAML text into a plain value. No interpolation is resolved.

    Raises:
        DamagedFileError: The text is no YAML, has aliases (with which a few lines can expand to gigabytes), is nested
            too deeply, is too large, or has values other than texts and numbers.
    """
    try:
        depth = 0
        for number, event in enumerate(yaml.parse(text, Loader=_EVENTS)):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if isinstance(event, yaml.AliasEvent) or depth > _DEPTH or number > _NODES:
                raise DamagedFileError(
                    f"{source} cannot be read as a configuration: expected at most {_NODES} values in {_DEPTH} levels "
                    f"and no aliases (*name), got more in line {event.start_mark.line + 1}"
                )
        value = yaml.load(text, Loader=_VALUES)  # noqa: S506  OmegaConf's subclass of the safe one
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: a number of thousands of digits
        reason = " ".join(str(error).split())
        raise DamagedFileError(f"{source} cannot be read as a configuration: {reason}") from error
    others = [leaf for _, leaf in _leaves(value, ()) if not isinstance(leaf, str | int | float | None)]
    if others:
        raise DamagedFileError(
            f"{source} cannot be read as a configuration: expected texts and numbers, got a {type(others[0]).__name__}"
        )
    return value


def mapping(text: str, source: Path) -> dict[str, Any]:
    """Parse the text of a run's config.yaml into a mapping; errors say how to restore the file.

    Raises:
        DamagedFileError: As :func:`parsed`, or the value is no mapping with texts as keys.
    """
    way_out = "Restore it from a copy, or run the command that started the run again with rerun=true."
    try:
        values = parsed(text, source)
    except DamagedFileError as error:
        raise DamagedFileError(f"{error}. {way_out}") from error
    if isinstance(values, str):  # a text alone is a key without a value
        values = {values: None}
    if not isinstance(values, dict) or not all(isinstance(key, str) for node in _mappings(values) for key in node):
        raise DamagedFileError(f"{source} cannot be read as a configuration: expected names with values. {way_out}")
    return values


def literal(node: Any) -> Any:
    """A plain value with escaped texts, so that OmegaConf takes none of them for an interpolation."""
    if isinstance(node, dict):
        return {key: literal(value) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return [literal(value) for value in node]
    return re.sub(r"(\\*)\$\{", r"\1\1\\${", node) if isinstance(node, str) else node


def record(folder: RunFolder, needed: Sequence[str] = ()) -> DictConfig:
    """A run's configuration for showing it and for comparing with it, not for building anything.

    No resolver is run, except that of the environment for a run that this user started here.

    Args:
        folder: The run's.
        needed: Keys that must exist.

    Raises:
        ConfigError: It cannot be read, a value has an unexpected type, or a needed key is missing.
    """
    text = read_text(folder.config)
    values = _without_interpolations(mapping(text, folder.config), folder.config, is_own(folder, text))
    _refuse(_problems(values, needed), folder)
    return OmegaConf.create(values)


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
    text = read_text(folder.config)
    mine = is_own(folder, text)
    values = _without_interpolations(mapping(text, folder.config), folder.config, trust or mine)
    given = OmegaConf.create() if changes is None else changes
    own = own_targets(OmegaConf.to_container(given, resolve=False))
    not_followed = {}
    if trust or (mine and resumes):
        own |= own_targets(values)
    elif not resumes and isinstance(values.get("evaluation"), dict) and values["evaluation"].get("extra_metrics"):
        # Most commands score nothing, and do not need them.
        not_followed["evaluation.extra_metrics"] = values["evaluation"].pop("extra_metrics")
    _refuse(_of_other_versions(values), folder)
    check_targets(values, "", own)
    _refuse(_problems(values, schema.NEEDED), folder)
    if not (trust or mine):
        not_followed |= _confine_to_folder(values, folder, resumes)
    else:
        values = OmegaConf.to_container(reached(folder, OmegaConf.create(values)))  # type: ignore[assignment]
    try:
        merged: DictConfig = OmegaConf.merge(OmegaConf.create(values), given)  # type: ignore[assignment]
        resolved: Any = OmegaConf.to_container(merged, resolve=True)
    except OmegaConfBaseException as error:
        raise ConfigError(f"{folder.config} with {OmegaConf.to_yaml(given).strip()!r}: {error}") from error
    check_targets(resolved, "", own)
    _refuse(_problems(resolved, schema.NEEDED), folder)
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
    text = read_text(folder.config)
    if digest_of(text) != trusted_digest:
        raise ConfigError(f"{folder.config} was changed since the run was started. Start it again.")
    cfg = OmegaConf.create(mapping(text, folder.config))
    try:
        return Configuration(cfg, own_targets(OmegaConf.to_container(cfg, resolve=True)))
    except OmegaConfBaseException as error:
        raise ConfigError(f"{folder.config} needs a variable of the environment that is not set: {error}") from error


def _refuse(problems: Sequence[str], folder: RunFolder) -> None:
    """Raise a ConfigError with the problems of a configuration, if there are any."""
    if problems:
        raise ConfigError(
            f"{folder.config} was not written by this version of saltext: {'; '.join(problems[:10])}. Train the model "
            "again, or use the version in its provenance.json."
        )


def _of_other_versions(values: Any) -> list[str]:
    """Problems with names of saltext's classes and functions that this version does not have."""
    return [
        f"{'.'.join(location)}: there is no {_printable(name)}"
        for location, name in _targets(values, ())
        if name.startswith("saltext.") and signature(name) is None
    ]


def _without_interpolations(values: dict[str, Any], source: Path, trusted: bool) -> dict[str, Any]:
    """Values of a config.yaml with their interpolations resolved.

    A run's configuration is resolved when it is written, except for the environment: a trusted one gets the variables,
    another one gets None in their place. A plain reference to a text or number (``${key}``) is resolved in either.

    Raises:
        ConfigError: An untrusted configuration has any other interpolation.
    """
    unresolved: list[str] = []

    def resolve(node: Any, path: Any, location: str) -> Any:
        if isinstance(node, dict | list):
            items = node.items() if isinstance(node, dict) else enumerate(node)
            resolved = {key: resolve(value, (path, key), f"{location}.{key}".strip(".")) for key, value in items}
            return resolved if isinstance(node, dict) else list(resolved.values())
        if not isinstance(node, str) or ("${" not in node and node != "???"):
            return node
        if trusted:
            return _value_at(path)
        if _REFERENCE.fullmatch(node):
            referred: Any = values
            for name in node[2:-1].split("."):
                referred = referred.get(name) if isinstance(referred, dict) else None
            if isinstance(referred, int | float) or (isinstance(referred, str) and "${" not in referred):
                return referred
        if "oc.env" not in node:
            unresolved.append(f"{location}={node!r:.80}")
        return None

    resolved_values: dict[str, Any] = resolve(values, cache(partial(OmegaConf.create, values)), "")
    if unresolved:
        raise ConfigError(
            f"{source} cannot be read as the configuration of a run: expected resolved values, got "
            f"{', '.join(unresolved[:5])}"
        )
    return resolved_values


def _value_at(path: Any) -> Any:
    """The resolved value at a path in a configuration, given as (((function that makes it, key), key), key)."""
    try:
        if not isinstance(path, tuple):
            return path()
        return _value_at(path[0])[path[1]]
    except (OmegaConfBaseException, TypeError):  # the variable is no longer set
        return None


def _confine_to_folder(values: dict[str, Any], folder: RunFolder, resumes: bool) -> dict[str, Any]:
    """Replace values of an untrusted run that lead out of its folder.

    Args:
        values: Of its configuration; changed.
        folder: The run's.
        resumes: Whether the run will be resumed.

    Returns:
        Key -> value that was replaced.

    Raises:
        ConfigError: A value cannot be replaced without changing the results.
    """
    changed: dict[str, Any] = {}
    problems: list[str] = []

    def replace(key: str, value: Any) -> None:
        *groups, name = key.split(".")
        node = values
        for group in groups:
            node = node.setdefault(group, {})
        if name in node and node[name] != value:
            changed[key] = node[name]
        node[name] = value

    replace("output_dir", _OUTPUTS)
    replace("checkpoint", None)
    replace("data.cache_dir", f"{_OUTPUTS}/cache")
    replace("data.root", _default_root(values["data"]))
    if values["data"].get("num_workers", 0) > 1:
        replace("data.num_workers", 1)
    if values["data"].get("description") is not None:
        replace("data.description", Path(values["data"]["description"]).name)
    if resumes and folder.split.is_file():
        split = {"_target_": schema.SPLIT_FILE, "path": literal(str(folder.split))}
        values["data"] |= {"split": split, "test_on": "test"}
    elif resumes and "path" in (values["data"].get("split") or {}):
        problems.append(f"data.split.path={values['data']['split']['path']!r:.80} leads to a file")
    if values["data"].get("images", 0) > _MOST_IMAGES:
        problems.append(f"data.images: expected at most {_MOST_IMAGES}, got {values['data']['images']}")
    for key, value in {"devices": 1, "num_nodes": 1, "strategy": "auto"}.items():
        replace(f"trainer.{key}", value)
    replace("logger", {"csv": {"_target_": "saltext.training.epoch_log.EpochLog", "name": "metrics"}})
    for node in _mappings(values["model"]):
        for argument, without in _FIRST_WEIGHTS.get(node.get("_target_", ""), {}).items():
            if node.get(argument, without) != without:
                changed[f"{node['_target_'].rpartition('.')[2]}.{argument}"] = node[argument]
                node[argument] = without
    problems += [
        f"{'.'.join(location)}={value!r:.80} leads to a location or a file"
        for group in _PLACED
        for location, value in _leaves(values.get(group), (group,))
        if isinstance(value, str) and _leads_away(location, value)
    ]
    problems += [
        f"{'.'.join(location)} is not a valid name here"
        for group in _PLACED
        for location in _key_locations(values.get(group), (group,))
        if _LEADS_TO_A_FILE.search(location[-1]) or location[-1].startswith("__")
    ]
    problems += [
        f"trainer.{key}: expected a number, got {value!r:.80}"
        for key, value in values["trainer"].items()
        if isinstance(value, dict | list) or (isinstance(value, str) and key not in _TRAINER_TEXTS)
    ]
    trains = [key for key in changed if key == "checkpoint" or key.startswith("trainer.") or key[0].isupper()]
    if resumes:
        problems += [f"{key}={changed[key]!r:.80} affects how the run continues" for key in trains]
    if problems:
        raise ConfigError(
            f"{folder.config} was not started here and is not trusted: {'; '.join(problems[:10])}. If you trust "
            "whoever wrote it, add --trust (in Python: trust=True)."
        )
    return changed


def _default_root(data: Mapping[str, Any]) -> str | None:
    """The default folder of a reader's data; for synthetic data it contains their number and seed."""
    target = data["_target_"]
    default: Any = OmegaConf.create({"output_dir": _OUTPUTS, "root": _packaged().roots.get(target)}).root
    if target != schema.SYNTHETIC:
        return default  # type: ignore[no-any-return]
    if data.get("root") in _packaged().generated:
        return data["root"]  # type: ignore[no-any-return]
    return f"{default}-{data.get('images', 240)}-{data.get('data_seed', 0)}"


def _mappings(node: Any) -> Iterator[dict[Any, Any]]:
    """Every mapping in a plain value, the outermost first."""
    if isinstance(node, dict):
        yield node
        for value in node.values():
            yield from _mappings(value)
    elif isinstance(node, list):
        for value in node:
            yield from _mappings(value)


def _key_locations(node: Any, location: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """The location of every key in a plain value."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield (*location, key)
            yield from _key_locations(value, (*location, key))
    elif isinstance(node, list):
        for number, value in enumerate(node):
            yield from _key_locations(value, (*location, str(number)))


def _leads_away(location: Sequence[str], text: str) -> bool:
    """Whether a text could be a path or an address, or has a key that names files."""
    name = location[-1]
    if name == "_target_" or _CHANNEL.fullmatch(text):
        return False
    if name in _NAMES_OF_FILES or (len(location) > 1 and location[-2] in _NAMES_OF_FILES):
        return True
    return bool(_LEADS_TO_A_FILE.search(text)) and text not in _packaged().texts


# Types


def _problems(values: dict[str, Any], needed: Sequence[str]) -> list[str]:
    """Missing keys of a configuration, and its values of unexpected types."""
    missing = []
    for key in needed:
        node: Any = values
        for name in key.split("."):
            if not isinstance(node, dict) or name not in node:
                missing.append(key)
                break
            node = node[name]
    return [
        *([f"it lacks {', '.join(missing[:10])}"] if missing else []),
        *(f"{key}: {text}" for key, text in schema.unfit(values).items()),
    ]


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
    if not isinstance(node, str) or "oc.env" not in node or node in _packaged().texts:
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
        return bool(json.loads(read_text(folder.trust)) == _binding_facts(folder, text))
    except (OSError, SaltextError, ValueError, RecursionError):
        return False


def refuse_links(folder: RunFolder) -> None:
    """Check, before writing into a run's folder, that no link in it leads elsewhere.

    Raises:
        ConfigError: This user did not start the run here, and its folder has a link that leads out of it, or a file
            that is no regular one.
    """
    try:
        if is_own(folder, read_text(folder.config)):
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
