"""The generator of the CLIP-SalGAN paper."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from saltext.models.blending.base import BlendFactory
from saltext.models.clip_salgan.network import TEXT_CHANNELS, Generator, conv_block, to_multiple
from saltext.models.network import check_inputs
from saltext.models.text.base import TextEncoder


class SmallGenerator(Generator):
    """Eight convolutions at full and half resolution, then the text, then the map.

    With a text encoder of 512 features (CLIP ViT-B/32), ``blend`` :class:`~saltext.models.blending.concat.Concat` and
    the other arguments at their defaults, the state dict has the published keys and shapes (and the text encoder's),
    and the logits are those of the authors' code::

        y = block(3 convolutions, 64);  y = maxpool(y);  y = block(3, 128);  y = bilinear x2;  y = block(2, 64)
        y = blend(y, conv1x1(text));  logits = conv(y)

    It sees images in [0, 1], without mean and deviation, and gives a map of their size.

    # DISCREPANCY: the authors' network is tied to inputs of 256x256. Here any size goes, stretched to the next multiple
    # of 8; at 256x256 nothing changes.

    Args:
        text_encoder: Encodes the texts. May be None where ``blend`` is.
        blend: Builds the blending module from ``channels``, ``text_dim`` and ``grid``; None reads no text.
        width: Channels at full resolution; twice as many at half of it.
        grid: Rows and columns of the usual input, for blending modules with position embeddings.
        text_channels: Size of the text feature after the 1x1 convolution.
        round_features: See :class:`Generator`.

    Raises:
        ConfigError: A blend without a text encoder.
    """

    mean = (0.0, 0.0, 0.0)
    std = (1.0, 1.0, 1.0)
    output_stride = 1

    def __init__(
        self,
        text_encoder: TextEncoder | None,
        blend: BlendFactory | None,
        width: int = 64,
        grid: Sequence[int] = (256, 256),
        text_channels: int = TEXT_CHANNELS,
        round_features: bool = False,
    ) -> None:
        super().__init__()
        rows, columns = grid
        self.conv_vgg1 = conv_block(3, width, 3)
        self.conv_vgg2 = conv_block(width, 2 * width, 3)
        self.conv_scratch = conv_block(2 * width, width, 2)
        # The published name; the sigmoid itself is left to whoever wants a map.
        self.sigmoid = nn.Sequential(nn.Conv2d(width, 1, kernel_size=3, padding=1))
        self._add_text_modules(text_encoder, blend, width, (rows, columns), text_channels, round_features)

    def forward(self, images: Tensor, texts: Sequence[str], conditions: Sequence[str] | None = None) -> Tensor:
        """Predict saliency, see :class:`saltext.models.network.SaliencyNetwork`."""
        check_inputs(images, texts)
        text = self._text_features(images, texts)
        y = F.max_pool2d(self.conv_vgg1(to_multiple(images)), kernel_size=2)
        y = F.interpolate(self.conv_vgg2(y), scale_factor=2, mode="bilinear", align_corners=True)
        logits: Tensor = self.sigmoid(self._blend(self.conv_scratch(y), text))
        return logits
