"""What the published protocol adds to a score: the leak of its split, and choosing the epoch on the test pairs.

The runs are of the arms of :func:`saltext.data.splits.published_arm`, with scores of single pairs after every epoch.
Every effect is a difference of scores of the same pairs in one metric, of networks trained with one seed:

* the leak: on the test pairs, the arm with the leak minus the arm without, each after its last epoch;
* its control: the same on the pairs, of test and validation, whose image trains in neither arm. There the two networks
  differ by what else distinguishes the arms (the leak adds images), and by the scatter of trainings;
* the epoch: of the arm with the leak, the epoch that is best on the task's test pairs, minus the last one, and minus
  the one that is best on the task's validation pairs. The mean of both is at least 0 by construction.

Seeds and rotations are averaged pair by pair, and intervals are over images, not over trainings.
"""

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from omegaconf import OmegaConf

from saltext.data.splits import ARMS
from saltext.data.tasks import TASK_BY_NAME, TASKS, in_order
from saltext.errors import ConfigError, DamagedFileError, DataError
from saltext.metrics import METRICS
from saltext.results.comparison import Estimate, estimate
from saltext.results.run_record import RunRecord
from saltext.results.score_table import metric_names, read_scores
from saltext.results.study import Study, is_of

_log = logging.getLogger(__name__)

EPOCHS_FILE, TESTED_FILE = "epochs.csv.gz", "tested.csv.gz"
AUTHORS, STAND_IN = "the authors' row order", "sorted names, which stand in for the authors' row order"

_RUN = ("network", "rows", "generated", "rotation", "seed")
EPOCH_KEYS = (*_RUN, "arm", "split", "epoch", "task", "image_id", "image_trains")
TESTED_KEYS = (*_RUN, "protocol", "task", "image_id")
_ARM = "data.split.arm"
_FEWEST_TASKS = 2  # of a network's five in which an effect has to add: of 15 intervals about one leaves out 0 by chance
_FEWEST_SEEDS = 2
_ALIKE = ("trainer.max_epochs", "data.image_size", "data.map_size", "data.batch_size", "data.val_fraction",
          "data.split_seed")  # fmt: skip
"""What has to be equal in all runs of a network, for arms differ by their training rows alone."""
_PAIR = ["rotation", "seed", "task", "image_id"]


class Kind(StrEnum):
    """What an effect is of; the value is its title."""

    LEAK = "test images also train"
    CONTROL = "the same networks, on images that train in neither"
    LAST = "best test epoch instead of the last"
    CHOSEN = "best test epoch instead of validation's"


class ArmScores(NamedTuple):
    """Scores of single pairs of a study's runs.

    ``epochs``: of the arm ``leaky`` after every epoch, of the others after the last, of test and validation pairs;
    ``image_trains`` tells whether a pair's image trains in that run, under another condition. ``tested``: of the arm
    ``published``, by the checkpoint with the best mean test CC, in the standard metrics and in the paper's. Both have a
    column for ``network``, ``rows`` (whose row order), ``generated``, ``rotation`` and ``seed``.
    """

    epochs: pd.DataFrame
    tested: pd.DataFrame


@dataclass(frozen=True)
class Effect:
    """One effect on one metric.

    Attributes:
        kind: What of the protocol adds it.
        network: Of the study.
        task: Of the test pairs.
        metric: In whose unit the estimate is.
        estimate: Mean difference over pairs; seeds and rotations averaged pair by pair.
        by_seed: Mean difference of each seed.
        rotations: How many fifths of the rows were tested, one after the other.
    """

    kind: Kind
    network: str
    task: str
    metric: str
    estimate: Estimate
    by_seed: Mapping[int, float]
    rotations: int = 1

    @property
    def resolved(self) -> float:
        """Half of the interval's width: a smaller effect cannot be distinguished from zero."""
        return (self.estimate.high - self.estimate.low) / 2

    @property
    def verdict(self) -> str:
        """``adds`` or ``takes`` if the interval leaves out 0 and no seed has the other sign; ``none`` where both sides
        are the same epochs; else ``not resolved``."""
        if self.estimate.low == self.estimate.high == 0:
            return "none"
        sign = 1 if METRICS[self.metric].higher_is_better else -1
        if self.estimate.excludes_zero and all(self.estimate.mean * mean >= 0 for mean in self.by_seed.values()):
            return "adds" if sign * self.estimate.mean > 0 else "takes"
        return "not resolved"


