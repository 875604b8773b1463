import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from saltext.evaluation.baseline_scores import BaselineScores
from saltext.evaluation.protocols import PAPERS, Protocol, standard
from saltext.evaluation.score_cache import ScoreCache
from saltext.metrics import Metric, register_metric

SCORES = {"uniform": {3: [0.25, math.nan], 1: [1 / 3, -2.0]}, "centre_prior": {}}
PROTOCOL = standard(["cc", "nss"])


def scores_in(folder: Path, depends_on: Sequence[Any] = ("data",), names: Sequence[str] = tuple(SCORES)) -> Any:
    return BaselineScores(ScoreCache(folder), depends_on, names)


def test_scores_are_read_back_as_they_were_written_undefined_ones_and_baselines_without_pairs_too(
    tmp_path: Path,
) -> None:
    scores_in(tmp_path).put(PROTOCOL, SCORES)
    found = scores_in(tmp_path).get(PROTOCOL)
    assert list(found) == ["uniform", "centre_prior"]
    assert found["centre_prior"] == {}
    assert list(found["uniform"]) == [3, 1]
    assert found["uniform"][1] == SCORES["uniform"][1]
    assert found["uniform"][3][0] == 0.25
    assert math.isnan(found["uniform"][3][1])


@pytest.mark.parametrize(
    ("depends_on", "names", "protocol"),
    [
        (["other data"], list(SCORES), PROTOCOL),
        (["data"], ["uniform"], PROTOCOL),
        (["data"], list(SCORES), standard(["nss", "cc"])),
        (["data"], list(SCORES), PAPERS["tranblend"]),
    ],
)
def test_scores_of_anything_else_are_not_taken(
    depends_on: list[Any], names: list[str], protocol: Protocol, tmp_path: Path
) -> None:
    scores_in(tmp_path).put(PROTOCOL, SCORES)
    assert scores_in(tmp_path, depends_on, names).get(protocol) is None


def test_nothing_is_cached_of_unknown_ground_truth_or_by_a_metric_from_outside(tmp_path: Path) -> None:
    def spread(pred: Tensor, density: Tensor) -> Tensor:
        return torch.zeros(len(pred))

    register_metric("spread", Metric.of(spread, higher_is_better=True, title="Spread"))
    for depends_on, protocol in (([], PROTOCOL), (["data"], standard(["cc", "spread"]))):
        scores = scores_in(tmp_path, depends_on)
        scores.put(protocol, SCORES)
        assert scores.get(protocol) is None
    assert list(tmp_path.iterdir()) == []
