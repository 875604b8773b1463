"""Pages of the documentation, a part of which a command writes between two marks."""

import sys
from pathlib import Path

from saltext.console import set_up_streams


def given_page(usage: str | None) -> Path:
    """The page that the command line names, which is its only argument; anything else prints how the command is used.

    Args:
        usage: The command's help.
    """
    set_up_streams()
    if len(sys.argv) != 2 or sys.argv[1] in ("-h", "--help"):
        print(usage)
        sys.exit(len(sys.argv) != 2)
    return Path(sys.argv[1])


def filled(page: str, mark: str, content: str) -> str:
    """A page with other content between ``<!-- MARK -->`` and ``<!-- /MARK -->``."""
    start, end = f"<!-- {mark} -->\n", f"<!-- /{mark} -->"
    before, _, rest = page.partition(start)
    return f"{before}{start}{content}{end}{rest.partition(end)[2]}"