def arm_scores(study: Study, runs: Iterable[RunRecord]) -> ArmScores:
    """The scores of a study's runs that have finished training; those on generated data only where there are no others.

    Of two runs of one network, arm, seed and rotation the first counts, and so does the first of two settings of a
    network; the log names what is left out.
    """
    epochs, tested = [], []
    seen: dict[tuple[object, ...], RunRecord] = {}
    arms = [(run, line_of(study, run), arm_of(run)) for run in runs]
    trained = [each for each in arms if each[1] and each[2] and each[0].folder.has_trained]
    real = any(not run.generated for run, _, _ in trained)
    for run, network, arm in trained:
        if run.generated and real:
            _log.warning("left out: %s is of generated data, others are not", run.folder.root)
            continue
        rows = STAND_IN if OmegaConf.select(run.cfg, "data.split.rows") is None else AUTHORS
        rotation = int(OmegaConf.select(run.cfg, "data.split.rotation", default=0))
        labels = dict(zip(_RUN, (network, rows, run.generated, rotation, run.cfg.seed), strict=True))
        key = (*labels.values(), arm)
        if key in seen:
            what = f"{network}, arm {arm}, seed {run.cfg.seed}, rotation {rotation}"
            _log.warning("left out: %s, for %s is of %s, too", run.folder.root, seen[key].folder.root, what)
            continue
        first = next((other for (name, *_), other in seen.items() if name == network), run)
        unlike = [name for name in _ALIKE if OmegaConf.select(run.cfg, name) != OmegaConf.select(first.cfg, name)]
        if unlike:
            _log.warning("left out: %s has another %s than %s", run.folder.root, ", ".join(unlike), first.folder.root)
            continue
        seen[key] = run
        try:
            scores = read_scores(run.folder.epoch_scores)
            if arm != "leaky":
                scores = scores[scores["epoch"] == scores["epoch"].max()]
            # A pair's name in SJTU-TIS is the ID of its image and a suffix for its condition.
            images = {name.partition("_")[0] for name in run.split.parts["train"]}
            trains = scores["image_id"].isin(images)
            epochs.append(scores.assign(**labels, arm=arm, image_trains=trains))
            if arm == "published" and run.folder.scores.is_file():
                scores = read_scores(run.folder.scores)
                tested.append(scores[scores["model"] == run.label].assign(**labels))
        except (DamagedFileError, DataError) as error:
            _log.warning("left out: %s", error)
    return ArmScores(_joined(epochs, EPOCH_KEYS), _joined(tested, TESTED_KEYS))


def arm_of(run: RunRecord) -> str:
    """The arm of the published split that a run trained on; empty for other splits."""
    return str(OmegaConf.select(run.cfg, _ARM, default=""))


def line_of(study: Study, run: RunRecord) -> str:
    """The line of a study's ``protocol_effects`` that a run is of, whatever its arm; empty where it is of none."""
    for line in (line for line in study.lines if line.name in study.protocol_effects):
        where = {key: value for key, value in line.where.items() if key != _ARM}
        if is_of(run, replace(line, where=where)):
            return line.name
    return ""


def _joined(tables: Sequence[pd.DataFrame], keys: Sequence[str]) -> pd.DataFrame:
    if not tables:
        return pd.DataFrame(columns=list(keys))
    table = pd.concat(tables, ignore_index=True)
    return table[[*keys, *metric_names(table)]].sort_values(list(keys), ignore_index=True)


def read_arm_scores(folder: Path) -> ArmScores:
    """The kept scores of a study's arms in a folder, empty where there are none.

    Raises:
        ConfigError: A file does not hold such scores.
    """
    tables = []
    for name, keys in ((EPOCHS_FILE, EPOCH_KEYS), (TESTED_FILE, TESTED_KEYS)):
        file = folder / name
        table = read_scores(file) if file.is_file() else pd.DataFrame(columns=list(keys))
        missing = [key for key in keys if key not in table]
        if missing:
            raise ConfigError(f"{file} does not hold scores of arms: it lacks the columns {', '.join(missing)}")
        tables.append(table)
    return ArmScores(*tables)


