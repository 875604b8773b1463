"""Fills in what pages take from the package and from conf/, so that it is written once.

A comment ``<!-- configuration -->``, ``<!-- metrics -->`` or ``<!-- commands -->`` in a page is replaced by what its
name says; on the page of a metric, ``<!-- facts -->``. A block of code with a title, ```` ```yaml title="x.yaml" ````,
gets it as caption.
"""

import re
from pathlib import Path

import configuration
import metric_pages
import typer
from typer.main import get_command

from saltext.commands.app import app

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
        text = text.replace("<!-- commands -->", _commands())
    return _TITLED.sub(_captioned, text)


def _captioned(fence: re.Match[str]) -> str:
    language = "text" if fence["language"] in _NOT_HIGHLIGHTED else fence["language"]
    return f"```{{code-block}} {language}\n:caption: {fence['title']}\n"


def _commands() -> str:
    """The help of every command but ``train``, whose help is the configuration's."""
    whole = get_command(app)
    with whole.make_context("saltext", [], resilient_parsing=True) as context:
        described = [
            _help(["saltext", *name.split()], context)
            for name in (*whole.list_commands(context), "data check", "folds export")
            if name not in ("train", "data", "folds")
        ]
    return "\n".join(described)


def _help(words: list[str], context: typer.Context) -> str:
    command = context.command
    for word in words[1:]:
        command = command.get_command(context, word)
    with command.make_context(" ".join(words), [], resilient_parsing=True) as own:
        return f"## `{' '.join(words)}`\n\n```text\n{command.get_help(own)}\n```\n"
