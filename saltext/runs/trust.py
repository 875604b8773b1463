"""Whose configuration may have what built, and where it may lead: a run's folder can come from anybody.

A configuration names classes and functions, and building it calls them. What the files in ``conf/`` name is built for
everybody, in the places they name it for. Anything else, a class of one's own, is built only where the one who runs the
command named it (the command line, ``--config-dir``) or trusts the folder: ``--trust``.

``train`` writes ``trust.json`` beside ``config.yaml``: facts that bind that very file to the user who started the run.
They include when the system created the file, which nobody can choose, so a folder that was copied, unpacked or cloned
has lost them. With them, ``resume=`` goes on with own classes, and the configuration's paths are followed. Without
them, nothing is written, read, fetched or started because a configuration says so.
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
from saltext.runs.plugins import that_has
from saltext.runs.signatures import signature
from saltext.system.run_folder import RunFolder

TRUST = "--trust"
"""Word of a command line by which a user trusts a run's folder."""

STARTED_WITH = "SALTEXT_STARTED_WITH"
"""Variable in which a start gives its processes the SHA-256 of the config.yaml they may trust."""

BUILT = ("data", "model", "loss", "optimizer", "scheduler", "training", "trainer", "callbacks", "logger")
"""Groups of a configuration of which something is built."""

_BYTES, _DEPTH, _NODES = 2**20, 50, 50_000  # of a config.yaml; one of ours has 4 kB, 7 levels and 200 nodes
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

# Weights that a network starts from; those of a run's checkpoint take their place.
_FIRST_WEIGHTS = {
    "saltext.models.image.timm_encoder.TimmEncoder": "checkpoint",
    "saltext.models.image.staged.DenseNet161": "weights",
    "saltext.models.image.staged.ResNet50": "weights",
    "saltext.models.clip_salgan.sal_gan_vgg.SalGANVGG": "weights",
}
_NAMES_OF_FILES = ("weights", "checkpoint", "vocabulary", "revision")
_OUTPUTS = "outputs"  # conf/config.yaml's output_dir
_GENERATED = "saltext.data.datamodule.synthetic"
_TRAINER_TEXTS = ("_target_", "accelerator", "precision", "strategy", "gradient_clip_algorithm")


@dataclass(frozen=True)
class Configuration:
    """A run's configuration, and how far it is trusted.

    Attributes:
        cfg: Checked; without interpolations but those of the environment in a trusted one.
        own: What may be built besides what ``conf/`` names.
        not_followed: Key -> value of what a configuration that is not trusted says and what another value was taken
            for: places, machines, loggers.
    """

    cfg: DictConfig
    own: frozenset[str] = frozenset()
    not_followed: Mapping[str, Any] = field(default_factory=dict)

    def remark(self) -> str:
        """A sentence on ``not_followed``; empty if everything was followed."""
        said = ", ".join(f"{key}={value!r:.80}" for key, value in self.not_followed.items())
        return (
            said
            and f"Not followed on the word of a folder alone: {said}. Give such values on the command line "
            "(data.root=DIR), or add --trust if the folder is yours."
        )


# What may be built


