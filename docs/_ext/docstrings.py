"""What the docstrings of this project need besides napoleon."""

import inspect
import sys
from types import ModuleType

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.typing import ExtensionMetadata

_BEFORE_NAPOLEON, _AFTER_NAPOLEON = 400, 600
_COLON = "\ue000"  # private use: in no text


def _hide_colon(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    # Napoleon takes what stands before a colon in the first line of a constant's or a property's docstring for a type.
    if what in ("attribute", "data", "property") and lines:
        lines[0] = lines[0].replace(":", _COLON)


def _show_colon(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    lines[:] = [line.replace(_COLON, ":") for line in lines]


def _name_exports(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Say what a package gives under its own name; it is described where it is defined."""
    if isinstance(obj, ModuleType) and hasattr(obj, "__path__") and hasattr(obj, "__all__"):
        names = (_linked(export, getattr(obj, export)) for export in obj.__all__)
        lines += ["", f"From ``{name}`` can be imported: {', '.join(names)}."]


def _linked(name: str, thing: object) -> str:
    if inspect.isclass(thing) or inspect.isfunction(thing):
        return f":py:obj:`{name} <{thing.__module__}.{thing.__qualname__}>`"
    return f"``{name}``"


def _where_defined(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, shown: nodes.TextElement
) -> nodes.Element | None:
    """Resolve a name that a docstring's module imports, that a package exports, or that a class inherits."""
    if node.get("refdomain") != "py":
        return None
    target, module = node["reftarget"], sys.modules.get(node.get("py:module") or "")
    package, _, name = target.rpartition(".")
    places = [(module, target), (getattr(module, node.get("py:class") or "", None), target)]
    places.append((sys.modules.get(package), name))
    for place, key in places:
        thing = getattr(place, key, None)
        if inspect.isclass(thing) or inspect.isfunction(thing):
            full = f"{thing.__module__}.{thing.__qualname__}"
            return app.env.domains.python_domain.resolve_xref(
                env, node["refdoc"], app.builder, "obj", full, node, shown
            )
    return None


def setup(app: Sphinx) -> ExtensionMetadata:
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", _hide_colon, priority=_BEFORE_NAPOLEON)
    app.connect("autodoc-process-docstring", _show_colon, priority=_AFTER_NAPOLEON)
    app.connect("autodoc-process-docstring", _name_exports)
    app.connect("missing-reference", _where_defined)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
