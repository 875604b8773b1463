import os
from pathlib import Path

import pytest
import torch

from saltext.models import feature_cache, feature_table
from saltext.models.feature_cache import FeatureCache
from saltext.models.freezing import freeze
from tests.models.cached_features import Two, check, features


@pytest.fixture
def module() -> Two:
    torch.manual_seed(0)
    return freeze(Two())


def test_features_stay_on_the_device_and_are_not_read_again(
    module: Two, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    features(module, FeatureCache(tmp_path), [0])
    cache = FeatureCache(tmp_path, resident=True)
    for rows in ([0, 1], [101, 0], [2, 3, 2]):
        check(features(module, cache, rows), module, rows)

    def unwanted(*_: object) -> int:
        raise AssertionError("nothing is read from or written to the file")

    for name in ("pread", "preadv", "pwrite"):
        monkeypatch.setattr(os, name, unwanted)
    for rows in ([3, 101, 1], [0, 0, 2]):
        check(features(module, cache, rows), module, rows)
    assert module.runs == [1] * 5


def test_what_does_not_fit_on_the_device_is_read_from_the_file(
    module: Two, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feature_cache, "free_memory", lambda device: 4 * 2 * 600)  # a quarter is for two images
    cache = FeatureCache(tmp_path, resident=True)
    for rows in ([0, 1, 2, 3], [3, 2, 1, 0], [2, 2, 5]):
        check(features(module, cache, rows), module, rows)
    assert module.runs == [1] * 5
    monkeypatch.setattr(feature_cache, "free_memory", lambda device: 0)
    check(features(module, FeatureCache(tmp_path, resident=True), [3, 2]), module, [3, 2])


def test_what_was_not_asked_for_the_longest_goes_first(module: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feature_cache, "_RECENT_BYTES", 2 * 580)
    cache = FeatureCache()
    for rows, runs in (([0, 1], 2), ([0], 2), ([2], 3), ([0, 2], 3), ([1], 4), ([3, 4, 5], 7)):
        check(features(module, cache, rows), module, rows)
        assert len(module.runs) == runs
    assert len(cache) == 2


def test_a_container_has_no_more_memory_than_its_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feature_table, "_CONTAINER", tmp_path)
    cpu = torch.device("cpu")
    assert feature_table.free_memory(cpu) > 1000
    for limit, free in (("5000", 1000), ("3000", 0)):
        (tmp_path / "memory.max").write_text(f"{limit}\n")
        (tmp_path / "memory.current").write_text("4000\n")
        assert feature_table.free_memory(cpu) == free
    (tmp_path / "memory.max").write_text("max\n")
    assert feature_table.free_memory(cpu) > 1000
