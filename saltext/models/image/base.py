"""The interface of an image encoder: features at strides 8, 16 and 32."""

from torch import Tensor

from saltext.models.freezing import FrozenModulesMixin, Layers
from saltext.models.inference import Inference
from saltext.models.network import Colour

Taps = tuple[Tensor, Tensor, Tensor]
STRIDES = (8, 16, 32)


class Encoder(FrozenModulesMixin):
    """Base of the encoders: a subclass has a ``forward`` and the attributes.

    Attributes:
        channels: Channels of the features at strides 8, 16 and 32.
        mean: RGB mean in [0, 1] of the images the weights were trained on.
        std: Their deviation.
        inference: How it computes where it is frozen, see :data:`saltext.models.inference.Inference`.
    """

    channels: tuple[int, int, int]
    mean: Colour
    std: Colour
    inference: Inference = "reference"

    def forward(self, images: Tensor) -> Taps:
        """Encode images.

        Args:
            images: Normalised, float, shape ``(batch, 3, height, width)``.

        Returns:
            Features at strides 8, 16 and 32, shapes ``(batch, channels[i], ~height / stride, ~width / stride)``.
        """
        raise NotImplementedError

    def layers(self) -> Layers:
        """Parameters in the order of data flow, as fix rates count them: here each child is a layer."""
        children = [list(child.parameters()) for child in self.children()]
        return Layers(stem=list(self.parameters(recurse=False)), layers=[layer for layer in children if layer])
