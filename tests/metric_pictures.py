"""The pictures on the page about metrics: predictions of one synthetic ground truth, and how each metric scores them.

    python -m tests.metric_pictures docs/metrics/index.md

Writes the pictures into the folder ``pictures`` beside the page, and puts between ``<!-- pictures -->`` and
``<!-- /pictures -->``, a line each, the pictures and the table of scores.
"""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from saltext import storage
from saltext.data.density import density_from_points
from saltext.metrics import score
from saltext.prediction.colours import inferno
from saltext.reporting import tables
from saltext.reporting.grid import Grid
from tests.filled_pages import filled, given_page

NAMES = ("cc", "sim", "kl", "nss", "auc_judd", "auc_shuffled", "ig")
FOLDER = "pictures"
"""Beside the page; also the mark around what is written."""

_SIZE = (90, 120)  # of the image, in pixels
_SIGMA = 6.0  # of the blur, in pixels
_LEFT, _RIGHT, _CORNER = (40, 32), (52, 88), (14, 108)  # (y, x) of two objects, and of one that nobody looks at
_ENLARGED = 2  # pixels of a picture for each of the image
_DOT = 1  # half the side of a fixation in a picture, in pixels of the image


def fixated(seed: int) -> Tensor:
    """Fixations around the two objects, more on the left one, shape ``(n, 2)``: y, x."""
    random = np.random.default_rng(seed)
    centres = np.repeat([_LEFT, _RIGHT], [24, 12], axis=0)
    points = (centres + random.normal(0, 4, centres.shape)).round().astype(np.int64)
    return torch.from_numpy(points.clip(0, np.array(_SIZE) - 1))


def counts(points: Tensor) -> Tensor:
    """Number of fixations at each pixel, shape ``(1, 1, height, width)``."""
    found = torch.zeros(1, 1, *_SIZE)
    found[0, 0].index_put_((points[:, 0], points[:, 1]), torch.ones(len(points)), accumulate=True)
    return found


def blurred(points: Tensor, sigma: float = _SIGMA) -> Tensor:
    """The density of some points, shape ``(1, 1, height, width)``; sums to 1."""
    density = density_from_points([points], _SIZE, sigma)
    return density / density.sum()


def centre_prior() -> Tensor:
    """A wide Gaussian in the middle of the image."""
    return blurred(torch.tensor([[_SIZE[0] // 2, _SIZE[1] // 2]]), 4 * _SIGMA)


def predictions(points: Tensor) -> dict[str, Tensor]:
    """Predictions by what is wrong with them; the first is the human map itself."""
    human_map = blurred(points)
    left = points[points[:, 1] < _SIZE[1] // 2]
    return {
        "the human map": human_map,
        "too sharp": blurred(points, _SIGMA / 2),
        "too wide": blurred(points, 3 * _SIGMA),
        "one object missed": blurred(left),
        "a false alarm": 0.75 * human_map + 0.25 * blurred(torch.tensor([_CORNER])),
        "order kept, contrast lost": (human_map + human_map.max()) / (human_map + human_map.max()).sum(),
        "centre prior": centre_prior(),
        "uniform": torch.full_like(human_map, 1 / human_map.numel()),
    }


def elsewhere() -> Tensor:
    """Fixations on other images, spread around the centre: the negatives of the shuffled AUC."""
    middle, spread = (_SIZE[0] / 2, _SIZE[1] / 2), (14, 20)
    points = np.random.default_rng(1).normal(middle, spread, (200, 2)).round().astype(np.int64)
    return counts(torch.from_numpy(points.clip(0, np.array(_SIZE) - 1)))


def scored(points: Tensor) -> dict[str, dict[str, float]]:
    """The score of each prediction by each metric."""
    others, baseline = elsewhere(), centre_prior()
    found = {}
    for name, prediction in predictions(points).items():
        scores = score(prediction, blurred(points), counts(points), [*NAMES], others=others, baseline=baseline)
        found[name] = {metric: scores[metric].item() for metric in NAMES}
    return found


def write_pictures(points: Tensor, folder: Path) -> None:
    """Write the fixations, and each prediction on a colour scale of its own, as PNG files named as in the table."""
    folder.mkdir(parents=True, exist_ok=True)
    dots = torch.nn.functional.max_pool2d(counts(points), 2 * _DOT + 1, stride=1, padding=_DOT)
    for name, values in {"fixations": dots.clamp(max=1), **predictions(points)}.items():
        level = (values[0, 0] * (255 / values.max())).round().to(torch.uint8).numpy()
        picture = Image.fromarray(inferno()[level]).resize((_ENLARGED * _SIZE[1], _ENLARGED * _SIZE[0]))
        with storage.replacing(folder / f"{file_name(name)}.png") as part:
            picture.save(part, "PNG", optimize=True)


def file_name(name: str) -> str:
    """Of the picture of a prediction, without ending."""
    return name.replace(",", "").replace(" ", "-")


def markdown(points: Tensor) -> str:
    """The pictures, then the table; the best score of each metric is not marked, since the human map need not be it."""
    lines = ["````{container} maps"]
    for name in ("fixations", *predictions(points)):
        alternative = "Points on black, in two groups" if name == "fixations" else f"Density map: {name}"
        lines += [f"```{{figure}} {FOLDER}/{file_name(name)}.png", f":alt: {alternative}", "", name, "```"]
    rows = [[name, *(f"{of[metric]:z.2f}" for metric in NAMES)] for name, of in scored(points).items()]
    headings = ["prediction", *(tables.heading(metric) for metric in NAMES)]
    return "\n".join([*lines, "````", "", Grid(headings, rows, frozenset(range(1, len(headings)))).markdown(), ""])


def main() -> None:
    """Entry point; see the module's help."""
    page = given_page(__doc__)
    write_pictures(fixated(0), page.parent / FOLDER)
    storage.write_text(page, filled(page.read_text(encoding="utf-8"), FOLDER, markdown(fixated(0))))


if __name__ == "__main__":
    main()
