"""Helpers of attention over a feature map: number of heads, and position embeddings for any grid."""

from torch import Tensor
from torch.nn import functional as F


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
