"""TranSalNet's decoder, optionally with a blending module in the middle. Names of parameters are the published ones."""

from collections.abc import Callable, Sequence
from typing import TypedDict

from torch import Tensor, nn
from torch.nn import functional as F

from saltext.errors import ConfigError
from saltext.models.freezing import Layers
from saltext.models.image.base import Taps
from saltext.models.text.base import TextFeatures
from saltext.models.transalnet.trans_encoder import TransEncoder

TRANS_ENCODERS = 3

MiddleFactory = Callable[[int, tuple[int, int]], nn.Module]
"""Builds the blending module from the middle feature's channels and its rows and columns at the usual input size."""


class DecoderSizes(TypedDict, total=False):
    """Sizes of a :class:`Decoder`, as keyword arguments of the networks that hold one; its defaults are the paper's.

    Attributes:
        hidden: Channels of the transformers at strides 32, 16 and 8.
        heads: Their attention heads.
        channels: Channels of the decoder's stages. Six give logits at the input's size, four at a quarter of it.
        grid: Rows and columns of the stride-32 feature: the usual input size divided by 32.
        layers: Layers of each transformer.
        mlp_ratio: Width of their feed-forward parts over ``hidden``.
    """

    hidden: Sequence[int]
    heads: Sequence[int]
    channels: Sequence[int]
    grid: Sequence[int]
    layers: int
    mlp_ratio: int


class Decoder(nn.Module):
    """Three feature maps to saliency logits.

    Stage i is a 3x3 convolution, BatchNorm and ReLU; every stage but the last doubles the size (nearest). The features
    at strides 16 and 8 are multiplied in after stages 1 and 2, through a transformer each::

        y = stage1(TransEncoder1(x32));  y = y * TransEncoder2(x16)     the middle layer
        y = relu(blendnet(y, text))                                     the text, if there is a blending module
        y = relu(stage2(y) * TransEncoder3(x8));  y = stage3(y);  ...;  logits = conv(y)

    Args:
        in_channels: Channels of the features at strides 8, 16 and 32.
        hidden: Channels of TransEncoder1, 2 and 3.
        heads: Their attention heads.
        channels: Channels of the stages, at least three. The first two equal ``hidden[1]`` and ``hidden[2]``.
        grid: Rows and columns of the stride-32 feature the position embeddings are learned for.
        layers: Transformer layers in each TransEncoder.
        mlp_ratio: Width of their feed-forward parts over ``hidden``.
        middle: Builds the blending module, which changes the middle feature given a text.

    Attributes:
        output_stride: Pixels of the network's input for each cell of the logits, along a side.

    Raises:
        ConfigError: Sizes that do not fit together.

    References:
        Lou et al., TranSalNet: Towards perceptually relevant visual saliency prediction, Neurocomputing 494, 2022.
    """

    def __init__(
        self,
        in_channels: tuple[int, int, int],
        hidden: Sequence[int] = (768, 768, 512),
        heads: Sequence[int] = (12, 12, 8),
        channels: Sequence[int] = (768, 512, 256, 128, 64, 32),
        grid: Sequence[int] = (9, 12),
        layers: int = 2,
        mlp_ratio: int = 4,
        middle: MiddleFactory | None = None,
    ) -> None:
        super().__init__()
        _check_sizes(hidden, heads, channels, grid)
        rows, columns = grid
        self.stages = len(channels)
        self.output_stride = 2 ** (6 - self.stages)
        # Definition order is the published one: the authors' fix rates count along it.
        self.blendnet = None if middle is None else middle(channels[0], (2 * rows, 2 * columns))
        widths = [hidden[0], *channels, 1]
        for index in range(1, self.stages + 2):
            self.add_module(f"conv{index}", nn.Conv2d(widths[index - 1], widths[index], kernel_size=3, padding=1))
        for index in range(1, self.stages + 1):
            self.add_module(f"batchnorm{index}", nn.BatchNorm2d(widths[index]))
        for index in range(1, TRANS_ENCODERS + 1):
            scale = 2 ** (index - 1)
            encoder = TransEncoder(
                in_channels[3 - index],
                hidden[index - 1],
                heads[index - 1],
                grid=(scale * rows, scale * columns),
                layers=layers,
                mlp_ratio=mlp_ratio,
            )
            self.add_module(f"TransEncoder{index}", encoder)

    def forward(self, taps: Taps, text: TextFeatures | None = None) -> Tensor:
        """Decode.

        Args:
            taps: Features at strides 8, 16 and 32, shapes ``(batch, in_channels[i], rows, columns)``.
            text: For the blending module; not read without one.

        Returns:
            Logits, shape ``(batch, 1, rows', columns')``, not limited in range.

        Raises:
            ValueError: There is a blending module and no text.
        """
        x8, x16, x32 = taps
        y = _resize_like(self._stage(1, self._run_submodule("TransEncoder1", x32)), like=x16)
        y = y * self._run_submodule("TransEncoder2", x16)
        if self.blendnet is not None:
            if text is None:
                raise ValueError("expected text features, since this decoder has a blending module; got none")
            y = self.blendnet(y, text)
        y = _resize_like(self._stage(2, F.relu(y)), like=x8)
        y = F.relu(y * self._run_submodule("TransEncoder3", x8))
        for index in range(3, self.stages):
            y = F.interpolate(self._stage(index, y), scale_factor=2, mode="nearest")
        return self._run_submodule(f"conv{self.stages + 1}", self._stage(self.stages, y))

    def layers(self) -> Layers:
        """Parameters in the order of data flow, as fix rates count them; the blending module is not among them.

        TransEncoder1, stage 1, TransEncoder2, stage 2, TransEncoder3, stages 3, 4, ..., the last convolution.
        """
        order: list[tuple[str, ...]] = []
        for index in range(1, self.stages + 1):
            if index <= TRANS_ENCODERS:
                order.append((f"TransEncoder{index}",))
            order.append((f"conv{index}", f"batchnorm{index}"))
        order.append((f"conv{self.stages + 1}",))
        layers = [[value for name in names for value in self.get_submodule(name).parameters()] for names in order]
        return Layers(stem=[], layers=layers)

    def children_as_defined(self) -> list[list[nn.Parameter]]:
        """Parameters of the published decoder's children in order of definition, as the authors' fix rates count them.

        The first, the blending module, has none to fix; the last three are its ReLU, sigmoid and up-sampling.
        """
        counted = [list(child.parameters()) for name, child in self.named_children() if name != "blendnet"]
        return [[], *counted, [], [], []]

    def _stage(self, index: int, x: Tensor) -> Tensor:
        return F.relu(self._run_submodule(f"batchnorm{index}", self._run_submodule(f"conv{index}", x)))

    def _run_submodule(self, name: str, x: Tensor) -> Tensor:
        out: Tensor = self.get_submodule(name)(x)
        return out


