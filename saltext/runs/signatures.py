"""What the classes and functions that a configuration names take, known without importing them.

Ours are read from their source. Lightning's, torch's and W&B's stand in ``signatures.json``, which ``make signatures``
writes and a test compares with the installed ones. Types are those that Pydantic checks; a value that only ``_target_``
can make is :data:`Built`.
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
    """A node that names a class.

    Raises:
        PydanticCustomError: It names none.
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
        open: Whether it takes any others besides.
    """

    arguments: Mapping[str, Any]
    open: bool = False


@cache
def _table() -> dict[str, dict[str, str]]:
    table: dict[str, dict[str, str]] = json.loads(_TABLE.read_text(encoding="utf-8"))
    return table


@cache
def _tree(module: str) -> ast.Module | None:
    path = _ROOT.joinpath(*module.split("."))
    found = next((p for p in (path.with_suffix(".py"), path / "__init__.py") if p.is_file()), None)
    return None if found is None else ast.parse(found.read_text(encoding="utf-8"))


def third_party(target: str) -> list[str]:
    """The known names of the module of a dotted name that is not ours; empty for a module that is not in the table."""
    module = target.rpartition(".")[0]
    return [name for name in _table() if name.rpartition(".")[0] == module]


@cache
def signature(target: str) -> Signature | None:
    """What a dotted name takes.

    Returns:
        None for one that is neither ours nor in the table: somebody's own, or a misspelling.
    """
    if target in _table():
        arguments = dict(_table()[target])
        is_open = bool(arguments.pop("**", ""))
        return Signature(
            {name: _type(ast.parse(text, mode="eval").body, "") for name, text in arguments.items()}, is_open
        )
    found = _definition(target)
    if found is None:
        return None
    module, node = found
    if isinstance(node, ast.FunctionDef):
        return _of_function(node, module, rest=node.returns)
    return _of_class(node, module) if isinstance(node, ast.ClassDef) else None


def _definition(target: str) -> tuple[str, _Definition] | None:
    """Module and source of one of our own names, wherever it was imported from; None for another package's."""
    module, _, name = target.rpartition(".")
    tree = _tree(module) if module.split(".")[0] == "saltext" else None
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


def _dotted(node: ast.expr | None, module: str) -> str:
    """The full name of a class that is named in a module; empty where it is no plain name."""
    if not isinstance(node, ast.Name):
        return ""
    for statement in ast.walk(_tree(module) or ast.Module([], [])):
        if isinstance(statement, ast.ImportFrom) and node.id in {alias.name for alias in statement.names}:
            return f"{statement.module}.{node.id}"
    return f"{module}.{node.id}"


def _of_function(node: ast.FunctionDef, module: str, rest: ast.expr | None) -> Signature:
    """A function's signature; what its ``**`` takes is what the class takes that ``rest`` names."""
    arguments = [*node.args.args, *node.args.kwonlyargs]
    types = {a.arg: Any if a.annotation is None else _type(a.annotation, module) for a in arguments if a.arg != "self"}
    further = node.args.kwarg
    if further is None:
        return Signature(types)
    match further.annotation:
        case ast.Subscript(value=ast.Name(id="Unpack"), slice=named):
            known = _definition(_dotted(named, module))
            taken = Signature({}) if known is None else Signature(_fields(known[1], known[0]))
        case _:
            taken = signature(_dotted(rest, module)) or Signature({}, open=True)
    return Signature({**taken.arguments, **types}, taken.open)


def _of_class(node: ast.ClassDef, module: str) -> Signature:
    base = node.bases[0] if node.bases else None
    for statement in node.body:
        if isinstance(statement, ast.FunctionDef) and statement.name == "__init__":
            return _of_function(statement, module, rest=base)
    fields = _fields(node, module)
    if fields or base is None:
        return Signature(fields)
    return signature(_dotted(base, module)) or Signature({}, open=True)


def _fields(node: _Definition, module: str) -> dict[str, Any]:
    body = node.body if isinstance(node, ast.ClassDef) else []
    annotated = [part for part in body if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name)]
    named = {part.target.id: part for part in annotated if isinstance(part.target, ast.Name)}
    return {name: _type(part.annotation, module) for name, part in named.items() if "ClassVar" not in ast.dump(part)}


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
            return _named(_dotted(node, module))
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


def _named(target: str) -> Any:
    """The type of one of our own names: an alias stands for its value, a ``TypedDict`` is a mapping."""
    found = _definition(target)
    match found:
        case (module, ast.Assign(value=value)) if value is not None:
            return _type(value, module)
        case (_, ast.ClassDef(bases=[ast.Name(id="TypedDict")])):
            return dict[str, Any]
    return Built


def constant(target: str) -> ast.expr | None:
    """The source of the value of one of our own constants; None where there is none of that name."""
    found = _definition(target)
    return found[1].value if found and isinstance(found[1], ast.Assign | ast.AnnAssign) else None


@cache
def metrics() -> Mapping[str, bool]:
    """Names of the metrics, and whether more is better, as ``saltext.metrics.METRICS`` has them."""
    table = constant("saltext.metrics.scores.METRICS")
    directions = {
        str(key.value): bool(call.args[1].value)
        for node in ast.walk(table or ast.Tuple([]))
        if isinstance(node, ast.Dict)
        for key, call in zip(node.keys, node.values, strict=True)
        if isinstance(key, ast.Constant) and isinstance(call, ast.Call) and isinstance(call.args[1], ast.Constant)
    }
    return MappingProxyType(directions)


def names(target: str) -> tuple[str, ...]:
    """The keys of one of our own constants, a table by names, or the first argument of each call in it."""
    source = constant(target)
    for node in ast.walk(source or ast.Tuple([])):
        if isinstance(node, ast.Dict):
            return tuple(str(key.value) for key in node.keys if isinstance(key, ast.Constant))
    calls = [node for node in ast.walk(source or ast.Tuple([])) if isinstance(node, ast.Call) and node.args]
    firsts = [call.args[0] for call in calls]
    return tuple(first.value for first in firsts if isinstance(first, ast.Constant) and isinstance(first.value, str))


def baselines() -> tuple[str, ...]:
    """Names of the baselines, as ``saltext.baselines.BASELINES`` has them."""
    source = constant("saltext.baselines.BASELINES")
    classes = [node for part in ast.walk(source or ast.Tuple([])) if isinstance(part, ast.Tuple) for node in part.elts]
    found = [_definition(_dotted(node, "saltext.baselines")) for node in classes]
    bodies = [definition[1].body for definition in found if definition and isinstance(definition[1], ast.ClassDef)]
    return tuple(
        statement.value.value
        for body in bodies
        for statement in body
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "name"
        if isinstance(statement.value, ast.Constant) and isinstance(statement.value.value, str)
    )
