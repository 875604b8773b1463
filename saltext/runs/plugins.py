"""Installed packages that add configuration files: the entry point group ``saltext.conf``.

A package says in its ``pyproject.toml`` ``[project.entry-points."saltext.conf"]`` and ``mine = "mine"``, and the files
of its folder ``mine/conf/`` can be chosen on the command line of ``saltext train`` like those of ``conf/``. Nothing of
it is imported to find them, and what they name is trusted no more than anybody's own classes
(:mod:`saltext.runs.trust`).
"""

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml  # type: ignore[import-untyped]

GROUP = "saltext.conf"
"""The group of entry points; the value of each is the name of a package with a folder ``conf/``."""

_HEADER = re.compile(r"(?:\s*#.*\n)*?\s*#\s*@package (\S*)")
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

PACKAGES: Mapping[str, str | None] = MappingProxyType(
    {
        **{"experiment": "_global_", "model/blend": "model", "metric": "evaluation.extra_metrics"},
        **dict.fromkeys(("data", "data/split", "loss", "optimizer", "scheduler", "stages", "callbacks", "logger")),
        **dict.fromkeys(("model", "model/encoder", "model/freeze", "model/backbones")),
    }
)
"""Where in a configuration the keys of a group's files stand, which their header ``# @package`` says; None for groups
whose files have no header, since their keys stand where the group's name says."""


@dataclass(frozen=True)
class Plugin:
    """An installed package that brings configuration files.

    Attributes:
        name: Of the distribution, as pip lists it.
        version: Of the distribution.
        package: Dotted name of the package that has the folder.
        folder: Its ``conf/``; None where there is no such package or folder.
    """

    name: str
    version: str
    package: str
    folder: Path | None

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


def plugins() -> Sequence[Plugin]:
    """The installed plugins on Python's current search path, sorted by name. None is imported."""
    return _plugins_on(tuple(sys.path))


@cache
def _plugins_on(path: tuple[str, ...]) -> tuple[Plugin, ...]:
    """The plugins on Python's search path, which is an argument for the cache alone."""
    found = set()
    for point in entry_points(group=GROUP):
        name, version = (point.dist.name, point.dist.version) if point.dist else (point.name, "")
        top, *inner = point.value.split(".")  # find_spec of an inner package would import the outer one
        try:
            spec = find_spec(top)
        except (ImportError, ValueError):
            spec = None
        folders = [Path(folder, *inner, "conf") for folder in (spec and spec.submodule_search_locations) or ()]
        conf = next((folder for folder in folders if folder.is_dir()), None)
        found.add(Plugin(name, version, point.value, conf))
    return tuple(sorted(found, key=lambda plugin: (plugin.name, plugin.package)))


def plugin_of(target: str) -> Plugin | None:
    """The plugin that a class or function belongs to, by its dotted name; None if it is of none."""
    return next((p for p in plugins() if target.split(".")[0] == p.package.split(".")[0]), None)


def problems(ours: Path, added: Path | None) -> Iterator[str]:
    """What is wrong with the configuration files of plugins and of ``--config-dir``, beside those of saltext.

    Of several files of one name, Hydra would silently read the first. Of all files, ours too, it says
    which header or key is missing.

    Args:
        ours: saltext's folder of configuration files.
        added: The folder of ``--config-dir``; None for none.

    Yields:
        A message for each file that cannot be chosen.
    """
    own = [file.relative_to(ours) for file in sorted(ours.rglob("*.yaml"))]
    presets, models = ([file for file in own if file.parent == Path(group)] for group in ("preset", "model"))
    # conf/config.yaml takes these wherever they are.
    parts = [Path("preset/model", preset.stem, model.name) for preset in presets for model in models]
    folders = {} if added is None else {"--config-dir": added}
    for plugin in plugins():
        if plugin.folder is None:
            yield (
                f"{plugin} has the entry point {GROUP} = {plugin.package}, but there is no package {plugin.package} "
                f"with a folder conf/. Install it again, or do without: pip uninstall {plugin.name}"
            )
            continue
        folders[f"{plugin}"] = plugin.folder
        for file in (plugin.folder / part for part in parts if part not in own):
            if file.is_file():
                yield f"{plugin}: {file} would change how saltext's model={file.stem} trains. Give it another name"
    for name, folder in folders.items():
        for file in own:
            if (folder / file).is_file():
                yield f"{name}: {folder / file} has the name of one of saltext's own files. Give it another name"
        yield from (f"{name}: {problem}" for problem in _file_problems(folder))
    yield from _file_problems(ours)
    seen: dict[Path, str] = {}
    for name, folder in folders.items() if len(folders) > 1 else ():
        for file in (path.relative_to(folder) for path in sorted(folder.rglob("*.yaml"))):
            if file in seen:
                yield f"{name}: {folder / file} has the name of a file of {seen[file]}. Give one of them another name"
            seen[file] = name


def _file_problems(folder: Path) -> Iterator[str]:
    """What the files of a folder lack: the header of their group, or a key without which nothing can be composed.

    A file without its header, or with one too many, would set keys that nobody reads.

    Yields:
        A message with the file, and the line where there is one.
    """
    for group, package in PACKAGES.items():
        for path in sorted((folder / group).glob("*.yaml")):
            text = path.read_text(encoding="utf-8")
            header = _HEADER.match(text)
            own = None if header is None else header[1]
            line = 1 if header is None else text.count("\n", 0, header.start(1)) + 1
            if package is not None and own != package:
                got = "none" if own is None else f"'# @package {own}'"
                yield f"{path}:{line}: expected '# @package {package}', as files of {group} have, got {got}"
            elif package is None and own not in (None, "_group_", group.replace("/", ".")):
                yield f"{path}:{line}: expected no header, as files of {group} have none, got '# @package {own}'"
            elif group == "model/blend":
                yield from _blend_problems(path, text)


def _blend_problems(path: Path, text: str) -> Iterator[str]:
    """What a file of ``model/blend`` lacks: the model's name, the blending module, or its place below ``blend``."""
    try:
        root = yaml.compose(text, Loader=_LOADER)
    except yaml.YAMLError:  # said, with its line, when the file is chosen
        return
    nodes = root.value if isinstance(root, yaml.MappingNode) else []
    lines = {str(key.value): key.start_mark.line + 1 for key, _ in nodes}
    if "defaults" in lines:  # it has the keys of the file it starts from
        return
    misplaced = [key for key in lines if key.startswith("_")]
    if misplaced:
        yield f"{path}:{lines[misplaced[0]]}: expected {', '.join(misplaced)} below 'blend:', got it beside 'name:'"
        return
    for key, example in (("name", f"name: ${{model.family}}-{path.stem}"), ("blend", "blend:")):
        if key not in lines:
            last = max(lines.values(), default=1)
            yield f"{path}:{last}: expected a line '{example}', got {', '.join(lines) or 'no keys'} alone"