def _resize_like(y: Tensor, like: Tensor) -> Tensor:
    """Resize to a tap's size: exactly twice for inputs of a multiple of 32, nearly so otherwise."""
    return F.interpolate(y, size=like.shape[2:], mode="nearest")


def _check_sizes(hidden: Sequence[int], heads: Sequence[int], channels: Sequence[int], grid: Sequence[int]) -> None:
    problems = [
        f"{name}: expected {count} numbers, got {list(values)}"
        for name, values, count in (("hidden", hidden, 3), ("heads", heads, 3), ("grid", grid, 2))
        if len(values) != count
    ]
    if not 3 <= len(channels) <= 6:
        problems.append(f"channels: expected 3 to 6 numbers (output strides 8 to 1), got {list(channels)}")
    if min([*hidden, *heads, *channels, *grid], default=0) < 1:
        problems.append(
            "hidden, heads, channels and grid: expected numbers of at least 1, got "
            f"{[*hidden]}, {[*heads]}, {[*channels]} and {[*grid]}"
        )
    elif not problems:
        problems += [
            f"hidden[{i}]={width} is not a multiple of heads[{i}]={count}"
            for i, (width, count) in enumerate(zip(hidden, heads, strict=True))
            if width % count
        ]
        problems += [
            f"channels[{i}]={channels[i]} must equal hidden[{i + 1}]={hidden[i + 1]}, since the two are multiplied"
            for i in (0, 1)
            if channels[i] != hidden[i + 1]
        ]
    if problems:
        raise ConfigError("decoder: " + "; ".join(problems))
