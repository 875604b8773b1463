"""How to install an optional dependency."""

import json
import shlex
from importlib import metadata
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname


def install_command(extra: str) -> str:
    """The command that adds an extra to this installation, from the checkout or file that it came from.

    Without one, or where that is gone, from the package index.

    Args:
        extra: Name of an extra of ``pyproject.toml``.

    Example:
        >>> install_command("demo").startswith("pip install ")
        True
    """
    source, editable = "saltext", ""
    try:
        recorded = json.loads(metadata.distribution("saltext").read_text("direct_url.json") or "{}")
        address = urlsplit(recorded.get("url", ""))
        place = Path(url2pathname(address.path))
        if address.scheme == "file" and place.exists():
            source, editable = str(place), "-e " * bool(recorded.get("dir_info", {}).get("editable"))
    except (metadata.PackageNotFoundError, ValueError, AttributeError):  # not installed, or a damaged record
        pass
    return f"pip install {editable}{shlex.quote(f'{source}[{extra}]')}"