@dataclass(frozen=True)
class _Packaged:
    """What ``conf/`` holds.

    Attributes:
        targets: (group, whether it is the group's own target or one inside) -> names.
        texts: Every text.
        roots: Data module -> where its data lie by default.
        generated: Where data are generated, by default.
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
    return (location[0] if location else "", len(location) == 1)


def _targets(node: Any, location: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    """Every ``_target_`` in a plain value, and where it stands."""
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
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield from _leaves(value, (*location, str(key)))
    elif isinstance(node, list | tuple):
        for number, value in enumerate(node):
            yield from _leaves(value, (*location, str(number)))
    else:
        yield location, node


def own_targets(values: Any) -> frozenset[str]:
    """What a configuration names to be built that ``conf/`` names nowhere.

    Args:
        values: Plain, and resolved.
    """
    known = frozenset().union(*_packaged().targets.values())
    return frozenset(name for _, name in _targets(values, ())) - known


def check_targets(values: Any, location: str, own: Collection[str]) -> None:
    """Make sure that only what may be built would be built.

    Args:
        values: Plain, and resolved: what is going to be built, or a whole configuration.
        location: Its key in the configuration, such as ``callbacks.best``; empty for the whole.
        own: What may be built besides what ``conf/`` names.

    Raises:
        ConfigError: Anything else is named, or something in a location where ``conf/`` does not have it.
    """
    start = tuple(location.split(".")) if location else ()
    allowed = _packaged().targets
    strange = [
        (".".join(where), name)
        for where, name in _targets(values, start)
        if name not in own and name not in allowed.get(_position(where), ())
    ]
    if strange:
        listed = ", ".join(f"{_shown(name)} (at {_shown(where)})" for where, name in sorted(strange)[:10])
        installed = {str(plugin) for _, name in strange if (plugin := that_has(name))}
        said = (
            f" {', '.join(sorted(installed))} is installed here, which is no reason to trust it." if installed else ""
        )
        raise ConfigError(
            f"The configuration names {listed}, which no file in {config_folder()} names there.{said} Nothing of it "
            "was run, since a configuration can name any program. If you trust whoever wrote it, say so: --trust "
            "(in Python: trust=True)."
        )


def _shown(name: str) -> str:
    return name[:100] if name.isprintable() else repr(name[:100])


# Reading


def read_text(path: Path, most: int = _BYTES) -> str:
    """The text of a small regular file of a run's folder.

    Raises:
        DamagedFileError: It is not there, is no regular file (opening a pipe would wait for ever), is larger than
            ``most`` bytes, or is not UTF-8.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as stream:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise DamagedFileError(f"{path} cannot be read: a regular file was expected")
            content = stream.read(most + 1)
        if len(content) > most:
            raise DamagedFileError(f"{path} cannot be read: it is larger than {most} bytes, which none of its kind is")
        return content.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DamagedFileError(f"{path} cannot be read: {error}") from error


def parsed(text: str, source: Path) -> Any:
    """The plain value that a YAML text stands for. No interpolation is resolved.

    Raises:
        DamagedFileError: It is none, refers to parts of itself (aliases, which can make a few lines stand for
            gigabytes), or is nested too deeply or too large.
    """
    try:
        depth = 0
        for number, event in enumerate(yaml.parse(text, Loader=_EVENTS)):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if isinstance(event, yaml.AliasEvent) or depth > _DEPTH or number > _NODES:
                raise DamagedFileError(
                    f"{source} cannot be read as a configuration: at most {_NODES} values in {_DEPTH} levels and no "
                    f"aliases (*name) expected, line {event.start_mark.line + 1} has more"
                )
        value = yaml.load(text, Loader=_VALUES)  # noqa: S506  OmegaConf's subclass of the safe one
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: a number of thousands of digits
        said = " ".join(str(error).split())
        raise DamagedFileError(f"{source} cannot be read as a configuration: {said}") from error
    strange = [leaf for _, leaf in _leaves(value, ()) if not isinstance(leaf, str | int | float | None)]
    if strange:
        raise DamagedFileError(
            f"{source} cannot be read as a configuration: texts and numbers expected, got a {type(strange[0]).__name__}"
        )
    return value


def mapping(text: str, source: Path) -> dict[str, Any]:
    """The configuration that the text of a run's config.yaml stands for, with the way out where it is damaged.

    Raises:
        DamagedFileError: As :func:`parsed`, or the text stands for something else than names with values.
    """
    way_out = "Restore it from a copy, or run the command that started the run again with rerun=true."
    try:
        values = parsed(text, source)
    except DamagedFileError as error:
        raise DamagedFileError(f"{error}. {way_out}") from error
    if isinstance(values, str):  # of a text alone, a name without a value
        values = {values: None}
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in _keys(values)):
        raise DamagedFileError(f"{source} cannot be read as a configuration: names with values expected. {way_out}")
    return values


def _keys(node: Any) -> Iterator[Any]:
    if isinstance(node, dict):
        yield from node
        for value in node.values():
            yield from _keys(value)
    elif isinstance(node, list):
        for value in node:
            yield from _keys(value)


