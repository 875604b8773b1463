"""TranSalNet, from image to logits."""

from collections.abc import Sequence

from torch import Tensor

from saltext.models.network import SaliencyNetwork, check_inputs
from saltext.models.transalnet.decoder import Decoder
from saltext.models.transalnet.encoders import Encoder


class TranSalNet(SaliencyNetwork):
    """TranSalNet: it sees the image and ignores the text.

    With ``DenseNet161()`` or ``ResNet50()`` and the other arguments at their defaults, the state dict has
    the keys and shapes of the published SALICON checkpoints, and the logits are those of the published code.

    # DISCREPANCY: the published network is tied to inputs of 288x384. Here position embeddings are interpolated
    # (bicubic) to any size; at 288x384 nothing changes.

    Args:
        encoder: Gives features at strides 8, 16 and 32.
        hidden: Channels of the transformers at strides 32, 16 and 8.
        heads: Their attention heads.
        channels: Channels of the decoder's stages. Six give logits at the input's size, four at a quarter of it.
        grid: Rows and columns of the stride-32 feature: the usual input size divided by 32.
        layers: Layers of each transformer.
        mlp_ratio: Width of their feed-forward parts over ``hidden``.

    Raises:
        ConfigError: Sizes that do not fit together.

    References:
        Lou et al., TranSalNet: Towards perceptually relevant visual saliency prediction, Neurocomputing 494, 2022.
    """

    def __init__(
        self,
        encoder: Encoder,
        hidden: Sequence[int] = (768, 768, 512),
        heads: Sequence[int] = (12, 12, 8),
        channels: Sequence[int] = (768, 512, 256, 128, 64, 32),
        grid: Sequence[int] = (9, 12),
        layers: int = 2,
        mlp_ratio: int = 4,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = Decoder(encoder.channels, hidden, heads, channels, grid, layers, mlp_ratio)
        self.mean, self.std = encoder.mean, encoder.std
        self.output_stride = self.decoder.output_stride

    def forward(self, images: Tensor, texts: Sequence[str]) -> Tensor:
        """Predict saliency, see :class:`saltext.models.network.SaliencyNetwork`; texts are not read."""
        check_inputs(images, texts)
        logits: Tensor = self.decoder(self.encoder(images))
        return logits
