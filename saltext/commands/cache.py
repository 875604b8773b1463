"""``saltext cache``."""

import re
import shutil
from pathlib import Path
from typing import Annotated

import typer

# Folder names of decoded data sets and of feature caches; nothing else is counted or deleted.
_CACHE_FOLDER = re.compile(r"[0-9a-f]{24}|features|\.building-\S+")


def cache(
    folder: Annotated[Path, typer.Argument(metavar="[DIR]", help="data.cache_dir")] = Path("outputs/cache"),
    clear: Annotated[bool, typer.Option("--clear", help="Delete all; they are built again when needed.")] = False,
) -> None:
    """List the caches with their sizes: decoded data sets and features of frozen modules.

    \b
    saltext cache
    saltext cache --clear
    """
    paths = sorted(folder.iterdir()) if folder.is_dir() else []
    entries = [path for path in paths if path.is_dir() and not path.is_symlink() and _CACHE_FOLDER.fullmatch(path.name)]
    if not entries:
        print(f"nothing is cached in {folder}")
        return
    sizes = [sum(file.lstat().st_blocks * 512 for file in entry.rglob("*") if file.is_file()) for entry in entries]
    for entry, size in zip(entries, sizes, strict=True):
        print(f"{size / 2**20:9.1f} MiB  {entry}")
        if clear:
            shutil.rmtree(entry)
    print(f"{sum(sizes) / 2**20:9.1f} MiB  {'deleted' if clear else 'in total; --clear deletes all'}")
