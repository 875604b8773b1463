"""The findings of a run in sentences: accuracy, text ablation, text-swap test."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from saltext.data.tasks import in_order
from saltext.evaluation.protocols import STANDARD
from saltext.metrics import METRICS
from saltext.results.comparison import Difference, differences, estimate
from saltext.results.score_table import metric_names, of_protocol
from saltext.results.text_effect import exchanged_pairs, has_swaps, swap_accuracies

# Baselines a model is compared with, the strongest first.
_BASELINES = ("human free-viewing map", "centre prior (other images)", "uniform map")
# Text variants of the ablation, the most telling first.
_OTHER_TEXTS = {"opposite": "swapped text", "other_image": "shuffled text (another image's)", "empty": "empty text"}
_FEW = 30  # images; with fewer, a bootstrap interval is rough


@dataclass(frozen=True)
class Finding:
    """A result in one sentence, with its interval and its limits.

    Attributes:
        kind: ``accuracy``, ``text`` (text ablation) or ``swap`` (text-swap test).
        sentence: The result.
        caveat: What limits it.
    """

    kind: str
    sentence: str
    caveat: str


def shown_task(own: pd.DataFrame, text_effect: pd.DataFrame) -> str:
    """The condition a conclusion is about: the last one that was scored with other texts, else the last one.

    On SJTU-TIS this is non_salient, under which the text matters most.
    """
    with_text = own["task"].isin(text_effect["task"]) if len(text_effect) else own["task"].isna()
    return in_order(own.loc[with_text if with_text.any() else ~with_text, "task"])[-1]


def shown_metric(own: pd.DataFrame) -> str:
    """The metric a conclusion is about: CC, or the first there is."""
    return "cc" if "cc" in own else metric_names(own)[0]


def findings(pairs: pd.DataFrame, text_effect: pd.DataFrame, model: str, setting: str = "") -> list[Finding]:
    """Accuracy against the strongest baseline, text ablation and text-swap test, as far as they were measured.

    Args:
        pairs: Scores of a run's test pairs, the model's and the baselines', all conditions.
        text_effect: The model's scores with other texts; empty if it was given none.
        model: The model's name in the scores.
        setting: Evaluation setting; the first caveat names what in it makes scores optimistic.

    Returns:
        At most three; none if the model has no scores.
    """
    standard = of_protocol(pairs, STANDARD)
    own = standard[standard["model"] == model]
    if own.empty:
        return []
    task, metric = shown_task(own, text_effect), shown_metric(own)
    own = own.drop(columns=[name for name in metric_names(own) if name != metric])  # bootstrapping others takes time
    title = METRICS[metric].title
    of_task = own[own["task"] == task]
    accuracy = estimate(of_task, metric)
    caveat = f"{accuracy.images} test images" + (", few: the interval is rough" if accuracy.images < _FEW else "")
    seeds = of_task["seed"].nunique() if "seed" in of_task else 1
    caveat += (
        f"; {seeds} seeds, averaged pair by pair" if seeds > 1 else "; one seed, whose spread is not in the interval"
    )
    if "optimistic" in setting or "by row" in setting:
        caveat += "; model selection or training has seen test images"
    baselines = {f"the {name}": standard[standard["model"] == name] for name in _BASELINES}
    against = "".join(f", {gap.signed()} against {name}" for name, gap in _first_gap(of_task, baselines))
    results = [Finding("accuracy", f"{title} {accuracy} on {task}{against}.", f"{caveat}.")]
    if text_effect.empty:
        return results
    by_variant = {words: text_effect[text_effect["variant"] == name] for name, words in _OTHER_TEXTS.items()}
    results += [
        Finding(
            "text",
            f"Text ablation: {gap.signed()} {title} on {task}, own text against {words}, same weights.",
            "A model trained with text can lose more by a wrong text than it gains by the correct one; the gain from "
            "reading is the difference from the same network trained without text.",
        )
        for words, gap in _first_gap(of_task, by_variant)
    ]
    if has_swaps(text_effect):
        results += [
            Finding(
                "swap",
                f"The map follows the text for {accuracy} of the texts of {accuracy.images} images (text-swap test).",
                "50 % is chance for a map that moves at random, 0 % one that does not move.",
            )
            for accuracy in swap_accuracies(own, exchanged_pairs(text_effect))
            if accuracy.direction == "texts"
        ]
    return results


def _first_gap(of_task: pd.DataFrame, others: Mapping[str, pd.DataFrame]) -> list[tuple[str, Difference]]:
    """The difference of one condition's scores from the first table with defined scores; empty where none has any."""
    for name, other in others.items():
        if set(of_task["task"]) <= set(other["task"]):
            gaps = [gap for gap in differences(of_task, other) if not np.isnan(gap.mean)]
            if gaps:
                return [(name, gaps[0])]
    return []


def conclusion(pairs: pd.DataFrame, text_effect: pd.DataFrame, model: str) -> str:
    """The findings in one line, without their caveats; empty if the model has no scores."""
    return " ".join(finding.sentence for finding in findings(pairs, text_effect, model))
