"""The authors' third mode: the text feature, up-sampled by a learned convolution, times the image feature."""

from torch import Tensor

from saltext.models.blending.base import Blend, text_projection
from saltext.models.blending.learned_upsample import LearnedUpsample, spread_over
from saltext.models.text.base import TextFeatures


class MiniSample(Blend):
    """Multiply the image feature with the pooled text feature, spread by a learned up-sampling.

    The paper's first variant with the second's up-sampling in place of an interpolation. The paper does not name it.
    The authors' code has it but could not run it from the command line, which offers ``minisample`` and looks up
    ``minsample``. There the up-sampling belongs to the text side and not to the decoder, so that checkpoints of their
    network do not hold it.

    Args:
        channels: Channels of the image feature.
        text_dim: Size of the text feature; where it is not ``channels``, a learned linear map comes first.
        grid: Rows and columns the up-sampling is learned for. At other sizes its result is resized (nearest).
    """

    def __init__(self, channels: int, text_dim: int, grid: tuple[int, int]) -> None:
        super().__init__()
        self.projection = text_projection(text_dim, channels)
        # The authors' name. The published `upsample` is another module's, and must not be taken for it.
        self.miniUpsamplingNetwork = LearnedUpsample(grid)

    def forward(self, x: Tensor, text: TextFeatures) -> Tensor:
        """Blend, see :class:`Blend`."""
        return x * spread_over(x, self.miniUpsamplingNetwork(self.projection(text.pooled)))
