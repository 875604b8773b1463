from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from omegaconf import OmegaConf

from saltext.errors import DataError
from saltext.prediction.pictures import TILE_SIDE
from saltext.reporting.run_page import Predicted
from saltext.results.calibration import COLUMNS, HUMAN, LEVELS, MODEL
from saltext.results.score_table import read_scores
from saltext.runs.predict_again import NO_TEXT, fingerprint, predict_again
from saltext.runs.saved import configuration
from saltext.system.run_folder import RunFolder

pytestmark = pytest.mark.slow


def untracked(things: Iterable[Any], what: str, total: int) -> Iterable[Any]:
    return things


@pytest.fixture(scope="module")
def found(smoke_run: RunFolder) -> Predicted:
    """The first test pair, the swap of its image, and a stranger that is left out."""
    pair = read_scores(smoke_run.scores).iloc[0]
    cfg = configuration(smoke_run, OmegaConf.create({}))
    keys = [(pair["image_id"], pair["task"]), ("no such image", "pure")]
    return predict_again(cfg, smoke_run, keys, [pair["image_id"]], True, untracked)


def test_a_pair_s_map_is_the_one_that_was_scored_small_and_a_density(found: Predicted, smoke_run: RunFolder) -> None:
    scored = read_scores(smoke_run.scores).iloc[0]
    ((key, record),) = found.pairs.items()
    (maps,) = record.texts
    assert key == (scored["image_id"], scored["task"]) == (record.image_id, maps.name)
    assert maps.text == scored["text"]
    assert maps.scores == {"CC": pytest.approx(scored["cc"], abs=1e-5)}
    assert max(record.pixels.shape[:2]) <= TILE_SIDE
    assert maps.human_map is not None
    for density in (maps.human_map, maps.prediction):
        assert density.sum() == pytest.approx(1, abs=1e-4)
        assert density.min() >= 0
    correlation = np.corrcoef(maps.human_map.ravel(), maps.prediction.ravel())[0, 1]
    assert correlation == pytest.approx(maps.scores["CC"], abs=0.05)


def test_an_image_s_maps_are_scored_with_the_truth_of_either_text(found: Predicted, smoke_run: RunFolder) -> None:
    (swap,) = found.swaps
    scores = read_scores(smoke_run.scores)
    own = scores[scores["image_id"] == swap.image_id].set_index("task")
    assert swap.names == ["salient", "non_salient", NO_TEXT]
    salient, non_salient, without = swap.texts
    for maps, other in ((salient, "non_salient"), (non_salient, "salient")):
        assert list(maps.scores) == ["CC", f"CC with the human map of {other}"]
        assert maps.scores["CC"] == pytest.approx(own.loc[maps.name, "cc"], abs=1e-5)
        assert maps.text == own.loc[maps.name, "text"]
    assert (without.text, without.human_map) == ("", None)
    assert list(without.scores) == [f"CC with the human map of {task}" for task in ("salient", "non_salient")]
    assert np.abs(salient.prediction - non_salient.prediction).max() > 0


def test_every_test_pair_has_a_coverage_by_the_model_and_by_the_human_map(
    found: Predicted, smoke_run: RunFolder
) -> None:
    table = found.coverage
    assert list(table.columns) == list(COLUMNS)
    assert table["maps"].value_counts().to_dict() == dict.fromkeys((MODEL, HUMAN), len(read_scores(smoke_run.scores)))
    assert (table["fixations"] > 0).all()
    shares = table[[f"mass_{level:.2f}" for level in LEVELS]].to_numpy()
    assert shares.min() >= 0
    assert shares.max() <= 1
    # Blurred fixations are denser where the fixations are, but spread out: they cover too much.
    human = table["maps"] == HUMAN
    assert (shares[human].mean(axis=0) > LEVELS).all()


def test_a_data_set_that_is_not_there_is_not_made(smoke_run: RunFolder, tmp_path: Path) -> None:
    cfg = configuration(smoke_run, OmegaConf.create({"data": {"root": str(tmp_path / "gone")}}))
    with pytest.raises(DataError, match=r"not found in gone/.*data\.root=DIR"):
        predict_again(cfg, smoke_run, [], [], False, untracked)
    assert not (tmp_path / "gone").exists()


def test_the_fingerprint_depends_on_the_model_and_not_on_its_folder(smoke_run: RunFolder) -> None:
    def of(**changes: object) -> str:
        return fingerprint(configuration(smoke_run, OmegaConf.create(changes)).cfg, smoke_run)

    assert of() == of(data={"root": "/elsewhere", "cache_dir": "/tmp"})
    assert len({of(), of(prompt="x {text}"), of(data={"image_size": [32, 64]}), of(evaluation={"mirror": True})}) == 4