def literal(node: Any) -> Any:
    """A plain value whose texts stay as they are in a configuration, also where they look like interpolations."""
    if isinstance(node, dict):
        return {key: literal(value) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return [literal(value) for value in node]
    return re.sub(r"(\\*)\$\{", r"\1\1\\${", node) if isinstance(node, str) else node


def record(folder: RunFolder, needed: Sequence[str] = ()) -> DictConfig:
    """A run's configuration for showing it and for comparing with it, not for building anything.

    Runs no resolver, except that variables of the environment are told to a configuration that was started here.

    Args:
        folder: The run's.
        needed: Keys that have to be there.

    Raises:
        ConfigError: It cannot be read, a value has another type than expected, or a needed one is not there.
    """
    text = read_text(folder.config)
    values = _without_interpolations(mapping(text, folder.config), folder.config, is_own(folder, text))
    _refuse(_problems(values, needed), folder)
    return OmegaConf.create(values)


def read(
    folder: RunFolder, changes: DictConfig | None = None, *, trust: bool = False, resumes: bool = False
) -> Configuration:
    """A run's configuration for building what it names.

    Args:
        folder: The run's.
        changes: Of the one who runs the command, who may name anything.
        trust: Whether the folder is trusted: everything it names may be built, and its paths are followed.
        resumes: Whether the run is going to be continued. Its own classes may be built then if it was started here,
            and what changes its training cannot be replaced by other values.

    Raises:
        ConfigError: It cannot be read, lacks values or has some of other types, or names what may not be built.
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
        # Most commands score nothing, and do without.
        not_followed["evaluation.extra_metrics"] = values["evaluation"].pop("extra_metrics")
    _refuse(_of_other_versions(values), folder)
    check_targets(values, "", own)
    _refuse(_problems(values, schema.NEEDED), folder)
    if not (trust or mine):
        not_followed |= _confined(values, folder, resumes)
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


def started(folder: RunFolder, wanted: str | None) -> Configuration:
    """A run's configuration, where it runs: trusted as far as whoever started it trusted it.

    Args:
        folder: The run's.
        wanted: Digest of the config.yaml that is trusted; None if it is not.

    Raises:
        ConfigError: As :func:`read` does; or the file changed since it was started.
    """
    if wanted is None:
        return read(folder, resumes=True)
    text = read_text(folder.config)
    if digest_of(text) != wanted:
        raise ConfigError(f"{folder.config} was changed since the run was started. Start it again.")
    cfg = OmegaConf.create(mapping(text, folder.config))
    try:
        return Configuration(cfg, own_targets(OmegaConf.to_container(cfg, resolve=True)))
    except OmegaConfBaseException as error:
        raise ConfigError(f"{folder.config} asks the environment for what is not there: {error}") from error


def _refuse(problems: Sequence[str], folder: RunFolder) -> None:
    if problems:
        raise ConfigError(
            f"{folder.config} was not written by this version of saltext: {'; '.join(problems[:10])}. Train the model "
            "again, or use the version in its provenance.json."
        )


def _of_other_versions(values: Any) -> list[str]:
    """Classes and functions of the package that are named and that this version does not have, with their keys."""
    return [
        f"{'.'.join(location)}: there is no {_shown(name)}"
        for location, name in _targets(values, ())
        if name.startswith("saltext.") and signature(name) is None
    ]


def _without_interpolations(values: dict[str, Any], source: Path, trusted: bool) -> dict[str, Any]:
    """Values in which nothing is left to resolve: a run's configuration was resolved when it was written, but for the
    environment, of which it is told nothing (null) unless it is trusted."""
    strange: list[str] = []

    def told(node: Any, whole: Any, location: str) -> Any:
        if isinstance(node, dict | list):
            inner = node.items() if isinstance(node, dict) else enumerate(node)
            found = {key: told(value, (whole, key), f"{location}.{key}".strip(".")) for key, value in inner}
            return found if isinstance(node, dict) else list(found.values())
        if not isinstance(node, str) or ("${" not in node and node != "???"):
            return node
        if trusted:
            return _resolved(whole)
        if _REFERENCE.fullmatch(node) and (referred := _referred(values, node)) is not None:
            return referred
        if "oc.env" not in node:
            strange.append(f"{location}={node!r:.80}")
        return None

    found: dict[str, Any] = told(values, cache(partial(OmegaConf.create, values)), "")
    if strange:
        raise ConfigError(
            f"{source} cannot be read as the configuration of a run, which is written with all its values: "
            f"{', '.join(strange[:5])} would have to be resolved, and was not"
        )
    return found


def _referred(values: Any, text: str) -> str | int | float | None:
    """The text or number that ``${key}`` stands for; None for anything else, such as another reference."""
    node = values
    for name in text[2:-1].split("."):
        node = node.get(name) if isinstance(node, dict) else None
    fits = isinstance(node, int | float) or (isinstance(node, str) and "${" not in node)
    return node if fits else None


def _resolved(location: Any) -> Any:
    """The value at a location in a configuration, given as (((what makes it, key), key), key)."""
    try:
        if not isinstance(location, tuple):
            return location()
        return _resolved(location[0])[location[1]]
    except (OmegaConfBaseException, TypeError):  # the variable is not set any more
        return None


def _confined(values: dict[str, Any], folder: RunFolder, resumes: bool) -> dict[str, Any]:
    """Replace what leads out of the folder of a run that is not trusted; what was replaced, by key.

    Raises:
        ConfigError: What cannot be replaced without changing what is computed.
    """
    changed: dict[str, Any] = {}
    problems: list[str] = []

    def take(key: str, value: Any) -> None:
        *groups, name = key.split(".")
        node = values
        for group in groups:
            node = node.setdefault(group, {})
        if name in node and node[name] != value:
            changed[key] = node[name]
        node[name] = value

    take("output_dir", _OUTPUTS)
    take("checkpoint", None)
    take("data.cache_dir", f"{_OUTPUTS}/cache")
    take("data.root", _usual_root(values["data"]))
    if values["data"].get("num_workers", 0) > 1:
        take("data.num_workers", 1)
    if values["data"].get("description") is not None:
        take("data.description", Path(values["data"]["description"]).name)
    if resumes and folder.split.is_file():
        split = {"_target_": schema.SPLIT_FILE, "path": literal(str(folder.split))}
        values["data"] |= {"split": split, "test_on": "test"}
    elif resumes and "path" in (values["data"].get("split") or {}):
        problems.append(f"data.split.path={values['data']['split']['path']!r:.80} leads to a file")
    if values["data"].get("images", 0) > _MOST_IMAGES:
        problems.append(f"data.images: at most {_MOST_IMAGES} expected")
    for key, value in {"devices": 1, "num_nodes": 1, "strategy": "auto"}.items():
        take(f"trainer.{key}", value)
    take("logger", {"csv": {"_target_": "saltext.training.epoch_log.EpochLog", "name": "metrics"}})
    for node in _nodes(values["model"]):
        weights = _FIRST_WEIGHTS.get(node.get("_target_", ""), "")
        if node.get(weights) is not None:
            changed[f"{node['_target_'].rpartition('.')[2]}.{weights}"] = node[weights]
            node[weights] = None
    problems += [
        f"{'.'.join(location)}={value!r:.80} leads to a location or a file"
        for group in _PLACED
        for location, value in _leaves(values.get(group), (group,))
        if isinstance(value, str) and _leads_away(location, value)
    ]
    problems += [
        f"{'.'.join(location)} is no name that is expected here"
        for group in _PLACED
        for location in _named(values.get(group), (group,))
        if _LEADS_TO_A_FILE.search(location[-1]) or location[-1].startswith("__")
    ]
    problems += [
        f"trainer.{key}={value!r:.80} is no number, and not known"
        for key, value in values["trainer"].items()
        if isinstance(value, dict | list) or (isinstance(value, str) and key not in _TRAINER_TEXTS)
    ]
    trains = [key for key in changed if key == "checkpoint" or key.startswith("trainer.") or key[0].isupper()]
    if resumes:
        problems += [f"{key}={changed[key]!r:.80} decides how the run goes on" for key in trains]
    if problems:
        raise ConfigError(
            f"{folder.config} was not started here, and is not followed: {'; '.join(problems[:10])}. If you trust "
            "whoever wrote it, say so: --trust (in Python: trust=True)."
        )
    return changed


def _usual_root(data: Mapping[str, Any]) -> str | None:
    """Where data of a kind lie unless told otherwise; generated ones with what makes them different."""
    target = data["_target_"]
    known: Any = OmegaConf.create({"output_dir": _OUTPUTS, "root": _packaged().roots.get(target)}).root
    if target != _GENERATED:
        return known  # type: ignore[no-any-return]
    if data.get("root") in _packaged().generated:
        return data["root"]  # type: ignore[no-any-return]
    return f"{known}-{data.get('images', 240)}-{data.get('data_seed', 0)}"


def _nodes(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
        for value in node.values():
            yield from _nodes(value)
    elif isinstance(node, list):
        for value in node:
            yield from _nodes(value)


def _named(node: Any, location: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    if isinstance(node, dict):
        for key, value in node.items():
            yield (*location, key)
            yield from _named(value, (*location, key))
    elif isinstance(node, list):
        for number, value in enumerate(node):
            yield from _named(value, (*location, str(number)))


def _leads_away(location: Sequence[str], text: str) -> bool:
    name = location[-1]
    if name == "_target_" or _CHANNEL.fullmatch(text):
        return False
    if name in _NAMES_OF_FILES or (len(location) > 1 and location[-2] in _NAMES_OF_FILES):
        return True
    return bool(_LEADS_TO_A_FILE.search(text)) and text not in _packaged().texts


# Types


def _problems(values: dict[str, Any], needed: Sequence[str]) -> list[str]:
    """What a configuration lacks, and which of its values are of other types."""
    lacking = [key for key in needed if not _is_there(values, key)]
    return [
        *([f"it lacks {', '.join(lacking[:10])}"] if lacking else []),
        *(f"{key}: {text}" for key, text in schema.unfit(values).items()),
    ]


def _is_there(values: Any, key: str) -> bool:
    for name in key.split("."):
        if not isinstance(values, dict) or name not in values:
            return False
        values = values[name]
    return True


# Writing


def recorded(cfg: DictConfig) -> str:
    """A run's configuration as its config.yaml holds it: resolved, but for what the environment was asked for.

    What ``${oc.env:NAME}`` resolves to may be a password, so the record keeps the question, also in other values that
    hold it, and the run's own processes ask it again. Only the places of data sets that ``conf/`` asks the environment
    for are written down, for a run can be repeated only if it is known what it read.

    Args:
        cfg: As composed; Hydra's own part is left out.
    """
    own: Any = OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "hydra"])
    asking = OmegaConf.create(_asking(OmegaConf.to_container(own, resolve=False)))
    return OmegaConf.to_yaml(OmegaConf.create(OmegaConf.to_container(asking, resolve=True)))


def _asking(node: Any) -> Any:
    """Raw values whose questions to the environment are texts, except those of ``conf/``."""
    if isinstance(node, dict):
        return {key: _asking(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_asking(value) for value in node]
    if not isinstance(node, str) or "oc.env" not in node or node in _packaged().texts:
        return node
    if _NESTED_ENV.search(node) or "oc.env" in _ENV.sub("", node):
        return literal(node)
    return _ENV.sub(lambda found: f"\\{found[0]}", node)


def write(cfg: DictConfig, folder: RunFolder) -> str:
    """Write a run's config.yaml, and beside it what binds it to this user and to this place.

    Args:
        cfg: As composed by whoever starts the run.
        folder: The run's, which is there.

    Returns:
        The text of its config.yaml.
    """
    text = recorded(cfg)
    storage.write_text(folder.config, text, durable=True)
    storage.write_json(folder.trust, _facts(folder, text), durable=True)
    folder.trust.chmod(0o600)
    return text


def digest_of(text: str) -> str:
    """The SHA-256 of a config.yaml's text."""
    return hashlib.sha256(text.encode()).hexdigest()


def _facts(folder: RunFolder, text: str) -> dict[str, Any]:
    """What nobody can have made up for another file: its text, its place on the disk, and when it came there."""
    found = folder.config.lstat()
    return {"sha256": digest_of(text), "inode": found.st_ino, "ctime_ns": found.st_ctime_ns}


def is_own(folder: RunFolder, text: str) -> bool:
    """Whether a run was started by this user in this very folder, and its configuration is still that one.

    Args:
        folder: The run's.
        text: Of its config.yaml, as read.
    """
    try:
        states = [path.lstat() for path in (folder.config, folder.trust)]
        mine = all(stat.S_ISREG(found.st_mode) and found.st_uid == os.getuid() for found in states)
        if not mine or states[1].st_mode & 0o077:
            return False
        return bool(json.loads(read_text(folder.trust)) == _facts(folder, text))
    except (OSError, SaltextError, ValueError, RecursionError):
        return False


def refuse_links(folder: RunFolder) -> None:
    """Before something is written into a folder: make sure that it is not written elsewhere.

    Raises:
        ConfigError: The folder was not started here, and something in it leads out of it or is no plain file.
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
                    f"{path} is a link that leads out of {folder.root}, or no plain file. Nothing is written into such "
                    "a folder that was not started here. Remove it, or copy what it leads to."
                )
