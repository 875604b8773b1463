"""Predict maps of a run's test pairs again, from its checkpoints, for pages about the run."""

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

from saltext import storage
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
from saltext.prediction.pictures import ImageRecord, TextMaps, normalize_density, shrink_density, shrink_image
from saltext.reporting.run_page import Predicted
from saltext.results.calibration import COLUMNS, HUMAN, LEVELS, MODEL
from saltext.results.selection import Key
from saltext.results.text_ablation import TASKS
from saltext.runs.jobs import digest
from saltext.runs.load import pipeline_of
from saltext.runs.stages import Stage, stages, weights_of
from saltext.runs.trust import Configuration
from saltext.system.run_folder import RunFolder

NO_TEXT = "no text"


def fingerprint(cfg: DictConfig, folder: RunFolder) -> str:
    """Hash of everything a run's maps depend on: weights, configuration and split, but no locations of files.

    Returns:
        16 hexadecimal digits.
    """
    locations = {key: "" for key in ("root", "split", "description") if key in cfg.data}
    own: DictConfig = OmegaConf.merge(cfg, {"data": locations, "checkpoint": None})  # type: ignore[assignment]
    checksum = hashlib.sha256(f"{digest(own)} {storage.read_text(folder.split, storage.MAX_JSON)}".encode())
    for stage in (stage for stage in stages(cfg, folder) if stage.tests):
        with weights_of(stage).open("rb") as stream:
            checksum.update(hashlib.file_digest(stream, "sha256").digest())
    return checksum.hexdigest()[:16]


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
        pairs: Pairs to show; those that are no test pairs of the run are left out.
        swaps: Images to show under both texts.
        calibrated: Whether to predict all test pairs, for their coverage.
        track: Shows the progress.

    Raises:
        DataError: The data set is not found, or is another one.
        SaltextError: As :func:`saltext.runs.load.pipeline_of`.
    """
    cfg, own = configured.cfg, configured.own
    from saltext.runs import build_training  # brings Lightning, which only what predicts needs

    root = build_training.datamodule(cfg, own).root
    if not root.is_dir():
        key = "data.root=DIR" if cfg.data.root is not None else "data.description=FILE"
        raise DataError(f"the data set was not found in {root.name}/. Set its folder: {key}")
    parts = [
        _predict_stage(_StageModel(stage, folder, own), pairs, swaps, calibrated, track)
        for stage in stages(cfg, folder)
        if stage.tests
    ]
    return Predicted(
        {key: maps for part in parts for key, maps in part.pairs.items()},
        [maps for part in parts for maps in part.swaps],
        pd.concat([part.coverage for part in parts], ignore_index=True),
    )


class _StageModel:
    """A stage's model together with the data set."""

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

    def key(self, number: int) -> Key:
        pair = self.pairs[number]
        return pair.image_id, pair.task

    def maps(self, numbers: Sequence[int], track: Track, variant: TextVariant | None = None) -> Iterator["_PairMaps"]:
        """Human map and prediction of each pair, by its number in the data set, read with a text variant if given."""
        samples = SJTUTIS(self.data.pairs, self.data.cache, numbers, native=True)
        predictor = ModelPredictor(self._pipeline.predict, variant)
        size = self.data.eval_batch_size
        starts = range(0, len(numbers), size)
        title = f"predicting {self.stage.name} in batches".replace("  ", " ")
        for start in track(starts, title, len(starts)):
            batch = collate([samples[index] for index in range(start, min(start + size, len(numbers)))])
            yield from self._predict_batch(batch, predictor)

    # Not in inference mode: tensors made there may not be changed outside.
    @torch.no_grad()
    def _predict_batch(self, batch: EvaluationBatch, predictor: ModelPredictor) -> list["_PairMaps"]:
        moved: EvaluationBatch = self.data.transfer_batch_to_device(batch, self._pipeline.device, 0)
        predictor.read(moved)
        of_batch = []
        for group in native_groups(moved, self._pipeline.device):
            saliency = predictor.maps(group.index, group.size)
            for index in range(len(group.index)):
                of_batch.append(_PairMaps(group.select([index]), saliency[index : index + 1]))
        return of_batch


