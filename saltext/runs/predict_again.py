"""What only a run's network can tell: the maps of its test pairs, predicted again from its checkpoints."""

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from saltext.data.dataset import SJTUTIS, collate
from saltext.data.report import Track
from saltext.errors import DataError
from saltext.evaluation.groups import EvaluationBatch, Group, native_groups
from saltext.evaluation.model_predictor import ModelPredictor
from saltext.evaluation.text_variants import SubstituteText, TextVariant
from saltext.images import read_photo
from saltext.metrics import cc
from saltext.metrics.calibration import coverage
from saltext.prediction.model import Density
from saltext.prediction.pictures import ImageRecord, TextMaps, density_of, reduced, small
from saltext.reporting.run_page import Predicted
from saltext.results.calibration import COLUMNS, HUMAN, LEVELS, MODEL
from saltext.results.selection import Key
from saltext.results.text_effect import TASKS
from saltext.runs.jobs import digest
from saltext.runs.load import pipeline_of
from saltext.runs.stages import Stage, stages, weights_of
from saltext.runs.trust import Configuration
from saltext.system.run_folder import RunFolder

NO_TEXT = "no text"


def fingerprint(cfg: DictConfig, folder: RunFolder) -> str:
    """Digits that stand for all that decides a run's maps: weights, configuration, split; not where files lie."""
    indices = {key: "" for key in ("root", "split", "description") if key in cfg.data}
    own: DictConfig = OmegaConf.merge(cfg, {"data": indices, "checkpoint": None})  # type: ignore[assignment]
    found = hashlib.sha256(f"{digest(own)} {folder.split.read_text()}".encode())
    for path in (weights_of(stage) for stage in _tested(cfg, folder)):
        if not path.is_file():
            continue  # predicting will say so
        with path.open("rb") as stream:
            found.update(hashlib.file_digest(stream, "sha256").digest())
    return found.hexdigest()[:16]


def _tested(cfg: DictConfig, folder: RunFolder) -> list[Stage]:
    return [stage for stage in stages(cfg, folder) if stage.tests]


def predict_again(
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
        """Ground truth and prediction of pairs, by their numbers in the data set."""
        samples = SJTUTIS(self.data.pairs, self.data.cache, numbers, native=True)
        predictor = ModelPredictor(self._pipeline.predict, variant)
        size = self.data.eval_batch_size
        starts = range(0, len(numbers), size)
        what = f"predicting {self.stage.name} in batches".replace("  ", " ")
        for start in track(starts, what, len(starts)):
            batch = collate([samples[index] for index in range(start, min(start + size, len(numbers)))])
            yield from self._predict(batch, predictor)

    # Not in inference mode: what is made there may not be changed outside.
    @torch.no_grad()
    def _predict(self, batch: EvaluationBatch, predictor: ModelPredictor) -> list["_Map"]:
        moved: EvaluationBatch = self.data.transfer_batch_to_device(batch, self._pipeline.device, 0)
        predictor.read(moved)
        found = []
        for group in native_groups(moved, self._pipeline.device):
            saliency = predictor.maps(group.index, group.size)
            found += [_Map(group.select([index]), saliency[index : index + 1]) for index in range(len(group.index))]
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
    shown: dict[Key, ImageRecord] = {}
    rows = []
    for found in tester.maps(numbers, track):
        key = keys[found.number]
        if calibrated:
            rows += [[*key, *covered] for covered in _covered(found)]
        if key in pairs:
            pixels = small(read_photo(tester.pairs[found.number].image).pixels)
            truth, prediction = (_small(values, pixels) for values in (found.group.density, found.saliency))
            scores = {"CC": float(cc(found.saliency, found.group.density))}
            of_text = TextMaps(tester.pairs[found.number].text, prediction, truth, key[1], scores)
            shown[key] = ImageRecord(key[0], pixels, [of_text], f"image {key[0]}, {key[1]}")
    return Predicted(shown, _swaps(tester, swaps), pd.DataFrame(rows, columns=list(COLUMNS)))


def _key(tester: _Tester, number: int) -> Key:
    pair = tester.pairs[number]
    return pair.image_id, pair.task


def _covered(found: _Map) -> list[list[Any]]:
    """For each kind of map its name, the number of fixations, and their coverage at each level."""
    fixations = found.group.fixations
    return [
        [name, int(fixations.each.number[0]), *coverage(maps, fixations, LEVELS)[0].tolist()]
        for name, maps in ((MODEL, found.saliency), (HUMAN, found.group.density))
    ]


def _small(values: Tensor, pixels: npt.NDArray[np.uint8]) -> Density:
    """A map (1,1,h,w) as a density at the size of an image."""
    return reduced(density_of(values[0, 0].cpu().numpy()), pixels)


def _swaps(tester: _Tester, images: Sequence[str]) -> list[ImageRecord]:
    tested = {tester.pairs[number].task for number in tester.data.indices("test")}
    if not tester.reads_text or not tested & set(TASKS):
        return []
    indices = {_key(tester, number): number for number in range(len(tester.pairs))}
    return [_swap(tester, {task: indices[image, task] for task in TASKS}) for image in images]


def _swap(tester: _Tester, numbers: Mapping[str, int]) -> ImageRecord:
    first = tester.pairs[numbers[TASKS[0]]]
    own = {found.number: found for found in tester.maps(list(numbers.values()), _untracked)}
    read = {task: own[number] for task, number in numbers.items()}
    # A model conditioned on the condition's name reads that of free viewing.
    silent = TextVariant("empty", {numbers[TASKS[0]]: SubstituteText("", "pure")})
    (without,) = tester.maps([numbers[TASKS[0]]], _untracked, silent)
    pixels = small(read_photo(first.image).pixels)
    texts = []
    for name, found in {**read, NO_TEXT: without}.items():
        scores = {
            "CC" if task == name else f"CC with the human map of {task}": float(
                cc(found.saliency, read[task].group.density)
            )
            for task in sorted(TASKS, key=lambda task: task != name)  # with its own first
        }
        truth = _small(found.group.density, pixels) if name in read else None
        text = tester.pairs[numbers[name]].text if name in read else ""
        texts.append(TextMaps(text, _small(found.saliency, pixels), truth, name, scores))
    title = ", ".join([f"image {first.image_id}", *([f"stage {tester.stage.name}"] if tester.stage.name else [])])
    return ImageRecord(first.image_id, pixels, texts, title)


def _untracked(things: Iterable[Any], what: str, total: int) -> Iterable[Any]:
    return things
