"""The pretrained model on free viewing that it was not trained on: ``saltext reproduce zero-shot``."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from saltext import storage
from saltext.baselines import CentrePriorOfOthers, SplitHalf, SplitViewers, Uniform
from saltext.baselines.base import resized
from saltext.console import progress
from saltext.data.geometry import Size
from saltext.data.pairs import Pair
from saltext.errors import ConfigError
from saltext.evaluation.evaluator import score_frame, score_pairs
from saltext.evaluation.folders import read_data
from saltext.evaluation.predictor import Predictor
from saltext.evaluation.protocols import STANDARD
from saltext.evaluation.score_cache import ScoreCache
from saltext.metrics import Fixations
from saltext.prediction.model import Model
from saltext.prediction.photos import open_photo
from saltext.prediction.texts import TextQuery
from saltext.reporting import document, tables
from saltext.reporting.document import Block, Command, Document, Points
from saltext.results.comparison import differences
from saltext.results.score_table import write_scores
from saltext.runs import data_sets
from saltext.runs.load import load
from saltext.runs.reproduce import ZERO_SHOT

MODEL = "GroundedGaze, pretrained"
METRICS = ("cc", "sim", "kl", "nss", "auc_judd", "auc_shuffled", "ig")
FREE_VIEWING = "pure"

_NOTES = (
    "The model was trained on the fixations of SJTU-TIS alone. It predicts free viewing, without a text.",
    "Centre prior: where people looked on the other images of this data set, which the model does not know.",
    "Split-half viewers: half of the viewers predict the other half, which is scored alone. Fewer viewers are noisier "
    "on both sides, so it is no upper bound. Where the data set does not say which viewer made a fixation, halves of "
    "the fixations stand in, which share viewers.",
    "Mean over images with its 95 % interval (bootstrap over images), at each image's own resolution with the original "
    "fixation points.",
)


class Photos:
    """The model as a predictor of pairs with image files.

    Args:
        model: Predicts the maps.
        pairs: The whole data set.
    """

    def __init__(self, model: Model, pairs: Sequence[Pair]) -> None:
        self._model = model
        self._pairs = pairs

    def covers(self, index: int) -> bool:
        """True: every pair has an image."""
        return True

    def maps(self, indices: Sequence[int], size: Size) -> Tensor:
        """The densities, float32 ``(len(indices), 1, *size)``, resized where an image's size differs."""
        task = FREE_VIEWING if FREE_VIEWING in self._model.conditions else None
        queries = ((open_photo(self._pairs[index].image), TextQuery("", task)) for index in indices)
        densities = [torch.from_numpy(density)[None, None] for density in self._model.densities(queries)]
        return torch.cat([resized(density, size) for density in densities])

    def ground_truth(self, indices: Sequence[int], size: Size) -> tuple[Tensor, Fixations] | None:
        """None: the predictions are scored against the pairs' own ground truth."""
        return None


def settings(overrides: Sequence[str]) -> tuple[list[str], Path]:
    """The data set that overrides name, as arguments of :func:`saltext.runs.data_sets.named`, and ``output_dir``.

    Example:
        >>> settings(["data.root=osie", "output_dir=out"])
        (['osie'], PosixPath('out'))

    Raises:
        ConfigError: Other overrides, or no data set.
    """
    given = dict(text.partition("=")[::2] for text in overrides)
    output = given.pop("output_dir", "outputs")
    others = [key for key in given if key != "data" and not key.startswith("data.")]
    if others or not {"data", "data.root"} & set(given):
        raise ConfigError(
            f"{ZERO_SHOT}: expected data.root=DIR (OSIE, MIT1003, SALICON, your own), or data=NAME data.KEY=VALUE, and "
            f"perhaps output_dir=DIR, got {' '.join(overrides) or 'nothing'}"
        )
    if "data" in given:
        return [f"data={given.pop('data')}", *(f"{key}={value}" for key, value in given.items())], Path(output)
    root = given.pop("data.root")
    if given:
        raise ConfigError(f"{ZERO_SHOT}: expected data=NAME before {', '.join(given)}")
    return [root], Path(output)


def zero_shot(overrides: Sequence[str], model: Model | None = None) -> Path:
    """Score the pretrained model on the free viewing of a data set, beside the centre prior and human halves.

    Args:
        overrides: ``data.root=DIR`` or ``data=NAME data.KEY=VALUE``, and perhaps ``output_dir=DIR``.
        model: The model; the pretrained one by default.

    Returns:
        The page, in OUTPUT_DIR/reproduce/zero-shot, beside ``results.md`` and ``scores.csv``.

    Raises:
        ConfigError: Other overrides, or a data set without free viewing.
        DataError: The data set is missing or invalid, or has no images.
    """
    named, output = settings(overrides)
    dataset = data_sets.named(named).read()
    if dataset.is_sjtu_tis:
        raise ConfigError(f"{ZERO_SHOT}: expected a data set that the model was not trained on, got SJTU-TIS")
    pairs = dataset.pairs_with_images()
    indices = [index for index, pair in enumerate(pairs) if pair.task == FREE_VIEWING and not pair.text]
    if not indices:
        raise ConfigError(f"{ZERO_SHOT}: expected free viewing ({FREE_VIEWING}), got {', '.join(dataset.conditions)}")
    data = read_data(dataset, indices, [FREE_VIEWING], ScoreCache(output / "cache"), progress)
    truth = data.ground_truth
    viewers = {index: known for index in indices if (known := pairs[index].viewers) is not None}
    halves = SplitViewers(truth, viewers) if viewers else SplitHalf(truth)
    predictors: Mapping[str, Predictor] = {
        Uniform.title: Uniform(truth),
        CentrePriorOfOthers.title: CentrePriorOfOthers(truth),
        MODEL: Photos(model or load(), pairs),
        halves.title: halves,
    }
    scores = score_pairs(truth, predictors, indices, METRICS, progress)
    frame = score_frame(truth, list(predictors), scores, METRICS).assign(split="test", seed=0, protocol=STANDARD)
    to = output / "reproduce" / ZERO_SHOT
    to.mkdir(parents=True, exist_ok=True)
    write_scores(to / "scores.csv", frame)
    return write_page(frame, f"saltext reproduce {ZERO_SHOT} {' '.join(overrides)}", to)


def write_page(scores: pd.DataFrame, command: str, to: Path) -> Path:
    """Write the page: every row with its intervals, and the model minus each other row, pair by pair.

    Args:
        scores: Of the model and the rows beside it, on the same pairs.
        command: What made them.
        to: Folder of ``results.md`` and ``results.html``.

    Returns:
        The latter.
    """
    by_model = {str(name): part for name, part in scores.groupby("model", sort=False)}
    own = by_model[MODEL]
    gaps = {f"{MODEL} - {name}": differences(own, part) for name, part in by_model.items() if name != MODEL}
    prior = next(gap for gap in gaps[f"{MODEL} - {CentrePriorOfOthers.title}"] if gap.metric == METRICS[0])
    blocks: list[Block] = [
        Points([(f"CC against the centre prior of these images: {prior.signed()}.", "")], summary=True),
        tables.intervals(by_model),
        tables.differences(gaps, "difference"),
        Points([(note, "") for note in _NOTES]),
        Command(command),
    ]
    page = Document(f"The pretrained model on free viewing of {len(own)} other images", [("", blocks)])
    storage.write_text(to / "results.md", document.markdown(page))
    storage.write_text(to / "results.html", document.html(page))
    return to / "results.html"
