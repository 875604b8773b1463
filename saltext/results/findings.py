"""The findings of a run in sentences: accuracy, text ablation, text-swap test."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from saltext.data.tasks import in_order
from saltext.evaluation.protocols import STANDARD
from saltext.metrics import METRICS
from saltext.results.comparison import Difference, differences, estimate
from saltext.results.score_table import metric_names, of_protocol, shown_metric
from saltext.results.text_ablation import TITLES, exchanged_pairs, has_swaps, short_title, swap_accuracies

# Baselines a model is compared with, the strongest first, by their titles: how a sentence names them.
_BASELINES = {
    "human map, free viewing": "the human map of free viewing",
    "centre prior (other images)": "the centre prior (other images)",
    "uniform map": "the uniform map",
}
_FEW = 30  # images; with fewer, a bootstrap interval is rough


class Finding(NamedTuple):
    """A result in one sentence, and what limits it; ``accuracy``, ``text`` (ablation) or ``swap`` (text-swap test)."""

    kind: str
    sentence: str
    caveat: str


def findings(pairs: pd.DataFrame, text_ablation: pd.DataFrame, model: str, setting: str = "") -> list[Finding]:
    """Accuracy against the strongest baseline, text ablation and text-swap test, as far as the model has their scores.

    They are about the last condition that was scored with other texts, else about the last one: on SJTU-TIS
    non_salient, under which the text matters most.

    ``pairs`` hold the scores of the model and of baselines; the first caveat says what in the evaluation ``setting``
    makes scores optimistic.
    """
    standard = of_protocol(pairs, STANDARD)
    own = standard[standard["model"] == model]
    if own.empty:
        return []
    metric = shown_metric(metric_names(own))
    title = METRICS[metric].title
    own = own.drop(columns=[name for name in metric_names(own) if name != metric])  # bootstrapping others takes time
    with_text = set(text_ablation["task"]) & set(own["task"]) if len(text_ablation) else set()
    task = in_order(task for task in own["task"] if task in with_text or not with_text)[-1]
    of_task = own[own["task"] == task]
    accuracy = estimate(of_task, metric)
    seeds = of_task["seed"].nunique() if "seed" in of_task else 1
    caveats = [
        f"{accuracy.images} test images" + (", few: the interval is rough" if accuracy.images < _FEW else ""),
        f"{seeds} seeds, averaged pair by pair" if seeds > 1 else "one seed, whose spread is not in the interval",
    ]
    baselines = {name: standard[standard["model"] == title] for title, name in _BASELINES.items()}
    against = "".join(f", {gap.signed()} against {name}" for name, gap in _first_gap(of_task, baselines))
    if "free viewing" in against:
        caveats.append("in free viewing the viewers read no text")
    if "optimistic" in setting or "by row" in setting:
        caveats.append("model selection or training has seen test images")
    results = [Finding("accuracy", f"{title} {accuracy} on {task}{against}.", f"{'; '.join(caveats)}.")]
    if text_ablation.empty:
        return results
    # The most telling text first.
    names = [name for name in reversed(tuple(TITLES)) if name != "opposite_condition"]
    by_variant = {short_title(name): text_ablation[text_ablation["variant"] == name] for name in names}
    for variant, gap in _first_gap(of_task, by_variant):
        sentence = f"Text ablation: {gap.signed()} {title} on {task}, own text against {variant}, same weights."
        caveat = (
            "A model trained with text can lose more by a wrong text than it gains by the correct one; the gain from "
            "reading is the difference from the same network trained without text."
        )
        results.append(Finding("text", sentence, caveat))
    for swap in swap_accuracies(own, exchanged_pairs(text_ablation)) if has_swaps(text_ablation) else ():
        if swap.direction == "texts":
            sentence = f"The map follows the text for {swap} of the texts of {swap.images} images (text-swap test)."
            caveat = "50 % is chance for a map that moves at random, 0 % one that does not move."
            results.append(Finding("swap", sentence, caveat))
    return results


def _first_gap(of_task: pd.DataFrame, others: Mapping[str, pd.DataFrame]) -> list[tuple[str, Difference]]:
    """The difference of one condition's scores from the first table with defined scores; empty where none has any."""
    for name, other in others.items():
        if set(of_task["task"]) <= set(other["task"]):
            gaps = [gap for gap in differences(of_task, other) if not np.isnan(gap.mean)]
            if gaps:
                return [(name, gaps[0])]
    return []


def conclusion(pairs: pd.DataFrame, text_ablation: pd.DataFrame, model: str) -> str:
    """The findings in one line, without their caveats; empty if the model has no scores."""
    return " ".join(finding.sentence for finding in findings(pairs, text_ablation, model))
