"""TAB in a shell: what Typer's completion does not know of bash, and of ``key=value``."""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout

_BREAKS = frozenset("=:@")  # of COMP_WORDBREAKS, those that may stand inside an argument


@contextmanager
def for_bash() -> Iterator[None]:
    """Around the command: where bash asks for a completion, let it be of whole arguments.

    Bash takes ``model=tr`` for three words and replaces the last of them, so that they are joined before Typer reads
    them, and what bash has already is cut from the answers.
    """
    if os.environ.get("_SALTEXT_COMPLETE") != "complete_bash":
        yield
        return
    split, at = os.environ["COMP_WORDS"].split("\n"), int(os.environ["COMP_CWORD"])
    words = [*split[:at], split[at] if at < len(split) else ""]
    joined: list[str] = []
    for word in words:
        before = joined[-1] if len(joined) > 1 else ""  # an argument; the first word is the command
        if before and (word[:1] in _BREAKS or before[-1] in _BREAKS):
            joined[-1] += word
        else:
            joined.append(word)
    os.environ["COMP_WORDS"], os.environ["COMP_CWORD"] = "\n".join(joined), str(len(joined) - 1)
    kept = "" if set(words[-1]) <= _BREAKS else words[-1]
    shown = len(joined[-1]) - len(kept)
    answers = io.StringIO()
    try:
        with redirect_stdout(answers):
            yield
    finally:
        sys.stdout.write("".join(f"{line[shown:]}\n" for line in answers.getvalue().splitlines()))
