"""The files a finished run leaves for people: table and picture."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from omegaconf import DictConfig
from PIL import Image

from saltext.data import Pair, SaliencyDataModule, collate
from saltext.reporting import tables
from saltext.reporting.pictures import Panel, draw
from saltext.run_folder import RunFolder
from saltext.training import ScoredModule
from saltext.training.native import groups


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


def _panel(pair: Pair, module: ScoredModule, sample: Mapping[str, object], scores: pd.DataFrame) -> Panel:
    with torch.inference_mode():
        (group,) = groups(module.eval().predict_saliency(sample).float(), sample)
    score = scores[(scores["image_id"] == pair.image_id) & (scores["task"] == pair.task)].iloc[0]
    with Image.open(pair.image) as image:
        pixels = np.asarray(image.convert("RGB"))
    return Panel(
        image=pixels,
        truth=group.density[0, 0].cpu().numpy(),
        prediction=group.saliency[0, 0].cpu().numpy(),
        title=f"{pair.image_id}, {pair.task}",
        text=pair.text,
        note=f"predicted, CC {score['cc']:.2f}" if "cc" in score else "predicted",
    )


def write_table(folder: RunFolder, scores: pd.DataFrame, data_set: str | None) -> None:
    """Write the run's table and print it."""
    rows = tables.rows(scores, tables.published(data_set) if data_set else {})
    folder.table.write_text(tables.markdown(rows), encoding="utf-8")
    tables.show(rows)


def write_picture(
    cfg: DictConfig, folder: RunFolder, module: ScoredModule, data: SaliencyDataModule, scores: pd.DataFrame
) -> None:
    """Draw the run's picture."""
    of_model = scores[scores["model"] == cfg.label]
    tested = data.dataset("test", native=True)
    pairs = [tested.pairs[index] for index in tested.indices]
    panels = [
        _panel(pairs[place], module, collate([tested[place]]), of_model)
        for place in chosen_pairs(pairs, cfg.evaluation.pictures)
    ]
    draw(panels, folder.picture)
