"""Scores of a folder of prediction maps, from any model, beside the baselines.

Maps are scored at the images' own resolution against the original fixation points. Predictions may lie in sub-folders
named like their task. PNG (8 or 16 bits) and NPY are read; floats are better, since 8-bit maps tie. All files that the
scores depend on are checked first: what is wrong with them is said at once, and nothing is scored. Of the data set,
these are the recordings of the scored images and of all images under the scored conditions; ``saltext data check``
reads the others as well. The command line is ``saltext score``.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from saltext.baselines import BASELINES, CentrePriorOfOthers
from saltext.console import progress
from saltext.data.index import DatasetIndex, Layout
from saltext.data.report import DataReport
from saltext.data.sources.detect import source_of
from saltext.data.tasks import TASK_BY_NAME
from saltext.errors import ConfigError
from saltext.evaluation.evaluator import PairScores, score_frame, score_pairs
from saltext.evaluation.folders import DataSet, needed, read_data
from saltext.evaluation.predictions import list_predictions, open_predictions
from saltext.evaluation.predictor import Predictor
from saltext.evaluation.protocols import STANDARD
from saltext.evaluation.score_cache import ScoreCache
from saltext.metrics import METRICS, check_names
from saltext.metrics.scores import is_built_in

_KEPT = ("of", "scores")

DEFAULT_METRICS = ("cc", "sim", "kl", "nss", "auc_judd", "auc_shuffled", "ig", "top20_auc")


def score_folder(
    predictions: Path | None,
    root: Path,
    *,
    layout: Layout | Literal["auto"] = "auto",
    metrics: Sequence[str] = DEFAULT_METRICS,
    name: str | None = None,
    tasks: Sequence[str] = (),
    baselines: Sequence[str] = tuple(BASELINES),
    resize: bool = False,
    allow_missing: bool = False,
    cache_dir: Path | None = None,
) -> pd.DataFrame:
    """Scores of a folder of predictions and of the baselines on the same pairs.

    Args:
        predictions: Folder of maps, see :func:`saltext.evaluation.predictions.list_predictions`; None: baselines only.
        root: The data set, see :func:`saltext.data.sources.detect.source_of`.
        layout: ``auto``, ``sjtu-tis``, ``salicon`` or ``own``.
        metrics: Names of ``saltext.metrics.METRICS``.
        name: Label of the predictions; their folder's name by default.
        tasks: Score these only; all by default. Other images of the data set count as such, scored or not.
        baselines: Names of ``saltext.baselines.BASELINES``. ``centre_prior`` learns from the level ``train``
            of the data set, and has no row where there is none.
        resize: Accept predictions of another size.
        allow_missing: Score the pairs that have a prediction.
        cache_dir: Folder of caches, where the recordings and the baselines' scores are kept; None keeps nothing.

    Returns:
        One row a pair and model, with the columns image_id, task, text, split, model, seed, protocol and the metrics.

    Raises:
        DataError: Predictions or data set cannot be used, with everything that is wrong with them.
        ConfigError: An unknown metric, task or baseline, or a task the data set does not have.
    """
    # A description's own conditions are known when it is read.
    _check_names(metrics, () if root.is_file() else tasks, baselines)
    cache = ScoreCache(cache_dir)
    dataset = source_of(root, layout).read()
    indices = _chosen_indices(dataset, tasks)
    issues = DataReport()
    files = {} if predictions is None else list_predictions(predictions, dataset, issues)
    if predictions is not None and allow_missing:
        indices = [index for index in indices if index in files] or indices
    needs_prior = CentrePriorOfOthers.name in baselines or any("baseline" in METRICS[one].needs for one in metrics)
    scored_tasks = list(dict.fromkeys(dataset.pairs[index].task for index in indices))
    data = read_data(dataset, needed(dataset, indices), scored_tasks if needs_prior else (), cache, progress)
    predictors: dict[str, Predictor] = {}
    if predictions is not None:
        label = name or predictions.resolve().name
        predictors[label] = open_predictions(
            predictions, files, data.truth, indices, resize=resize, issues=issues, track=progress
        )
    scores = _scores(data, predictors, indices, metrics, baselines, cache)
    titles = [BASELINES[key].title for key in baselines]
    frame = score_frame(data.truth, list(dict.fromkeys([*predictors, *titles])), scores, metrics)
    return _described(frame, data, metrics)


def _scores(
    data: DataSet,
    predictors: Mapping[str, Predictor],
    indices: Sequence[int],
    metrics: Sequence[str],
    baselines: Sequence[str],
    cache: ScoreCache,
) -> PairScores:
    """Scores of predictors, and of baselines, which are kept: every model is scored beside the same ones."""
    depends_on = [data.depends_on, list(data.parts), list(indices), list(metrics), list(baselines)]
    titles = [BASELINES[key].title for key in baselines]
    # Whether a function from outside the package is the same as before is not known.
    keeps = bool(data.depends_on and baselines and all(map(is_built_in, metrics)))
    kept = cache.get(depends_on, _KEPT) if keeps else None
    if kept is not None:
        keys = [(titles[row], index) for row, index in kept["of"].tolist()]
        beside = dict(zip(keys, kept["scores"].tolist(), strict=True))
        return {**score_pairs(data.truth, predictors, indices, metrics, progress), **beside} if predictors else beside
    tasks = {data.truth.pairs[index].task for index in indices}
    training = [
        index for index, part in enumerate(data.parts) if part == "train" and data.truth.pairs[index].task in tasks
    ]
    built = {BASELINES[key].title: BASELINES[key](data.truth, training) for key in baselines}
    scores = score_pairs(data.truth, {**predictors, **built}, indices, metrics, progress)
    if keeps:
        of = [(titles.index(label), index) for label, index in scores if label in built]
        values = [row for (label, _), row in scores.items() if label in built]
        arrays = {"of": np.array(of, np.int64), "scores": np.array(values, np.float64)}
        cache.put(depends_on, {name: array.reshape(len(of), -1) for name, array in arrays.items()})
    return scores


def _described(scores: pd.DataFrame, data: DataSet, metrics: Sequence[str]) -> pd.DataFrame:
    """The columns of a run's score table."""
    parts = {(pair.image_id, pair.task): part for pair, part in zip(data.truth.pairs, data.parts, strict=True)}
    levels = [parts[key] or "all" for key in zip(scores["image_id"], scores["task"], strict=True)]
    described = scores.assign(split=levels, seed=0, protocol=STANDARD)
    return described[["image_id", "task", "text", "split", "model", "seed", "protocol", *metrics]]


def _check_names(metrics: Sequence[str], tasks: Sequence[str], baselines: Sequence[str]) -> None:
    problems = [
        f"unknown baseline {name!r}; choose from {', '.join(BASELINES)}" for name in baselines if name not in BASELINES
    ]
    problems += [
        f"unknown task {name!r}; choose from {', '.join(TASK_BY_NAME)}" for name in tasks if name not in TASK_BY_NAME
    ]
    try:
        check_names(metrics)
    except ValueError as error:
        problems.append(str(error))
    if not metrics:
        problems.append(f"no metric is chosen; choose from {', '.join(METRICS)}")
    if problems:
        raise ConfigError("\n".join(problems))


def _chosen_indices(dataset: DatasetIndex, tasks: Sequence[str]) -> list[int]:
    """Pairs of the tasks, ascending."""
    there = list(dict.fromkeys(pair.task for pair in dataset.pairs))
    missing = [task for task in tasks if task not in there]
    if missing:
        raise ConfigError(f"the data set has no pairs of {', '.join(missing)}; it has {', '.join(there)}")
    return [index for index, pair in enumerate(dataset.pairs) if not tasks or pair.task in tasks]
