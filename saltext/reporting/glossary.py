"""The glossary of a report: tasks, metrics and baselines in a sentence each."""

import inspect
import re
from collections.abc import Iterable, Mapping

from saltext.baselines import BASELINES
from saltext.metrics import METRICS

_MARKUP = re.compile(r":\w+:(?=`)|[`*]")

TASKS: Mapping[str, str] = {
    "pure": "free viewing, nothing was read before",
    "whole": "viewing after reading a text about the whole scene",
    "general": "after a text about salient and non-salient objects in it",
    "salient": "after a text about its salient objects",
    "non_salient": "after a text about objects that are not salient",
}
"""What the viewers did before or while they were recorded, by task."""

INTRODUCTION = (
    "Where do people look in an image after reading a sentence about it? The data set has images that people looked at "
    "under several conditions (tasks), each with the points they fixated, and a density map of these. A model predicts "
    "that map from image and text, and is scored on test images; the split below says whether it had seen them before."
)

GENERATED = "Synthetic data: these scores say nothing about real images and do not compare with published values."


def conditions(tasks: Iterable[str]) -> str:
    """What the conditions among some tasks are, in one line; empty where none of them is known (own data)."""
    shown = set(tasks)
    known = [f"{name}, {meaning}" for name, meaning in TASKS.items() if name in shown]
    return f"Conditions: {'; '.join(known)}." if known else ""


def sentences(tasks: Iterable[str], metrics: Iterable[str], models: Iterable[str]) -> list[list[str]]:
    """A row (kind, word, meaning) for each task, metric and baseline that a report shows, in their usual order."""
    shown_tasks, shown_metrics, shown_models = set(tasks), set(metrics), set(models)
    rows = [["task", name, meaning] for name, meaning in TASKS.items() if name in shown_tasks]
    for name, metric in METRICS.items():
        if name in shown_metrics:
            function = getattr(metric.function, "func", metric.function)
            direction = "Higher" if metric.higher_is_better else "Lower"
            rows.append(["metric", metric.title, f"{_summary_line(function)} {direction} is better."])
    rows += [["model", one.title, _summary_line(one)] for one in BASELINES.values() if one.title in shown_models]
    return rows


def _summary_line(documented: object) -> str:
    """The first paragraph of a docstring, without its markup."""
    text = (inspect.getdoc(documented) or "").partition("\n\n")[0]
    return " ".join(_MARKUP.sub("", text).replace(", one score per image", "").split())
