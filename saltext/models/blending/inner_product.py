"""Inner product of the text and each image position as extra channels, as the authors of CLIP-SalGAN intended."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from saltext.errors import ConfigError
from saltext.models.blending.base import Blend
from saltext.models.text.base import TextFeatures


class InnerProduct(Blend):
    r"""Cosines of the text and every position's feature, beside the image feature, through a 3x3 convolution.

    .. math:: c_h(p) = \cos(W_h x_p, V_h t), \quad y = \mathrm{conv}([x, c_1, \ldots, c_H])

    Unlike in a concatenation, what a text does to a position depends on what is there.

    # DISCREPANCY: the paper concatenates and names inner products as a wish, without saying how. Learned maps into a
    # common space, several of them, and cosines in place of plain products are choices of this project.

    Args:
        channels: Channels of the image feature.
        text_dim: Size of the text feature.
        grid: Not used: every position is treated alike.
        products: Cosines at each position.
        width: Size of the space of each.

    Raises:
        ConfigError: ``products`` or ``width`` below 1.
    """

    def __init__(self, channels: int, text_dim: int, grid: tuple[int, int], products: int = 8, width: int = 16) -> None:
        super().__init__()
        if min(products, width) < 1:
            raise ConfigError(f"inner product: expected products and width of at least 1, got {products} and {width}")
        self.products = products
        self.image = nn.Conv2d(channels, products * width, kernel_size=1)
        self.text = nn.Linear(text_dim, products * width)
        self.conv = nn.Conv2d(channels + products, channels, kernel_size=3, padding=1)

    def forward(self, x: Tensor, text: TextFeatures) -> Tensor:
        """Blend, see :class:`Blend`."""
        blended: Tensor = self.conv(torch.cat([x, self.cosines(x, text)], dim=1))
        return blended

    def cosines(self, x: Tensor, text: TextFeatures) -> Tensor:
        """How well the text fits each position, in [-1, 1], shape ``(batch, products, rows, columns)``."""
        positions = self.image(x).unflatten(1, (self.products, -1))
        asked = self.text(text.pooled).unflatten(1, (self.products, -1))[..., None, None]
        return F.cosine_similarity(positions, asked, dim=2)
