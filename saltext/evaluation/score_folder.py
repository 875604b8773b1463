"""Scores of a folder of prediction maps, from any model, beside the baselines: the command ``saltext score``.

Maps are scored at the images' own resolution against the original fixation points. Predictions may lie in sub-folders
named like their task. PNG (8 or 16 bits) and NPY are read; floats are better, since 8-bit maps have ties. All files
that the scores depend on are checked first, and one error names all that is wrong, before anything is scored. Of the
data set, these are the maps and fixations of the scored images and of all images under the scored conditions;
``saltext data check`` reads the others as well.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from saltext.baselines import BASELINES, CentrePriorOfOthers
from saltext.console import progress
from saltext.data.folds import Folds
from saltext.data.index import DatasetIndex, Source
from saltext.data.report import DataReport
from saltext.errors import ConfigError, DataError, baseline_clash
from saltext.evaluation.baseline_scores import BaselineScores
from saltext.evaluation.evaluator import PairScores, score_frame, score_pairs
from saltext.evaluation.folders import DataSet, needed, read_data
from saltext.evaluation.predictions import ADVICE, list_predictions, open_predictions
from saltext.evaluation.predictor import Predictor
from saltext.evaluation.protocols import STANDARD, standard
from saltext.evaluation.score_cache import ScoreCache
from saltext.metrics import METRICS, check_names

DEFAULT_METRICS = ("cc", "sim", "kl", "nss", "auc_judd", "auc_shuffled", "ig", "top20_auc")


def score_folder(
    predictions: Path | None,
    source: Source,
    *,
    metrics: Sequence[str] = DEFAULT_METRICS,
    name: str | None = None,
    tasks: Sequence[str] = (),
    baselines: Sequence[str] = tuple(BASELINES),
    resize: bool = False,
    allow_missing: bool = False,
    folds: Path | None = None,
    cache_dir: Path | None = None,
) -> pd.DataFrame:
    """Scores of a folder of predictions and of the baselines on the same pairs.

    Args:
        predictions: Folder of maps, see :func:`saltext.evaluation.predictions.list_predictions`; None: baselines only.
        source: The data set's reader, see :func:`saltext.data.sources.detect.source_of`.
        metrics: Names of ``saltext.metrics.METRICS``.
        name: Label of the predictions; their folder's name by default.
        tasks: Score these only; all by default. "Other images" are those of the whole data set, scored or not.
        baselines: Names of ``saltext.baselines.BASELINES``. ``centre_prior`` learns from the level ``train``
            of the data set, and has no row where there is none.
        resize: Accept predictions of another size.
        allow_missing: Score only the pairs that have a prediction; with ``folds``, only the folds that have one.
        folds: File of :class:`saltext.data.folds.Folds`. Its images are scored, and each of their pairs has exactly one
            map, which is not constant.
        cache_dir: Folder in which fixation data and the baselines' scores are cached; None caches nothing.

    Returns:
        One row per pair and model, with the columns image_id, task, text, split, model, seed, protocol and the metrics;
        with ``folds``, a column fold (from 0) after split.

    Raises:
        DataError: Invalid predictions or data set; one error names everything that is wrong.
        ConfigError: An unknown metric, task or baseline, a task the data set does not have, or a label that is a
            baseline's.
    """
    _check_names(metrics, tasks, source.conditions, baselines)
    label = name or (predictions.resolve().name if predictions is not None else "")
    if clash := baseline_clash(label, {key: baseline.title for key, baseline in BASELINES.items()}):
        raise ConfigError(f"{clash}; give the predictions another label with --name")
    cache = ScoreCache(cache_dir)
    dataset = source.read()
    indices = _indices_of_tasks(dataset, tasks)
    issues = DataReport()
    files = {} if predictions is None else list_predictions(predictions, dataset, issues)
    fixed = None if folds is None else Folds.read(folds, issues)
    if fixed is not None:
        fixed.check_against(dataset, issues)
        indices = fixed.indices(dataset, indices)
        if predictions is None or not indices:
            issues.raise_if_any(f"The folds of {folds}", _FOLDS_ADVICE)
        if not indices:
            raise DataError(f"Expected images of the data set in the folds of {folds}, found none. {_FOLDS_ADVICE}")
    if predictions is not None and allow_missing:
        indices = _with_predictions(dataset, indices, files, fixed) or indices
    needs_prior = CentrePriorOfOthers.name in baselines or any("baseline" in METRICS[key].needs for key in metrics)
    scored_tasks = list(dict.fromkeys(dataset.pairs[index].task for index in indices))
    data = read_data(dataset, needed(dataset, indices), scored_tasks if needs_prior else (), cache, progress)
    predictors: dict[str, Predictor] = {}
    if predictions is not None:
        predictors[label] = open_predictions(
            predictions,
            files,
            data.ground_truth,
            indices,
            resize=resize,
            constant=fixed is None,
            issues=issues,
            track=progress,
            advice=ADVICE if fixed is None else f"{_MAPS_ADVICE} {_FOLDS_ADVICE}",
        )
    scores = _scores_with_cached_baselines(data, predictors, indices, metrics, baselines, cache)
    models = [*predictors, *(BASELINES[key].title for key in baselines)]
    frame = score_frame(data.ground_truth, models, scores, metrics)
    levels = {
        (pair.image_id, pair.task): level for pair, level in zip(data.ground_truth.pairs, data.parts, strict=True)
    }
    splits = [levels[key] or "all" for key in zip(frame["image_id"], frame["task"], strict=True)]
    frame = frame.assign(split=splits, seed=0, protocol=STANDARD)
    first = ["image_id", "task", "text", "split", "model", "seed", "protocol"]
    if fixed is not None:
        frame = frame.assign(fold=[fixed.fold_of[image] for image in frame["image_id"]])
        first.insert(4, "fold")
    return frame[[*first, *metrics]]


_FOLDS_ADVICE = (
    "Take the original file of folds, or write it again from the same data set: saltext folds export FILE DATA."
)
_MAPS_ADVICE = (
    "Expected one map per pair of these images, named like the pair, of the ground truth's size, not constant. "
    "--resize accepts other sizes, --allow-missing lets whole folds be missing, --task chooses what is scored."
)


def _with_predictions(
    dataset: DatasetIndex, indices: Sequence[int], files: Mapping[int, Path], folds: Folds | None
) -> list[int]:
    """Those of some pairs that have a file; of folds, all pairs of the folds that have one."""
    if folds is None:
        return [index for index in indices if index in files]
    begun = folds.begun(dataset, (index for index in indices if index in files))
    return [index for index in indices if folds.fold_of[dataset.pairs[index].image_id] in begun]


def _scores_with_cached_baselines(
    data: DataSet,
    predictors: Mapping[str, Predictor],
    indices: Sequence[int],
    metrics: Sequence[str],
    baselines: Sequence[str],
    cache: ScoreCache,
) -> PairScores:
    """Scores of predictors and baselines; those of the baselines are cached."""
    truth, protocol = data.ground_truth, standard(metrics)
    depends_on = [data.depends_on, list(data.parts), list(indices)] if data.depends_on else []
    cache_of_baselines = BaselineScores(cache, depends_on, baselines)
    cached = cache_of_baselines.get(protocol)
    if cached is not None:
        known = {(BASELINES[name].title, i): row for name, by_pair in cached.items() for i, row in by_pair.items()}
        return {**score_pairs(truth, predictors, indices, metrics, progress), **known} if predictors else known
    tasks = {truth.pairs[index].task for index in indices}
    training = [i for i, level in enumerate(data.parts) if level == "train" and truth.pairs[i].task in tasks]
    built = {BASELINES[name].title: BASELINES[name](truth, training) for name in baselines}
    scores = score_pairs(truth, {**predictors, **built}, indices, metrics, progress)
    by_baseline = {
        name: {index: row for (label, index), row in scores.items() if label == BASELINES[name].title}
        for name in baselines
    }
    cache_of_baselines.put(protocol, by_baseline)
    return scores


def _check_names(
    metrics: Sequence[str], tasks: Sequence[str], conditions: Sequence[str] | None, baselines: Sequence[str]
) -> None:
    problems = [
        f"unknown baseline {name!r}; choose from {', '.join(BASELINES)}" for name in baselines if name not in BASELINES
    ]
    if conditions is not None:  # otherwise they are known only after the data set was read
        problems += [
            f"unknown task {name!r}; choose from {', '.join(conditions)}" for name in tasks if name not in conditions
        ]
    try:
        check_names(metrics)
    except ValueError as error:
        problems.append(str(error))
    if not metrics:
        problems.append(f"no metric is chosen; choose from {', '.join(METRICS)}")
    if problems:
        raise ConfigError("\n".join(problems))


def _indices_of_tasks(dataset: DatasetIndex, tasks: Sequence[str]) -> list[int]:
    """Indices of the pairs of some tasks, ascending; of all tasks if ``tasks`` is empty."""
    available = list(dict.fromkeys(pair.task for pair in dataset.pairs))
    missing = [task for task in tasks if task not in available]
    if missing:
        raise ConfigError(f"the data set has no pairs of {', '.join(missing)}; it has {', '.join(available)}")
    return [index for index, pair in enumerate(dataset.pairs) if not tasks or pair.task in tasks]
