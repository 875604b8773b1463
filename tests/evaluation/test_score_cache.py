"""What is kept of a data set between two scorings: never anything but what would be computed."""

import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from saltext.baselines import SplitHalf, Uniform
from saltext.data.sources.detect import source_of
from saltext.data.sources.sjtu_tis import SjtuTis
from saltext.errors import DataError
from saltext.evaluation import folders, score_cache
from saltext.evaluation import score_folder as module
from saltext.evaluation.folders import open_data
from saltext.evaluation.score_cache import ScoreCache
from saltext.evaluation.score_folder import score_folder
from tests.command_line import here
from tests.data.made_up_layouts import own_copy

Make = Callable[..., pd.DataFrame]


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """A data set of six images; in ``maps`` beside it, predictions of the pairs under one condition."""
    root, _ = own_copy(tmp_path, images=6)
    (tmp_path / "maps").mkdir()
    for number, pair in enumerate(SjtuTis(root).read().pairs):
        if pair.task == "salient":
            with Image.open(pair.image) as picture:
                values = np.random.default_rng(number).random((picture.height, picture.width))
            np.save(tmp_path / "maps" / f"{pair.name}.npy", values)
    return root


def _scores(root: Path, cache: Path | None, **settings: object) -> pd.DataFrame:
    return score_folder(root.parent / "maps", source_of(root), allow_missing=True, cache_dir=cache, **settings)  # type: ignore[arg-type]


def _nothing_more_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("read, or scored, once more")

    monkeypatch.setattr(folders, "_fixation_data_of_pair", refuse)
    for baseline in (Uniform, SplitHalf):
        monkeypatch.setattr(baseline, "maps", refuse)


