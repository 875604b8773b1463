"""Runs in Python: ``saltext.train`` and ``saltext.evaluate``."""

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

_SHOWN = ("cc", "sim", "kl", "nss", "auc_judd", "ig")


@dataclass(frozen=True)
class Run:
    """A finished run.

    >>> run = saltext.train("preset=smoke")  # doctest: +SKIP
    >>> run.scores.groupby("task")["cc"].mean()  # doctest: +SKIP
    >>> run.model.predict("photo.jpg", "the white lamps")  # doctest: +SKIP

    Attributes:
        folder: Everything the run wrote.
        scored: Folder of the scores: the run's own, or ``evaluation`` in it.
        trust: Whether classes that its configuration names and ``conf/`` does not are built for :attr:`model`: it was
            trained by this :func:`train`, or the caller of :func:`evaluate` trusts it.
    """

    folder: Path
    scored: Path
    trust: bool = False

    @property
    def scores(self) -> pd.DataFrame:
        """One row a test pair, model, protocol: image_id, task, text, split, model, seed, protocol and the metrics."""
        return read_scores(RunFolder(self.scored).scores)

    @property
    def model(self) -> Model:
        """The trained model, to predict with; loaded anew each time it is asked for."""
        return load(self.folder, trust=self.trust)

    def means(self) -> pd.DataFrame:
        """Mean scores of the trained model by task, of the standard protocol; a column a metric."""
        by_task = means(of_protocol(self.scores, STANDARD)).get(label(RunFolder(self.folder)), {})
        return pd.DataFrame(by_task).T

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r})\n{self._shown().to_string(float_format='{:.3f}'.format)}"

    def _repr_html_(self) -> str:
        return f"<p>Run <code>{html.escape(str(self.folder))}</code></p>" + self._shown().to_html(
            float_format="{:.3f}".format
        )

    def _shown(self) -> pd.DataFrame:
        found = self.means()
        return found[[name for name in _SHOWN if name in found]]


def train(*overrides: str) -> Run:
    """Train a model and score it, in this process if it asks for one device; ``saltext train`` on the command line.

    What the run changes in this process (seeds, warnings, loggers, signals, the environment) is put back.

    Args:
        overrides: As on the command line: ``"model=tranblend"``, ``"preset=smoke"``, ``"--config-dir=mine/conf"``.

    Returns:
        The run.

    Raises:
        SaltextError: Everything that is wrong with the overrides, or with data and weights, before anything is trained;
            or one of several processes failed.
    """
    line = CommandLine(overrides)
    configurations = line.check()
    if not line.is_single_run(configurations):
        raise ConfigError("saltext.train does one run; sweeps are for the command: saltext train ... -m")
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
        trust: Whether the folder is yours, or of somebody you trust, see :mod:`saltext.runs.trust`; a run of
            :func:`train` is.

    Returns:
        The run with its new scores, which lie in ``evaluation`` in its folder.

    Raises:
        SaltextError: The folder is no run, or cannot be scored here.
    """
    folder = RunFolder.existing(str(run.folder if isinstance(run, Run) else run))
    given = OmegaConf.from_cli(list(overrides))
    trusted = trust or (isinstance(run, Run) and run.trust)
    found = configuration(folder, given, trusted)
    preflight.check_changes(found.cfg, given)
    evaluate_and_write(folder, weights, found)
    return Run(folder.root, folder.root / "evaluation", trusted)