def effects(epochs: pd.DataFrame) -> list[Effect]:
    """Every effect that the kept scores tell, by kind, network, task and metric; of one row order.

    Of a network whose rows were rotated there are two of each: on the first fifth of the rows alone, the authors', and
    on all that were tested.

    Args:
        epochs: See :class:`ArmScores`.
    """
    found = []
    for network, of_network in epochs.groupby("network", sort=False):
        for count in sorted({1, of_network["rotation"].nunique()}):
            tested = of_network if count > 1 else of_network[of_network["rotation"] == of_network["rotation"].min()]
            for task in in_order(tested["task"].unique()):
                part = tested[tested["task"] == task]
                arms = {str(arm): of_arm for arm, of_arm in part.groupby("arm")}
                for metric in metric_names(part):
                    for kind, gaps in _gaps(arms, task, metric).items():
                        averaged = gaps.groupby("image_id")[metric].mean().reset_index()
                        by_seed = gaps.groupby("seed")[metric].mean()
                        seeds = {int(seed): float(mean) for seed, mean in by_seed.items()}  # type: ignore[call-overload]
                        mean = estimate(averaged, metric)
                        found.append(Effect(kind, str(network), task, metric, mean, seeds, count))
    order = list(Kind)
    return sorted(found, key=lambda effect: order.index(effect.kind))


def _gaps(arms: Mapping[str, pd.DataFrame], task: str, metric: str) -> dict[Kind, pd.DataFrame]:
    """Differences of single pairs by kind of effect, with ``seed`` and ``rotation``; those whose arms are there."""
    with_leak, without = ("leaky", "clean") if TASK_BY_NAME[task].has_text else ("control_pure", "clean_pure")
    found = {}
    if with_leak in arms and without in arms:
        one, other = _last(arms[with_leak]), _last(arms[without])
        found[Kind.LEAK] = _minus(one[one["split"] == "test"], other[other["split"] == "test"], metric)
        unseen_one, unseen_other = (scores[~scores["image_trains"].astype(bool)] for scores in (one, other))
        found[Kind.CONTROL] = _minus(unseen_one, unseen_other, metric)
    if "leaky" in arms:
        test = arms["leaky"][arms["leaky"]["split"] == "test"]
        best = _best(arms["leaky"], "test", metric)
        found[Kind.LAST] = _minus(best, _last(test), metric)
        found[Kind.CHOSEN] = _minus(best, _best(arms["leaky"], "val", metric), metric)
    return {kind: gaps for kind, gaps in found.items() if len(gaps)}


def _last(scores: pd.DataFrame) -> pd.DataFrame:
    """Each run's scores after its last epoch."""
    last = scores.groupby(["rotation", "seed"])["epoch"].transform("max")
    return scores[scores["epoch"] == last]


def _best(scores: pd.DataFrame, chosen_on: str, metric: str) -> pd.DataFrame:
    """The scores of each run's test pairs at the epoch with the best mean of a split's pairs.

    Only pairs whose score is defined after every epoch count in the mean, so that all epochs are judged by the same.
    """
    parts = []
    for _, run in scores.groupby(["rotation", "seed"]):
        by_pair = run[run["split"] == chosen_on].pivot(index="image_id", columns="epoch", values=metric)
        means = by_pair.dropna().mean().dropna()
        if len(means):
            epoch = means.idxmax() if METRICS[metric].higher_is_better else means.idxmin()
            parts.append(run[(run["split"] == "test") & (run["epoch"] == epoch)])
    return pd.concat(parts) if parts else scores[:0]


