"""TranBlend's cross-attention from the text to the image. Names of parameters are the published ones."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from saltext.errors import ConfigError
from saltext.models.blending.base import Blend, text_projection
from saltext.models.blending.learned_upsample import LearnedUpsample, spread_over
from saltext.models.text.base import TextFeatures

KEY_REDUCTION = 8
"""Channels of the image feature over those of queries and keys."""


class ContiguousGradient(torch.autograd.Function):
    """The identity, which hands its gradient on in row-major memory.

    PyTorch 2.14's BatchNorm on a CPU computes wrong gradients, without a word, for a single image whose gradient
    arrives as a transposed view of tokens: it reads that memory as if it were row-major.

    # DISCREPANCY: the authors' script trains image by image and lays its queries out this way, so on a CPU the
    # parameters behind its queries (up-sampling, query convolution and norm) get such gradients. Here they are right.
    # It has no switch; the test of the golden training step shows that nothing else differs.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """Give ``x`` as it is."""
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """Lay the gradient out anew where it is a view."""
        return gradient.contiguous()


class PositionAttention(nn.Module):
    """Attention of one feature map to another: 1x1 convolutions with BatchNorm, one head, no residual.

    Args:
        channels: Channels of both maps.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        width = channels // KEY_REDUCTION
        self.query_conv = nn.Conv2d(channels, width, kernel_size=1)
        self.bn_query = nn.BatchNorm2d(width)
        self.key_conv = nn.Conv2d(channels, width, kernel_size=1)
        self.bn_key = nn.BatchNorm2d(width)
        self.value_conv = nn.Conv2d(channels, channels, kernel_size=1)
        self.bn_value = nn.BatchNorm2d(channels)

    def forward(self, asking: Tensor, asked: Tensor) -> Tensor:
        """Answer each position of ``asking`` from all of ``asked``; both ``(batch, channels, rows, columns)``."""
        query = _positions(self.bn_query(self.query_conv(asking)))
        key = _positions(self.bn_key(self.key_conv(asked)))
        value = _positions(self.bn_value(self.value_conv(asked)))
        answers = F.scaled_dot_product_attention(query, key, value)
        return answers.squeeze(1).transpose(1, 2).reshape(asking.shape)


class CrossAttention(Blend):
    """Positions of the up-sampled text feature attend to those of the image feature; the answers replace the latter.

    Queries come from the text, keys and values from the image; the size of a key is an eighth of the channels. Where
    the answers fall is decided by the text alone: a position of the image passes on nothing but its value.

    # DISCREPANCY: the authors' module works for one image at a time, so its BatchNorms see single images in training.
    # Here they see the batch; a batch size of 1 reproduces theirs.

    Args:
        channels: Channels of the image feature, at least 8.
        text_dim: Size of the text feature; where it is not ``channels``, a learned linear map comes first.
        grid: Rows and columns the up-sampling is learned for. At other sizes its result is resized (nearest).

    Raises:
        ConfigError: Fewer than 8 channels.
    """

    published_extras = ("conv1.*", "bn1.*", "conv2.*", "bn2.*")

    def __init__(self, channels: int, text_dim: int, grid: tuple[int, int]) -> None:
        super().__init__()
        if channels < KEY_REDUCTION:
            raise ConfigError(f"cross attention: expected at least {KEY_REDUCTION} channels, got {channels}")
        self.projection = text_projection(text_dim, channels)
        self.upsample = LearnedUpsample(grid)
        self.cross_attention = PositionAttention(channels)

    def forward(self, x: Tensor, text: TextFeatures) -> Tensor:
        """Blend, see :class:`Blend`."""
        asking = spread_over(x, self.upsample(self.projection(text.pooled)))
        answers: Tensor = self.cross_attention(asking, x)
        return answers


def _positions(feature: Tensor) -> Tensor:
    """Lay ``(batch, channels, rows, columns)`` out as one head: ``(batch, 1, rows * columns, channels)``."""
    safe: Tensor = ContiguousGradient.apply(feature)
    return safe.flatten(2).transpose(1, 2).unsqueeze(1)
