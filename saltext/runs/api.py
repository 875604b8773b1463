"""The Python interface to runs: ``saltext.train`` and ``saltext.evaluate``."""

import html
import logging
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from saltext.errors import ConfigError
from saltext.evaluation.protocols import STANDARD
from saltext.prediction.model import Model
from saltext.results.score_table import means, of_protocol, read_scores
from saltext.runs import jobs, preflight, schema
from saltext.runs.composition import CommandLine
from saltext.runs.evaluate import evaluate_and_write
from saltext.runs.load import load
from saltext.runs.saved import configuration
from saltext.system import environment
from saltext.system.run_folder import RunFolder, label

_log = logging.getLogger(__name__)

_MAIN_METRICS = ("cc", "sim", "kl", "nss", "auc_judd", "ig")


@dataclass(frozen=True)
class Run:
    """A finished run.

    >>> run = saltext.train("preset=smoke")  # doctest: +SKIP
    >>> run.scores.groupby("task")["cc"].mean()  # doctest: +SKIP
    >>> run.model.predict("photo.jpg", "the white lamps")  # doctest: +SKIP

    Attributes:
        folder: The run's folder, with all its files.
        scored: Folder of the scores: the run's own, or ``evaluation`` in it.
        trust: Whether :attr:`model` may build classes that its configuration names and ``conf/`` does not: true for a
            run of :func:`train`, or one that the caller of :func:`evaluate` trusts.
    """

    folder: Path
    scored: Path
    trust: bool = False

    @property
    def scores(self) -> pd.DataFrame:
        """One row per test pair, model and protocol.

        Columns: image_id, task, text, split, model, seed, protocol and the metrics.
        """
        return read_scores(RunFolder(self.scored).scores)

    @property
    def model(self) -> Model:
        """The trained model, to predict with; loaded at each access."""
        return load(self.folder, trust=self.trust)

    def means(self) -> pd.DataFrame:
        """Mean scores of the trained model, standard protocol: one row per task, one column per metric."""
        by_task = means(of_protocol(self.scores, STANDARD)).get(label(RunFolder(self.folder)), {})
        return pd.DataFrame(by_task).T

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r})\n{self._main_means().to_string(float_format='{:.3f}'.format)}"

    def _repr_html_(self) -> str:
        return f"<p>Run <code>{html.escape(str(self.folder))}</code></p>" + self._main_means().to_html(
            float_format="{:.3f}".format
        )

    def _main_means(self) -> pd.DataFrame:
        means = self.means()
        return means[[name for name in _MAIN_METRICS if name in means]]


def train(*overrides: str) -> Run:
    """Train a model and score it, in this process if it uses one device; ``saltext train`` on the command line.

    Seeds, warnings, loggers, signals and the environment of this process are restored afterwards.

    Args:
        overrides: As on the command line: ``"model=tranblend"``, ``"preset=smoke"``, ``"--config-dir=mine/conf"``.

    Returns:
        The run.

    Raises:
        SaltextError: All problems with the overrides, or with data and weights, before anything is trained; or one of
            several processes failed.
    """
    line = CommandLine(overrides)
    configurations = line.check()
    if not line.is_single_run(configurations):
        raise ConfigError("saltext.train runs one job; use the command for a sweep: saltext train ... -m")
    for warning in dict.fromkeys(text for cfg in configurations for text in schema.warnings(cfg)):
        _log.warning("%s", warning)
    preflight.check(configurations)
    missing = environment.wanted()
    if missing:
        _log.info("Training is faster with these set before Python starts: %s", " ".join(
            f"{name}={value}" for name, value in missing.items()))  # fmt: skip

    def task(cfg: DictConfig) -> Path:
        jobs.run(cfg)
        return Path(HydraConfig.get().runtime.output_dir)

    try:
        folder = line.run_once(task)
    except SystemExit as ended:
        raise ConfigError(f"a process of the run ended with status {ended.code}; its log says why") from ended
    return Run(folder, folder, trust=True)


def evaluate(run: "Run | Path | str", *overrides: str, weights: str = "chosen", trust: bool = False) -> Run:
    """Score a run again, from its saved configuration and checkpoint alone, in this process.

    Args:
        run: The run, or its folder.
        overrides: Changes of its configuration, such as ``"data.root=/elsewhere/sjtu-tis"``.
        weights: ``chosen`` (what the run itself tested) or ``last``.
        trust: Whether the folder is trusted, see :mod:`saltext.runs.trust`; a run of :func:`train` always is.

    Returns:
        The run with its new scores, written to ``evaluation`` in its folder.

    Raises:
        SaltextError: The folder holds no run, or it cannot be scored here.
    """
    folder = RunFolder.existing(str(run.folder if isinstance(run, Run) else run))
    changes = OmegaConf.from_cli(list(overrides))
    trusted = trust or (isinstance(run, Run) and run.trust)
    configured = configuration(folder, changes, trusted)
    preflight.check_changes(configured.cfg, changes)
    evaluate_and_write(folder, weights, configured)
    return Run(folder.root, folder.root / "evaluation", trusted)
