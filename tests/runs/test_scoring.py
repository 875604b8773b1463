from typing import Any

import pytest
from omegaconf import OmegaConf

from saltext.baselines import BASELINES
from saltext.data.datamodule import SaliencyDataModule
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
