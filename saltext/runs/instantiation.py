"""Instantiate nodes of a configuration. The only place that does, after a check of what may be built."""

import inspect
from collections.abc import Collection
from typing import Any

from hydra.errors import HydraException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from saltext.data.index import Source
from saltext.errors import ConfigError, SaltextError
from saltext.runs import targets
from saltext.runs.own_classes import located
from saltext.runs.untrusted_yaml import literal


def instantiated(
    node: Any, location: str, expected: type | tuple[type, ...] | None, own: Collection[str], **extra: Any
) -> Any:
    """Instantiate a node of a configuration with Hydra, after checking that it may be built.

    The node is resolved first, so that exactly the checked values are built. Errors of the configuration are raised as
    :class:`ConfigError`, not wrapped in Hydra's.

    Args:
        node: Of a configuration; None gives None.
        location: Its key there.
        expected: Class of the result; None: anything that can be called.
        own: Names that may be built besides those in ``conf/``, see :mod:`saltext.runs.trust`.
        extra: Arguments besides those in the node.

    Raises:
        ConfigError: The node may not be built, its arguments are refused, or the result is of another class.
    """
    try:
        values: Any = OmegaConf.to_container(OmegaConf.create({"node": node}), resolve=True)["node"]  # type: ignore[index,call-overload]
    except OmegaConfBaseException as error:
        raise ConfigError(f"{location}: {error}") from error
    targets.check_targets(values, location, own)
    if values is None:
        return None
    missing = []
    for name in sorted(targets.own_targets(values)):
        try:
            located(name)
        except ConfigError as error:
            missing.append(f"{location}: {error}")
    if missing:
        raise ConfigError("\n  ".join(missing))
    target = values.get("_target_") if isinstance(values, dict) else None
    arguments = {key: literal(value) if isinstance(value, str) else value for key, value in extra.items()}
    try:
        built = instantiate(literal(values), _convert_="all", **arguments)
    except HydraException as error:
        cause = error.__cause__
        if isinstance(cause, SaltextError):
            raise cause from None
        if cause is None or isinstance(cause, ValueError) or not targets.own_targets(values):
            reason = error if cause is None else cause
            raise ConfigError(f"{location}: {target}: {str(reason).partition(chr(10))[0]}") from error
        raise
    if target not in own and not (callable(built) if expected is None else isinstance(built, expected)):
        kind = "something to call" if expected is None else getattr(expected, "__name__", str(expected))
        raise ConfigError(f"{location}: expected {kind}, got a {type(built).__name__}")
    return built


def reader(cfg: DictConfig, own: Collection[str] = ()) -> Source:
    """The reader of the data set: the class that ``data._target_`` names, with what it takes of the values of ``data``.

    The others are settings of the data module. One that both take, such as ``max_pixels``, is given to both.

    Args:
        cfg: A run's configuration.
        own: Names that may be built besides those in ``conf/``, see :mod:`saltext.runs.trust`.

    Raises:
        ConfigError: The class may not be built, or is no reader.
    """
    values: Any = OmegaConf.to_container(cfg.data, resolve=True)
    targets.check_targets(values, "data", own)
    taken = inspect.signature(located(values["_target_"])).parameters
    # Hydra's own keys stay, so that one that does not belong there is refused and not passed over.
    node = OmegaConf.masked_copy(cfg.data, [key for key in values if key in taken or key.startswith("_")])
    built: Source = instantiated(node, "data", Source, own)
    missing = [name for name in ("root", "conditions", "published", "read") if not hasattr(built, name)]
    if missing:
        raise ConfigError(
            f"data: expected a reader (saltext.data.index.Source), got a {type(built).__name__} without "
            f"{', '.join(missing)}; docs/extending.md has one to start from"
        )
    return built
