"""The data set that a command's arguments name, for commands that score or check one without a run."""

from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from saltext.data.index import Source
from saltext.data.sources.detect import source_of
from saltext.errors import ConfigError


def named(arguments: Sequence[str], config_dir: Path | None = None, trusts: bool = False) -> Source:
    """The reader of a data set.

    Args:
        arguments: A folder whose layout is recognised, or the YAML file that describes a data set; or as for
            ``saltext train``: ``data=NAME`` and values of ``data``, ``data.KEY=VALUE``.
        config_dir: Folder with configuration files of one's own.
        trusts: Whether a class from outside the package may be built.

    Raises:
        DataError: There is no data set of a known layout.
        ConfigError: Other arguments, everything that is wrong with them, or a class that may not be built.
    """
    if not arguments[0].startswith("data="):
        if len(arguments) > 1:
            said = " ".join(arguments)
            raise ConfigError(f"expected one folder, one file, or data=NAME data.KEY=VALUE ..., got {said}")
        return source_of(Path(arguments[0]))
    others = [argument for argument in arguments if not argument.lstrip("+").startswith(("data=", "data."))]
    if others:
        raise ConfigError(f"expected values of data behind {arguments[0]} (data.KEY=VALUE), got {' '.join(others)}")
    from saltext.runs import preflight, targets
    from saltext.runs.composition import CommandLine
    from saltext.runs.instantiation import reader
    from saltext.runs.untrusted_yaml import literal

    folder = [] if config_dir is None else [f"--config-dir={config_dir}"]
    (composed,) = CommandLine([*folder, *arguments]).check()
    data = OmegaConf.to_container(composed.data, resolve=True)
    own = targets.own_targets(data) if trusts else ()
    targets.check_targets(data, "data", own)
    cfg: DictConfig = OmegaConf.create({"data": literal(data)})
    preflight.check_data(cfg)
    return reader(cfg, own)
