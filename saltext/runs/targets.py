"""Classes and functions that a configuration names, and which of them may be built.

Names in the files of ``conf/`` may be built by everybody, at the keys where those files have them. Any other name, an
own class, is built only where a user trusts whoever wrote it (:mod:`saltext.runs.trust`).
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from omegaconf import DictConfig

from saltext.errors import ConfigError
from saltext.runs.composition import config_folder
from saltext.runs.plugins import plugin_of
from saltext.runs.signatures import signature
from saltext.runs.untrusted_yaml import leaves, parsed

OUTPUTS = "outputs"
"""``output_dir`` in ``conf/config.yaml``."""


@dataclass(frozen=True)
class Packaged:
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
def packaged() -> Packaged:
    """Read the files of ``conf/``."""
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
        texts |= {value for _, value in leaves(content, ()) if isinstance(value, str)}
        if start == ("data",) and "_target_" in content and "root" in content:
            roots[content["_target_"]] = content["root"]
        if start == ("data",) and str(content.get("root")).startswith("${output_dir}/"):
            generated.add(content["root"].replace("${output_dir}", OUTPUTS))
    for position, names in targets.items():
        for name in [name for name in names if name.startswith("${")]:  # ${optimizer._target_}
            names.remove(name)
            targets[position] = names | targets[name.strip("${}").removesuffix("._target_"), True]
    return Packaged(
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


def own_targets(values: Any) -> frozenset[str]:
    """Names of a configuration's ``_target_`` that no file in ``conf/`` has.

    Args:
        values: Plain and resolved.
    """
    names = frozenset().union(*packaged().targets.values())
    return frozenset(name for _, name in _targets(values, ())) - names


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
    allowed = packaged().targets
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


def missing_targets(values: Any) -> list[str]:
    """A problem for each name of saltext's classes and functions that this version does not have."""
    return [
        f"{'.'.join(location)}: there is no {_printable(name)}"
        for location, name in _targets(values, ())
        if name.startswith("saltext.") and signature(name) is None
    ]


def parts(node: DictConfig) -> Iterator[tuple[str, DictConfig]]:
    """The parts of a configured model by their names, parts of parts included."""
    for name, part in node.items():
        if isinstance(part, DictConfig):
            yield str(name), part
            yield from parts(part)


def _printable(name: str) -> str:
    """A name from a configuration for a message: at most 100 characters, none of them a control character."""
    return name[:100] if name.isprintable() else repr(name[:100])
