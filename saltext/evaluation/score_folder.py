"""Scores of a folder of prediction maps, from any model, beside the baselines.

Maps are scored at the images' own resolution against the original fixation points. Predictions may lie in sub-folders
named like their task. PNG (8 or 16 bits) and NPY are read; floats are better, since 8-bit maps tie. All files are
checked first: what is wrong with them is said at once, and nothing is scored. The command line is ``saltext score``.
"""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from saltext.console import progress
from saltext.data.tasks import TASK_BY_NAME
from saltext.errors import ConfigError
from saltext.evaluation.folders import DataSet, Layout, open_data
from saltext.evaluation.native import NativePredictor, score_natively
from saltext.evaluation.predictions import open_predictions
from saltext.evaluation.protocols import STANDARD
from saltext.metrics import METRICS, check_names
from saltext.models.baselines import BASELINES

DEFAULT_METRICS = ("cc", "sim", "kl", "nss", "auc_judd", "auc_shuffled", "ig", "top20_auc")


def score_folder(
    predictions: Path | None,
    root: Path,
    *,
    layout: Layout = "auto",
    metrics: Sequence[str] = DEFAULT_METRICS,
    name: str | None = None,
    tasks: Sequence[str] = (),
    baselines: Sequence[str] = tuple(BASELINES),
    resize: bool = False,
    allow_missing: bool = False,
) -> pd.DataFrame:
    """Scores of a folder of predictions and of the baselines on the same pairs.

    Args:
        predictions: Folder of maps, see :func:`saltext.evaluation.predictions.open_predictions`; None: baselines only.
        root: The data set, see :func:`saltext.evaluation.folders.open_data`.
        layout: ``auto``, ``sjtu-tis``, ``salicon`` or ``own``.
        metrics: Names of ``saltext.metrics.METRICS``.
        name: Label of the predictions; their folder's name by default.
        tasks: Score these only; all by default. Other images of the data set count as such, scored or not.
        baselines: Names of ``saltext.models.baselines.BASELINES``. ``centre_prior`` learns from the level ``train``
            of the data set, and has no row where there is none.
        resize: Accept predictions of another size.
        allow_missing: Score the pairs that have a prediction.

    Returns:
        One row a pair and model, with the columns image_id, task, text, split, model, seed, protocol and the metrics.

    Raises:
        DataError: Predictions or data set cannot be used, with everything that is wrong with them.
        ConfigError: An unknown metric, task or baseline, or a task the data set does not have.
    """
    # A description's own conditions are known when it is read.
    _check_names(metrics, () if root.is_file() else tasks, baselines)
    data = open_data(root, layout, progress)
    places = _places(data, tasks)
    predictors: dict[str, NativePredictor] = {}
    if predictions is not None:
        opened = open_predictions(predictions, data, places, resize=resize, allow_missing=allow_missing, track=progress)
        places = opened.places
        predictors[name or predictions.resolve().name] = opened
    training = [place for place, part in enumerate(data.parts) if part == "train"]
    predictors |= {BASELINES[key].title: BASELINES[key](data.truth, training) for key in baselines}
    scores = score_natively(data.truth, predictors, places, metrics, progress)
    return _described(scores, data, metrics)


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


def _places(data: DataSet, tasks: Sequence[str]) -> list[int]:
    """Pairs of the tasks, ascending."""
    missing = [task for task in tasks if task not in data.truth.tasks]
    if missing:
        raise ConfigError(f"the data set has no pairs of {', '.join(missing)}; it has {', '.join(data.truth.tasks)}")
    return [place for place, pair in enumerate(data.truth.pairs) if not tasks or pair.task in tasks]
