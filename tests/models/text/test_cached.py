from collections.abc import Sequence

import pytest
import torch
from torch import nn

from saltext.models.freezing import freeze
from saltext.models.text.base import TextFeatures, pad_rows
from saltext.models.text.cached import CachedTextEncoder


class Lengths(CachedTextEncoder):
    """A token a letter, each with the text's length times a weight; keeps what it was asked to encode."""

    def __init__(self, cache_size: int = 4096) -> None:
        super().__init__(cache_size)
        self.weight = nn.Parameter(torch.ones(1))
        self.encoded: list[list[str]] = []
        self.threads: list[int] = []
        self.dim = 1

    def encode(self, texts: Sequence[str]) -> TextFeatures:
        self.encoded.append(list(texts))
        self.threads.append(torch.get_num_threads())
        tokens, mask = pad_rows([torch.full((len(text), 1), float(len(text))) * self.weight for text in texts])
        return TextFeatures(pooled=tokens[:, 0] @ torch.ones(1, 1), tokens=tokens, mask=mask)

    def token_counts(self, texts: Sequence[str]) -> list[int]:
        return [len(text) for text in texts]


def test_each_distinct_text_is_encoded_once_and_alone() -> None:
    encoder = freeze(Lengths(cache_size=2))
    encoder(["a", "bb", "a"])
    encoder(["bb", "a"])
    assert encoder.encoded == [["a"], ["bb"]]


def test_in_fast_inference_texts_of_one_length_are_encoded_together_in_full_batches() -> None:
    encoder = freeze(Lengths())
    encoder.inference = "fp32"
    features = encoder(["a", "bb", "c", "a", *"defghijk"])
    assert encoder.encoded == [list("acdefghi"), list("jkkkkkkk"), ["bb"] * 8]
    assert features.pooled.flatten().tolist() == [1, 2, *[1] * 10]
    assert features.mask.sum(1).tolist() == [1, 2, *[1] * 10]


def test_texts_that_are_encoded_ahead_are_not_encoded_again() -> None:
    encoder = freeze(Lengths(cache_size=2))
    encoder.encode_ahead(["a", "a", "bb", "ccc"])
    encoder(["bb", "a"])
    assert encoder.encoded == [["a"], ["bb"]]


def test_a_trained_encoder_encodes_nothing_ahead() -> None:
    encoder = Lengths()
    encoder.encode_ahead(["a"])
    assert encoder.encoded == []


def test_the_least_recently_used_text_is_forgotten_first() -> None:
    encoder = freeze(Lengths(cache_size=2))
    for texts in (["a"], ["bb"], ["a"], ["ccc"], ["a"], ["bb"]):
        encoder(texts)
    assert encoder.encoded == [["a"], ["bb"], ["ccc"], ["bb"]]


def test_more_texts_in_a_batch_than_are_cached_still_come_out() -> None:
    features = freeze(Lengths(cache_size=1))(["a", "bb", "ccc"])
    assert features.pooled.tolist() == [[1], [2], [3]]
    assert features.tokens.tolist() == [[[1], [0], [0]], [[2], [2], [0]], [[3], [3], [3]]]
    assert features.mask.sum(1).tolist() == [1, 2, 3]


def test_loading_weights_forgets_the_features_of_the_old_ones() -> None:
    encoder = freeze(Lengths())
    encoder(["a"])
    nn.ModuleDict({"text": encoder}).load_state_dict({"text.weight": torch.tensor([2.0])})
    assert encoder(["a"]).pooled.item() == 2


def test_training_in_between_forgets_the_features_of_the_old_weights() -> None:
    encoder = freeze(Lengths())
    encoder(["a"])
    encoder.weight.requires_grad_(True)
    encoder(["a"]).pooled.sum().backward()
    encoder.weight.data += encoder.weight.grad
    encoder.weight.requires_grad_(False)
    assert encoder(["a"]).pooled.item() == 2


def test_a_text_is_read_on_one_thread_and_the_others_come_back() -> None:
    encoder = freeze(Lengths())
    torch.set_num_threads(2)
    encoder(["a"])
    assert encoder.threads == [1]
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize("first", [True, False])
def test_autocast_does_not_reach_what_is_cached(first: bool) -> None:
    encoder = freeze(Lengths())
    encoder.weight.data.fill_(1.001)  # not a bfloat16
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=first):
        one = encoder(["a"]).pooled
    assert one.dtype == torch.float32
    assert one.item() == pytest.approx(1.001, abs=1e-6)


def test_nothing_is_cached_while_weights_train() -> None:
    encoder = Lengths()
    encoder(["a", "a"])
    encoder(["a"])
    assert encoder.encoded == [["a", "a"], ["a"]]
