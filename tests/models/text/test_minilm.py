import gzip
import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import saltext
from saltext.models.packaged_weights import MINILM, MINILM_TOKENIZER, packaged_file
from saltext.models.text.base import TextFeatures
from saltext.models.text.minilm import MiniLM
from tests.models.zero_weights import ZeroWeights

pytestmark = pytest.mark.skipif(find_spec(MINILM.module) is None, reason="the extra `embedded` is not installed")

TEXTS = ["A dog runs.", "", "A puppy is running across the grass towards two children.", "The stock market fell."]


def minilm(**settings: Any) -> MiniLM:
    with ZeroWeights():
        return MiniLM(**settings)


@pytest.fixture(scope="module")
def encoder() -> MiniLM:
    return minilm()


def test_sentences_of_one_meaning_are_closer_than_others(encoder: MiniLM) -> None:
    pooled = encoder(["a dog", "a puppy", "the stock market"]).pooled
    assert pooled[0] @ pooled[1] > 0.3 + pooled[0] @ pooled[2]


def test_pooled_is_the_mean_token_scaled_to_length_1(encoder: MiniLM) -> None:
    assert encoder.unit_length
    features = encoder(TEXTS)
    for row, text in enumerate(TEXTS):
        alone = features.tokens[row][features.mask[row]].mean(0)
        torch.testing.assert_close(features.pooled[row], alone / alone.norm(), msg=text)


def test_the_empty_text_is_its_two_marks(encoder: MiniLM) -> None:
    assert encoder([""]).mask.tolist() == [[True, True]]


def test_batch_mates_do_not_change_a_single_bit(encoder: MiniLM) -> None:
    fresh = minilm()
    together, alone = encoder(TEXTS), fresh(TEXTS[:1])
    assert torch.equal(together.pooled[0], alone.pooled[0])
    assert torch.equal(together.tokens[0, : alone.tokens.shape[1]], alone.tokens[0])


def test_cached_features_equal_those_of_the_whole_padded_batch(encoder: MiniLM) -> None:
    cached, together = encoder(TEXTS), encoder.encode(TEXTS)
    assert torch.equal(together.mask, cached.mask)
    torch.testing.assert_close(cached.tokens[together.mask], together.tokens[together.mask], rtol=0, atol=1e-5)
    torch.testing.assert_close(cached.pooled, together.pooled, rtol=0, atol=1e-5)


def test_each_distinct_text_is_encoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = minilm(cache_size=2)
    encoded: list[str] = []
    encode = encoder.encode
    monkeypatch.setattr(encoder, "encode", lambda texts: encoded.extend(texts) or encode(texts))
    encoder(["a", "b", "a"])
    encoder(["b", "a"])
    assert encoded == ["a", "b"]


def test_loading_other_weights_forgets_the_features_of_the_old_ones() -> None:
    encoder = minilm()
    before = encoder(["a dog"]).pooled
    own = encoder.model.state_dict()
    state = {f"text.model.{k}": v * 1.1 if k.endswith("dense.weight") else v for k, v in own.items()}
    torch.nn.ModuleDict({"text": encoder}).load_state_dict(state)
    assert not torch.allclose(encoder(["a dog"]).pooled, before)


def test_a_frozen_encoder_stays_in_eval_mode_and_keeps_no_graph(encoder: MiniLM) -> None:
    encoder.train()
    assert not encoder.model.training
    assert not encoder(["a dog"]).tokens.requires_grad
    assert not any(parameter.requires_grad for parameter in encoder.parameters())


def test_an_unfrozen_encoder_trains_and_caches_nothing() -> None:
    encoder = minilm(frozen=False)
    features = encoder(["a dog", ""])
    (features.pooled.sum() + features.tokens.sum()).backward()
    assert [key for key, parameter in encoder.named_parameters() if parameter.grad is None] == []
    assert len(encoder._cache) == 0


def test_long_texts_are_cut(encoder: MiniLM) -> None:
    def lengths(features: TextFeatures) -> Tensor:
        return features.mask.sum(1)

    assert lengths(encoder(["word " * 500])).tolist() == [64]


def test_state_dicts_leave_frozen_weights_out_and_load_without_them(encoder: MiniLM) -> None:
    network = torch.nn.ModuleDict({"text": encoder, "head": torch.nn.Linear(2, 1)})
    before = encoder(["a dog"]).pooled
    state = network.state_dict()
    assert set(state) == {"head.weight", "head.bias"}
    network.load_state_dict(state, strict=True)
    assert torch.equal(encoder(["a dog"]).pooled, before)
    assert len(minilm(frozen=False).state_dict()) > 100


def test_a_long_list_is_encoded_in_batches_like_text_by_text_and_cached() -> None:
    encoder, names = minilm().eval(), ("a lamp", "a great white shark of the open sea", "a dog")
    alone, listed = encoder(names).pooled, encoder.pooled_list(names)
    torch.testing.assert_close(listed, alone, atol=1e-6, rtol=0)
    encoder.cache_list(names, 2 * listed)
    assert torch.equal(encoder.pooled_list(names), 2 * listed)
    with pytest.raises(ValueError, match=r"expected features of shape \(2, 384\), got \(3, 384\)"):
        encoder.cache_list(names[:2], listed)


def test_each_of_two_lists_is_encoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, batches = minilm().eval(), []
    encode = encoder.encode
    monkeypatch.setattr(encoder, "encode", lambda texts: batches.append(list(texts)) or encode(texts))
    for names in (["a lamp"], ["a dog", "a cat"]) * 2:
        encoder.pooled_list(names)
    assert sorted(text for batch in batches for text in batch) == ["a cat", "a dog", "a lamp"]


def test_the_pretrained_model_brings_the_features_of_its_class_names() -> None:
    pretrained = saltext.load()._pipeline.network.text_encoder
    ((names, pooled),) = pretrained._cached_lists.items()
    some = [0, 1, 500, 999]
    alone = minilm().eval()([names[place] for place in some]).pooled
    torch.testing.assert_close(pooled[some], alone, atol=1e-6, rtol=0)


def test_without_its_package_its_weights_belong_to_the_state_dict(encoder: MiniLM) -> None:
    own = minilm(from_package=False)
    assert encoder.state_dict() == {}
    own.load_state_dict({f"model.{name}": value for name, value in encoder.model.state_dict().items()})
    assert {name.partition(".")[0] for name in own.state_dict()} == {"model"}
    assert torch.equal(own(TEXTS).pooled, encoder(TEXTS).pooled)


def test_sizes_and_tokenizer_are_those_of_the_package(encoder: MiniLM) -> None:
    folder = Path(next(iter(find_spec(MINILM.module).submodule_search_locations))) / "model"  # type: ignore[union-attr, arg-type]
    published = json.loads((folder / "config.json").read_text())
    config = encoder.model.config.to_dict()
    of_the_network = (published.keys() & config.keys()) - {"_name_or_path", "architectures", "transformers_version"}
    assert "hidden_size" in of_the_network
    assert {key: config[key] for key in of_the_network} == {key: published[key] for key in of_the_network}
    ours = packaged_file(MINILM_TOKENIZER, "minilm_tokenizer.json.gz")
    assert gzip.decompress(ours.read_bytes()) == (folder / "tokenizer.json").read_bytes()