@dataclass(frozen=True)
class _PairMaps:
    """The ground truth of one pair and its prediction, shape (1, 1, height, width) at native resolution."""

    group: Group
    saliency: Tensor

    @property
    def number(self) -> int:
        return self.group.index[0]


def _predict_stage(
    model: _StageModel, pairs: Collection[Key], swaps: Sequence[str], calibrated: bool, track: Track
) -> Predicted:
    """The requested maps and coverages of the pairs that a stage tests."""
    keys = {number: model.key(number) for number in model.data.indices("test")}
    numbers = [number for number, key in keys.items() if calibrated or key in pairs]
    shown: dict[Key, ImageRecord] = {}
    rows: list[list[Any]] = []
    for maps in model.maps(numbers, track):
        key, fixations, human = keys[maps.number], maps.group.fixations, maps.group.density
        if calibrated:
            for kind, values in ((MODEL, maps.saliency), (HUMAN, human)):
                covered = coverage(values, fixations, LEVELS)[0].tolist()
                rows.append([*key, kind, int(fixations.each.number[0]), *covered])
        if key in pairs:
            pixels = shrink_image(read_photo(model.pairs[maps.number].image).pixels)
            prediction, human_map = (_thumbnail_density(values, pixels) for values in (maps.saliency, human))
            scores = {"CC": float(cc(maps.saliency, human))}
            of_text = TextMaps(model.pairs[maps.number].text, prediction, human_map, key[1], scores)
            shown[key] = ImageRecord(key[0], pixels, [of_text], f"image {key[0]}, {key[1]}")
    tested = {task for _, task in keys.values()}
    images = swaps if model.reads_text and tested & set(TASKS) else ()
    number_of = {model.key(number): number for number in range(len(model.pairs))}
    under_both = [_under_both_texts(model, {task: number_of[image, task] for task in TASKS}) for image in images]
    return Predicted(shown, under_both, pd.DataFrame(rows, columns=list(COLUMNS)))


def _thumbnail_density(values: Tensor, pixels: npt.NDArray[np.uint8]) -> Density:
    """A map, shape (1, 1, height, width), as a density at the size of an image."""
    return shrink_density(normalize_density(values[0, 0].cpu().numpy()), pixels)


def _under_both_texts(model: _StageModel, numbers: Mapping[str, int]) -> ImageRecord:
    """An image with its maps under each of its two texts and without a text.

    Args:
        model: Predicts.
        numbers: Task -> number of the image's pair.
    """
    first = model.pairs[numbers[TASKS[0]]]
    by_number = {maps.number: maps for maps in model.maps(list(numbers.values()), _untracked)}
    by_task = {task: by_number[number] for task, number in numbers.items()}
    # A model conditioned on the condition index gets that of free viewing.
    empty = TextVariant("empty", {numbers[TASKS[0]]: SubstituteText("", "pure")})
    (without,) = model.maps([numbers[TASKS[0]]], _untracked, empty)
    pixels = shrink_image(read_photo(first.image).pixels)
    texts = []
    for name, maps in {**by_task, NO_TEXT: without}.items():
        scores = {
            "CC" if task == name else f"CC with the human map of {task}": float(
                cc(maps.saliency, by_task[task].group.density)
            )
            for task in sorted(TASKS, key=lambda task: task != name)  # its own human map first
        }
        human = _thumbnail_density(maps.group.density, pixels) if name in by_task else None
        text = model.pairs[numbers[name]].text if name in by_task else ""
        texts.append(TextMaps(text, _thumbnail_density(maps.saliency, pixels), human, name, scores))
    title = ", ".join([f"image {first.image_id}", *([f"stage {model.stage.name}"] if model.stage.name else [])])
    return ImageRecord(first.image_id, pixels, texts, title)


def _untracked(items: Iterable[Any], title: str, total: int) -> Iterable[Any]:
    return items
