"""The files a finished run leaves for people: scores, tables, curves and pictures."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from omegaconf import DictConfig

from saltext import storage
from saltext.console import not_essential
from saltext.data.datamodule import SaliencyDataModule
from saltext.data.dataset import SJTUTIS, collate
from saltext.data.pairs import Pair
from saltext.evaluation.groups import Batch, native_groups
from saltext.evaluation.model_predictor import ModelPredictor
from saltext.evaluation.protocols import STANDARD
from saltext.reporting import curves, tables, text_effect, text_swap
from saltext.reporting.pictures import Panel, Reading, Swap, draw, draw_swaps, read_pixels
from saltext.reporting.scores import RunScores
from saltext.system.run_folder import RunFolder
from saltext.training import ScoredModule


def chosen_pairs(pairs: Sequence[Pair], count: int) -> list[int]:
    """Positions of the pairs a picture shows: by rule, never by how well they look.

    The first ``count`` images by id with both a salient and a non_salient text, each under the two, then the first
    image with a ``whole`` text; where there are none, the first ``count`` pairs.
    """
    where: dict[tuple[str, str], int] = {(pair.image_id, pair.task): i for i, pair in enumerate(pairs)}
    ids = sorted({pair.image_id for pair in pairs})
    both = [i for i in ids if (i, "salient") in where and (i, "non_salient") in where]
    swapped = [where[i, task] for i in both[:count] for task in ("salient", "non_salient")]
    whole = [where[i, "whole"] for i in ids if (i, "whole") in where]
    return [*swapped, *whole[:1]] or list(range(min(count, len(pairs))))


def _maps(module: ScoredModule, sample: Batch) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Truth and prediction of a batch of one, (h,w) at the image's own resolution."""
    sample = module.transfer_batch_to_device(sample, module.device, 0)
    with torch.inference_mode():
        (group,) = native_groups(sample, module.device)
        saliency = ModelPredictor(module.predict_saliency, model="").at(sample)(group)
    return group.density[0, 0].cpu().numpy(), saliency[0, 0].cpu().numpy()


def _panel(pair: Pair, module: ScoredModule, sample: Batch, scores: pd.DataFrame) -> Panel:
    truth, prediction = _maps(module, sample)
    score = scores[(scores["image_id"] == pair.image_id) & (scores["task"] == pair.task)].iloc[0]
    return Panel(
        image=read_pixels(pair.image),
        truth=truth,
        prediction=prediction,
        title=f"{pair.image_id}, {pair.task}",
        text=pair.text,
        note=f"predicted, CC {score['cc']:.2f}" if "cc" in score else "predicted",
    )


def write_tables(folder: RunFolder, scores: RunScores, how: str, data_set: str | None) -> list[tables.TaskTable]:
    """Write the run's tables, and the curves of what was logged below the folder.

    Args:
        folder: Where to.
        scores: Of the run.
        how: See :func:`saltext.reporting.origin.circumstances`.
        data_set: Its name among the published values, if it has any.

    Returns:
        Those of the scores, the standard protocol's first.
    """
    known = tables.published(data_set) if data_set else {}
    found = tables.tables(scores.pairs, known, how)
    storage.write_text(folder.table, "\n".join(tables.markdown(table) for table in found))
    if not scores.text_effect.empty:
        own = text_swap.own_scores(scores.pairs, scores.text_effect)
        effects = text_effect.text_effects(own, scores.text_effect)
        storage.write_text(folder.text_effect_table, text_effect.document(effects))
        text_swap.write(folder, own, scores.text_effect)
    with not_essential("the curves"):
        curves.write(folder)
    return found


def write_picture(
    cfg: DictConfig, folder: RunFolder, module: ScoredModule, data: SaliencyDataModule, scores: pd.DataFrame
) -> None:
    """Draw the run's picture; nothing where none is asked for (``evaluation.pictures=0``)."""
    if not cfg.evaluation.pictures:
        return
    of_model = scores[(scores["model"] == cfg.label) & (scores["protocol"] == STANDARD)]
    tested = data.dataset("test", native=True)
    pairs = [tested.pairs[index] for index in tested.indices]
    module.eval()
    panels = [
        _panel(pairs[place], module, collate([tested[place]]), of_model)
        for place in chosen_pairs(pairs, cfg.evaluation.pictures)
    ]
    draw(panels, folder.picture)


def write_swap_picture(folder: RunFolder, module: ScoredModule, data: SaliencyDataModule, scores: RunScores) -> None:
    """Draw images under both of their texts; nothing where no text was exchanged or CC was not scored.

    Args:
        folder: Of the run, or of a stage.
        module: Its model.
        data: What it was tested on.
        scores: Of its test pairs.
    """
    if not text_swap.applies(scores.text_effect):
        return
    own = text_swap.own_scores(scores.pairs, scores.text_effect)
    exchanged = text_swap.exchanged_pairs(scores.text_effect)
    tested = data.dataset("test", native=True)
    places = {(tested.pairs[i].image_id, tested.pairs[i].task): place for place, i in enumerate(tested.indices)}
    module.eval()
    swaps = []
    for chosen in text_swap.chosen_images(own, exchanged):
        right, other = (_cc(table, chosen.image_id) for table in (own, exchanged))
        salient, non_salient = (places[chosen.image_id, task] for task in text_swap.TASKS)
        swaps.append(
            Swap(
                image=read_pixels(tested.pairs[tested.indices[salient]].image),
                title=str(chosen),
                salient=_reading(module, tested, salient, right["salient"], other["non_salient"]),
                non_salient=_reading(module, tested, non_salient, right["non_salient"], other["salient"]),
            )
        )
    if swaps:
        draw_swaps(swaps, folder.root / "text_swap.png", text_swap.RULE)


def _cc(scores: pd.DataFrame, image_id: str) -> dict[str, float]:
    """CC of an image's pairs, by task."""
    return dict(scores[scores["image_id"] == image_id].set_index("task")["cc"])


def _reading(module: ScoredModule, tested: SJTUTIS, place: int, cc: float, cc_other: float) -> Reading:
    truth, prediction = _maps(module, collate([tested[place]]))
    return Reading(tested.pairs[tested.indices[place]].text, truth, prediction, cc, cc_other)
