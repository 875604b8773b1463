"""The reference table of the data set: values measured on the whole real data with independent code, reproduced.

Centre prior: mean of the other images' maps of the task. Human maps as predictions: the published 8-bit maps plus a
thousandth of a grey level (see ``saltext.baselines.human.FLOOR``). Both to 0.002. How the reference halved the
fixations is not known, so split-half is held to what the choice of the halves changes.

The rest of the table: ``saltext score --baselines data/sjtu-tis``.
"""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd
import pytest

from saltext.data.sources.detect import source_of
from saltext.evaluation.score_folder import DEFAULT_METRICS, score_folder

TASKS = ("general", "salient", "non_salient")

# CC, SIM, KL, NSS, AUC-J, sAUC, IG and top-20 AUC, in the order of DEFAULT_METRICS. IG was rounded to two digits.
CENTRE_PRIOR = {
    "general": (0.505, 0.538, 0.746, 1.022, 0.771, 0.495, 0.0, 0.719),
    "salient": (0.518, 0.521, 0.792, 1.211, 0.803, 0.498, 0.0, 0.743),
    "non_salient": (0.348, 0.446, 1.085, 0.841, 0.733, 0.491, 0.0, 0.689),
}
HUMAN_PURE = {
    "general": (0.695, 0.640, 0.652, 1.686, 0.844, 0.691, 0.43, 0.791),
    "salient": (0.716, 0.630, 0.623, 2.008, 0.865, 0.700, 0.52, 0.793),
    "non_salient": (0.444, 0.486, 1.188, 1.280, 0.809, 0.675, 0.16, 0.729),
}
HUMAN_OTHERS = {"general": (0.844, 0.745, 0.272, 2.074, 0.886, 0.766, 0.97, 0.862)}
SPLIT_HALF = {
    "general": (0.921, 0.812, 0.243, 2.436, 0.901, 0.809, 1.19, 0.888),
    "salient": (0.936, 0.822, 0.245, 2.800, 0.911, 0.806, 1.25, 0.886),
    "non_salient": (0.942, 0.821, 0.240, 2.989, 0.916, 0.863, 1.72, 0.881),
}
TWO_DIGITS = 0.005 + 0.002


@pytest.fixture(scope="module")
def scores(sjtu_root: Path) -> pd.DataFrame:
    """Mean scores by (model, task)."""
    names = ("centre_prior_others", "human_pure", "human_others", "split_half")
    table = score_folder(None, source_of(sjtu_root), tasks=TASKS, baselines=names)
    assert table.groupby(["model", "task"]).size().eq(300).all()
    return table.groupby(["model", "task"])[list(DEFAULT_METRICS)].mean()


def _check(
    scores: pd.DataFrame, model: str, expected: dict[str, tuple[float, ...]], tolerances: Iterable[float]
) -> None:
    allowed = dict(zip(DEFAULT_METRICS, tolerances, strict=True))
    wrong = {
        (task, name): (round(found, 4), value)
        for task, values in expected.items()
        for name, value in zip(DEFAULT_METRICS, values, strict=True)
        if abs((found := scores.loc[model, task][name]) - value) > allowed[name]
    }
    assert not wrong


@pytest.mark.slow
@pytest.mark.real_data
@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("centre prior (other images)", CENTRE_PRIOR),
        ("human map, free viewing", HUMAN_PURE),
        ("human maps, other conditions", HUMAN_OTHERS),
    ],
)
def test_human_bars_reproduce_the_reference_values(scores: pd.DataFrame, model: str, expected: dict) -> None:
    _check(scores, model, expected, [0.002] * 6 + [TWO_DIGITS, 0.002])


@pytest.mark.slow
@pytest.mark.real_data
def test_split_half_is_as_near_as_other_halves_are(scores: pd.DataFrame) -> None:
    _check(scores, "split-half fixations", SPLIT_HALF, [0.004, 0.004, 0.02, 0.015, 0.004, 0.004, 0.04, 0.004])
