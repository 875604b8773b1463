import torch

from saltext.models.text.tiny import TinyText


def test_the_empty_text_is_one_token_like_any_other() -> None:
    features = TinyText(dim=8)(["", "a red circle"])
    assert features.mask.tolist() == [[True, False, False, False], [True] * 4]
    assert features.pooled.isfinite().all()
    assert not torch.allclose(features.pooled[0], features.pooled[1])


def test_words_have_the_same_features_in_every_process() -> None:
    # crc32("red") is 4200685455, and 1 + 4200685455 % 4096 = 3984; Python's own hash would differ by process.
    encoder = TinyText(dim=8)
    assert encoder._token_ids("Red, red!") == [0, 3984, 3984]


def test_padding_changes_no_text() -> None:
    encoder = TinyText(dim=8)
    alone, beside = encoder(["a circle"]), encoder(["a circle", "a much longer text about squares"])
    torch.testing.assert_close(alone.pooled[0], beside.pooled[0])
    torch.testing.assert_close(alone.tokens[0], beside.tokens[0, :3])


def test_the_order_of_words_matters() -> None:
    encoder = TinyText(dim=8)
    assert not torch.allclose(encoder(["red over blue"]).pooled, encoder(["blue over red"]).pooled)


def test_long_texts_are_cut() -> None:
    assert TinyText(dim=8, max_tokens=5)(["one two three four five six seven"]).tokens.shape == (1, 5, 8)


def test_it_trains() -> None:
    encoder = TinyText(dim=8)
    features = encoder(["a red circle", ""])
    (features.pooled.square().sum() + features.tokens.sum()).backward()
    assert all(parameter.grad is not None for parameter in encoder.parameters())
