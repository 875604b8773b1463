"""TranBlend, from image and text to logits."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Unpack

from torch import Tensor, nn

from saltext.errors import ConfigError
from saltext.models.blending.base import Blend, BlendFactory, built_blend
from saltext.models.blending.grounded import Grounded
from saltext.models.checkpoints import load_state, read_weights, without_common_prefix
from saltext.models.grounding.base import Grounder
from saltext.models.image.base import Encoder
from saltext.models.network import check_inputs
from saltext.models.text.base import TextEncoder
from saltext.models.transalnet.decoder import DecoderSizes, MiddleFactory
from saltext.models.transalnet.fix_rates import FixRates
from saltext.models.transalnet.network import TranSalNet


class TranBlend(TranSalNet):
    """TranSalNet with a text blended into its middle feature.

    Without a blending module (``blend=None``) the text is not read, the text encoder is dropped, and the network is
    TranSalNet with the same arguments: the control without text.

    Args:
        encoder: Gives features at strides 8, 16 and 32.
        text_encoder: Encodes the texts. May be None where ``blend`` is.
        blend: Builds the blending module from ``channels``, ``text_dim`` and ``grid`` of the middle layer.
        grounder: Gives the blending module grounding maps of the text; None: it gets none.
        freeze: Which layers do not train; None fixes none.
        sizes: Of the decoder.

    Raises:
        ConfigError: Sizes that do not fit together, or a blending module without a text encoder.
    """

    def __init__(
        self,
        encoder: Encoder,
        text_encoder: TextEncoder | None,
        blend: BlendFactory | None,
        grounder: Grounder | None = None,
        freeze: FixRates | None = None,
        **sizes: Unpack[DecoderSizes],
    ) -> None:
        super().__init__(encoder, middle=_middle_layer_factory(blend, text_encoder, grounder), **sizes)
        decoder = self.decoder
        # Optimizers number parameters in the order of registration, which is that of the data: the decoder comes last.
        del self.decoder
        self.text_encoder = text_encoder if blend is not None else None
        if self.text_encoder is not None:
            self.text_encoder.set_input_normalization(self.mean, self.std)
        self.grounder = grounder if blend is not None else None
        self.decoder = decoder
        if freeze is not None:
            freeze.apply(self)

    def forward(self, images: Tensor, texts: Sequence[str], conditions: Sequence[str] | None = None) -> Tensor:
        """Predict saliency, see :class:`saltext.models.network.SaliencyNetwork`."""
        check_inputs(images, texts)
        taps = self.encode(images)
        text = None
        if self.text_encoder is not None:
            text = self.text_encoder(texts, images if self.text_encoder.reads_image else None)
            if self.grounder is not None:
                features = self.grounder_features(self.grounder, images, taps[2])
                text = replace(text, grounding=self.grounder(features, texts, self.text_encoder))
        logits: Tensor = self.decoder(taps, text)
        return logits


def _middle_layer_factory(
    blend: BlendFactory | None, text_encoder: TextEncoder | None, grounder: Grounder | None
) -> MiddleFactory | None:
    """Builds the middle layer from its channels and grid: the blending module, with grounding maps if there are any."""
    if blend is None:
        return None
    if text_encoder is None:
        raise ConfigError("TranBlend: a blending module needs a text encoder; choose one, or blend none")

    def build(channels: int, grid: tuple[int, int]) -> nn.Module:
        built = built_blend(blend, channels, text_encoder.dim, grid)
        return built if grounder is None else Grounded(built, channels, grounder.num_maps)

    return build


def load_published(network: TranSalNet, path: str | Path) -> None:
    """Load weights saved by the authors' scripts.

    The text encoder keeps its own weights. A TranSalNet checkpoint leaves the blending module as it was initialised; a
    TranBlend checkpoint fills it; such a file holds the parameters of both of the authors' modes, and those of the mode
    that the network does not run are left out.

    Args:
        network: With the encoder and the sizes of the checkpoint.
        path: ``TranSalNet_Dense.pth``, ``TranSalNet_Res.pth``, or a TranBlend state dict.

    Raises:
        CheckpointError: As :func:`saltext.models.checkpoints.load_weights`.
    """
    state = without_common_prefix(network.state_dict(), read_weights(path))
    blends = any(key.startswith("decoder.blendnet.") for key in state)
    keep = ["text_encoder.*"] if blends else ["text_encoder.*", "decoder.blendnet.*"]
    blend = network.decoder.blendnet
    extras = blend.published_extras if isinstance(blend, Blend) else ()
    load_state(network, state, str(path), ignore=[f"decoder.blendnet.{extra}" for extra in extras], keep=keep)
