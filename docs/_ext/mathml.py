"""Formulas as MathML, which browsers draw themselves: no scripts, no fonts from elsewhere."""

import re

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.typing import ExtensionMetadata
from sphinx.writers.html5 import HTML5Translator

# LaTeX takes one digit, docutils the whole number: \tfrac12 x becomes the fraction 12 / x.
_UNBRACED = re.compile(r"(?:\\[a-z]*frac|\\sqrt|[_^])\s*\d{2,}")
# Browsers set a bar as an infix operator, with space around it; here bars enclose.
_BAR, _ENCLOSING_BAR = '<mo stretchy="false">|</mo>', '<mo stretchy="false" lspace="0" rspace="0">|</mo>'
_log = logging.getLogger(__name__)


def is_ambiguous(tex: str) -> bool:
    """Whether docutils reads a formula otherwise than LaTeX, for want of braces around digits."""
    return _UNBRACED.search(tex) is not None


def _mathml(node: nodes.math | nodes.math_block, as_block: bool) -> str:
    if is_ambiguous(node.astext()):
        _log.warning("braces are missing around digits of %r", node.astext(), location=node)
    formula: str = tex2mathml(node.astext(), as_block=as_block)
    return formula.replace(_BAR, _ENCLOSING_BAR)


def _inline(self: HTML5Translator, node: nodes.math) -> None:
    self.body.append(_mathml(node, as_block=False))
    raise nodes.SkipNode


def _block(self: HTML5Translator, node: nodes.math_block) -> None:
    formula = _mathml(node, as_block=True)
    # A long one scrolls sideways, by keys, too, once it has the focus.
    start = self.starttag(node, "div", CLASS="formula", STYLE="overflow: auto hidden", TABINDEX="0")
    self.body.append(f"{start}{formula}</div>\n")
    raise nodes.SkipNode


def setup(app: Sphinx) -> ExtensionMetadata:
    """Called by Sphinx."""
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
