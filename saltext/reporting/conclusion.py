"""What a run found, in a sentence."""

import pandas as pd

from saltext.data.tasks import in_order
from saltext.evaluation.protocols import STANDARD
from saltext.metrics import METRICS
from saltext.reporting import text_swap
from saltext.reporting.compare import Difference, compare
from saltext.reporting.scores import metric_names, of_protocol

# What a model is compared with, the strongest first.
_BASELINES = ("human free-viewing map", "centre prior (other images)", "uniform map")
# What else the model was given to read, what tells most first.
_READ = {
    "opposite": "the text about the image's other objects",
    "other_image": "another image's text",
    "empty": "no text",
}


def conclusion(pairs: pd.DataFrame, text_effect: pd.DataFrame, model: str) -> str:
    """The score of a model where the text says most, against what it is to beat, and whether its map follows the text.

    Args:
        pairs: Scores of a run's test pairs, the model's and the baselines'.
        text_effect: The model's scores with other texts; empty if it was given none.
        model: Its name in the scores.

    Returns:
        A sentence; empty if the model has no scores.
    """
    standard = of_protocol(pairs, STANDARD)
    own = standard[standard["model"] == model]
    if own.empty:
        return ""
    task = in_order(own["task"].unique())[-1]  # non_salient, of SJTU-TIS
    metric = "cc" if "cc" in own else metric_names(own)[0]
    shown = own[own["task"] == task]
    parts = [f"{METRICS[metric].title} {shown[metric].mean():.3f} on {task} ({len(shown)} pairs)"]
    beside = next((name for name in _BASELINES if name in set(standard.loc[standard["task"] == task, "model"])), None)
    if beside is not None:
        parts.append(f"{_gap(compare(own, standard[standard['model'] == beside]), task, metric)} over the {beside}")
    for variant, words in _READ.items():
        other = text_effect[text_effect["variant"] == variant] if len(text_effect) else text_effect
        if task in set(other.get("task", ())):
            parts.append(f"{_gap(compare(own, other), task, metric)} over itself with {words}")
            break
    said = ", ".join(parts)
    if text_swap.applies(text_effect):
        variant = text_swap.exchanged_pairs(text_effect)["variant"].iloc[0]
        shares = text_swap.shares(own, text_effect)
        moved = [s for s in shares if (s.variant, s.metric, s.direction) == (variant, metric, "texts")]
        said += "".join(f"; the map follows the text on {share} of {share.images} images" for share in moved)
    return f"{said}."


def _gap(differences: list[Difference], task: str, metric: str) -> str:
    (found,) = (d for d in differences if (d.task, d.metric) == (task, metric))
    return f"{found.mean:+.3f} ({found.low:+.3f} to {found.high:+.3f})"
