import pytest
import torch
from torch import Tensor, nn

from saltext.errors import ConfigError
from saltext.models.blending.token_cross_attention import TokenCrossAttention
from saltext.models.text.base import TextFeatures


def of_tokens(tokens: Tensor, mask: Tensor | None = None) -> TextFeatures:
    mask = torch.ones(tokens.shape[:2], dtype=torch.bool) if mask is None else mask
    return TextFeatures(tokens.mean(1), tokens, mask)


def awake(blend: TokenCrossAttention) -> TokenCrossAttention:
    """Give the maps that start at zero other values, so that the text has an effect."""
    for layer in blend.layers:
        for last in (layer.out, layer.fc2):
            nn.init.normal_(last.weight, std=0.1)
    return blend


def test_it_starts_as_the_identity() -> None:
    x = torch.randn(2, 16, 3, 4)
    assert torch.equal(TokenCrossAttention(16, 5, (3, 4))(x, of_tokens(torch.randn(2, 6, 5))), x)


def test_it_leaves_the_identity_at_the_first_step() -> None:
    blend = TokenCrossAttention(16, 5, (3, 4))
    blend(torch.randn(2, 16, 3, 4), of_tokens(torch.randn(2, 6, 5))).square().sum().backward()
    assert all(
        layer.out.weight.grad.abs().sum() > 0 and layer.fc2.weight.grad.abs().sum() > 0 for layer in blend.layers
    )


def test_padding_has_no_effect_whatever_it_holds() -> None:
    blend = awake(TokenCrossAttention(16, 5, (3, 4)))
    x, tokens = torch.randn(1, 16, 3, 4), torch.randn(1, 2, 5)
    padded = torch.cat([tokens, torch.full((1, 3, 5), 1e3)], dim=1)
    mask = torch.tensor([[True, True, False, False, False]])
    torch.testing.assert_close(blend(x, of_tokens(padded, mask)), blend(x, of_tokens(tokens)))


def test_the_order_of_tokens_does_not_matter_and_their_content_does() -> None:
    blend = awake(TokenCrossAttention(16, 5, (3, 4)))
    x, tokens = torch.randn(1, 16, 3, 4), torch.randn(1, 4, 5)
    torch.testing.assert_close(blend(x, of_tokens(tokens.flip(1))), blend(x, of_tokens(tokens)))
    assert not torch.allclose(blend(x, of_tokens(-tokens)), blend(x, of_tokens(tokens)), atol=1e-3)


def test_equal_features_at_two_places_can_get_different_answers() -> None:
    blend = awake(TokenCrossAttention(16, 5, (3, 4)))
    nn.init.normal_(blend.position_embeddings)
    out = blend(torch.ones(1, 16, 3, 4), of_tokens(torch.randn(1, 4, 5)))
    assert not torch.allclose(out[..., 0, 0], out[..., 2, 3], atol=1e-3)


def test_any_feature_size_goes_through() -> None:
    assert TokenCrossAttention(16, 5, (3, 4))(torch.randn(1, 16, 5, 7), of_tokens(torch.randn(1, 2, 5))).shape[2:] == (
        5,
        7,
    )


def test_heads_that_do_not_divide_the_channels_are_refused() -> None:
    with pytest.raises(ConfigError, match="12 channels cannot be shared by 8 heads"):
        TokenCrossAttention(12, 5, (3, 4))


@pytest.mark.slow
def test_it_learns_to_light_up_the_place_a_colour_and_a_shape_name_together() -> None:
    """Each of 12 cells holds one of 4 colours and one of 4 shapes; the text names both, and neither alone suffices."""
    colours, shapes, words = torch.randn(4, 16), torch.randn(4, 16), torch.randn(8, 12)

    def batch(size: int) -> tuple[Tensor, TextFeatures, Tensor]:
        kinds = torch.rand(size, 16).argsort(1)[:, :12]
        x = (colours[kinds // 4] + shapes[kinds % 4]).transpose(1, 2).reshape(size, 16, 3, 4)
        place = torch.randint(12, (size,))
        kind = kinds[torch.arange(size), place]
        return x, of_tokens(torch.stack([words[kind // 4], words[4 + kind % 4]], dim=1)), place

    net = nn.ModuleDict({"blend": TokenCrossAttention(16, 12, (3, 4), heads=4), "read": nn.Conv2d(16, 1, 1)})
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    for _ in range(100):
        x, text, place = batch(48)
        loss = nn.functional.cross_entropy(net["read"](net["blend"](x, text)).flatten(1), place)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    x, text, place = batch(500)
    found = net["read"](net["blend"](x, text)).flatten(1).argmax(1)
    assert (found == place).float().mean() > 0.9  # Chance is 0.08; by colour or shape alone at most 0.33.
