"""Fills in what pages take from the package and from conf/, so that it is written once.

A comment ``<!-- configuration -->``, ``<!-- metrics -->`` or ``<!-- commands -->`` in a page is replaced by what its
name says, as are the lists of the glossary; on the page of a metric ``<!-- facts -->``, on that of a tutorial
``<!-- notebook -->``. A block of code with a title, ```` ```yaml title="x.yaml" ````, gets it as caption.
"""

import re
from pathlib import Path

import configuration
import metric_pages
import notebook_pages
import typer
from typer.main import get_command

from saltext.baselines import BASELINES
from saltext.commands.app import app
from saltext.metrics import METRICS
from saltext.reporting import glossary

_ROOT = Path(__file__).resolve().parents[2]
_CONF = _ROOT / "conf"
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
    if folder == "tutorials":
        text = text.replace("<!-- notebook -->", notebook_pages.markdown(_ROOT / "notebooks" / f"{page}.ipynb"))
    if name == "glossary":
        text = _with_words(text)
    if "<!-- configuration -->" in text:
        text = text.replace("<!-- configuration -->", configuration.markdown(_CONF))
    if "<!-- commands -->" in text:
        text = text.replace("<!-- commands -->", _commands())
    return _TITLED.sub(_captioned, text)


def _captioned(fence: re.Match[str]) -> str:
    language = "text" if fence["language"] in _NOT_HIGHLIGHTED else fence["language"]
    return f"```{{code-block}} {language}\n:caption: {fence['title']}\n"


def _with_words(text: str) -> str:
    """The glossary with the lists that reports have."""
    words = glossary.sentences(glossary.TASKS, METRICS, [baseline.title for baseline in BASELINES.values()])
    for kind, mark in (("task", "conditions"), ("metric", "metric-words"), ("model", "baseline-words")):
        entries = [f"{word}\n  {meaning}\n" for of_kind, word, meaning in words if of_kind == kind]
        text = text.replace(f"<!-- {mark} -->", "\n".join(["```{glossary}", *entries]) + "```")
    return text


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
