"""Notebooks as pages: their text and code as they are stored, without results."""

import json
import re
from pathlib import Path

_FILE = re.compile(r"^%%writefile (?P<path>\S+)\n")
_LANGUAGES = {".py": "python", ".yaml": "yaml"}
_PAGE = re.compile(r"\]\(\.\./docs/")
_NOTEBOOK = re.compile(r"\]\((?P<name>\d\w+)\.ipynb\)")


def markdown(file: Path) -> str:
    """The cells of a notebook as Markdown; a cell that writes a file is shown as that file."""
    cells = json.loads(file.read_text(encoding="utf-8"))["cells"]
    sources = [(cell["cell_type"], "".join(cell["source"])) for cell in cells]
    return "\n\n".join(_prose(source) if kind == "markdown" else _code(source) for kind, source in sources)


def _prose(source: str) -> str:
    """Text whose links lead to pages of the site."""
    return _NOTEBOOK.sub(r"](\g<name>.md)", _PAGE.sub("](../", source))


def _code(source: str) -> str:
    language, caption = "python", ""
    if written := _FILE.match(source):
        source = source[written.end() :]
        language = _LANGUAGES[Path(written["path"]).suffix]
        caption = f":caption: {written['path']}\n"
    return f"```{{code-block}} {language}\n{caption}\n{source}\n```"
