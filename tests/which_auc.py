"""One map under every implementation of an area under a ROC curve that papers on saliency use.

    python -m tests.which_auc docs/auc.md

Puts the table between ``<!-- auc -->`` and ``<!-- /auc -->``, a line each. Needs SJTU-TIS and pysaliency.

The prediction is the human map of free viewing of one image of SJTU-TIS, scored against where people looked after
its text about salient objects: once as published, with 8 bits, and once recomputed from the fixations, in floats.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from saltext import storage
from saltext.console import set_up_streams
from saltext.data.density import density_from_points, sigma_for
from saltext.data.files import read_fixations, read_map
from saltext.data.pairs import Pair
from saltext.data.sources.sjtu_tis import SjtuTis
from saltext.metrics import FixationPool, Fixations, score
from saltext.reporting.grid import Grid
from tests.benchmarks.oracles import PapersLoop
from tests.reference import mit_auc
from tests.reference.pysaliency_oracle import Evaluation

IMAGE, PREDICTION, TRUTH = "000000009833", "pure", "salient"
SEEDS = range(20)
START, END = "<!-- auc -->\n", "<!-- /auc -->"

_MIT, _OURS, _ORACLE = "MIT benchmark", "saltext", "pysaliency"
_ALL, _FREE, _OTHERS = "all pixels", "unfixated pixels", "fixations on all other images"
_FIFTH = "top fifth of the human map"
_REST = "the rest of the human map"


class Case:
    """The pair, the prediction in two forms, and the fixations on other images."""

    def __init__(self, root: Path) -> None:
        pairs = [pair for pair in SjtuTis(root).read().pairs if isinstance(pair, Pair)]
        of_image = {pair.task: pair for pair in pairs if pair.image_id == IMAGE}
        self.truth = _map(of_image[TRUTH])
        self.size = self.truth.shape
        self.points = _points(of_image[TRUTH])
        published = _map(of_image[PREDICTION]).astype(np.float64)
        free = torch.from_numpy(_points(of_image[PREDICTION]).astype(np.int64))
        recomputed = density_from_points([free], self.size, sigma_for(self.size))[0, 0].double().numpy()
        self.predictions = {"8-bit map": published, "the same in floats": recomputed}
        same = [pair for pair in pairs if pair.task == TRUTH]
        sizes = [read_map(pair.density).shape for pair in same]
        every = [
            torch.from_numpy(read_fixations(pair.fixations, size).astype(np.int64))
            for pair, size in zip(same, sizes, strict=True)
            if isinstance(pair.fixations, Path)
        ]
        names = [pair.image_id for pair in same]
        pool = FixationPool(every, torch.tensor(sizes), names, [TRUTH] * len(same))
        self.others = pool.others([IMAGE], [TRUTH], self.size)
        self._every = {name: (points.numpy(), size) for name, points, size in zip(names, every, sizes, strict=True)}

    def union_of_ten(self, rng: np.random.Generator) -> np.ndarray:
        """Fixation map of ten random other images, whose coordinates are rescaled."""
        marked = np.zeros(self.size, bool)
        for name in rng.choice([name for name in self._every if name != IMAGE], 10, replace=False):
            points, size = self._every[str(name)]
            y, x = (points * np.array(self.size) / np.array(size)).astype(int).T
            marked[y, x] = True
        return marked


def _map(pair: Pair) -> np.ndarray:
    assert isinstance(pair.density, Path)
    return read_map(pair.density)


def _points(pair: Pair) -> np.ndarray:
    assert isinstance(pair.fixations, Path)
    return read_fixations(pair.fixations, _map(pair).shape)


Rows = list[tuple[str, str, str, str, list[list[float]]]]


def rows(case: Case) -> Rows:
    """Name, whose, positives, negatives, and the values of each prediction: one, or one for each seed."""
    fixated = np.zeros(case.size, bool)
    fixated[tuple(case.points.T)] = True
    fixations = Fixations.from_points([torch.from_numpy(case.points.astype(np.int64))], case.size)
    density = torch.from_numpy(case.truth.astype(np.float64))[None, None]
    others = list(zip(*case.others.counts[0, 0].nonzero().T.tolist(), strict=True))
    negatives = [np.array([point for point in others for _ in range(int(case.others.counts[0, 0][point]))])]

    def ours(name: str) -> Callable[[np.ndarray], list[float]]:
        def value(image: np.ndarray) -> list[float]:
            pred = torch.from_numpy(image)[None, None]
            return [float(score(pred, density, fixations, [name], others=case.others)[name])]

        return value

    def oracle(which: object, thresholds: str = "all") -> Callable[[np.ndarray], list[float]]:
        return lambda image: [float(Evaluation(image[None], [case.points]).auc(which, thresholds)[0])]

    def drawn(area: Callable[[np.ndarray, np.random.Generator], float]) -> Callable[[np.ndarray], list[float]]:
        return lambda image: [area(image, np.random.default_rng(seed)) for seed in SEEDS]

    def papers(size: tuple[int, int], name: str) -> Callable[[np.ndarray], list[float]]:
        def value(image: np.ndarray) -> list[float]:
            pred, truth = _resized(image, size), _resized(case.truth, size)
            if name == "top20_auc":
                return [PapersLoop().top20_auc(pred, truth)]
            return [PapersLoop().top20_sauc_sampled(pred, truth, seed) for seed in SEEDS]

        return value

    tranblend, clip_salgan = (288, 384), (256, 256)
    listed: list[tuple[str, str, str, str, Callable[[np.ndarray], list[float]]]] = [
        ("`auc_judd`", _OURS, "fixations", _ALL, ours("auc_judd")),
        ("`AUC(nonfixations='uniform')`", _ORACLE, "fixations", _ALL, oracle("uniform")),
        ("`auc_judd_unfixated`", _OURS, "fixations", _FREE, ours("auc_judd_unfixated")),
        ("`AUC(nonfixations='unfixated')`", _ORACLE, "fixations", _FREE, oracle("unfixated")),
        ("`AUC_Judd.m`", _MIT, "fixated pixels", _FREE, drawn(lambda i, rng: mit_auc.auc_judd(i, fixated, rng))),
        ("`AUC_Judd.m`, no noise", _MIT, "fixated pixels", _FREE, lambda i: [mit_auc.auc_judd(i, fixated)]),
        ("`auc_judd_mit`", _OURS, "fixations", _FREE, ours("auc_judd_mit")),
        ("`AUC_Judd(jitter=False)`", _ORACLE, "fixations", _FREE, oracle("unfixated", "fixations")),
        ("`AUC_Borji.m`", _MIT, "fixated pixels", "drawn from all pixels",
         drawn(lambda i, rng: mit_auc.auc_borji(i, fixated, rng))),
        ("`auc_borji`", _OURS, "fixations", "drawn from all pixels", ours("auc_borji")),
        ("`auc_shuffled`", _OURS, "fixations", _OTHERS, ours("auc_shuffled")),
        ("`AUC(nonfixations=others)`", _ORACLE, "fixations", _OTHERS, oracle(negatives)),
        ("`AUC_shuffled.m`", _MIT, "fixated pixels", "drawn from those on ten other images",
         drawn(lambda i, rng: mit_auc.auc_shuffled(i, fixated, case.union_of_ten(rng), rng))),
        ("AUC, script, 288x384", "TranBlend paper", _FIFTH, _REST, papers(tranblend, "top20_auc")),
        ("AUC, script, 256x256", "CLIP-SalGAN paper", _FIFTH, _REST, papers(clip_salgan, "top20_auc")),
        ("`top20_auc`, own resolution", _OURS, _FIFTH, _REST, ours("top20_auc")),
        ("sAUC, script, 288x384", "TranBlend paper", f"{_FIFTH}, and as many drawn", _REST,
         papers(tranblend, "top20_sauc_sampled")),
        ("sAUC, script, 256x256", "CLIP-SalGAN paper", f"{_FIFTH}, and as many drawn", _REST,
         papers(clip_salgan, "top20_sauc_sampled")),
        ("`top20_sauc`, own resolution", _OURS, f"{_FIFTH}, and as many on average", _REST, ours("top20_sauc")),
    ]  # fmt: skip
    return [(*labels, [value(image) for image in case.predictions.values()]) for *labels, value in listed]


def _resized(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resized as the papers' scripts do it: an 8-bit picture, bilinear."""
    eight_bits = np.round(255 * (image / image.max())).astype(np.uint8)
    picture = Image.fromarray(eight_bits).resize((size[1], size[0]), Image.Resampling.BILINEAR)
    return np.asarray(picture, np.float64)


