"""TranBlend, from image and text to logits."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from saltext.errors import ConfigError
from saltext.models.checkpoints import load_state, read_weights
from saltext.models.network import SaliencyNetwork, check_inputs
from saltext.models.text import TextEncoder
from saltext.models.tranblend.blending import BlendFactory
from saltext.models.tranblend.bridge import ClassNameBridge, Grounded
from saltext.models.transalnet.decoder import Decoder
from saltext.models.transalnet.encoders import Encoder
from saltext.models.transalnet.network import TranSalNet


class TranBlend(SaliencyNetwork):
    """TranSalNet whose middle feature meets a text.

    Without a blending module (``blend=None``) the text is not read, the text encoder is dropped, and the network is
    TranSalNet with the same arguments: the control that tells what the text adds.

    Args:
        encoder: Gives features at strides 8, 16 and 32.
        text_encoder: Encodes the texts. May be None where ``blend`` is.
        blend: Builds the blending module from ``channels``, ``text_dim`` and ``grid`` of the middle layer.
        hidden: Channels of the transformers at strides 32, 16 and 8.
        heads: Their attention heads.
        channels: Channels of the decoder's stages. Six give logits at the input's size, four at a quarter of it.
        grid: Rows and columns of the stride-32 feature: the usual input size divided by 32.
        layers: Layers of each transformer.
        mlp_ratio: Width of their feed-forward parts over ``hidden``.
        bridge: Finds what the text names in the image, for the blending module; None does without.

    Raises:
        ConfigError: Sizes that do not fit together, or a blending module without a text encoder.
    """

    def __init__(
        self,
        encoder: Encoder,
        text_encoder: TextEncoder | None,
        blend: BlendFactory | None,
        hidden: Sequence[int] = (768, 768, 512),
        heads: Sequence[int] = (12, 12, 8),
        channels: Sequence[int] = (768, 512, 256, 128, 64, 32),
        grid: Sequence[int] = (9, 12),
        layers: int = 2,
        mlp_ratio: int = 4,
        bridge: ClassNameBridge | None = None,
    ) -> None:
        super().__init__()
        if blend is not None and text_encoder is None:
            raise ConfigError("TranBlend: a blending module needs a text encoder; choose one, or blend none")
        self.encoder = encoder
        self.text_encoder = text_encoder if blend is not None else None
        self.bridge = bridge if blend is not None else None
        middle = None
        if blend is not None and text_encoder is not None:
            middle = blend(channels=channels[0], text_dim=text_encoder.dim, grid=(2 * grid[0], 2 * grid[1]))
            middle = middle if bridge is None else Grounded(middle, channels[0])
        self.decoder = Decoder(encoder.channels, hidden, heads, channels, grid, layers, mlp_ratio, blend=middle)
        self.mean, self.std = encoder.mean, encoder.std
        self.output_stride = self.decoder.output_stride

    def forward(self, images: Tensor, texts: Sequence[str]) -> Tensor:
        """Predict saliency, see :class:`saltext.models.network.SaliencyNetwork`."""
        check_inputs(images, texts)
        taps = self.encoder(images)
        text = None
        if self.text_encoder is not None:
            text = self.text_encoder(texts, images if self.text_encoder.reads_image else None)
            if self.bridge is not None:
                text = replace(text, evidence=self.bridge(taps[2], texts, self.text_encoder))
        logits: Tensor = self.decoder(taps, text)
        return logits


def load_published(network: TranSalNet | TranBlend, path: str | Path) -> None:
    """Load weights saved by the authors' scripts.

    The text encoder keeps its own weights. A TranSalNet checkpoint leaves the blending module as it was initialised; a
    TranBlend checkpoint fills it, without the cross attention that its other mode does not run.

    Args:
        network: With the encoder and the sizes of the checkpoint.
        path: ``TranSalNet_Dense.pth``, ``TranSalNet_Res.pth``, or a TranBlend state dict.

    Raises:
        CheckpointError: As :func:`saltext.models.checkpoints.load_weights`.
    """
    state = read_weights(path)
    blends = any(key.startswith("decoder.blendnet.") for key in state)
    keep = ["text_encoder.*"] if blends else ["text_encoder.*", "decoder.blendnet.*"]
    load_state(network, state, str(path), ignore=["decoder.blendnet.cross_attention.*"], keep=keep)
