"""The value by which a run chose its epoch."""

import logging
from typing import Any

from omegaconf import OmegaConf

from saltext.errors import SaltextError
from saltext.runs import trust
from saltext.system.run_folder import RunFolder

_log = logging.getLogger(__name__)


def monitored(folder: RunFolder) -> float | None:
    """The best value of the metric that chooses the epoch (``evaluation.monitor``), for sweepers to optimise.

    Args:
        folder: Of a run, finished or not.

    Returns:
        Of a run with a schedule, the mean over the stages that are tested. None where nothing was validated, or the
        configuration is damaged, which the log says.
    """
    from saltext.reporting.curves import read_curves  # imports Matplotlib, which the start of a command does not need

    try:
        cfg = trust.record(folder, ("evaluation.monitor", "evaluation.mode", "schedule.stages"))
    except SaltextError as error:
        _log.warning("%s", error)
        return None
    curves = read_curves(folder)
    stages: dict[str, Any] = OmegaConf.to_container(cfg.schedule.stages)  # type: ignore[assignment]
    tested = [name for name, values in stages.items() if values.get("test", True)] or [""]
    values = curves[(curves["name"] == cfg.evaluation.monitor) & curves["stage"].isin(tested)]
    best = values.groupby("stage")["value"].agg(cfg.evaluation.mode)
    return float(best.mean()) if len(best) else None
