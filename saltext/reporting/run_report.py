"""The files a finished run leaves for people: scores, tables and a picture."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from omegaconf import DictConfig
from PIL import Image

from saltext.data import Pair, SaliencyDataModule, Split, collate
from saltext.data.splits import Part
from saltext.evaluation.groups import Batch, native_groups
from saltext.evaluation.protocols import STANDARD
from saltext.reporting import tables, text_effect
from saltext.reporting.pictures import Panel, draw
from saltext.reporting.scores import of_protocol
from saltext.run_folder import RunFolder
from saltext.scoring import RunScores, write_run_scores
from saltext.training import ModelPredictor, ScoredModule


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


def _panel(pair: Pair, module: ScoredModule, sample: Batch, scores: pd.DataFrame) -> Panel:
    predict = ModelPredictor(module, model="").at
    with torch.inference_mode():
        (group,) = native_groups(sample, module.device)
        saliency = predict(sample)(group)
    score = scores[(scores["image_id"] == pair.image_id) & (scores["task"] == pair.task)].iloc[0]
    with Image.open(pair.image) as image:
        pixels = np.asarray(image.convert("RGB"))
    return Panel(
        image=pixels,
        truth=group.density[0, 0].cpu().numpy(),
        prediction=saliency[0, 0].cpu().numpy(),
        title=f"{pair.image_id}, {pair.task}",
        text=pair.text,
        note=f"predicted, CC {score['cc']:.2f}" if "cc" in score else "predicted",
    )


def circumstances(split: Split, choose_on: Part) -> str:
    """How the split was made and the epoch chosen, in a sentence."""
    grouped = "grouped by image" if split.unit == "image" else "by row: test images also train under other texts"
    chosen = {"val": "the validation part" if split.parts["val"] else "nothing (the last one)"}
    on = chosen.get(choose_on, "the test part itself, which makes its scores optimistic")
    return f"Split: {split.method}, seed {split.seed}, {grouped}. Epoch chosen on {on}."


def write_tables(folder: RunFolder, scores: RunScores, how: str, data_set: str | None) -> None:
    """Write the run's scores and tables, and print the tables.

    Args:
        folder: Where to.
        scores: Of the run.
        how: See :func:`circumstances`.
        data_set: Its name among the published values, if it has any.
    """
    write_run_scores(folder, scores)
    known = tables.published(data_set) if data_set else {}
    found = tables.tables(scores.pairs, known, how)
    folder.table.write_text("\n".join(tables.markdown(table) for table in found), encoding="utf-8")
    for table in found:
        tables.show(table)
    if not scores.text_effect.empty:
        _write_text_effect(folder, scores)


def _write_text_effect(folder: RunFolder, scores: RunScores) -> None:
    model = scores.text_effect["model"].iloc[0]
    standard = of_protocol(scores.pairs, STANDARD)
    effects = text_effect.text_effects(standard[standard["model"] == model], scores.text_effect)
    folder.text_effect_table.write_text(text_effect.document(effects), encoding="utf-8")
    text_effect.show(effects)


def write_picture(
    cfg: DictConfig, folder: RunFolder, module: ScoredModule, data: SaliencyDataModule, scores: pd.DataFrame
) -> None:
    """Draw the run's picture."""
    of_model = scores[(scores["model"] == cfg.label) & (scores["protocol"] == STANDARD)]
    tested = data.dataset("test", native=True)
    pairs = [tested.pairs[index] for index in tested.indices]
    module.eval()
    panels = [
        _panel(pairs[place], module, collate([tested[place]]), of_model)
        for place in chosen_pairs(pairs, cfg.evaluation.pictures)
    ]
    draw(panels, folder.picture)
