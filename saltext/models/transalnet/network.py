"""TranSalNet, from image to logits."""

from collections.abc import Sequence
from typing import Unpack

from torch import Tensor

from saltext.errors import ConfigError
from saltext.models.image.base import Encoder, Taps
from saltext.models.network import check_inputs
from saltext.models.transalnet.decoder import Decoder, DecoderSizes, MiddleFactory
from saltext.models.transalnet.fix_rates import EncoderDecoder, FixRates


class TranSalNet(EncoderDecoder):
    """TranSalNet: it sees the image and ignores the text.

    With ``DenseNet161()`` or ``ResNet50()`` and the other arguments at their defaults, the state dict has
    the keys and shapes of the published SALICON checkpoints, and the logits are those of the published code.

    # DISCREPANCY: the published network is tied to inputs of 288x384. Here position embeddings are interpolated
    # (bicubic) to any size; at 288x384 nothing changes.

    Args:
        encoder: Gives features at strides 8, 16 and 32.
        middle: Builds what changes the decoder's middle feature; None changes nothing.
        freeze: Which layers do not train; None fixes none.
        sizes: Of the decoder.

    Raises:
        ConfigError: Sizes that do not fit together, or an encoder that lacks what :class:`Encoder` asks for.

    References:
        Lou et al., TranSalNet: Towards perceptually relevant visual saliency prediction, Neurocomputing 494, 2022.
    """

    def __init__(
        self,
        encoder: Encoder,
        middle: MiddleFactory | None = None,
        freeze: FixRates | None = None,
        **sizes: Unpack[DecoderSizes],
    ) -> None:
        super().__init__()
        lacking = [name for name in ("channels", "mean", "std", "layers") if not hasattr(encoder, name)]
        if lacking:
            raise ConfigError(
                f"TranSalNet: expected an encoder with channels, mean, std and layers, as the subclasses of "
                f"saltext.models.image.base.Encoder have, got a {type(encoder).__name__} without {', '.join(lacking)}"
            )
        self.encoder = encoder
        self.decoder = Decoder(encoder.channels, middle=middle, **sizes)
        self.mean, self.std = encoder.mean, encoder.std
        self.output_stride = self.decoder.output_stride
        if freeze is not None:
            freeze.apply(self)

    def forward(self, images: Tensor, texts: Sequence[str], conditions: Sequence[str] | None = None) -> Tensor:
        """Predict saliency, see :class:`saltext.models.network.SaliencyNetwork`; texts are not read."""
        check_inputs(images, texts)
        logits: Tensor = self.decoder(self.encode(images))
        return logits

    def encode(self, images: Tensor) -> Taps:
        """The encoder's features; of a frozen encoder, cached ones."""
        x8, x16, x32 = self.cached(self.encoder, images)
        return x8, x16, x32
