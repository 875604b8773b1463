"""The saved configuration of a run, prepared for using the run again."""

from copy import deepcopy
from dataclasses import replace
from typing import Any

from omegaconf import DictConfig, OmegaConf

from saltext.runs import schema
from saltext.runs.trust import Configuration, read
from saltext.runs.untrusted_yaml import literal
from saltext.system.run_folder import RunFolder


def configuration(folder: RunFolder, changes: DictConfig, trust: bool = False) -> Configuration:
    """The run's own configuration and split, with some values changed.

    Args:
        folder: The run's.
        changes: Overrides by the user of the command.
        trust: Whether the folder is trusted, see :mod:`saltext.runs.trust`.

    Raises:
        ConfigError: See :func:`saltext.runs.trust.read`.
    """
    saved = read(folder, changes, trust=trust)
    # The split file has the tested images; the weights that training started from are not needed again.
    split = {"_target_": schema.SPLIT_FILE, "path": literal(str(folder.split))}
    own: dict[str, Any] = {"data": {"split": split, "test_on": "test"}, "checkpoint": None}
    # One machine is enough to score a model that several trained.
    one_node = {"trainer": {"num_nodes": OmegaConf.select(changes, "trainer.num_nodes", default=1)}}
    base = deepcopy(saved.cfg)
    base.data.pop("split", None)  # its arguments are not those of a split file
    cfg: DictConfig = OmegaConf.merge(base, one_node, own)  # type: ignore[assignment]
    return replace(saved, cfg=cfg)
