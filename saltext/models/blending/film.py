"""FiLM: the text scales and shifts the channels of the image feature."""

from torch import Tensor, nn

from saltext.models.blending.base import Blend
from saltext.models.film import FiLM
from saltext.models.text.base import TextFeatures


class FiLMBlend(Blend):
    """FiLM of the image feature by the pooled text feature; starts as the identity.

    # DISCREPANCY: not in the TranBlend paper; the usual lightest way to condition a convolutional network, as a
    # baseline for the paper's own modules.

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
        self.film = FiLM(text_dim, channels)

    def forward(self, x: Tensor, text: TextFeatures) -> Tensor:
        """Blend, see :class:`Blend`."""
        condition = self.norm(text.pooled)[:, None, None]
        modulated: Tensor = self.film(x.movedim(1, -1), condition).movedim(-1, 1)
        return modulated
