"""Attention over a feature map: queries, keys and values in heads, and position embeddings for any grid."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class MultiheadAttention(nn.Module):
    """Multi-head attention, with the parameters and the output of :class:`torch.nn.MultiheadAttention`.

    That one, batch first, copies queries, keys and values to put the tokens first, projects keys and values one by one
    where they differ from the queries, and copies them again for the heads. Here projections that share an input are
    one matrix product, and their heads are views.

    Args:
        dim: Size of a token.
        num_heads: Attention heads; divides ``dim``.

    Example:
        >>> attention = MultiheadAttention(dim=8, num_heads=2)
        >>> tokens, words = torch.randn(3, 20, 8), torch.randn(3, 5, 8)
        >>> attention(tokens, words, words).shape
        torch.Size([3, 20, 8])
    """

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * dim, dim))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * dim))
        self.out_proj = nn.Linear(dim, dim)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(self, query: Tensor, key: Tensor, value: Tensor, key_mask: Tensor | None = None) -> Tensor:
        """Attend.

        Args:
            query: Shape ``(batch, queries, dim)``.
            key: Shape ``(batch, keys, dim)``; may be ``query`` itself.
            value: Shape of ``key``; may be ``key`` itself.
            key_mask: True at keys that are attended to, shape ``(batch, keys)``; None for all.

        Returns:
            Shape of ``query``.
        """
        inputs = (query, key, value)
        starts = [i for i in range(3) if i == 0 or inputs[i] is not inputs[i - 1]]
        dim = query.shape[-1]
        heads: list[Tensor] = []
        for start, end in zip(starts, [*starts[1:], 3], strict=True):
            rows = slice(start * dim, end * dim)
            together = F.linear(inputs[start], self.in_proj_weight[rows], self.in_proj_bias[rows])
            heads += [split_heads(each, self.num_heads) for each in together.chunk(end - start, dim=-1)]
        mask = None if key_mask is None else key_mask[:, None, None]
        mixed = F.scaled_dot_product_attention(heads[0], heads[1], heads[2], attn_mask=mask)
        attended: Tensor = self.out_proj(join_heads(mixed))
        return attended


def split_heads(tokens: Tensor, heads: int) -> Tensor:
    """Reshape ``(batch, tokens, hidden)`` into ``(batch, heads, tokens, hidden / heads)``."""
    batch, count, _ = tokens.shape
    return tokens.view(batch, count, heads, -1).transpose(1, 2)


def join_heads(tokens: Tensor) -> Tensor:
    """Undo :func:`split_heads`."""
    return tokens.transpose(1, 2).flatten(2)


def resize_positions(embeddings: Tensor, grid: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """Interpolate position embeddings bicubically to another size.

    Args:
        embeddings: Shape ``(1, rows * columns, hidden)``.
        grid: Rows and columns of ``embeddings``.
        size: Rows and columns of the result.

    Returns:
        Shape ``(1, size[0] * size[1], hidden)``; ``embeddings`` itself if the sizes are equal.
    """
    if size == grid:
        return embeddings
    as_image = embeddings.transpose(1, 2).reshape(1, -1, *grid)
    resized = F.interpolate(as_image, size=size, mode="bicubic", align_corners=False)
    return resized.flatten(2).transpose(1, 2)
