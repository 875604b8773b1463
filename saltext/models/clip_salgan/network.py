"""Base of all CLIP-SalGAN generators: reading and blending of the text."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from saltext.errors import ConfigError
from saltext.models.blending.base import BlendFactory, built_blend
from saltext.models.network import SaliencyNetwork
from saltext.models.text.base import TextEncoder, TextFeatures

TEXT_CHANNELS = 64
"""The paper's size of the text feature a generator works with."""

_MULTIPLE = 8


class Generator(SaliencyNetwork):
    """Base of the generators: a text encoder, a 1x1 convolution of its features, and a blending module.

    Without a blending module the text is not read, the text encoder is dropped, and a 3x3 convolution of the image
    feature replaces the module: the control without text.

    # DISCREPANCY: the authors' script casts the text feature to integers, towards zero, so that most of it is lost.
    # `round_features=True` reproduces it.

    Attributes:
        text_encoder: None without a blending module.
        text_feature_conv: From the encoder's features to the generator's; None without a blending module.
        fusion_conv: The blending module, under the published name of the paper's.
    """

    text_encoder: TextEncoder | None
    text_feature_conv: nn.Conv2d | None
    fusion_conv: nn.Module

    def _add_text_modules(
        self,
        text_encoder: TextEncoder | None,
        blend: BlendFactory | None,
        channels: int,
        grid: tuple[int, int],
        text_channels: int = TEXT_CHANNELS,
        round_features: bool = False,
    ) -> None:
        """Create the text encoder, the 1x1 convolution and the blending module.

        Called last in ``__init__``, since these modules are the last ones in published state dicts.

        Args:
            text_encoder: The text encoder; may be None where ``blend`` is.
            blend: Builds the blending module.
            channels: Channels of the image feature to blend with.
            grid: Rows and columns of that feature at the usual input size.
            text_channels: Size of the text feature after the 1x1 convolution.
            round_features: Whether text features are truncated to integers.

        Raises:
            ConfigError: A blend without a text encoder.
        """
        self.round_features = round_features
        if blend is None:
            self.text_feature_conv = None
            self.fusion_conv = nn.Conv2d(channels, channels, kernel_size=3, padding=1)
            self.text_encoder = None
            return
        if text_encoder is None:
            raise ConfigError("generator: a blending module needs a text encoder; choose one, or blend none")
        self.text_feature_conv = nn.Conv2d(text_encoder.dim, text_channels, kernel_size=1)
        self.fusion_conv = built_blend(blend, channels, text_channels, grid)
        self.text_encoder = text_encoder
        text_encoder.set_input_normalization(self.mean, self.std)

    def _text_features(self, images: Tensor, texts: Sequence[str]) -> TextFeatures | None:
        """Text features after the 1x1 convolution; None without a blending module."""
        if self.text_encoder is None or self.text_feature_conv is None:
            return None
        text: TextFeatures = self.text_encoder(texts, images if self.text_encoder.reads_image else None)
        pooled_and_tokens = torch.cat([text.pooled[:, None], text.tokens], dim=1)
        if self.round_features:
            pooled_and_tokens = pooled_and_tokens.trunc()
        mapped = self.text_feature_conv(pooled_and_tokens.transpose(1, 2)[..., None])[..., 0].transpose(1, 2)
        return replace(text, pooled=mapped[:, 0], tokens=mapped[:, 1:])

    def _blend(self, x: Tensor, text: TextFeatures | None) -> Tensor:
        """The image feature with the text blended in, same shape."""
        blended: Tensor = self.fusion_conv(x) if text is None else self.fusion_conv(x, text)
        return blended


def conv_block(channels_in: int, channels: int, count: int) -> nn.Sequential:
    """The paper's block: ``count`` times a 3x3 convolution, BatchNorm and ReLU."""
    layers: list[nn.Module] = []
    for index in range(count):
        layers.append(nn.Conv2d(channels if index else channels_in, channels, kernel_size=3, padding=1))
        layers += [nn.BatchNorm2d(channels), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


def to_multiple(images: Tensor) -> Tensor:
    """Resize images (bilinear) to the next multiple of 8 pixels per side; unchanged at the usual sizes."""
    height, width = (-(-side // _MULTIPLE) * _MULTIPLE for side in images.shape[2:])
    if images.shape[2:] == (height, width):
        return images
    return F.interpolate(images, size=(height, width), mode="bilinear", align_corners=False)
