"""Completion in bash of arguments ``key=value``, which Typer's completion does not handle."""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout

_BREAKS = frozenset("=:@")  # characters of COMP_WORDBREAKS that may occur inside an argument


@contextmanager
def for_bash() -> Iterator[None]:
    """Around the command: make a completion that bash asks for one of whole arguments.

    Bash splits ``model=tr`` into three words and replaces the last of them. The words are joined before Typer reads
    them, and the part before the last word is cut from the answers.
    """
    if os.environ.get("_SALTEXT_COMPLETE") != "complete_bash":
        yield
        return
    split, cursor = os.environ["COMP_WORDS"].split("\n"), int(os.environ["COMP_CWORD"])
    words = [*split[:cursor], split[cursor] if cursor < len(split) else ""]
    joined: list[str] = []
    for word in words:
        before = joined[-1] if len(joined) > 1 else ""  # an argument; the first word is the command
        if before and (word[:1] in _BREAKS or before[-1] in _BREAKS):
            joined[-1] += word
        else:
            joined.append(word)
    os.environ["COMP_WORDS"], os.environ["COMP_CWORD"] = "\n".join(joined), str(len(joined) - 1)
    replaced = "" if set(words[-1]) <= _BREAKS else words[-1]  # the part that bash replaces by an answer
    prefix_length = len(joined[-1]) - len(replaced)
    answers = io.StringIO()
    try:
        with redirect_stdout(answers):
            yield
    finally:
        sys.stdout.write("".join(f"{line[prefix_length:]}\n" for line in answers.getvalue().splitlines()))
