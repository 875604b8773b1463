"""Signatures of the classes and functions that a configuration names, without importing them.

Those of saltext are read from its source. Those of Lightning, torch and W&B are in ``signatures.json``, which ``make
signatures`` writes and a test compares with the installed packages. Types are in a form that Pydantic checks;
:data:`Built` stands for a value that only a node with ``_target_`` can give.
"""

import ast
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, Union

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

_ROOT = Path(__file__).resolve().parents[2]
_TABLE = Path(__file__).with_suffix(".json")
_Definition = ast.ClassDef | ast.FunctionDef | ast.Assign | ast.AnnAssign


def is_built(value: dict[str, Any]) -> dict[str, Any]:
    """Check that a node names a class.

    Raises:
        PydanticCustomError: The node has no ``_target_``.
    """
    if "_target_" not in value:
        raise PydanticCustomError("built", "Input should be a node with _target_")
    return value


Built = Annotated[dict[str, Any], AfterValidator(is_built)]
"""An object of a class: a node that names it as ``_target_``."""

_PLAIN: Mapping[str, Any] = MappingProxyType(
    {"int": int, "float": float, "str": str, "bool": bool, "Path": str, "Any": Any, "dict": dict, "list": list}
)


@dataclass(frozen=True)
class Signature:
    """Keyword arguments of a class or function.

    Attributes:
        arguments: Name -> type.
        open: Whether it takes any other arguments.
    """

    arguments: Mapping[str, Any]
    open: bool = False


@cache
def _table() -> dict[str, dict[str, str]]:
    table: dict[str, dict[str, str]] = json.loads(_TABLE.read_text(encoding="utf-8"))
    return table


@cache
def _syntax_tree(module: str) -> ast.Module | None:
    path = _ROOT.joinpath(*module.split("."))
    file = next((p for p in (path.with_suffix(".py"), path / "__init__.py") if p.is_file()), None)
    return None if file is None else ast.parse(file.read_text(encoding="utf-8"))


def third_party(target: str) -> list[str]:
    """Names in ``signatures.json`` from the module of a dotted name; empty for a module that is not there."""
    module = target.rpartition(".")[0]
    return [name for name in _table() if name.rpartition(".")[0] == module]


def siblings(target: str) -> list[str]:
    """Dotted names of the classes and functions in the module of saltext that a dotted name belongs to."""
    module = target.rpartition(".")[0]
    tree = _syntax_tree(module) if module.split(".")[0] == "saltext" else None
    nodes = [node for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef)] if tree else []
    return [f"{module}.{node.name}" for node in nodes if not node.name.startswith("_")]


@cache
def signature(target: str) -> Signature | None:
    """The signature of a class or function, by its dotted name.

    Returns:
        None for a name that is neither of saltext nor in the table: an own class, or a misspelling.
    """
    if target in _table():
        arguments = dict(_table()[target])
        is_open = bool(arguments.pop("**", ""))
        return Signature(
            {name: _type(ast.parse(text, mode="eval").body, "") for name, text in arguments.items()}, is_open
        )
    definition = _definition(target)
    if definition is None:
        return None
    module, node = definition
    if isinstance(node, ast.FunctionDef):
        return _function_signature(node, module, rest=node.returns)
    if not isinstance(node, ast.ClassDef):
        return None
    base = node.bases[-1] if node.bases else None  # mixins precede it
    for statement in node.body:
        if isinstance(statement, ast.FunctionDef) and statement.name == "__init__":
            return _function_signature(statement, module, rest=base)
    fields = _field_types(node, module)
    if fields or base is None:
        return Signature(fields)
    return signature(_dotted_name(base, module)) or Signature({}, open=True)


def _definition(target: str) -> tuple[str, _Definition] | None:
    """Module and syntax tree of a name of saltext, following imports; None for another package's."""
    module, _, name = target.rpartition(".")
    tree = _syntax_tree(module) if module.split(".")[0] == "saltext" else None
    for node in ast.walk(tree) if tree else ():
        match node:
            case ast.ClassDef(name=own) | ast.FunctionDef(name=own) if own == name:
                return module, node
            case ast.Assign(targets=[ast.Name(id=own)]) | ast.AnnAssign(target=ast.Name(id=own)) if own == name:
                return module, node
            case ast.ImportFrom(module=str(origin), names=names) if name in {
                alias.asname or alias.name for alias in names
            }:
                original = next(alias.name for alias in names if (alias.asname or alias.name) == name)
                return _definition(f"{origin}.{original}")
    return None


def _dotted_name(node: ast.expr | None, module: str) -> str:
    """The full dotted name of a class that a module refers to; empty where the expression is no plain name."""
    if not isinstance(node, ast.Name):
        return ""
    for statement in ast.walk(_syntax_tree(module) or ast.Module([], [])):
        if isinstance(statement, ast.ImportFrom) and node.id in {alias.name for alias in statement.names}:
            return f"{statement.module}.{node.id}"
    return f"{module}.{node.id}"


