"""What only a run's network can tell: the maps of its test pairs, predicted again from its checkpoints."""

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from saltext.data.dataset import SJTUTIS, collate
from saltext.data.faults import Track
from saltext.errors import DataError
from saltext.evaluation.groups import Batch, Group, native_groups
from saltext.evaluation.model_predictor import ModelPredictor
from saltext.evaluation.text_variants import Reading, TextVariant
from saltext.metrics import cc
from saltext.metrics.calibration import coverage
from saltext.prediction.model import Density
from saltext.prediction.pictures import reduced, small
from saltext.reporting.calibration import COLUMNS, LEVELS, MODEL, PEOPLE
from saltext.reporting.pictures import read_pixels
from saltext.reporting.text_swap import TASKS
from saltext.runs.jobs import digest
from saltext.runs.load import pipeline_of
from saltext.runs.stages import Stage, stages, weights_of
from saltext.runs.trust import Configuration
from saltext.system.run_folder import RunFolder

Key = tuple[str, str]
"""Image and task."""

SIDE = 360
"""Longest side of a picture in a page, in pixels."""

NO_TEXT = "no text"


@dataclass(frozen=True)
class PairMaps:
    """A test pair, small enough for a page.

    Attributes:
        pixels: RGB, uint8 (h,w,3).
        truth: Where people looked; sums to 1, float32 (h,w).
        prediction: Likewise.
        cc: Of the two at the image's own resolution.
    """

    pixels: NDArray[np.uint8]
    truth: Density
    prediction: Density
    cc: float


@dataclass(frozen=True)
class SwapMaps:
    """An image under both of its texts and under none, small enough for a page.

    Attributes:
        image_id: The image.
        stage: Of the schedule whose model predicted; empty without one.
        texts: What was read: ``salient``, ``non_salient``.
        pixels: RGB, uint8 (h,w,3).
        truths: Where people looked after reading either text; sums to 1, float32 (h,w).
        predictions: The maps under :data:`NO_TEXT` and under either text; likewise.
        cc: (what was read, whose truth) -> CC at the image's own resolution.
    """

    image_id: str
    stage: str
    texts: Mapping[str, str]
    pixels: NDArray[np.uint8]
    truths: Mapping[str, Density]
    predictions: Mapping[str, Density]
    cc: Mapping[tuple[str, str], float]


@dataclass(frozen=True)
class Predicted:
    """What was predicted again.

    Attributes:
        pairs: The pairs asked for that are test pairs of the run.
        swaps: The images asked for, by each stage that tests one of the two texts.
        coverage: See :mod:`saltext.reporting.calibration`; empty if it was not asked for.
    """

    pairs: Mapping[Key, PairMaps] = field(default_factory=dict)
    swaps: Sequence[SwapMaps] = ()
    coverage: pd.DataFrame = field(default_factory=pd.DataFrame)


def fingerprint(cfg: DictConfig, folder: RunFolder) -> str:
    """Digits that stand for all that decides a run's maps: weights, configuration, split; not where files lie."""
    places = {key: "" for key in ("root", "split", "description") if key in cfg.data}
    own: DictConfig = OmegaConf.merge(cfg, {"data": places, "checkpoint": None})  # type: ignore[assignment]
    found = hashlib.sha256(f"{digest(own)} {folder.split.read_text()}".encode())
    for path in (weights_of(stage) for stage in _tested(cfg, folder)):
        if not path.is_file():
            continue  # predicting will say so
        with path.open("rb") as stream:
            found.update(hashlib.file_digest(stream, "sha256").digest())
    return found.hexdigest()[:16]


def _tested(cfg: DictConfig, folder: RunFolder) -> list[Stage]:
    return [stage for stage in stages(cfg, folder) if stage.tests]


def predict(
    configured: Configuration,
    folder: RunFolder,
    pairs: Collection[Key],
    swaps: Sequence[str],
    calibrated: bool,
    track: Track,
) -> Predicted:
    """Predict test pairs of a run with the weights it was tested with.

    Args:
        configured: Its configuration, see :func:`saltext.runs.saved.configuration`.
        folder: The run's.
        pairs: To be shown; those that are no test pairs of the run are left out.
        swaps: Images to be shown under both texts.
        calibrated: Whether to predict all test pairs, for their coverage.
        track: Shows how far it is.

    Raises:
        DataError: The data set is not there, or another one.
        SaltextError: What :func:`saltext.runs.load.pipeline_of` refuses.
    """
    cfg, own = configured.cfg, configured.own
    from saltext.runs import build_training  # brings Lightning, which only what predicts needs

    root = build_training.datamodule(cfg, own).root
    if not root.is_dir():
        key = "data.root=DIR" if cfg.data.root is not None else "data.description=FILE"
        raise DataError(f"the data set is not in {root.name}/. Say where it lies: {key}")
    parts = [_predict(_Tester(stage, folder, own), pairs, swaps, calibrated, track) for stage in _tested(cfg, folder)]
    return Predicted(
        {key: maps for part in parts for key, maps in part.pairs.items()},
        [maps for part in parts for maps in part.swaps],
        pd.concat([part.coverage for part in parts], ignore_index=True),
    )


