import pytest
import torch
from torch import nn

from saltext.models.attention import MultiheadAttention, resize_positions


def drawn(kind: type[nn.Module], **options: bool) -> nn.Module:
    torch.manual_seed(1)
    return kind(16, 4, **options)


@pytest.mark.parametrize("shared", ["query, key and value", "query and key", "key and value", "nothing"])
def test_attention_is_torch_s_with_its_parameters(shared: str) -> None:
    own, torchs = drawn(MultiheadAttention), drawn(nn.MultiheadAttention, batch_first=True)
    state = torchs.state_dict()
    assert list(own.state_dict()) == list(state)
    assert all(value.equal(state[name]) for name, value in own.state_dict().items())
    tokens, words, others = (torch.randn(3, 7, 16) for _ in range(3))
    mask = torch.rand(3, 7) < 0.6
    mask[:, 0] = True
    inputs = {
        "query, key and value": (tokens, tokens, tokens),
        "query and key": (tokens, tokens, words),
        "key and value": (tokens, words, words),
        "nothing": (tokens, words, others),
    }[shared]
    assert own(*inputs, mask).equal(torchs(*inputs, key_padding_mask=~mask, need_weights=False)[0])
    own(*inputs).square().sum().backward()
    torchs(*inputs, need_weights=False)[0].square().sum().backward()
    for (name, parameter), expected in zip(own.named_parameters(), torchs.parameters(), strict=True):
        torch.testing.assert_close(parameter.grad, expected.grad, msg=name)


def test_positions_of_the_learned_grid_are_used_as_they_are() -> None:
    embeddings = torch.randn(1, 6, 8)
    assert resize_positions(embeddings, (2, 3), (2, 3)) is embeddings


def test_resized_positions_keep_their_place() -> None:
    rows = torch.arange(4.0).view(4, 1).expand(4, 6)
    resized = resize_positions(rows.reshape(1, 24, 1), (4, 6), (8, 6)).view(8, 6)
    assert (resized.diff(dim=0) > 0).all()
    torch.testing.assert_close(resized[:, 0], resized[:, -1])
