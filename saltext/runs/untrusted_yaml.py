"""YAML files from anybody, read into plain values: small, without aliases, and no interpolation is resolved."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from saltext.data.yaml_files import LOADER
from saltext.errors import DamagedFileError

_DEPTH, _NODES = 50, 50_000  # limits of a config.yaml; a real one has 7 levels and 200 nodes
_EVENTS: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


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
        value = yaml.load(text, Loader=LOADER)  # noqa: S506  OmegaConf's subclass of the safe one
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: a number of thousands of digits
        reason = " ".join(str(error).split())
        raise DamagedFileError(f"{source} cannot be read as a configuration: {reason}") from error
    others = [leaf for _, leaf in leaves(value, ()) if not isinstance(leaf, str | int | float | None)]
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
    if not isinstance(values, dict) or not all(isinstance(key, str) for node in mappings(values) for key in node):
        raise DamagedFileError(f"{source} cannot be read as a configuration: expected names with values. {way_out}")
    return values


def literal(node: Any) -> Any:
    """A plain value with escaped texts, so that OmegaConf takes none of them for an interpolation."""
    if isinstance(node, dict):
        return {key: literal(value) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return [literal(value) for value in node]
    return re.sub(r"(\\*)\$\{", r"\1\1\\${", node) if isinstance(node, str) else node


def leaves(node: Any, location: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Location and value of everything in a plain value that is neither mapping nor list."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield from leaves(value, (*location, str(key)))
    elif isinstance(node, list | tuple):
        for number, value in enumerate(node):
            yield from leaves(value, (*location, str(number)))
    else:
        yield location, node


def mappings(node: Any) -> Iterator[dict[Any, Any]]:
    """Every mapping in a plain value, the outermost first."""
    if isinstance(node, dict):
        yield node
        for value in node.values():
            yield from mappings(value)
    elif isinstance(node, list):
        for value in node:
            yield from mappings(value)
