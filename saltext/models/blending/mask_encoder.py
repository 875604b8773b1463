"""TranBlend's mask encoder: text and image features together decide which positions pass."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from saltext.models.blending.base import Blend
from saltext.models.text.base import TextFeatures


class MaskEncoder(Blend):
    r"""Gate the image feature at each position by how well it fits the text.

    .. math:: y = 2 \, m \, x, \quad m = \sigma(\mathrm{decode}(W_x x \odot W_t t)) \in [0, 1]

    Text and image features are mapped to one space and multiplied there (bilinear pooling), so that a mask value can
    depend on what is at a position *and* in the text; a 3x3 and a 1x1 convolution decode the products to one mask. The
    last one starts at zero, hence m = 1/2 and the factor 2: the module starts as the identity and can learn to raise a
    position as well as to close it.

    # DISCREPANCY: the paper names a mask encoder and does not describe it, and the authors' script has none. Text and
    # image deciding on the mask, the way they do, and the factor 2 are choices of this project.

    Args:
        channels: Channels of the image feature.
        text_dim: Size of the text feature.
        grid: Not used: the feature's own size decides.
        width: Size of the space text and image meet in.

    References:
        Kim et al., Hadamard product for low-rank bilinear pooling, ICLR 2017, for the product.
    """

    starts_as_identity = True

    def __init__(self, channels: int, text_dim: int, grid: tuple[int, int], width: int = 64) -> None:
        super().__init__()
        self.text = nn.Sequential(nn.LayerNorm(text_dim), nn.Linear(text_dim, width))
        self.image = nn.Conv2d(channels, width, kernel_size=1)
        self.spread = nn.Conv2d(width, width, kernel_size=3, padding=1)
        self.decode = nn.Conv2d(width, 1, kernel_size=1)
        nn.init.zeros_(self.decode.weight)
        if self.decode.bias is not None:
            nn.init.zeros_(self.decode.bias)

    def forward(self, x: Tensor, text: TextFeatures) -> Tensor:
        """Blend, see :class:`Blend`."""
        return x * (2 * self.mask(x, text))

    def mask(self, x: Tensor, text: TextFeatures) -> Tensor:
        """The mask, in [0, 1], shape ``(batch, 1, rows, columns)``; 1/2 leaves a position as it is."""
        met = self.image(x) * self.text(text.pooled)[:, :, None, None]
        return torch.sigmoid(self.decode(F.relu(self.spread(met))))
