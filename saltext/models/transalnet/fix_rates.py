"""Fix rates: the fraction of a module's layers, counted from the input, that does not train."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from torch import nn

from saltext.errors import ConfigError
from saltext.models.freezing import Layers, freeze_eval_mode
from saltext.models.image.base import Encoder
from saltext.models.network import SaliencyNetwork
from saltext.models.transalnet.decoder import Decoder

RATES = ("encoder", "decoder", "text", "vision")


class EncoderDecoder(SaliencyNetwork):
    """A network with an encoder and a decoder whose layers fix rates count.

    Attributes:
        encoder: Encoder of images.
        decoder: Decoder of their features.
    """

    encoder: Encoder
    decoder: Decoder


@dataclass(frozen=True)
class FreezeRow:
    """Trainable parameters of a module.

    Attributes:
        module: ``encoder``, ``text``, ``vision``, ``blend``, ``decoder``, or ``other`` for parameters of none of them
            (the final norm of a vision tower).
        layers: Number of layers that fix rates count; 0 for ``blend`` and ``other``, which no rate counts.
        frozen_layers: Number of these layers without a trainable parameter.
        parameters: Number of parameters (scalars) of the module.
        trainable_parameters: Number of those that train.
    """

    module: str
    layers: int
    frozen_layers: int
    parameters: int
    trainable_parameters: int


def fixed_layers(count: int, rate: float) -> int:
    r"""Number of leading layers that a fix rate freezes: :math:`\lfloor \mathrm{rate} \cdot \mathrm{count} \rfloor`.

    The product is exact for the rate as it is written: 0.29 of 100 layers are 29, although the product of the two
    floating-point numbers is a little less.

    Args:
        count: Number of layers, at least 0.
        rate: Fraction to freeze, 0 to 1.

    Returns:
        Number of layers to freeze, 0 to ``count``.

    Raises:
        ValueError: A count or rate outside its range.

    Example:
        >>> fixed_layers(12, 0.9)  # 10.8
        10
    """
    if count < 0 or not 0 <= rate <= 1:
        raise ValueError(f"expected a count of at least 0 and a rate of 0 to 1, got {count} and {rate}")
    return math.floor(count * Fraction(str(rate)))


@dataclass(frozen=True)
class FixRates:
    """Which leading layers of a network do not train.

    A rate fixes ``floor(rate * layers)`` layers of its module, counted from the input; what comes before the first
    layer is fixed as soon as the rate is above 0. The unit of each module:

    * ``encoder``: its stages after the stem. DenseNet: dense blocks and transitions (7), ResNet: its four layers, timm:
      the stages of ``group_matcher(coarse=True)``.
    * ``decoder``: TransEncoder1, conv1 + norm, TransEncoder2, conv2 + norm, TransEncoder3, conv3 + norm, ..., the last
      convolution. The blending module between TransEncoder2 and conv2 always trains.
    * ``text``, ``vision``: layers of the text encoder and blocks of its vision tower, after their embeddings. What
      follows them (a final norm, a projection) is fixed where every side of the encoder has rate 1.

    Rates only ever fix: what is frozen otherwise stays so. A rate of a side that the network does not have (no text
    encoder, or one without a vision tower) fixes nothing, so that a control without text runs with the same rates.

    # DISCREPANCY: the authors of TranBlend count otherwise, and move the statistics of fixed BatchNorms.
    # `counting="authors"` and `hold_statistics=False` reproduce these. Theirs: the encoder is one layer, so only a rate
    # of 1 fixes it; the decoder's 20 children count in order of definition (blending module, convolutions, norms,
    # TransEncoders, three without parameters), the blending module without being fixed; text and vision are fixed up to
    # and including the first tensor of layer floor(rate * layers).

    Args:
        encoder: Rate of the image encoder, 0 to 1.
        decoder: Rate of the decoder.
        text: Rate of the text encoder's text layers.
        vision: Rate of its vision blocks.
        counting: ``input`` or ``authors``.
        hold_statistics: Whether BatchNorms of fixed modules of encoder and decoder keep their statistics in training.

    Raises:
        ConfigError: A rate outside 0 to 1, or an unknown counting.
    """

    encoder: float = 0.0
    decoder: float = 0.0
    text: float = 0.0
    vision: float = 0.0
    counting: str = "input"
    hold_statistics: bool = field(default=True, kw_only=True)

    def __post_init__(self) -> None:
        problems = [
            f"{module}: expected a rate of 0 to 1, got {getattr(self, module)}"
            for module in RATES
            if not 0 <= getattr(self, module) <= 1
        ]
        if self.counting not in _COUNTINGS:
            problems.append(f"counting: expected {' or '.join(_COUNTINGS)}, got {self.counting!r}")
        if problems:
            raise ConfigError("freeze: " + "; ".join(problems))

    def apply(self, network: EncoderDecoder) -> list[FreezeRow]:
        """Fix these layers of a network.

        Args:
            network: Changed in place; no parameter that was fixed before trains afterwards.

        Returns:
            :func:`freeze_table` of the network afterwards.
        """
        for parameter in _COUNTINGS[self.counting](self, network):
            parameter.requires_grad_(False)
        network.hold_statistics = network.encoder.hold_statistics = self.hold_statistics
        if self.hold_statistics and network.training:
            freeze_eval_mode(network)
        return freeze_table(network)


def freeze_table(network: EncoderDecoder) -> list[FreezeRow]:
    """Trainable parameters of each module of a network; the rows add up to the whole network."""
    modules = {"encoder": network.encoder.layers()}
    modules |= {name: side.layers() for name, side in _sides(network).items()}
    if network.decoder.blendnet is not None:
        modules["blend"] = Layers(list(network.decoder.blendnet.parameters()), [])
    modules["decoder"] = network.decoder.layers()
    counted = {id(parameter) for module in modules.values() for parameter in module.parameters()}
    other = [parameter for parameter in network.parameters() if id(parameter) not in counted]
    if other:
        modules["other"] = Layers(other, [])
    return [
        FreezeRow(
            module=name,
            layers=len(module.layers),
            frozen_layers=sum(not any(parameter.requires_grad for parameter in layer) for layer in module.layers),
            parameters=sum(parameter.numel() for parameter in module.parameters()),
            trainable_parameters=sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad),
        )
        for name, module in modules.items()
    ]


def _from_the_input(rates: FixRates, network: EncoderDecoder) -> Iterator[nn.Parameter]:
    yield from _leading(network.encoder.layers(), rates.encoder, fixed_layers)
    yield from _leading(network.decoder.layers(), rates.decoder, fixed_layers)
    for name, side in _sides(network).items():
        yield from _leading(side.layers(), getattr(rates, name), fixed_layers)
    yield from _after_the_layers(rates, network)


def _as_the_authors(rates: FixRates, network: EncoderDecoder) -> Iterator[nn.Parameter]:
    if rates.encoder == 1:
        yield from network.encoder.parameters()
    children = network.decoder.children_as_defined()
    for child in children[: _truncated(len(children), rates.decoder)]:
        yield from child
    for name, side in _sides(network).items():
        rate = getattr(rates, name)
        yield from _leading(side.layers(), rate, _truncated)
        reached = side.blocks[_truncated(len(side.blocks), rate) :]
        if rate > 0 and reached:
            yield _first_tensor(reached[0])
    yield from _after_the_layers(rates, network)


_COUNTINGS: dict[str, Callable[[FixRates, EncoderDecoder], Iterable[nn.Parameter]]] = {
    "input": _from_the_input,
    "authors": _as_the_authors,
}


def _truncated(count: int, rate: float) -> int:
    """The authors' number of layers: the floating-point product, truncated."""
    return int(count * rate)


