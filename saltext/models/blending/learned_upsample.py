"""The authors' learned up-sampling of a text feature, which several of their blending modules begin with."""

from torch import Tensor, nn
from torch.nn import functional as F


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


def spread_over(x: Tensor, stretched: Tensor) -> Tensor:
    """Resize an up-sampled text (nearest) to the rows and columns of the image feature; nothing where they agree."""
    return F.interpolate(stretched, size=x.shape[2:], mode="nearest")
