from collections.abc import Mapping, Sequence
from typing import Any

import lightning as L
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from saltext.data.datamodule import SaliencyDataModule
from saltext.evaluation.evaluator import Evaluator
from saltext.evaluation.model_predictor import ModelPredictor
from saltext.evaluation.protocols import PAPERS, standard
from saltext.evaluation.text_variants import text_variants
from saltext.metrics import score
from saltext.training import EvaluatorModule, ScoredModule

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers.*")  # two dozen pairs need none


class Reader(ScoredModule):
    """Brightness of the image, shifted by the length of the text: what it read can be seen in its maps."""

    def __init__(self) -> None:
        super().__init__(["cc"])

    def saliency(self, batch: Mapping[str, Any]) -> Tensor:
        grey = batch["image"].float().mean(1, keepdim=True) / 255
        shift = torch.tensor([len(text) for text in batch["text"]])
        rolled = torch.stack([torch.roll(row, int(n), -1) for row, n in zip(grey, shift, strict=True)])
        return nn.functional.avg_pool2d(rolled, 4)


def trainer(**changes: Any) -> L.Trainer:
    return L.Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, use_distributed_sampler=False, **changes,
    )  # fmt: skip


def run_evaluator(data: SaliencyDataModule, *metrics: str) -> pd.DataFrame:
    module = Reader()
    evaluator = Evaluator()
    own = ModelPredictor(module.predict_saliency)
    evaluator.add("reader", own, standard(metrics))
    evaluator.add("reader", own, PAPERS["tranblend"])
    for variant in text_variants(data.pairs, data.indices("test"), reads_condition=False):
        evaluator.add("reader", ModelPredictor(module.predict_saliency, variant), standard(metrics), variant.name)
    scored = EvaluatorModule(evaluator, data.pairs, module)
    trainer().test(scored, datamodule=data, verbose=False)
    return scored.scores


@pytest.fixture(scope="module")
def scores(data: SaliencyDataModule) -> pd.DataFrame:
    return run_evaluator(data, "cc", "nss")


def test_every_test_pair_is_scored_once_under_each_protocol(data: SaliencyDataModule, scores: pd.DataFrame) -> None:
    expected = [(data.pairs[i].image_id, data.pairs[i].task) for i in data.indices("test")]
    for protocol in ("standard", "tranblend"):
        part = scores[(scores["protocol"] == protocol) & (scores["variant"] == "own")]
        assert list(zip(part["image_id"], part["task"], strict=True)) == expected


def expected_cc(data: SaliencyDataModule, place: int, text: str) -> float:
    """The CC of a test pair at its own resolution, step by step."""
    sample = data.dataset("test", native=True)[place]
    saliency = Reader().saliency({"image": sample["image"][None], "text": [text]})
    native = nn.functional.interpolate(saliency, size=tuple(sample["native_density"].shape), mode="bilinear")
    truth = sample["native_density"][None, None].float() / 255
    return float(score(native, truth, None, ["cc"])["cc"])


def test_scores_are_taken_at_the_image_s_own_resolution(data: SaliencyDataModule, scores: pd.DataFrame) -> None:
    own = scores[(scores["protocol"] == "standard") & (scores["variant"] == "own")]
    text = data.pairs[data.indices("test")[0]].text
    assert own["cc"].iloc[0] == pytest.approx(expected_cc(data, 0, text), abs=1e-6)


def test_a_variant_is_scored_with_its_text_against_the_same_truth(
    data: SaliencyDataModule, scores: pd.DataFrame
) -> None:
    tested_pairs = [data.pairs[i] for i in data.indices("test")]
    place = next(i for i, pair in enumerate(tested_pairs) if pair.task == "salient")
    image = tested_pairs[place].image_id
    opposite = next(p.text for p in tested_pairs if p.image_id == image and p.task == "non_salient")
    rows = scores[(scores["image_id"] == image) & (scores["task"] == "salient")].set_index("variant")["cc"]
    assert rows["empty"] == pytest.approx(expected_cc(data, place, ""), abs=1e-6)
    assert rows["opposite"] == pytest.approx(expected_cc(data, place, opposite), abs=1e-6)


def test_scores_do_not_depend_on_the_batch_size(data: SaliencyDataModule, scores: pd.DataFrame) -> None:
    before = data.eval_batch_size
    try:
        for size in (1, 5, 64):
            data.eval_batch_size = size
            pd.testing.assert_frame_equal(scores, run_evaluator(data, "cc", "nss"), atol=1e-6, rtol=0)
    finally:
        data.eval_batch_size = before


def test_the_texts_of_the_tested_pairs_are_encoded_ahead(data: SaliencyDataModule) -> None:
    class Ahead(Reader):
        def encode_ahead(self, data: SaliencyDataModule, indices: Sequence[int]) -> None:
            self.ahead = list(indices)

    module, evaluator = Ahead(), Evaluator()
    evaluator.add("reader", ModelPredictor(module.predict_saliency), standard(["cc"]))
    trainer().test(EvaluatorModule(evaluator, data.pairs, module), datamodule=data, verbose=False)
    assert module.ahead == data.indices("test")
