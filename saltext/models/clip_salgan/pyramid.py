"""A generator on a pretrained encoder."""

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor, nn
from torch.nn import functional as F

from saltext.errors import ConfigError
from saltext.models.blending.base import BlendFactory
from saltext.models.blending.grounded import Grounded
from saltext.models.clip_salgan.network import TEXT_CHANNELS, Generator, conv_block
from saltext.models.grounding.base import Grounder
from saltext.models.image.base import Encoder
from saltext.models.network import check_inputs
from saltext.models.text.base import TextEncoder

_CONVOLUTIONS = 2  # in each block of the decoder
_STAGES = 4


class PyramidGenerator(Generator):
    """A pretrained encoder, and the paper's blocks going up again with the encoder's features added; text at stride 16.

    ::

        y = block(x32);  y = up(y) + conv1x1(x16);  y = block(blend(y, text))
        y = block(up(y) + conv1x1(x8));  y = block(up(y));  logits = conv(y)          a quarter of the input's size

    Args:
        encoder: Gives features at strides 8, 16 and 32.
        text_encoder: Encodes the texts. May be None where ``blend`` is.
        blend: Builds the blending module; None reads no text.
        grounder: Gives the blending module grounding maps of the text; None: it gets none.
        channels: Channels at strides 32, 16, 8 and 4.
        grid: Rows and columns of the usual input divided by 16, for blending modules with position embeddings.
        text_channels: Size of the text feature after the 1x1 convolution.
        round_features: See :class:`Generator`.

    Raises:
        ConfigError: Not four numbers of channels, or a blending module without a text encoder.
    """

    output_stride = 4

    def __init__(
        self,
        encoder: Encoder,
        text_encoder: TextEncoder | None,
        blend: BlendFactory | None,
        grounder: Grounder | None = None,
        channels: Sequence[int] = (192, 192, 96, 48),
        grid: Sequence[int] = (16, 20),
        text_channels: int = TEXT_CHANNELS,
        round_features: bool = False,
    ) -> None:
        super().__init__()
        if len(channels) != _STAGES or min(channels) < 1:
            raise ConfigError(
                f"pyramid generator: expected four numbers of channels (strides 32, 16, 8 and 4), got {list(channels)}"
            )
        rows, columns = grid
        in8, in16, in32 = encoder.channels
        c32, c16, c8, c4 = channels
        self.mean, self.std = encoder.mean, encoder.std
        self.encoder = encoder
        self.block32 = conv_block(in32, c32, _CONVOLUTIONS)
        self.up16, self.side16 = nn.Conv2d(c32, c16, kernel_size=1), nn.Conv2d(in16, c16, kernel_size=1)
        self.block16 = conv_block(c16, c16, _CONVOLUTIONS)
        self.up8, self.side8 = nn.Conv2d(c16, c8, kernel_size=1), nn.Conv2d(in8, c8, kernel_size=1)
        self.block8 = conv_block(c8, c8, _CONVOLUTIONS)
        self.block4 = conv_block(c8, c4, _CONVOLUTIONS)
        self.out = nn.Conv2d(c4, 1, kernel_size=3, padding=1)
        self._add_text_modules(text_encoder, blend, c16, (rows, columns), text_channels, round_features)
        self.grounder = grounder if blend is not None else None
        if self.grounder is not None:
            self.fusion_conv = Grounded(self.fusion_conv, c16, self.grounder.num_maps)

    def forward(self, images: Tensor, texts: Sequence[str], conditions: Sequence[str] | None = None) -> Tensor:
        """Predict saliency, see :class:`saltext.models.network.SaliencyNetwork`."""
        check_inputs(images, texts)
        x8, x16, x32 = self.cached(self.encoder, images)
        text = self._text_features(images, texts)
        if text is not None and self.grounder is not None and self.text_encoder is not None:
            features = self.grounder_features(self.grounder, images, x32)
            text = replace(text, grounding=self.grounder(features, texts, self.text_encoder))
        y = _grow(self.up16(self.block32(x32)), like=x16) + self.side16(x16)
        y = self.block16(self._blend(y, text))
        y = self.block8(_grow(self.up8(y), like=x8) + self.side8(x8))
        logits: Tensor = self.out(self.block4(F.interpolate(y, scale_factor=2, mode="nearest")))
        return logits


def _grow(y: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(y, size=like.shape[2:], mode="nearest")
