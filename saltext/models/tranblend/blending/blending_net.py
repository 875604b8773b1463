"""TranBlend's blending net, the paper's best variant. Names of parameters are the published ones."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from saltext.models.text import TextFeatures
from saltext.models.tranblend.blending.base import Blend, text_projection


class LearnedUpsample(nn.Module):
    """The authors' up-sampling of a vector to a feature map: ONE transposed convolution with one channel in and out.

    The C features are a 1xC image; kernel and stride are the grid, so it becomes rows x (columns * C), whose memory is
    then re-read as C x rows x columns. In closed form, with kernel W and bias b::

        out[k, p, q] = x[(rows * k + p) mod C] * W[(rows * k + p) div C, q] + b

    Args:
        grid: Rows and columns that come out.
    """

    def __init__(self, grid: tuple[int, int]) -> None:
        super().__init__()
        self.grid = grid
        self.upsample = nn.ConvTranspose2d(1, 1, kernel_size=grid, stride=grid)

    def forward(self, vector: Tensor) -> Tensor:
        """Turn ``(batch, C)`` into ``(batch, C, rows, columns)``."""
        batch, channels = vector.shape
        stretched: Tensor = self.upsample(vector.view(batch, 1, 1, channels))
        return stretched.reshape(batch, channels, *self.grid)


class BlendingNet(Blend):
    """Up-sample the text feature, put it beside the image feature, and mix the two with two 3x3 convolutions.

    Each convolution is followed by BatchNorm and ReLU. The authors' module also holds a ``cross_attention`` that this
    mode never runs; :func:`saltext.models.tranblend.load_published` leaves it out.

    # DISCREPANCY: the authors' module works for one image at a time, so its BatchNorm sees single images in training.
    # Here it sees the batch; a batch size of 1 reproduces theirs.

    Args:
        channels: Channels of the image feature.
        text_dim: Size of the text feature; where it is not ``channels``, a learned linear map comes first.
        grid: Rows and columns the up-sampling is learned for. At other sizes its result is resized (nearest).
    """

    def __init__(self, channels: int, text_dim: int, grid: tuple[int, int]) -> None:
        super().__init__()
        self.projection = text_projection(text_dim, channels)
        self.upsample = LearnedUpsample(grid)
        self.conv1 = nn.Conv2d(2 * channels, channels, kernel_size=3, padding=1)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, kernel_size=3, padding=1)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor, text: TextFeatures) -> Tensor:
        """Blend, see :class:`Blend`; nothing that comes out is negative."""
        spread = F.interpolate(self.upsample(self.projection(text.pooled)), size=x.shape[2:], mode="nearest")
        mixed = F.relu(self.bn1(self.conv1(torch.cat([spread, x], dim=1))))
        return F.relu(self.bn2(self.conv2(mixed)))
