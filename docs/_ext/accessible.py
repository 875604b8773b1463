"""What Sphinx and the theme leave out for screen readers and keyboards: levels of headings, and scrolling by keys."""

from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.typing import ExtensionMetadata

_AFTER_THE_THEME = 900  # priority of a handler; others have 500
_REPLACEMENTS = {
    # A caption in the navigation is a heading, and a heading that is no <h1> to <h6> has to say its level.
    'role="heading">': 'role="heading" aria-level="2">',
    # A wide table scrolls sideways in its box, which the arrow keys can do once the box can have the focus.
    '<div class="table-wrapper': '<div tabindex="0" role="group" aria-label="table" class="table-wrapper',
}


def _mend(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None) -> None:
    for part in ("body", "furo_navigation_tree"):
        for found, mended in _REPLACEMENTS.items():
            if part in context:
                context[part] = context[part].replace(found, mended)


def setup(app: Sphinx) -> ExtensionMetadata:
    """Called by Sphinx."""
    app.connect("html-page-context", _mend, priority=_AFTER_THE_THEME)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
