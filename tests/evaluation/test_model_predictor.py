import pytest
import torch
from torch import Tensor

from saltext.evaluation.groups import EvaluationBatch
from saltext.evaluation.model_predictor import ModelPredictor
from saltext.evaluation.text_variants import SubstituteText, TextVariant
from tests.evaluation.small_batches import SIZE, batch


def numbered(batch: EvaluationBatch) -> Tensor:
    """Constant maps: the number of the pair, and a half more where its text was replaced."""
    shift = torch.tensor([0.0 if text == "some words" else 0.5 for text in batch["text"]])
    return (batch["index"] + shift)[:, None, None, None].expand(-1, 1, 3, 4)


def test_maps_come_in_the_order_they_are_asked_for() -> None:
    predictor = ModelPredictor(numbered)
    predictor.read(batch([3, 0, 1]))
    assert predictor.maps([1, 3], SIZE).shape == (2, 1, *SIZE)
    assert predictor.maps([1, 3], SIZE)[:, 0, 0, 0].tolist() == [1, 3]


def test_a_variant_predicts_its_own_pairs_with_its_texts() -> None:
    predictor = ModelPredictor(
        numbered, TextVariant("empty", {1: SubstituteText("", "whole"), 3: SubstituteText("", "whole")})
    )
    predictor.read(batch([3, 0, 1]))
    assert [predictor.covers(index) for index in range(4)] == [False, True, False, True]
    assert predictor.maps([3, 1], SIZE)[:, 0, 0, 0].tolist() == [3.5, 1.5]


def test_pairs_of_another_batch_are_refused() -> None:
    predictor = ModelPredictor(numbered)
    predictor.read(batch([3, 0]))
    predictor.read(batch([1, 2]))
    with pytest.raises(ValueError, match=r"expected pairs of the batch that was read, \[1, 2\], got \[3\]"):
        predictor.maps([1, 3], SIZE)


def test_images_at_different_places_in_the_input_are_not_resampled_together() -> None:
    given = batch([0, 1])
    given["box"] = torch.tensor([(0, 0, 6, 8), (0, 1, 6, 6)])
    predictor = ModelPredictor(numbered)
    predictor.read(given)
    with pytest.raises(ValueError, match="expected one box"):
        predictor.maps([0, 1], SIZE)
    assert predictor.maps([1], SIZE).shape == (1, 1, *SIZE)
