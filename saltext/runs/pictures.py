"""The pictures of test pairs in a run's folder."""

from collections.abc import Mapping, Sequence
from itertools import groupby

import pandas as pd
import torch
from omegaconf import DictConfig

from saltext.data.datamodule import SaliencyDataModule
from saltext.data.dataset import SJTUTIS, collate
from saltext.evaluation.groups import EvaluationBatch, native_groups
from saltext.evaluation.model_predictor import ModelPredictor
from saltext.evaluation.protocols import STANDARD
from saltext.images import read_photo
from saltext.prediction import pictures
from saltext.prediction.pictures import ImageRecord, TextMaps, normalize_density
from saltext.results import selection, text_ablation
from saltext.results.score_table import RunScores
from saltext.results.text_ablation import TASKS
from saltext.system.run_folder import RunFolder
from saltext.training import ScoredModule


def _predicted_image(
    module: ScoredModule, tested: SJTUTIS, indices: Sequence[int], scores: Sequence[Mapping[str, float]], title: str
) -> ImageRecord:
    """An image with the maps of some of its pairs, at its own resolution.

    Args:
        module: The model, in evaluation mode.
        tested: The test pairs, with ground truth at native resolution.
        indices: Positions in ``tested`` of pairs of one image.
        scores: Scores to show beside the prediction of each pair.
        title: See :class:`saltext.prediction.pictures.ImageRecord`.
    """
    texts = []
    for index, of_pair in zip(indices, scores, strict=True):
        pair = tested.pairs[tested.indices[index]]
        sample: EvaluationBatch = module.transfer_batch_to_device(collate([tested[index]]), module.device, 0)
        with torch.inference_mode():
            (group,) = native_groups(sample, module.device)
            predictor = ModelPredictor(module.predict_saliency)
            predictor.read(sample)
            saliency = predictor.maps(group.index, group.size)
        prediction, human_map = (normalize_density(values[0, 0].cpu().numpy()) for values in (saliency, group.density))
        texts.append(TextMaps(pair.text, prediction, human_map, pair.task, of_pair))
    return ImageRecord(pair.image_id, read_photo(pair.image).pixels, texts, title)


def write_pairs(
    cfg: DictConfig, folder: RunFolder, module: ScoredModule, data: SaliencyDataModule, scores: pd.DataFrame
) -> list[ImageRecord]:
    """Write the picture of a run's test pairs; nothing with ``evaluation.pictures=0``.

    Returns:
        The images in it, with the maps of their texts.
    """
    if not cfg.evaluation.pictures:
        return []
    of_model = scores[(scores["model"] == cfg.label) & (scores["protocol"] == STANDARD)]
    cc = dict(of_model.set_index(["image_id", "task"])["cc"]) if "cc" in of_model else {}
    tested = data.dataset("test", native=True)
    pairs = [tested.pairs[index] for index in tested.indices]
    module.eval()
    records = []
    for image_id, of_image in groupby(
        selection.pairs_by_id(pairs, cfg.evaluation.pictures), lambda position: pairs[position].image_id
    ):
        positions = list(of_image)
        keys = [(image_id, pairs[position].task) for position in positions]
        title = f"image {image_id}" if len(positions) > 1 else f"image {image_id}, {pairs[positions[0]].task}"
        records.append(
            _predicted_image(module, tested, positions, [{"CC": cc[key]} if key in cc else {} for key in keys], title)
        )
    pictures.write_picture(records, folder.picture)
    return records


def write_swaps(folder: RunFolder, module: ScoredModule, data: SaliencyDataModule, scores: RunScores) -> None:
    """Write the picture of images under both of their texts; nothing without swapped texts or without CC.

    Args:
        folder: Of the run, or of a stage.
        module: Its model.
        data: The data it was tested on.
        scores: Of its test pairs.
    """
    if not text_ablation.has_swaps(scores.text_ablation):
        return
    own = text_ablation.own_scores(scores.pairs, scores.text_ablation)
    exchanged = text_ablation.exchanged_pairs(scores.text_ablation)
    cc, cc_other = (dict(table.set_index(["image_id", "task"]).get("cc", {})) for table in (own, exchanged))
    tested = data.dataset("test", native=True)
    indices = {(tested.pairs[i].image_id, tested.pairs[i].task): index for index, i in enumerate(tested.indices)}
    module.eval()
    records = []
    for image_id, remark in selection.images_by_effect(own, exchanged).items():
        # Swapping the other pair's text scored this prediction against the other human map.
        scores_of_texts = [
            {"CC": cc[image_id, task], f"CC with the human map of {other}": cc_other[image_id, other]}
            for task, other in zip(TASKS, reversed(TASKS), strict=True)
        ]
        title = f"image {image_id}, {remark}"
        of_image = [indices[image_id, task] for task in TASKS]
        records.append(_predicted_image(module, tested, of_image, scores_of_texts, title))
    if records:
        pictures.write_picture(records, folder.root / "text_swap.png", selection.BY_EFFECT)