def test_kept_or_computed_scores_have_the_same_bits(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed = _scores(published, None)
    pd.testing.assert_frame_equal(_scores(published, tmp_path / "cache"), computed, check_exact=True)
    _nothing_more_is_read(monkeypatch)
    kept = _scores(published, tmp_path / "cache")
    pd.testing.assert_frame_equal(kept, computed, check_exact=True)
    assert len(set(kept["model"])) == 6


def test_baselines_alone_are_kept_as_well(published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    computed = score_folder(None, source_of(published), cache_dir=tmp_path / "cache")
    _nothing_more_is_read(monkeypatch)
    kept = score_folder(None, source_of(published), cache_dir=tmp_path / "cache")
    pd.testing.assert_frame_equal(kept, computed, check_exact=True)


def test_other_pairs_metrics_and_baselines_are_not_taken_for_those_that_were_kept(
    published: Path, tmp_path: Path
) -> None:
    _scores(published, tmp_path / "cache")
    next((tmp_path / "maps").iterdir()).unlink()
    for settings in ({}, {"metrics": ["nss", "cc"]}, {"baselines": ["split_half", "uniform"]}, {"baselines": []}):
        of_both = [_scores(published, cache, **settings) for cache in (tmp_path / "cache", None)]
        pd.testing.assert_frame_equal(*of_both, check_exact=True)


@pytest.mark.parametrize("kind", ["map_1800", "fixation_1800"])
def test_a_recording_that_changed_is_read_again(published: Path, tmp_path: Path, kind: str) -> None:
    before = _scores(published, tmp_path / "cache")
    one, other = sorted((published / kind).glob("*_3.png"))[:2]
    with Image.open(one) as picture, Image.open(other) as another:
        another.resize(picture.size, Image.Resampling.NEAREST).save(one)
    after = _scores(published, tmp_path / "cache")
    pd.testing.assert_frame_equal(after, _scores(published, None), check_exact=True)
    assert not after.equals(before)


def test_a_recording_that_broke_is_refused_whatever_was_kept(published: Path, tmp_path: Path) -> None:
    _scores(published, tmp_path / "cache")
    broken = sorted((published / "map_1800").glob("*_3.png"))[0]
    broken.write_bytes(broken.read_bytes()[:200])
    with pytest.raises(DataError, match=rf"damaged \(1\): map_1800/{broken.name}"):
        _scores(published, tmp_path / "cache")
    broken.unlink()
    broken.symlink_to("nowhere")
    with pytest.raises(DataError, match=f"lead nowhere .*: map_1800/{broken.name}"):
        _scores(published, tmp_path / "cache")


def test_what_the_scores_do_not_depend_on_is_checked_by_data_check_alone(published: Path, tmp_path: Path) -> None:
    scored = {pair.image_id for pair in SjtuTis(published).read().pairs if pair.task == "salient"}
    away = next(pair for pair in SjtuTis(published).read().pairs if pair.image_id not in scored)
    computed = _scores(published, None)
    away.density.write_bytes(b"broken")
    pd.testing.assert_frame_equal(_scores(published, tmp_path / "cache"), computed, check_exact=True)
    with pytest.raises(DataError, match=rf"not images \(1\): map_1800/{away.density.name}"):
        open_data(source_of(published), module.progress)
    with pytest.raises(DataError, match=rf"not images \(1\): map_1800/{away.density.name}"):
        score_folder(None, source_of(published))


def test_the_other_recordings_of_a_scored_image_are_checked(published: Path, tmp_path: Path) -> None:
    scored = {pair.image_id for pair in SjtuTis(published).read().pairs if pair.task == "salient"}
    free = next(pair for pair in SjtuTis(published).read().pairs if pair.image_id in scored and pair.task == "pure")
    free.density.write_bytes(b"broken")
    with pytest.raises(DataError, match=rf"not images \(1\): map_1800/{free.density.name}"):
        _scores(published, tmp_path / "cache")


@pytest.mark.parametrize("damage", ["cut", "missing"])
def test_a_damaged_cache_is_made_again(published: Path, tmp_path: Path, damage: str) -> None:
    computed = _scores(published, tmp_path / "cache")
    kept = sorted((tmp_path / "cache").glob("*/*.npy"))
    assert len(kept) == 6
    contents = [path.read_bytes() for path in kept]
    for path in kept:
        if damage == "missing":
            path.unlink()
        else:
            path.write_bytes(path.read_bytes()[:-1])
    pd.testing.assert_frame_equal(_scores(published, tmp_path / "cache"), computed, check_exact=True)
    assert [path.read_bytes() for path in kept] == contents


def test_without_a_place_for_a_cache_all_is_computed_and_one_line_says_so(
    published: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    with caplog.at_level(logging.WARNING):
        found = _scores(published, tmp_path / "file" / "cache")
    pd.testing.assert_frame_equal(found, _scores(published, None), check_exact=True)
    assert [record.message.partition("(")[0] for record in caplog.records] == [
        f"{tmp_path / 'file' / 'cache'} cannot be used as a cache "
    ]


def test_arrays_are_found_by_what_they_depend_on_and_the_number_of_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = ScoreCache(tmp_path)
    cache.put(["a", 1], {"x": np.arange(3)})
    found = cache.get(["a", 1], ["x"])
    assert found is not None
    assert found["x"].tolist() == [0, 1, 2]
    assert cache.get(["a", 2], ["x"]) is None
    assert cache.get(["a", 1], ["x", "y"]) is None
    monkeypatch.setattr("torch.get_num_threads", lambda: 77)
    assert cache.get(["a", 1], ["x"]) is None


def test_saltext_cache_lists_and_clears_it(
    published: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    here("score", tmp_path / "maps", published, "--allow-missing", "--metric", "cc")
    capsys.readouterr()
    here("cache", "--clear")
    assert capsys.readouterr().out.count("outputs/cache/") == 2
    assert not [path for path in (tmp_path / "outputs" / "cache").iterdir() if path.is_dir()]
    shutil.rmtree(tmp_path / "outputs")


def test_all_code_that_scores_are_computed_by_decides_whether_they_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    read: set[Path] = set()
    read_bytes = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: (read.add(path), read_bytes(path))[1])
    score_cache._code_digest.cache_clear()
    score_cache._code_digest()
    package = Path(score_cache.__file__).parents[1]
    rooms = {path.relative_to(package).parts[0] for path in read}
    assert rooms == {"baselines", "data", "evaluation", "images.py", "metrics"}
