"""Fills in what pages take from the package and from conf/, so that it is written once.

A comment ``<!-- configuration -->``, ``<!-- metrics -->`` or ``<!-- commands -->`` in a page is replaced by what its
name says; on the page of a metric, ``<!-- facts -->``. A block of code with a title, ```` ```yaml title="x.yaml" ````,
gets it as caption.
"""

import importlib
import re
from pathlib import Path

import configuration
import metric_pages

COMMANDS = (
    "saltext.evaluate",
    "saltext.score",
    "saltext.predict",
    "saltext.report",
    "saltext.demo.__main__",
    "saltext.export",
    "saltext.reproduce",
    "saltext.reporting.collect",
    "saltext.reporting.compare",
    "saltext.reporting.study",
    "saltext.reporting.marked_tables",
)
"""Modules that are commands, besides ``saltext.run``, which Hydra describes."""

_CONF = Path(__file__).resolve().parents[2] / "conf"
_NOT_HIGHLIGHTED = {"csv"}
_TITLED = re.compile(r'^```(?P<language>\w+) title="(?P<title>[^"]+)"$', re.MULTILINE)


def filled(name: str, text: str) -> str:
    """The Markdown of a page with everything filled in.

    Args:
        name: Of the page, its path in ``docs/`` without the ending.
        text: As written.
    """
    folder, _, page = name.rpartition("/")
    if folder == "metrics" and page != "index":
        text = text.replace("<!-- facts -->", metric_pages.facts(page))
    text = text.replace("<!-- metrics -->", metric_pages.overview())
    if "<!-- configuration -->" in text:
        text = text.replace("<!-- configuration -->", configuration.markdown(_CONF))
    if "<!-- commands -->" in text:
        text = text.replace("<!-- commands -->", "\n".join(map(_command, COMMANDS)))
    return _TITLED.sub(_captioned, text)


def _captioned(fence: re.Match[str]) -> str:
    language = "text" if fence["language"] in _NOT_HIGHLIGHTED else fence["language"]
    return f"```{{code-block}} {language}\n:caption: {fence['title']}\n"


def _command(module: str) -> str:
    described = (importlib.import_module(module).__doc__ or "").strip()
    return f"## `python -m {module.removesuffix('.__main__')}`\n\n```text\n{described}\n```\n"
