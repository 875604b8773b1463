"""Does the map follow the text? On how many images it moves towards the right truth when the text is exchanged.

An image counts that has a salient and a non_salient text. With
P(t) the map under the text t and T(t) what people looked at after reading it, its map moves rightly

* to ``salient``: P(salient) is nearer to T(salient) than P(non_salient) is,
* to ``non_salient``: P(non_salient) is nearer to T(non_salient) than P(salient) is,
* to ``both``: both are true.

Nearer: the metric is better, by more than 1e-6; a map that does not change has not moved. A model that is indifferent
to the text is right on 0 % of the images, one whose map moves at random on half of them, in each direction.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from saltext import storage
from saltext.console import PRINT_WIDTH
from saltext.evaluation.protocols import STANDARD
from saltext.metrics import METRICS
from saltext.reporting.compare import bootstrap_means
from saltext.reporting.scores import metric_names, of_protocol
from saltext.system.run_folder import RunFolder

TASKS = ("salient", "non_salient")
VARIANTS = {
    "opposite": "the text exchanged",
    "opposite_condition": "the text exchanged, and the name of its condition",
}
"""The exchanges that are looked at, by the name of the text variant."""

QUANTILES = (0.1, 0.5, 0.9)
RULE = (
    "Chosen by rule: the test images at the 10th, 50th and 90th percentile of the text effect (CC under the right text "
    "minus CC under the exchanged one, mean of the image's two texts)."
)

_SAME = 1e-6  # a map computed twice, in batches of different sizes, scores the same up to this
_LEVEL = 0.95


@dataclass(frozen=True)
class Share:
    """On which part of the images the map moved rightly.

    Attributes:
        variant: One of :data:`VARIANTS`.
        metric: Decides what is nearer.
        direction: ``salient``, ``non_salient``, ``both``, or ``texts``: of all texts, two an image.
        images: Number of images.
        share: 0 to 1.
        exact_low: Clopper-Pearson interval of 95 % for the share of images; NaN for ``texts``, since the two texts of
            an image are not independent.
        exact_high: Its other end.
        bootstrap_low: Interval of 95 % by resampling images.
        bootstrap_high: Its other end.

    References:
        Clopper and Pearson, The use of confidence or fiducial limits illustrated in the case of the binomial,
        Biometrika 1934.
    """

    variant: str
    metric: str
    direction: str
    images: int
    share: float
    exact_low: float
    exact_high: float
    bootstrap_low: float
    bootstrap_high: float

    def __str__(self) -> str:
        low, high = self.exact_low, self.exact_high
        if self.direction == "texts":
            low, high = self.bootstrap_low, self.bootstrap_high
        return f"{100 * self.share:.0f} % ({100 * low:.0f} to {100 * high:.0f})"


def applies(variants: pd.DataFrame) -> bool:
    """Whether a run's scores with other texts say anything about exchanged ones, in both directions."""
    if variants.empty:
        return False
    exchanged = variants[variants["variant"] == "opposite"]
    ids = [set(exchanged.loc[exchanged["task"] == task, "image_id"]) for task in TASKS]
    return bool(set.intersection(*ids))


def gains(own: pd.DataFrame, exchanged: pd.DataFrame) -> pd.DataFrame:
    """How much nearer to the truth the map is under the right text, on each image that has both.

    Args:
        own: Scores of the model with every pair's own text, one protocol: ``image_id``, ``task`` and metrics.
        exchanged: Its scores with the image's other text, against the same truths.

    Returns:
        One row an image and metric: ``metric``, ``image_id``, ``salient`` and ``non_salient``, in the metric's unit,
        positive where the right text is the better one. Images with an undefined score are left out.
    """
    both = own.merge(exchanged, on=["image_id", "task"], suffixes=("", "_other"), validate="one_to_one")
    parts = [_gains(both, name) for name in metric_names(own) if f"{name}_other" in both]
    return pd.concat(parts, ignore_index=True)[["metric", "image_id", *TASKS]]


def _gains(both: pd.DataFrame, name: str) -> pd.DataFrame:
    gap = both[name] - both[f"{name}_other"]
    nearer = both.assign(gain=gap if METRICS[name].higher_is_better else -gap)
    table = nearer.pivot(index="image_id", columns="task", values="gain").reindex(columns=list(TASKS))
    return table.dropna().reset_index().assign(metric=name)


def shares(own: pd.DataFrame, variants: pd.DataFrame) -> list[Share]:
    """On which part of the images the map moves rightly when the text is exchanged.

    Args:
        own: See :func:`gains`.
        variants: The model's scores with other texts, with a column ``variant``; what is none of :data:`VARIANTS` is
            not looked at.

    Returns:
        One entry an exchange, metric and direction; metrics without an image in which all scores are defined have none.
    """
    found = []
    for variant in VARIANTS:
        exchanged = variants[variants["variant"] == variant]
        if exchanged.empty:
            continue
        for metric, part in gains(own, exchanged).groupby("metric", sort=False):
            moved = (part[list(TASKS)].to_numpy() > _SAME).astype(np.float64)
            columns = {"salient": moved[:, 0], "non_salient": moved[:, 1], "both": moved.min(axis=1)}
            columns["texts"] = moved.mean(axis=1)
            found += [_share(variant, str(metric), name, column) for name, column in columns.items()]
    return found


