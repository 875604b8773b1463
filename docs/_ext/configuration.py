"""The files in conf/ as Markdown: every choice with its opening comment, every key with its own."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

_PACKAGE = re.compile(r"# @package (\S+)")
_CODE = "  "  # how a comment's line begins that is a command


@dataclass(frozen=True)
class Key:
    """A key of a configuration file.

    Attributes:
        path: As on the command line, ``model.freeze.encoder``.
        value: As the file writes it.
        comment: What the file says of it; empty if nothing.
    """

    path: str
    value: str
    comment: str


@dataclass(frozen=True)
class Choice:
    """A configuration file.

    Attributes:
        name: As on the command line: ``model/freeze=half``; ``config.yaml`` for the root.
        opening: Lines of the comment it opens with.
        parts: Entries of its defaults list, as written.
        keys: In the file's order.
    """

    name: str
    opening: Sequence[str]
    parts: Sequence[str]
    keys: Sequence[Key]


def read_choice(conf: Path, file: Path) -> Choice:
    """Read a configuration file with its comments.

    Args:
        conf: The folder of all configuration files.
        file: One of them.
    """
    lines = file.read_text(encoding="utf-8").splitlines()
    group = file.parent.relative_to(conf)
    package = group.as_posix().replace("/", ".").strip(".")
    opening = []
    for line in lines:
        if not line.startswith("#"):
            break
        if found := _PACKAGE.match(line):
            package = found[1].removeprefix("_global_")
        else:
            opening.append(line.removeprefix("#").removeprefix(" "))
    root = yaml.compose("\n".join(lines))
    entries = root.value if isinstance(root, yaml.MappingNode) else []
    parts = [_part(node) for key, value in entries if key.value == "defaults" for node in value.value]
    keys = [found for key, node in entries if key.value != "defaults" for found in _keys(lines, package, key, node)]
    name = f"{group.as_posix()}={file.stem}" if group.parts else file.name
    return Choice(name, opening, [part for part in parts if part != "_self_"], keys)


def _part(node: yaml.Node) -> str:
    """An entry of a defaults list: a name, or a group and a name."""
    return ": ".join(word.value for word in (node.value[0] if isinstance(node, yaml.MappingNode) else [node]))


def _keys(lines: Sequence[str], package: str, key: yaml.Node, node: yaml.Node) -> Iterator[Key]:
    path = f"{package}.{key.value}" if package else key.value
    nested = isinstance(node, yaml.MappingNode) and not node.flow_style and node.value
    end = key.end_mark if nested else node.end_mark
    comment = _above(lines, key) or _beside(lines, end)
    if not nested:
        yield Key(path, _source(lines, node), comment)
        return
    if comment:
        yield Key(path, "", comment)
    for inner, value in node.value:
        yield from _keys(lines, path, inner, value)


def _beside(lines: Sequence[str], end: yaml.Mark) -> str:
    """A comment after a value, with the lines below that continue it in the same column."""
    column = lines[end.line].find("#", end.column)
    if column < 0:
        return ""
    last = end.line
    while last + 1 < len(lines) and _comment_column(lines[last + 1]) == column:
        last += 1
    return " ".join(line[column + 1 :].strip() for line in lines[end.line : last + 1])


def _comment_column(line: str) -> int | None:
    """Where the comment of a line begins that has nothing else."""
    return len(line) - len(line.lstrip()) if line.lstrip().startswith("#") else None


def _above(lines: Sequence[str], key: yaml.Node) -> str:
    """A comment on lines of its own right above a key, in its column, if the file does not begin with it."""
    first = key.start_mark.line
    while first and _comment_column(lines[first - 1]) == key.start_mark.column:
        first -= 1
    if first == 0:
        return ""
    return " ".join(line.strip().removeprefix("#").strip() for line in lines[first : key.start_mark.line])


def _source(lines: Sequence[str], node: yaml.Node) -> str:
    if isinstance(node, yaml.ScalarNode) and node.style in ("|", ">"):
        return "several lines"
    start, end = node.start_mark, node.end_mark
    if start.line == end.line:
        return lines[start.line][start.column : end.column]
    between = [lines[start.line][start.column :], *lines[start.line + 1 : end.line], lines[end.line][: end.column]]
    return " ".join(" ".join(between).split())


def choices(conf: Path) -> dict[str, list[Choice]]:
    """Every file of a folder of configurations by its group, the root's group being ``""``; both in order."""
    found: dict[str, list[Choice]] = {}
    for file in sorted(conf.rglob("*.yaml"), key=lambda path: (path.parent, path.stem)):
        group = file.parent.relative_to(conf).as_posix().replace(".", "")
        found.setdefault(group, []).append(read_choice(conf, file))
    return found


def markdown(conf: Path) -> str:
    """All of it, a section a group."""
    lines: list[str] = []
    for group, files in choices(conf).items():
        lines += [f"## `{group}`" if group else "## The root", ""]
        for choice in files:
            lines += _section(choice)
    return "\n".join(lines)


def _section(choice: Choice) -> list[str]:
    lines = [f"### `{choice.name}`", "", *_prose(choice.opening)]
    if choice.parts:
        lines += ["Starts from " + ", ".join(f"`{part}`" for part in choice.parts) + ".", ""]
    if choice.keys:
        rows = [f"| `{key.path}`{_code(key.value)} | {_cell(key.comment)} |" for key in choice.keys]
        lines += ["| key and value | what |", "|---|---|", *rows, ""]
    return lines


def _prose(opening: Sequence[str]) -> list[str]:
    """A comment as Markdown: what is indented is code."""
    lines: list[str] = []
    fenced = False
    for line in opening:
        if line.startswith(_CODE) != fenced:
            fenced = not fenced
            lines.append("```text" if fenced else "```")
        lines.append(line.strip() if fenced else line.replace("<", "&lt;"))
    return [*lines, *(["```"] if fenced else []), ""]


def _code(value: str) -> str:
    return f" = `{_cell(value)}`" if value else ""


def _cell(text: str) -> str:
    return text.replace("|", r"\|")
