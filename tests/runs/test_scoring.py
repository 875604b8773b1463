from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from omegaconf import OmegaConf

from saltext.baselines import BASELINES, centre_prior
from saltext.data.datamodule import SaliencyDataModule
from saltext.data.splits import KFold
from saltext.runs.scoring import score_test
from tests.training.test_tested import Reader

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers.*")  # two dozen pairs need none


def configuration(**evaluation: Any) -> Any:
    return OmegaConf.create(
        {
            "label": "reader",
            "seed": 7,
            "trainer": {"accelerator": "cpu", "devices": 1},
            "evaluation": {
                "test_metrics": ["cc", "auc_shuffled", "ig"],
                "paper": "tranblend",
                "baselines": list(BASELINES),
                "text_ablation": True,
                **evaluation,
            },
        }
    )


def reader() -> Reader:
    module = Reader()
    module.reads_text = True
    return module


def test_a_table_has_the_model_and_every_baseline_under_both_protocols(data: SaliencyDataModule) -> None:
    scores = score_test(configuration(), reader(), data)
    titles = ["reader", *(baseline.title for baseline in BASELINES.values())]
    for protocol in ("standard", "tranblend"):
        part = scores.pairs[scores.pairs["protocol"] == protocol]
        assert list(part["model"].unique()) == titles
    assert list(scores.pairs.columns[:7]) == ["image_id", "task", "text", "split", "model", "seed", "protocol"]
    assert set(scores.pairs["seed"]) == {7}
    assert set(scores.pairs["split"]) == {"test"}


def test_the_text_ablation_is_measured_for_models_that_read(data: SaliencyDataModule) -> None:
    scores = score_test(configuration(baselines=[]), reader(), data)
    assert set(scores.text_ablation["variant"]) == {"empty", "other_image", "opposite"}
    own = scores.pairs[scores.pairs["protocol"] == "standard"]
    both = scores.text_ablation.merge(own, on=["image_id", "task"], suffixes=("", "_own"))
    assert len(both) == len(scores.text_ablation)
    assert ((both["cc"] - both["cc_own"]).abs() > 1e-6).any()
    blind = score_test(configuration(baselines=[]), Reader(), data)
    assert blind.text_ablation.empty


def test_the_uniform_map_is_at_chance_and_the_prior_of_others_gains_nothing_on_itself(
    data: SaliencyDataModule,
) -> None:
    scores = score_test(configuration(baselines=["uniform", "centre_prior_others"], paper=None), None, data).pairs
    flat = scores[scores["model"] == BASELINES["uniform"].title]
    assert (flat["cc"] == 0).all()
    assert (flat["auc_shuffled"] == 0.5).all()
    prior = scores[scores["model"] == BASELINES["centre_prior_others"].title]
    assert prior["ig"].to_numpy() == pytest.approx(0, abs=1e-5)
    assert len(flat) == len(prior) == len(data.indices("test"))


def test_the_second_model_takes_the_baselines_scores_from_the_cache_and_its_table_is_the_same(
    data: SaliencyDataModule, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh = fresh_copy(data, tmp_path)
    first = score_test(configuration(), reader(), fresh)

    def refuse(*_: Any) -> None:
        raise AssertionError("a baseline whose scores are cached was asked for maps")

    for baseline in BASELINES.values():
        monkeypatch.setattr(baseline, "maps", refuse)
    monkeypatch.setattr(centre_prior, "_sum_of_normalized_maps", refuse)
    second = score_test(configuration(), reader(), fresh_copy(data, tmp_path))
    pd.testing.assert_frame_equal(second.pairs, first.pairs, check_exact=True)
    pd.testing.assert_frame_equal(second.text_ablation, first.text_ablation, check_exact=True)


@pytest.mark.parametrize("change", ["split", "metrics"])
def test_baselines_are_scored_again_for_another_split_or_other_metrics(
    data: SaliencyDataModule, tmp_path: Path, change: str
) -> None:
    settings = configuration(baselines=["centre_prior", "uniform"], paper=None, text_ablation=False)
    first = score_test(settings, None, fresh_copy(data, tmp_path, split=KFold(), fold=0)).pairs
    fold = 1 if change == "split" else 0
    if change == "metrics":
        settings.evaluation.test_metrics = ["nss"]
    found = score_test(settings, None, fresh_copy(data, tmp_path, split=KFold(), fold=fold)).pairs
    uncached = score_test(settings, None, fresh_copy(data, tmp_path / "elsewhere", split=KFold(), fold=fold)).pairs
    pd.testing.assert_frame_equal(found, uncached, check_exact=True)
    assert not found.equals(first)


def test_damaged_scores_of_baselines_are_computed_again(data: SaliencyDataModule, tmp_path: Path) -> None:
    settings = configuration(baselines=["uniform", "human_pure"], paper=None, text_ablation=False)
    fresh = fresh_copy(data, tmp_path)
    first = score_test(settings, None, fresh).pairs
    damaged = list(tmp_path.rglob("scores.npy"))
    for path in damaged:
        path.write_bytes(path.read_bytes()[:-8] + b"\1" * 8)
    assert damaged
    pd.testing.assert_frame_equal(score_test(settings, None, fresh).pairs, first, check_exact=True)


def fresh_copy(data: SaliencyDataModule, folder: Path, **settings: Any) -> SaliencyDataModule:
    """The same data with caches in another folder."""
    module = SaliencyDataModule(
        data.source, image_size=(64, 96), map_size=(16, 24), batch_size=8, cache_dir=folder / "cache", **settings
    )
    module.prepare_data()
    return module
