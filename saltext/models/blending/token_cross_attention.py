"""Cross-attention from every position of the image to every token of the text."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from saltext.errors import ConfigError
from saltext.models.attention import join_heads, resize_positions, split_heads
from saltext.models.blending.base import Blend
from saltext.models.text.base import TextFeatures


class CrossAttentionLayer(nn.Module):
    """Pre-norm cross-attention and MLP, each with a residual connection; output projections start at zero.

    Args:
        width: Size of a token, a multiple of ``heads``.
        heads: Attention heads.
        mlp_ratio: Hidden size of the MLP over ``width``.
    """

    def __init__(self, width: int, heads: int, mlp_ratio: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)
        self.ffn_norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, mlp_ratio * width)
        self.fc2 = nn.Linear(mlp_ratio * width, width)
        for last in (self.out, self.fc2):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    def forward(self, x: Tensor, pos_embed: Tensor, words: Tensor, word_mask: Tensor) -> Tensor:
        """Transform image tokens.

        Args:
            x: Image tokens, shape ``(batch, tokens, width)``.
            pos_embed: Position embeddings, shape ``(1, tokens, width)``.
            words: Text tokens, shape ``(batch, words, width)``.
            word_mask: True at words to attend to, shape ``(batch, words)``.

        Returns:
            Shape of ``x``.
        """
        query = split_heads(self.query(self.attention_norm(x) + pos_embed), self.heads)
        key, value = split_heads(self.key(words), self.heads), split_heads(self.value(words), self.heads)
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=word_mask[:, None, None, :])
        x = x + self.out(join_heads(attended))
        transformed: Tensor = x + self.fc2(F.gelu(self.fc1(self.ffn_norm(x))))
        return transformed


class TokenCrossAttention(Blend):
    """Image positions attend to all tokens of the text, so that a word can act on the position it names.

    Queries are the image feature with a learned position embedding; keys and values are the tokens and one learned
    token that stands for "no word is about this position". The last maps of every layer start at zero, so the module
    starts as the identity, and a trained network can take it in without harm.

    # DISCREPANCY: not in the paper, whose cross-attention has its queries from the up-sampled text and replaces the
    # image feature. The paper found that weak; both are choices.

    Args:
        channels: Channels of the image feature, a multiple of ``heads``.
        text_dim: Size of the tokens.
        grid: Rows and columns the position embedding is learned for; interpolated (bicubic) to other sizes.
        layers: Cross-attention layers.
        heads: Attention heads.
        mlp_ratio: Hidden size of the MLPs over ``channels``.

    Raises:
        ConfigError: ``channels`` is no multiple of ``heads``.
    """

    starts_as_identity = True

    def __init__(
        self,
        channels: int,
        text_dim: int,
        grid: tuple[int, int],
        layers: int = 2,
        heads: int = 8,
        mlp_ratio: int = 2,
    ) -> None:
        super().__init__()
        if channels % heads:
            raise ConfigError(
                f"token cross attention: {channels} channels cannot be shared by {heads} heads; "
                "set heads to a divisor of the middle layer's channels"
            )
        self.grid = grid
        self.projection = nn.Sequential(nn.LayerNorm(text_dim), nn.Linear(text_dim, channels))
        self.no_word = nn.Parameter(torch.empty(1, 1, channels))
        self.position_embeddings = nn.Parameter(torch.empty(1, grid[0] * grid[1], channels))
        self.layers = nn.ModuleList(CrossAttentionLayer(channels, heads, mlp_ratio) for _ in range(layers))
        for parameter in (self.no_word, self.position_embeddings):
            nn.init.trunc_normal_(parameter, std=0.02)

    def forward(self, x: Tensor, text: TextFeatures) -> Tensor:
        """Blend, see :class:`Blend`."""
        size = (x.shape[2], x.shape[3])
        pos_embed = resize_positions(self.position_embeddings, self.grid, size)
        words = torch.cat([self.no_word.expand(len(x), -1, -1), self.projection(text.tokens)], dim=1)
        word_mask = F.pad(text.mask, (1, 0), value=True)
        image_tokens = x.flatten(2).transpose(1, 2)
        for layer in self.layers:
            image_tokens = layer(image_tokens, pos_embed, words, word_mask)
        return image_tokens.transpose(1, 2).reshape(x.shape)