def _minus(one: pd.DataFrame, other: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Differences in a metric of the pairs that both have, run by run."""
    both = one[[*_PAIR, metric]].merge(other[[*_PAIR, metric]], on=_PAIR, suffixes=("", "_other"))
    return both[_PAIR].assign(**{metric: both[metric] - both[f"{metric}_other"]}).dropna(subset=metric)


def not_run(epochs: pd.DataFrame, networks: Sequence[str]) -> str:
    """Which networks, arms and seeds of one row order have no scores, in a sentence; empty where none is missing.

    Args:
        epochs: See :class:`ArmScores`.
        networks: Of the study.
    """
    needed = [arm for arm in ARMS if arm != "published"]  # which no effect is computed from
    seeds = sorted({int(seed) for seed in epochs["seed"]})
    missing = []
    for network in networks:
        own = epochs[epochs["network"] == network]
        ran = set(zip(own["arm"], own["seed"], strict=True))
        absent = [f"{arm} under seed {seed}" for arm in needed for seed in seeds if (arm, seed) not in ran]
        if own.empty:
            missing.append(network)
        elif absent:
            missing.append(f"{network}, {' and '.join(absent)}")
    if len(seeds) < _FEWEST_SEEDS:
        missing.append("a second seed")
    return f"Not run yet: {'; '.join(missing)}." if missing else ""


def with_most_rows(found: Sequence[Effect]) -> list[Effect]:
    """Of each network the effects on all rows that were tested, without those on a part of them."""
    most = {effect.network: 0 for effect in found}
    for effect in found:
        most[effect.network] = max(most[effect.network], effect.rotations)
    return [effect for effect in found if effect.rotations == most[effect.network]]


def conclusion(found: Sequence[Effect], metric: str = "cc") -> str:
    """The effects on one metric in a few sentences; empty without any.

    Args:
        found: Of :func:`effects`.
        metric: Which.
    """
    own = [effect for effect in with_most_rows(found) if effect.metric == metric]
    sign = 1 if METRICS[metric].higher_is_better else -1
    title, said = METRICS[metric].title, []
    leaks = [effect for effect in own if effect.kind is Kind.LEAK]
    if leaks:
        largest = max(leaks, key=lambda effect: sign * effect.estimate.mean)
        counts = {verdict: sum(effect.verdict == verdict for effect in leaks) for verdict in ("adds", "takes")}
        unresolved = len(leaks) - sum(counts.values())
        said.append(
            f"Training on test images under other texts adds to {title} in {counts['adds']} of {len(leaks)} cases "
            f"(networks and tasks), takes from it in {counts['takes']} and is not resolved in {unresolved}; "
            f"the largest is {_in_words(largest)}. {_advantage(leaks)}"
        )
    controls = [effect for effect in own if effect.kind is Kind.CONTROL]
    if controls:
        off = [effect for effect in controls if effect.verdict in ("adds", "takes")]
        said.append(
            f"On images that train in neither network the same difference is resolved in {len(off)} of "
            f"{len(controls)} cases{': ' + ', '.join(map(_in_words, off)) if off else ''}."
        )
    for kind, instead in ((Kind.LAST, "the last"), (Kind.CHOSEN, "the one best on validation images")):
        of_kind = [effect for effect in own if effect.kind is kind]
        if of_kind:
            gains = [sign * effect.estimate.mean for effect in of_kind]
            largest = of_kind[int(np.argmax(gains))]
            said.append(
                f"The best test epoch instead of {instead} adds {np.mean(gains):.3f} in the mean, at most "
                f"{_in_words(largest)}.{' ' + _advantage(of_kind) if kind is Kind.CHOSEN else ''}"
            )
    widths: dict[str, float] = {}
    for effect in leaks:
        if not math.isnan(effect.resolved):
            widths[effect.task] = max(widths.get(effect.task, 0.0), effect.resolved)
    if widths:
        limits = ", ".join(f"{task} {width:.3f}" for task, width in widths.items())
        said.append(f"Effects of the leak below these cannot be distinguished from zero: {limits}.")
    return " ".join(said)


def _advantage(found: Sequence[Effect]) -> str:
    """To which networks effects of one kind add by more than chance: in several tasks, and they take in none.

    Networks of which a task or a second seed is missing are not decided.
    """
    by_network: dict[str, list[Effect]] = {}
    for effect in found:
        by_network.setdefault(effect.network, []).append(effect)
    counts, undecided = [], []
    for network, own in by_network.items():
        verdicts = [effect.verdict for effect in own]
        if len(own) < len(TASKS) or any(len(effect.by_seed) < _FEWEST_SEEDS for effect in own):
            undecided.append(network)
        elif verdicts.count("adds") >= _FEWEST_TASKS and "takes" not in verdicts:
            counts.append(network)
    said = f"By the rule set in advance that counts for {', '.join(counts) or 'none of the networks'}"
    if undecided:
        said += f"; it is not decided for {', '.join(undecided)}, which lack a task or a second seed"
    return f"{said}."


def _in_words(effect: Effect) -> str:
    return f"{effect.estimate.signed()} ({effect.network}, {effect.task})"
