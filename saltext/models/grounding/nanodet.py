"""NanoDet-g, a small detector of COCO's 80 things: scores of every class at every position, and boxes."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from saltext.models.checkpoints import load_state, read_weights
from saltext.models.normalize import IMAGENET_MEAN, IMAGENET_STD
from saltext.models.packaged_weights import NANODET, packaged_file

STRIDES = (8, 16, 32)
CHANNELS = 128  # of the neck and the heads
BINS = 11  # a distance is the mean of a distribution over 0, 1, ..., 10 strides
SLOPE = 0.1  # of LeakyReLU

# Channels, residual blocks and stride of the four stages; the last three are read.
_STAGES = ((32, 1, 1), (64, 2, 2), (128, 2, 2), (256, 3, 2))


class Detections(NamedTuple):
    """What a detector says at every position of a level.

    Attributes:
        scores: Of each class, in [0, 1], shape ``(batch, classes, rows, columns)``.
        boxes: Left, top, right and bottom edge in pixels of the input, shape ``(batch, 4, rows, columns)``.
    """

    scores: Tensor
    boxes: Tensor


def conv(channels: int, out_channels: int, stride: int = 1) -> nn.Sequential:
    """A 3x3 convolution, its BatchNorm folded in, and LeakyReLU."""
    return nn.Sequential(nn.Conv2d(channels, out_channels, 3, stride, padding=1), nn.LeakyReLU(SLOPE))


class ResidualBlock(nn.Module):
    """Two convolutions whose outputs are concatenated, each half of the channels wide.

    Args:
        channels: Of input and output.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first, self.second = conv(channels, channels // 2), conv(channels // 2, channels // 2)

    def forward(self, x: Tensor) -> Tensor:
        """Shape of ``x``."""
        half = self.first(x)
        return torch.cat([self.second(half), half], dim=1)


class Stage(nn.Module):
    """A cross-stage-partial stage: half of the output's channels are the input convolved, half ran through the blocks.

    Args:
        channels: Of the input; the output has twice as many.
        blocks: Residual blocks.
        stride: Of the first convolution.
    """

    def __init__(self, channels: int, blocks: int, stride: int) -> None:
        super().__init__()
        self.first = conv(channels, channels, stride)
        self.blocks = nn.Sequential(*(ResidualBlock(channels) for _ in range(blocks)))
        self.last = conv(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Shape ``(batch, 2 * channels, rows / stride, columns / stride)``."""
        x = self.first(x)
        return torch.cat([self.last(self.blocks(x)), x], dim=1)


class NanoDet(nn.Module):
    """NanoDet-g: a CSP backbone, a path aggregation network without convolutions of its own, and a head per stride.

    Args:
        classes: Number of classes.

    Attributes:
        mean: RGB mean in [0, 1] of the images its weights were trained on; it takes their channels as BGR.
        std: Standard deviation, likewise.

    References:
        RangiLyu, NanoDet, https://github.com/RangiLyu/nanodet, configuration nanodet-g; Li et al., Generalized focal
        loss, NeurIPS 2020, for boxes as distributions over distances.
    """

    # Its configuration has [103.53, 116.28, 123.675] and [57.375, 57.12, 58.395] for BGR in 0..255: ImageNet's.
    mean = IMAGENET_MEAN
    std = IMAGENET_STD

    def __init__(self, classes: int = 80) -> None:
        super().__init__()
        self.classes = classes
        self.stem = conv(3, _STAGES[0][0], stride=2)
        self.stages = nn.ModuleList(Stage(*stage) for stage in _STAGES)
        self.lateral = nn.ModuleList(nn.Conv2d(2 * channels, CHANNELS, 1) for channels, _, _ in _STAGES[1:])
        self.heads = nn.ModuleList(
            nn.Sequential(conv(CHANNELS, CHANNELS), nn.Conv2d(CHANNELS, classes + 4 * BINS, 1)) for _ in STRIDES
        )

    def forward(self, images: Tensor) -> list[Detections]:
        """Detect.

        Args:
            images: Normalised BGR, float, shape ``(batch, 3, height, width)``.

        Returns:
            Detections at strides 8, 16 and 32, on ``ceil(height / stride)`` by ``ceil(width / stride)`` positions.
        """
        x = F.max_pool2d(self.stem(images), kernel_size=3, stride=2, padding=1)
        features = []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        x8, x16, x32 = (lateral(x) for lateral, x in zip(self.lateral, features[1:], strict=True))
        x16 = x16 + _resize(x32, x16)
        x8 = x8 + _resize(x16, x8)
        x16 = x16 + _resize(x8, x16)
        x32 = x32 + _resize(x16, x32)
        return [
            _decode(head(x), self.classes, stride)
            for head, x, stride in zip(self.heads, (x8, x16, x32), STRIDES, strict=True)
        ]


def nanodet() -> NanoDet:
    """Build NanoDet-g with the weights that come with the package, trained on COCO's 80 things at 416x416 (AP 22.9).

    Raises:
        CheckpointError: The weights are missing, or not the expected ones.
    """
    network = NanoDet()
    (file,) = NANODET.digests
    path = packaged_file(NANODET, file)
    load_state(network, read_weights(path), source=str(path))
    return network.eval()


def _resize(x: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(x, size=like.shape[2:], mode="bilinear", align_corners=False)


def _decode(output: Tensor, classes: int, stride: int) -> Detections:
    """Scores and boxes of a head's output, shape ``(batch, classes + 4 * BINS, rows, columns)``."""
    rows, columns = output.shape[2:]
    logits, bins = output[:, :classes], output[:, classes:].reshape(len(output), 4, BINS, rows, columns)
    steps = torch.arange(BINS, dtype=output.dtype, device=output.device)
    left, top, right, bottom = (stride * torch.einsum("bekhw,k->ebhw", bins.softmax(2), steps)).unbind(0)
    x = (torch.arange(columns, dtype=output.dtype, device=output.device) + 0.5) * stride
    y = ((torch.arange(rows, dtype=output.dtype, device=output.device) + 0.5) * stride)[:, None]
    return Detections(logits.sigmoid(), torch.stack([x - left, y - top, x + right, y + bottom], dim=1))
