"""Reading of YAML files: the package's own, and untrusted ones, with limits on size and depth; plain values only."""

from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]
from omegaconf import OmegaConf
from omegaconf._utils import get_yaml_loader

from saltext.errors import InvalidFileError
from saltext.images import check_file, reason

MAX_BYTES = 2**17
MAX_NODES = 20_000
"""Maximum number of keys and values; those behind an alias are counted each time it is used."""
MAX_DEPTH = 40

_KIND = "files that cannot be read as YAML"
_OMEGACONF: Any = get_yaml_loader()

LOADER: Any = type("_Loader", (yaml.CSafeLoader, _OMEGACONF), {}) if hasattr(yaml, "CSafeLoader") else _OMEGACONF
"""OmegaConf's loader, a safe one that reads numbers its way, behind libyaml's parser: ten times as fast."""


def read_packaged(path: Path) -> Any:
    """The values in one of the package's own YAML files, interpolations not resolved."""
    return yaml.load(path.read_text(encoding="utf-8"), Loader=LOADER)  # noqa: S506  a subclass of the safe one


def read_yaml(path: Path) -> Any:
    """The values in a YAML file, interpolations not resolved: an OmegaConf container, or None of an empty file.

    Raises:
        InvalidFileError: No file, larger or deeper than the bounds above, or no YAML.
    """
    check_file(path)
    if path.stat().st_size > MAX_BYTES:
        raise InvalidFileError(_KIND, f"it has more than {MAX_BYTES // 2**10} KiB; put long lists into tables")
    try:
        _check_extent(path.read_text(encoding="utf-8-sig"))
        return OmegaConf.load(path)
    except InvalidFileError:
        raise
    except yaml.MarkedYAMLError as error:
        where = f" (line {error.problem_mark.line + 1})" if error.problem_mark else ""
        raise InvalidFileError(_KIND, f"{error.problem or reason(error)}{where}".replace("\n", " ")) from error
    except Exception as error:  # of the parser, and of Python's numbers and dates
        raise InvalidFileError(_KIND, reason(error)) from error


def _check_extent(text: str) -> None:
    """Raise an InvalidFileError for too many values, aliases expanded, before any of them is built."""
    extents: dict[str, int] = {}  # anchor -> number of nodes below it
    open_nodes: list[tuple[str | None, int]] = []  # their anchors, and the number of nodes before them
    count = 0
    for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
        if isinstance(event, yaml.AliasEvent):
            count += extents.get(event.anchor, MAX_NODES)  # inside itself it has no end
        elif isinstance(event, yaml.ScalarEvent):
            count += 1
            if event.anchor is not None:
                extents[event.anchor] = 1
        elif isinstance(event, yaml.CollectionStartEvent):
            extents.pop(event.anchor, None)
            open_nodes.append((event.anchor, count))
            count += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = open_nodes.pop()
            if anchor is not None:
                extents[anchor] = count - before
        if count > MAX_NODES or len(open_nodes) > MAX_DEPTH:
            raise InvalidFileError(_KIND, f"it has more than {MAX_NODES} values, or more than {MAX_DEPTH} levels")
