"""Cached scores of baselines, which are the same for every model scored on the same pairs."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from saltext.evaluation.protocols import Protocol
from saltext.evaluation.score_cache import ScoreCache
from saltext.metrics.scores import is_built_in

_ARRAYS = ("baseline_and_pair", "scores")

ScoresByPair = Mapping[int, Sequence[float]]
"""Index of a pair -> a score for each metric, NaN where it is undefined."""


class BaselineScores:
    """Scores of baselines on disk, an entry for each protocol.

    Args:
        cache: Where they are cached.
        depends_on: JSON values that, with the code, decide the baselines' maps and the ground truth: contents of the
            data set, training pairs, scored pairs. Empty: nothing is read or written.
        baselines: Names of the baselines, in ``saltext.baselines.BASELINES``.
    """

    def __init__(self, cache: ScoreCache, depends_on: Sequence[Any], baselines: Sequence[str]) -> None:
        self._cache = cache
        self._depends_on = list(depends_on)
        self._baselines = list(baselines)

    def get(self, protocol: Protocol) -> Mapping[str, ScoresByPair] | None:
        """Scores of each baseline on the pairs that it covers; None where they are not cached."""
        if not self._cacheable(protocol):
            return None
        arrays = self._cache.get(self._key(protocol), _ARRAYS)
        if arrays is None:
            return None
        scores: dict[str, dict[int, Sequence[float]]] = {name: {} for name in self._baselines}
        for (baseline, index), row in zip(arrays["baseline_and_pair"].tolist(), arrays["scores"].tolist(), strict=True):
            scores[self._baselines[baseline]][index] = row
        return scores

    def put(self, protocol: Protocol, scores: Mapping[str, ScoresByPair]) -> None:
        """Cache the scores of all baselines, as :meth:`get` returns them."""
        if not self._cacheable(protocol):
            return
        numbered = [(number, scores[name]) for number, name in enumerate(self._baselines)]
        keys = [(number, index) for number, by_pair in numbered for index in by_pair]
        values = [row for _, by_pair in numbered for row in by_pair.values()]
        arrays = {
            "baseline_and_pair": np.array(keys, np.int64).reshape(-1, 2),
            "scores": np.array(values, np.float64).reshape(-1, len(protocol.metrics)),
        }
        self._cache.put(self._key(protocol), arrays)

    def _cacheable(self, protocol: Protocol) -> bool:
        # Whether a function from outside the package is the same as before is not known.
        return bool(self._depends_on and self._baselines) and all(map(is_built_in, protocol.metrics))

    def _key(self, protocol: Protocol) -> list[Any]:
        return [*self._depends_on, self._baselines, list(protocol.metrics), protocol.size]
