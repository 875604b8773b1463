"""Score a folder of prediction maps, from any model, and print them beside the baselines.

    python -m saltext.score PRED_DIR DATA_ROOT            # PRED_DIR/ID.png, ID_3.png, ... or .npy, named like the pairs
    python -m saltext.score PRED_DIR DATA_ROOT --tasks salient non_salient --out scores --name "my model"
    python -m saltext.score PRED_DIR salicon/val          # maps/ and fixations/ (.mat, .npy, .csv or .png)
    python -m saltext.score PRED_DIR my_data.yaml         # data of your own (docs/own-data.md): CONDITION/IMAGE.png
    python -m saltext.score --baselines DATA_ROOT         # no predictions: what the bars are

Maps are scored at the images' own resolution against the original fixation points. Predictions may lie in sub-folders
named like their task. PNG (8 or 16 bits) and NPY are read; floats are better, since 8-bit maps tie. All files are
checked first: what is wrong with them is said at once, and nothing is scored.
"""

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, get_args

import pandas as pd

from saltext import storage
from saltext.console import bar, set_up_streams
from saltext.data.tasks import TASK_BY_NAME
from saltext.errors import ConfigError, SaltextError
from saltext.evaluation.folders import DataSet, Layout, open_data
from saltext.evaluation.native import NativePredictor, score_natively
from saltext.evaluation.predictions import open_predictions
from saltext.evaluation.protocols import STANDARD
from saltext.metrics import METRICS, check_names
from saltext.models.baselines import BASELINES
from saltext.reporting import tables
from saltext.reporting.scores import write_scores

DEFAULT_METRICS = ("cc", "sim", "kl", "nss", "auc_judd", "auc_shuffled", "ig", "top20_auc")


def progress(things: Iterable[Any], what: str, total: int) -> Iterable[Any]:
    """The things, with a bar on a terminal and four lines elsewhere, both on standard error."""
    if sys.stderr.isatty():
        yield from bar(things, what, total)
        return
    step = max(1, total // 4)
    for done, thing in enumerate(things, start=1):
        yield thing
        if done % step == 0:
            print(f"{what}: {done} of {total}", file=sys.stderr)


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
        One row a pair and model: image_id, task, text, split, model, seed, protocol and the metrics.

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


def _write(scores: pd.DataFrame, shown: Sequence[tables.TaskTable], out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    write_scores(out / "scores.csv", scores)
    storage.write_text(out / "table.md", "\n".join(tables.markdown(table) for table in shown))


def _arguments() -> argparse.ArgumentParser:
    description, _, details = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        prog="python -m saltext.score",
        description=description,
        epilog=details,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("predictions", metavar="PRED_DIR", type=Path, nargs="?", help="folder of prediction maps")
    parser.add_argument(
        "root",
        metavar="DATA_ROOT",
        type=Path,
        help="SJTU-TIS, a folder of maps/ and fixations/, or a YAML file that describes data of your own",
    )
    parser.add_argument("--baselines", action="store_true", help="score the baselines alone, without PRED_DIR")
    parser.add_argument("--layout", choices=get_args(Layout), default="auto", help="of DATA_ROOT")
    parser.add_argument("--metrics", nargs="+", default=list(DEFAULT_METRICS), metavar="NAME", help=", ".join(METRICS))
    parser.add_argument("--tasks", nargs="+", default=[], metavar="TASK", help=", ".join(TASK_BY_NAME))
    parser.add_argument(
        "--beside", nargs="*", default=list(BASELINES), metavar="NAME", help=f"baselines shown: {', '.join(BASELINES)}"
    )
    parser.add_argument("--name", metavar="LABEL", help="of the predictions in the table (default: the folder's name)")
    parser.add_argument("--out", metavar="DIR", type=Path, help="write scores.csv and table.md there")
    parser.add_argument("--resize", action="store_true", help="accept maps of another size (bilinear)")
    parser.add_argument("--allow-missing", action="store_true", help="accept pairs without a prediction")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point; see the module's help."""
    set_up_streams()
    parser = _arguments()
    given = parser.parse_args(arguments)
    if given.baselines == (given.predictions is not None):
        parser.error("give PRED_DIR DATA_ROOT, or --baselines DATA_ROOT without predictions")
    try:
        scores = score_folder(
            given.predictions,
            given.root,
            layout=given.layout,
            metrics=given.metrics,
            name=given.name,
            tasks=given.tasks,
            baselines=given.beside,
            resize=given.resize,
            allow_missing=given.allow_missing,
        )
        shown = tables.tables(scores, {})
        if given.out is not None:
            _write(scores, shown, given.out)
    except (SaltextError, OSError) as error:  # OSError: --out cannot be written to
        sys.exit(f"error: {error}")
    for table in shown:
        tables.show(table)


if __name__ == "__main__":
    main()