def _function_signature(node: ast.FunctionDef, module: str, rest: ast.expr | None) -> Signature:
    """A function's signature; its ``**`` takes the arguments of the class that ``rest`` names."""
    arguments = [*node.args.args, *node.args.kwonlyargs]
    types = {a.arg: Any if a.annotation is None else _type(a.annotation, module) for a in arguments if a.arg != "self"}
    keywords = node.args.kwarg
    if keywords is None:
        return Signature(types)
    match keywords.annotation:
        case ast.Subscript(value=ast.Name(id="Unpack"), slice=typed_dict):
            definition = _definition(_dotted_name(typed_dict, module))
            more = Signature({}) if definition is None else Signature(_field_types(definition[1], definition[0]))
        case _:
            more = signature(_dotted_name(rest, module)) or Signature({}, open=True)
    return Signature({**more.arguments, **types}, more.open)


def _field_types(node: _Definition, module: str) -> dict[str, Any]:
    """Types of the annotated fields of a class, such as a dataclass or a ``TypedDict``."""
    types = {}
    for part in node.body if isinstance(node, ast.ClassDef) else ():
        if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name) and "ClassVar" not in ast.dump(part):
            types[part.target.id] = _type(part.annotation, module)
    return types


def _type(node: ast.expr, module: str) -> Any:
    """The type that Pydantic checks for an annotation."""
    match node:
        case ast.Constant(value=None):
            return None
        case ast.Constant(value=str(text)):
            return _type(ast.parse(text, mode="eval").body, module)
        case ast.Name(id=name) if name in _PLAIN:
            return _PLAIN[name]
        case ast.Name():
            return _type_of_name(_dotted_name(node, module))
        case ast.BinOp(left=left, right=right):
            return Union[_type(left, module), _type(right, module)]  # noqa: UP007 - of values
        case ast.Subscript(value=ast.Name(id="Literal"), slice=inner):
            values = ast.literal_eval(inner)
            return Literal[values]
        case ast.Subscript(value=ast.Name(id="Sequence" | "list"), slice=inner):
            return list[_type(inner, module)]  # type: ignore[misc]
        case ast.Subscript(value=ast.Name(id="tuple"), slice=ast.Tuple(elts=parts)):
            if isinstance(parts[-1], ast.Constant) and parts[-1].value is Ellipsis:
                return list[_type(parts[0], module)]  # type: ignore[misc]
            return tuple[tuple(_type(part, module) for part in parts)]  # type: ignore[misc]
        case ast.Subscript(value=ast.Name(id="Mapping" | "dict"), slice=ast.Tuple(elts=[_, values])):
            return dict[str, _type(values, module)]  # type: ignore[misc]
    return Built


def _type_of_name(target: str) -> Any:
    """The type that a name of saltext stands for: the value of an alias, a mapping for a ``TypedDict``."""
    match _definition(target):
        case (module, ast.Assign(value=value)) if value is not None:
            return _type(value, module)
        case (_, ast.ClassDef(bases=[ast.Name(id="TypedDict")])):
            return dict[str, Any]
    return Built


def constant(target: str) -> ast.expr | None:
    """The syntax tree of the value of a constant of saltext; None if there is no constant of that name."""
    definition = _definition(target)
    return definition[1].value if definition and isinstance(definition[1], ast.Assign | ast.AnnAssign) else None


@cache
def metrics() -> Mapping[str, bool]:
    """Names of the metrics in ``saltext.metrics.METRICS``, and whether higher is better."""
    table = constant("saltext.metrics.scores.METRICS")
    directions = {
        str(key.value): bool(call.args[1].value)
        for node in ast.walk(table or ast.Tuple([]))
        if isinstance(node, ast.Dict)
        for key, call in zip(node.keys, node.values, strict=True)
        if isinstance(key, ast.Constant) and isinstance(call, ast.Call) and isinstance(call.args[1], ast.Constant)
    }
    return MappingProxyType(directions)


@cache
def names(target: str) -> tuple[str, ...]:
    """The keys of a constant of saltext that is a mapping, else the first argument of each call in its value."""
    source = constant(target)
    for node in ast.walk(source or ast.Tuple([])):
        if isinstance(node, ast.Dict):
            return tuple(str(key.value) for key in node.keys if isinstance(key, ast.Constant))
    calls = [node for node in ast.walk(source or ast.Tuple([])) if isinstance(node, ast.Call) and node.args]
    firsts = [call.args[0] for call in calls]
    return tuple(first.value for first in firsts if isinstance(first, ast.Constant) and isinstance(first.value, str))


@cache
def baselines() -> Mapping[str, str]:
    """Names of the baselines in ``saltext.baselines.BASELINES``, and their titles."""
    source = constant("saltext.baselines.BASELINES")
    classes = [node for part in ast.walk(source or ast.Tuple([])) if isinstance(part, ast.Tuple) for node in part.elts]
    titles = {}
    for node in classes:
        module, definition = _definition(_dotted_name(node, "saltext.baselines")) or ("", None)
        texts: dict[str, str] = {}
        for statement in definition.body if isinstance(definition, ast.ClassDef) else ():
            if isinstance(statement, ast.Assign):
                value: ast.expr | None = statement.value
                if isinstance(value, ast.Name):
                    value = constant(f"{module}.{value.id}")
                if isinstance(value, ast.Constant):
                    texts[ast.unparse(statement.targets[0])] = str(value.value)
        titles[texts["name"]] = texts["title"]
    return MappingProxyType(titles)