def table(case: Case, found: Rows) -> str:
    """The rows as a table in Markdown; of several draws mean and standard deviation."""
    headings = ["implementation", "whose", "positives", "negatives", *case.predictions]
    texts = [[*labels, *(_text(values) for values in by_map)] for *labels, by_map in found]
    return Grid(headings, texts, frozenset({4, 5}), keys=4).markdown().replace("\\`", "`")


def _text(values: list[float]) -> str:
    mean = f"{np.mean(values):.4f}"
    return mean if len(values) == 1 else f"{mean} ± {np.std(values):.4f}"


def filled(text: str, shown: str) -> str:
    """A page with the table between its marks."""
    before, _, rest = text.partition(START)
    return f"{before}{START}{shown}\n{END}{rest.partition(END)[2]}"


def main() -> None:
    """Entry point; see the module's help."""
    set_up_streams()
    if {"-h", "--help"} & set(sys.argv) or len(sys.argv) != 2:
        print(__doc__)
        sys.exit(len(sys.argv) != 2)
    page, root = Path(sys.argv[1]), Path(os.environ.get("SALTEXT_DATA", "data/sjtu-tis"))
    case = Case(root)
    storage.write_text(page, filled(page.read_text(encoding="utf-8"), table(case, rows(case))))


if __name__ == "__main__":
    main()
