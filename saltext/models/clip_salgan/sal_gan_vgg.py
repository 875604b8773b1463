"""The generator of the original SalGAN, with a text blended in at its bottleneck."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from saltext.models.blending.base import BlendFactory
from saltext.models.checkpoints import Weights, load_state, read_weights
from saltext.models.clip_salgan.network import TEXT_CHANNELS, Generator, to_multiple
from saltext.models.freezing import freeze
from saltext.models.network import check_inputs
from saltext.models.text.base import TextEncoder

_STRIDE = 16
_WIDTH = 512
# Channels of the mirrored decoder's convolutions, from stride 16 to stride 1.
_DECODER = ((512, 512, 512), (512, 512, 512), (256, 256, 256), (128, 128), (64, 64))
_CLASSIFIERS = ("pre_logits.*", "head.*", "classifier.*")


class SalGANVGG(Generator):
    """VGG-16 up to its last convolution, a decoder that mirrors it, and a blending module between them, at stride 16.

    # DISCREPANCY: SalGAN reads no text and trains only the last stages of its encoder; here all of it trains unless
    # ``frozen``. The blending module in the middle is this project's.

    Args:
        text_encoder: Encodes the texts. May be None where ``blend`` is.
        blend: Builds the blending module; None reads no text.
        weights: ImageNet weights of the whole classifier (torchvision's or timm's names), as a file or a state dict.
            None: random.
        frozen: Whether the encoder is frozen.
        grid: Rows and columns of the usual input divided by 16, for blending modules with position embeddings.
        text_channels: Size of the text feature after the 1x1 convolution.
        round_features: See :class:`Generator`.

    Raises:
        ConfigError: A blend without a text encoder.
        CheckpointError: A file that is not of a VGG-16.

    References:
        Pan et al., SalGAN: Visual saliency prediction with generative adversarial networks, 2017.
    """

    output_stride = 1

    def __init__(
        self,
        text_encoder: TextEncoder | None,
        blend: BlendFactory | None,
        weights: str | Path | Weights | None = None,
        frozen: bool = False,
        grid: Sequence[int] = (16, 16),
        text_channels: int = TEXT_CHANNELS,
        round_features: bool = False,
    ) -> None:
        super().__init__()
        rows, columns = grid
        backbone = _vgg16_without_classifier(weights)
        self.mean, self.std = backbone.pretrained_cfg["mean"], backbone.pretrained_cfg["std"]
        self.encoder = backbone.features[:-1]
        if frozen:
            freeze(self.encoder)
        widths = [_WIDTH, *(stage[-1] for stage in _DECODER)]
        self.decoder = nn.ModuleList(
            _plain_block(before, stage) for before, stage in zip(widths, _DECODER, strict=False)
        )
        self.out = nn.Conv2d(widths[-1], 1, kernel_size=1)
        self._add_text_modules(text_encoder, blend, _WIDTH, (rows, columns), text_channels, round_features)

    def forward(self, images: Tensor, texts: Sequence[str], conditions: Sequence[str] | None = None) -> Tensor:
        """Predict saliency, see :class:`saltext.models.network.SaliencyNetwork`."""
        check_inputs(images, texts)
        text = self._text_features(images, texts)
        images = to_multiple(images)
        height, width = images.shape[2:]
        y = self._blend(self.encoder(images), text)
        for index, stage in enumerate(self.decoder):
            stride = _STRIDE >> index
            y = stage(F.interpolate(y, size=(height // stride, width // stride), mode="nearest"))
        logits: Tensor = self.out(y)
        return logits


def _plain_block(channels_in: int, channels: Sequence[int]) -> nn.Sequential:
    """3x3 convolutions with ReLU, without normalisation, as in VGG."""
    layers: list[nn.Module] = []
    for width in channels:
        layers += [nn.Conv2d(channels_in, width, kernel_size=3, padding=1), nn.ReLU(inplace=True)]
        channels_in = width
    return nn.Sequential(*layers)


def _vgg16_without_classifier(weights: str | Path | Weights | None) -> Any:
    """timm's VGG-16 without its classifier, which has most of its weights."""
    import timm  # takes seconds, and is needed only to build a network

    model: Any = timm.create_model("vgg16", pretrained=False, num_classes=0)
    model.pre_logits = nn.Identity()
    if isinstance(weights, str | Path):
        load_state(model, read_weights(weights), str(weights), ignore=_CLASSIFIERS)
    elif weights is not None:
        load_state(model, weights, "The state dict given for vgg16", ignore=_CLASSIFIERS)
    return model
