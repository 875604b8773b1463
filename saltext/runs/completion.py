"""Completions of an argument of ``saltext train``: groups, choices, keys, values and files."""

import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.bash_completion import BashCompletion
from hydra.core.config_loader import ConfigLoader
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

_PLAIN = re.compile(r"[\w./+-]+")  # needs no quotes
_UNFINISHED = ("=", ".", "/")  # ends of a candidate that needs more


class Candidates:
    """Groups and their choices, by Hydra's own query, keys with their values, and files.

    Args:
        loader: Hydra's.
        words: The arguments before the one that is completed. If any is wrong, all are ignored.
    """

    def __init__(self, loader: ConfigLoader, words: Sequence[str]) -> None:
        self._loader = loader
        self._hydra = BashCompletion(loader)
        self._words = [word for word in words if not word.startswith("resume=")]

    @cached_property
    def _cfg(self) -> Any:  # takes longer than all the rest, and is not needed for choices
        try:
            return self._composed(self._words)
        except HydraException:  # the command says what is wrong when it is started
            return self._composed([])

    def _composed(self, words: list[str]) -> Any:
        return self._loader.load_configuration("config", words, RunMode.MULTIRUN, validate_sweep_overrides=False)

    def of(self, begun: str) -> list[str]:
        """The candidates for an argument that begins with ``begun``.

        A single unfinished candidate (``loss=``) comes with what can follow it, since a shell puts a space after an
        argument with only one candidate.
        """
        key, equals, value = begun.partition("=")
        done, comma, last = value.rpartition(",")
        if equals and comma and not value.startswith(("[", "{")):  # several values, for a sweep
            return [f"{key}={done},{candidate.partition('=')[2]}" for candidate in self._next_parts(f"{key}={last}")]
        candidates = self._next_parts(begun)
        if len(candidates) > 1 or not "".join(candidates).endswith(_UNFINISHED):
            return candidates
        further = self._next_parts(candidates[0])
        return further if len(further) > 1 else list(dict.fromkeys([*candidates, *further]))

    def _next_parts(self, begun: str) -> list[str]:
        """The candidates up to the next ``=``, ``.`` or ``/``."""
        groups, _ = self._hydra._query_config_groups(begun, None, [])
        if "=" in begun:
            return sorted(groups) or self._values_and_files(begun)
        candidates = []
        for group in groups:  # Hydra gives a group with both choices and groups inside without "=" and "/"
            is_both = not group.startswith("~") and not group.endswith(_UNFINISHED)
            candidates += [f"{group}=", f"{group}/"] if is_both else [group]
        return sorted({*candidates, *self._keys(begun)})

    def _keys(self, begun: str) -> list[str]:
        above, dot, name = begun.rpartition(".")
        node = OmegaConf.select(self._cfg, above) if above else self._cfg
        if not OmegaConf.is_dict(node):
            return []
        matching = [str(key) for key in node if str(key).startswith(name)]
        keys = [f"{above}{dot}{key}{'.' if OmegaConf.is_dict(node._get_node(key)) else '='}" for key in matching]
        return [*keys, "resume="] if begun and "resume".startswith(begun) else keys

    def _values_and_files(self, begun: str) -> list[str]:
        """The current value of a key, and the files that it may name."""
        key, _, value = begun.partition("=")
        above, _, name = key.rpartition(".")
        try:
            group = OmegaConf.select(self._cfg, above) if above else self._cfg
            exists = OmegaConf.is_dict(group) and name in group
            current = OmegaConf.select(self._cfg, key) if exists else None
        except OmegaConfBaseException:  # its interpolation can be resolved in a run only
            return []
        if key == "variant":
            swept = str(OmegaConf.select(self._cfg, "hydra.sweeper.params.variant", default=""))
            return [f"{key}={name}" for name in swept.split(",") if name and name.startswith(value)]
        if key == "resume":
            texts = ["latest"]
        else:
            texts = [_as_argument(current)] if exists and not OmegaConf.is_dict(current) else []
        is_path = key == "resume" or (value and isinstance(current, str | None))
        paths = files(value) if is_path else []
        return [f"{key}={text}" for text in (*texts, *paths) if text and text.startswith(value)]


def _as_argument(value: Any) -> str:
    """A value as the command line takes it; empty where it would have to be quoted."""
    if OmegaConf.is_list(value):
        texts = [_as_argument(element) for element in value]
        return f"[{','.join(texts)}]" if all(texts) else ""
    text = "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    return text if _PLAIN.fullmatch(text) else ""


def files(begun: str) -> list[str]:
    """Paths that begin with ``begun``, folders with a final ``/``; hidden files only if ``begun`` asks for them."""
    folder, slash, name = begun.rpartition("/")
    try:
        paths = sorted(Path(f"{folder}{slash}" or ".").iterdir())
    except OSError:
        return []
    matching = [path for path in paths if path.name.startswith(name) and (name or not path.name.startswith("."))]
    return [f"{folder}{slash}{path.name}{'/' if path.is_dir() else ''}" for path in matching]