class _Tester:
    """A stage's model beside the data set."""

    def __init__(self, stage: Stage, run: RunFolder, own: Collection[str]) -> None:
        self.stage = stage
        from saltext.runs import build_training

        self._pipeline = pipeline_of(stage, run, None, own)
        self.data = build_training.datamodule(stage.cfg, own)
        self.data.setup("test")
        self.pairs = self.data.pairs

    @property
    def reads_text(self) -> bool:
        return self._pipeline.reads_text

    def maps(self, numbers: Sequence[int], track: Track, variant: TextVariant | None = None) -> Iterator["_Map"]:
        """Truth and prediction of pairs, by their numbers in the data set."""
        samples = SJTUTIS(self.data.pairs, self.data.cache, numbers, native=True)
        predictor = ModelPredictor(self._pipeline.predict, "", variant)
        size = self.data.eval_batch_size
        starts = range(0, len(numbers), size)
        what = f"predicting {self.stage.name} in batches".replace("  ", " ")
        for start in track(starts, what, len(starts)):
            batch = collate([samples[place] for place in range(start, min(start + size, len(numbers)))])
            yield from self._predict(batch, predictor)

    # Not in inference mode: what is made there may not be changed outside.
    @torch.no_grad()
    def _predict(self, batch: Batch, predictor: ModelPredictor) -> list["_Map"]:
        moved: Batch = self.data.transfer_batch_to_device(batch, self._pipeline.device, 0)
        maps = predictor.at(moved)
        found = []
        for group in native_groups(moved, self._pipeline.device):
            saliency = maps(group)
            found += [_Map(group.select([place]), saliency[place : place + 1]) for place in range(len(group.index))]
        return found


@dataclass(frozen=True)
class _Map:
    """A pair's truth and its prediction, (1,1,h,w) at native resolution."""

    group: Group
    saliency: Tensor

    @property
    def number(self) -> int:
        return self.group.index[0]


def _predict(
    tester: _Tester, pairs: Collection[Key], swaps: Sequence[str], calibrated: bool, track: Track
) -> Predicted:
    keys = {number: _key(tester, number) for number in tester.data.indices("test")}
    numbers = [number for number, key in keys.items() if calibrated or key in pairs]
    shown: dict[Key, PairMaps] = {}
    rows = []
    for found in tester.maps(numbers, track):
        key = keys[found.number]
        if calibrated:
            rows += [[*key, *covered] for covered in _covered(found)]
        if key in pairs:
            shown[key] = _small(tester, found)
    return Predicted(shown, _swaps(tester, swaps), pd.DataFrame(rows, columns=list(COLUMNS)))


def _key(tester: _Tester, number: int) -> Key:
    pair = tester.pairs[number]
    return pair.image_id, pair.task


def _covered(found: _Map) -> list[list[Any]]:
    """For each kind of map its name, the number of fixations, and their coverage at each level."""
    fixations = found.group.fixations
    return [
        [name, int(fixations.each.number[0]), *coverage(maps, fixations, LEVELS)[0].tolist()]
        for name, maps in ((MODEL, found.saliency), (PEOPLE, found.group.density))
    ]


def _small(tester: _Tester, found: _Map) -> PairMaps:
    pixels = small(read_pixels(tester.pairs[found.number].image), SIDE)
    truth, prediction = (reduced(_density(values), pixels) for values in (found.group.density, found.saliency))
    return PairMaps(pixels, truth, prediction, float(cc(found.saliency, found.group.density)))


def _density(values: Tensor) -> Density:
    """A map (1,1,h,w) divided by its sum, float32 (h,w); one that is zero everywhere says nothing, and is uniform."""
    values = values.cpu()  # not every device has float64
    total = values.sum(dtype=torch.float64)
    density = values / total if total > 0 else torch.full_like(values, 1 / values.numel())
    found: Density = density[0, 0].float().numpy()
    return found


def _swaps(tester: _Tester, images: Sequence[str]) -> list[SwapMaps]:
    tested = {tester.pairs[number].task for number in tester.data.indices("test")}
    if not tester.reads_text or not tested & set(TASKS):
        return []
    places = {_key(tester, number): number for number in range(len(tester.pairs))}
    return [_swap(tester, {task: places[image, task] for task in TASKS}) for image in images]


def _swap(tester: _Tester, numbers: Mapping[str, int]) -> SwapMaps:
    pairs = {task: tester.pairs[number] for task, number in numbers.items()}
    first = numbers[TASKS[0]]
    # A model that is told the condition is told that of free viewing.
    silent = TextVariant("empty", {first: Reading("", "pure")})
    own = {found.number: found for found in tester.maps(list(numbers.values()), _untracked)}
    read = {task: own[number] for task, number in numbers.items()}
    (without,) = tester.maps([first], _untracked, silent)
    saliency = {NO_TEXT: without.saliency, **{task: found.saliency for task, found in read.items()}}
    truths = {task: found.group.density for task, found in read.items()}
    pixels = small(read_pixels(pairs[TASKS[0]].image), SIDE)
    return SwapMaps(
        pairs[TASKS[0]].image_id,
        tester.stage.name,
        {task: pair.text for task, pair in pairs.items()},
        pixels,
        {task: reduced(_density(values), pixels) for task, values in truths.items()},
        {name: reduced(_density(values), pixels) for name, values in saliency.items()},
        {(name, task): float(cc(saliency[name], truths[task])) for name in saliency for task in truths},
    )


def _untracked(things: Iterable[Any], what: str, total: int) -> Iterable[Any]:
    return things
