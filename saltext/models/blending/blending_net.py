"""TranBlend's blending net, the paper's best variant. Names of parameters are the published ones."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from saltext.models.blending.base import Blend, text_projection
from saltext.models.blending.learned_upsample import LearnedUpsample, spread_over
from saltext.models.text.base import TextFeatures


class BlendingNet(Blend):
    """Up-sample the text feature, put it beside the image feature, and mix the two with two 3x3 convolutions.

    Each convolution is followed by BatchNorm and ReLU. The authors' module also holds a ``cross_attention`` that this
    mode never runs (:class:`~saltext.models.blending.cross_attention.CrossAttention` is the other one).

    # DISCREPANCY: the authors' module works for one image at a time, so its BatchNorm sees single images in training.
    # Here it sees the batch; a batch size of 1 reproduces theirs.

    Args:
        channels: Channels of the image feature.
        text_dim: Size of the text feature; where it is not ``channels``, a learned linear map comes first.
        grid: Rows and columns the up-sampling is learned for. At other sizes its result is resized (nearest).
    """

    published_extras = ("cross_attention.*",)

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
        spread = spread_over(x, self.upsample(self.projection(text.pooled)))
        mixed = F.relu(self.bn1(self.conv1(torch.cat([spread, x], dim=1))))
        return F.relu(self.bn2(self.conv2(mixed)))
