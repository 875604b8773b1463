"""The text scales and shifts the channels of the image feature."""

from torch import Tensor, nn

from saltext.models.blending.base import Blend
from saltext.models.text.base import TextFeatures


class FiLM(Blend):
    """Feature-wise linear modulation: one scale and one shift a channel, linear in the pooled text feature.

    The map starts at zero, so the module starts as the identity.

    # DISCREPANCY: not in the TranBlend paper; the usual lightest way to condition a convolutional network, as a bar for
    # the paper's own modules.

    Args:
        channels: Channels of the image feature.
        text_dim: Size of the text feature.
        grid: Not used: every position is treated alike.

    References:
        Perez et al., FiLM: Visual reasoning with a general conditioning layer, AAAI 2018.
    """

    starts_as_identity = True

    def __init__(self, channels: int, text_dim: int, grid: tuple[int, int]) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(text_dim)
        self.affine = nn.Linear(text_dim, 2 * channels)
        nn.init.zeros_(self.affine.weight)
        nn.init.zeros_(self.affine.bias)

    def forward(self, x: Tensor, text: TextFeatures) -> Tensor:
        """Blend, see :class:`Blend`."""
        scale, shift = self.affine(self.norm(text.pooled))[:, :, None, None].chunk(2, dim=1)
        modulated: Tensor = x * (1 + scale) + shift
        return modulated
