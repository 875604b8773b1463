"""One image under its two texts and under none: how the map moves."""

import pandas as pd

from saltext.prediction.pictures import change_overlay, moved, overlay
from saltext.reporting import text_swap
from saltext.reporting.extremes import jpeg
from saltext.reporting.page import Shot, Strip
from saltext.reporting.predicted import SwapMaps
from saltext.reporting.text_swap import TASKS

_BY_ID = "Chosen by rule: the first test images by id that were tested under both texts."
_COUNT = 3


def chosen(own: pd.DataFrame, variants: pd.DataFrame) -> tuple[dict[str, str], str]:
    """The images that are shown.

    Args:
        own: Scores of the model with every pair's own text, one protocol.
        variants: Its scores with other texts; may be empty.

    Returns:
        Image -> what is said of it, and the rule by which they were chosen: by how much the text matters, where other
        texts were scored by CC, otherwise by id. Empty where no image was tested under both texts.
    """
    if text_swap.applies(variants) and "cc" in own and "cc" in variants:
        found = text_swap.chosen_images(own, text_swap.exchanged_pairs(variants))
        return {one.image_id: str(one).partition("\n")[2] for one in found}, text_swap.RULE
    ids = [set(own.loc[own["task"] == task, "image_id"]) for task in TASKS]
    return dict.fromkeys(sorted(set.intersection(*ids))[:_COUNT], ""), _BY_ID


def strip(maps: SwapMaps, said: str, model: str) -> Strip:
    """The panel of an image.

    Args:
        maps: What was predicted.
        said: Of the image; may be empty.
        model: Whose maps they are; empty where there is no other.
    """
    stage = f"stage {maps.stage}" if maps.stage else ""
    title = ", ".join(part for part in (f"image {maps.image_id}", said, model, stage) if part)
    highest = max(float(density.max()) for density in maps.predictions.values())
    # In rows of four, each prediction under a text stands below the truth of that text.
    shots = [Shot(jpeg(maps.pixels), "image", f"Image {maps.image_id}")]
    for task in TASKS:
        alt = f"Density of people's fixations on image {maps.image_id} after the {task} text"
        shots.append(Shot(jpeg(overlay(maps.pixels, maps.truths[task])), f"where people looked, {task}", alt))
    shots.append(_change(maps, highest))
    for name, density in maps.predictions.items():
        scores = ", ".join(f"{maps.cc[name, task]:.2f} with {task}" for task in TASKS)
        alt = f"Density predicted for image {maps.image_id} under: {name}"
        shots.append(Shot(jpeg(overlay(maps.pixels, density, highest)), f"predicted, {name}: CC {scores}", alt))
    texts = " / ".join(f"{task}: “{maps.texts[task]}”" for task in TASKS)
    return Strip(title, texts, shots)


def _change(maps: SwapMaps, highest: float) -> Shot:
    salient, non_salient = (maps.predictions[task] for task in TASKS)
    share = moved(salient, non_salient)
    changed = jpeg(change_overlay(maps.pixels, non_salient - salient, highest))
    said = f"{share:.0%} of the density moves from the salient to the non_salient text"
    return Shot(
        changed, f"{said}: red more, blue less", f"Change of the predicted map of image {maps.image_id}: {said}"
    )