def _share(variant: str, metric: str, direction: str, moved: NDArray[np.float64]) -> Share:
    """The share of one direction; ``moved`` is 0 to 1 for each image, shape (images,)."""
    from scipy.stats import binomtest  # type: ignore[import-untyped]  # half a second

    tails = [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2]
    bootstrap = np.quantile(bootstrap_means(moved, np.arange(len(moved)).astype(object)), tails)
    exact = (np.nan, np.nan)
    if direction != "texts":
        interval = binomtest(int(moved.sum()), len(moved)).proportion_ci(_LEVEL, method="exact")
        exact = (float(interval.low), float(interval.high))
    ends = (*exact, float(bootstrap[0]), float(bootstrap[1]))
    return Share(variant, metric, direction, len(moved), float(moved.mean()), *ends)


@dataclass(frozen=True)
class Chosen:
    """An image a figure shows.

    Attributes:
        image_id: The image.
        quantile: Where its text effect lies among all images' ones, 0 to 1.
        effect: CC under the right text minus CC under the exchanged one, mean of its two texts.
    """

    image_id: str
    quantile: float
    effect: float

    def __str__(self) -> str:
        return f"{self.image_id}\n{100 * self.quantile:.0f}th percentile: text effect {self.effect:+.2f} CC"


def exchanged_pairs(variants: pd.DataFrame) -> pd.DataFrame:
    """The scores in which the model read all that it reads for the image's other pair, so that the map is that pair's.

    A model that is told the condition has to be told the other one, too.
    """
    read = set(variants["variant"])
    name = next(name for name in reversed(VARIANTS) if name in read)
    found: pd.DataFrame = variants[variants["variant"] == name]
    return found


def chosen_images(own: pd.DataFrame, exchanged: pd.DataFrame) -> list[Chosen]:
    """The images a figure shows, by :data:`RULE`: failures as well as successes.

    Args:
        own: See :func:`gains`; with ``cc``.
        exchanged: See :func:`gains`; with ``cc``.

    Returns:
        In ascending order of the effect, the nearest image to each percentile; without repeats where there are few
        images. Equal effects stand in the order of their ids.
    """
    table = gains(own, exchanged)
    table = table[table["metric"] == "cc"].assign(effect=lambda t: t[list(TASKS)].mean(axis=1))
    ranked = table.sort_values(["effect", "image_id"])
    places = {round(quantile * (len(ranked) - 1)): quantile for quantile in reversed(QUANTILES) if len(ranked)}
    rows = ((quantile, ranked.iloc[place]) for place, quantile in sorted(places.items()))
    return [Chosen(str(row["image_id"]), quantile, float(row["effect"])) for quantile, row in rows]


def frame(found: Sequence[Share]) -> pd.DataFrame:
    """All numbers, one row a share."""
    return pd.DataFrame([asdict(share) for share in found])


def table_rows(found: Sequence[Share], variant: str) -> list[list[str]]:
    """The rows of a table below :data:`HEADINGS`: metric, images, then a cell each direction."""
    of_variant = [share for share in found if share.variant == variant]
    rows = []
    for metric in dict.fromkeys(share.metric for share in of_variant):
        cells = {share.direction: share for share in of_variant if share.metric == metric}
        directions = (*TASKS, "both", "texts")
        rows.append([METRICS[metric].title, str(cells["both"].images), *(str(cells[name]) for name in directions)])
    return rows


HEADINGS = ("nearer by", "images", "to salient", "to non_salient", "both", "of all texts")
NOTE = (
    "Share of the test images with both texts whose map under the right text is nearer to the truth of that text than "
    "the map under the other text is: for the salient truth, for the non_salient truth, for both. In brackets, the "
    "95 % interval: exact (Clopper-Pearson) over images; of all texts, two an image, bootstrap over images. A map that "
    "does not change counts as not moved; one that moves at random is right for half of the texts."
)


def document(found: Sequence[Share]) -> str:
    """The shares as GitHub Markdown, with their definition."""
    lines = []
    for variant in dict.fromkeys(share.variant for share in found):
        lines += [f"**Does the map follow the text?** ({VARIANTS[variant]})", ""]
        lines += ["| " + " | ".join(HEADINGS) + " |", "|---|" + "---:|" * (len(HEADINGS) - 1)]
        lines += ["| " + " | ".join(line) + " |" for line in table_rows(found, variant)]
        lines.append("")
    return "\n".join([*lines, NOTE, ""])


def show(found: Sequence[Share]) -> None:
    """Print the shares."""
    console = Console(width=None if Console().is_terminal else PRINT_WIDTH)
    for variant in dict.fromkeys(share.variant for share in found):
        view = Table(HEADINGS[0], title=f"Does the map follow the text? ({VARIANTS[variant]})")
        for heading in HEADINGS[1:]:
            view.add_column(heading, justify="right", no_wrap=True)
        for line in table_rows(found, variant):
            view.add_row(*line)
        console.print(view)
    console.print(NOTE, style="italic")


def own_scores(pairs: pd.DataFrame, variants: pd.DataFrame) -> pd.DataFrame:
    """Of all scores of a run, those of the model that was given other texts, too, under the same protocol."""
    standard = of_protocol(pairs, STANDARD)
    own: pd.DataFrame = standard[standard["model"] == variants["model"].iloc[0]]
    return own


def write(folder: RunFolder, own: pd.DataFrame, variants: pd.DataFrame) -> list[Share]:
    """Write text_swap.csv and text_swap.md; nothing where no text was exchanged.

    Args:
        folder: Where to.
        own: See :func:`own_scores`.
        variants: The model's scores with other texts.

    Returns:
        The shares, to be shown.
    """
    if not applies(variants):
        return []
    found = shares(own, variants)
    storage.write_csv(folder.root / "text_swap.csv", frame(found), float_format=None)
    storage.write_text(folder.root / "text_swap.md", document(found))
    return found
