"""What an argument of ``saltext train`` can become when TAB is pressed."""

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
_GOES_ON = ("=", ".", "/")


class Candidates:
    """Groups and their choices, by Hydra's own query, keys with their values, and files.

    Args:
        loader: Hydra's.
        words: The arguments before the one that is completed. If some are wrong, none is regarded.
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
        """What ``begun`` can become.

        A single candidate that goes on (``loss=``) comes with what can follow it, for a shell ends an argument for
        which there is one candidate.
        """
        key, equals, value = begun.partition("=")
        done, comma, last = value.rpartition(",")
        if equals and comma and not value.startswith(("[", "{")):  # several values, for a sweep
            return [f"{key}={done},{candidate.partition('=')[2]}" for candidate in self._next(f"{key}={last}")]
        found = self._next(begun)
        if len(found) > 1 or not "".join(found).endswith(_GOES_ON):
            return found
        further = self._next(found[0])
        return further if len(further) > 1 else list(dict.fromkeys([*found, *further]))

    def _next(self, begun: str) -> list[str]:
        """The candidates up to the next ``=``, ``.`` or ``/``."""
        groups, _ = self._hydra._query_config_groups(begun, None, [])
        if "=" in begun:
            return sorted(groups) or self._values(begun)
        found = []
        for group in groups:  # one with choices and with groups of its own comes without an end
            is_both = not group.startswith("~") and not group.endswith(_GOES_ON)
            found += [f"{group}=", f"{group}/"] if is_both else [group]
        return sorted({*found, *self._keys(begun)})

    def _keys(self, begun: str) -> list[str]:
        above, dot, name = begun.rpartition(".")
        node = OmegaConf.select(self._cfg, above) if above else self._cfg
        if not OmegaConf.is_dict(node):
            return []
        own = [str(key) for key in node if str(key).startswith(name)]
        found = [f"{above}{dot}{key}{'.' if OmegaConf.is_dict(node._get_node(key)) else '='}" for key in own]
        return [*found, "resume="] if begun and "resume".startswith(begun) else found

    def _values(self, begun: str) -> list[str]:
        """The value that a key has, or the files that it may name."""
        key, _, value = begun.partition("=")
        above, _, name = key.rpartition(".")
        try:
            group = OmegaConf.select(self._cfg, above) if above else self._cfg
            known = OmegaConf.is_dict(group) and name in group
            now = OmegaConf.select(self._cfg, key) if known else None
        except OmegaConfBaseException:  # it follows from what is known in a run alone
            return []
        if key == "variant":
            swept = str(OmegaConf.select(self._cfg, "hydra.sweeper.params.variant", default=""))
            return [f"{key}={name}" for name in swept.split(",") if name and name.startswith(value)]
        texts = ["latest"] if key == "resume" else [_written(now)] if known and not OmegaConf.is_dict(now) else []
        is_path = key == "resume" or (value and isinstance(now, str | None))
        paths = files(value) if is_path else []
        return [f"{key}={text}" for text in (*texts, *paths) if text and text.startswith(value)]


def _written(value: Any) -> str:
    """A value as an argument has it; empty where it would have to be quoted."""
    if OmegaConf.is_list(value):
        texts = [_written(element) for element in value]
        return f"[{','.join(texts)}]" if all(texts) else ""
    text = "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    return text if _PLAIN.fullmatch(text) else ""


def files(begun: str) -> list[str]:
    """Paths that begin like this, folders with ``/``."""
    folder, slash, name = begun.rpartition("/")
    try:
        found = sorted(Path(f"{folder}{slash}" or ".").iterdir())
    except OSError:
        return []
    shown = [path for path in found if path.name.startswith(name) and (name or not path.name.startswith("."))]
    return [f"{folder}{slash}{path.name}{'/' if path.is_dir() else ''}" for path in shown]