def _leading(module: Layers, rate: float, layers: Callable[[int, float], int]) -> Iterator[nn.Parameter]:
    if rate > 0:
        yield from Layers(module.stem, module.layers[: layers(len(module.layers), rate)]).parameters()


def _first_tensor(block: nn.Module) -> nn.Parameter:
    """The tensor the authors' block begins with: of a vision block its first norm, wherever it is defined here."""
    named = dict(block.named_parameters())
    return next((value for name, value in named.items() if name.endswith("norm1.weight")), next(iter(named.values())))


@dataclass(frozen=True)
class _Side:
    """The text or the vision side of a text encoder."""

    embeddings: nn.Module
    blocks: Sequence[nn.Module]

    def layers(self) -> Layers:
        return Layers(list(self.embeddings.parameters()), [list(block.parameters()) for block in self.blocks])


def _sides(network: EncoderDecoder) -> dict[str, _Side]:
    """The sides that the network's text encoder has."""
    encoder = getattr(network, "text_encoder", None)
    if encoder is None:
        return {}
    sides = {
        "text": _Side(encoder.text_embeddings, encoder.text_layers),
        "vision": _Side(encoder.vision_embeddings, encoder.vision_blocks),
    }
    return {name: side for name, side in sides.items() if any(True for _ in side.layers().parameters())}


def _after_the_layers(rates: FixRates, network: EncoderDecoder) -> Iterator[nn.Parameter]:
    """All parameters of a text encoder, those outside of its layers included, if all its layers are fixed."""
    sides = _sides(network)
    if sides and all(getattr(rates, name) == 1 for name in sides):
        yield from network.get_submodule("text_encoder").parameters()
