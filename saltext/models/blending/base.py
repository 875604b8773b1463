"""The interface of a blending module."""

from typing import ClassVar, Protocol

import torch
from torch import Tensor, nn

from saltext.errors import ConfigError
from saltext.models.text.base import TextFeatures


class Blend(nn.Module):
    """Base of the blending modules.

    Subclasses take ``channels`` (of the image feature), ``text_dim`` and ``grid`` (rows and columns of the image
    feature at the usual input size) first, and their own options after that.

    Attributes:
        starts_as_identity: Whether a fresh module gives the image feature back unchanged, whatever the text, so that a
            trained network can take it in without harm.
        published_extras: Patterns (``fnmatch``) of parameters that the authors' module of this kind holds and this one
            has no use for.
    """

    starts_as_identity: ClassVar[bool] = False
    published_extras: ClassVar[tuple[str, ...]] = ()

    def forward(self, x: Tensor, text: TextFeatures) -> Tensor:
        """Blend.

        Args:
            x: Image feature at the decoder's middle layer, shape ``(batch, channels, rows, columns)``.
            text: Features of the texts.

        Returns:
            The blended feature, same shape.
        """
        raise NotImplementedError


class BlendFactory(Protocol):
    """Builds a blending module once the network knows its sizes; a blending class with its options bound is one."""

    def __call__(self, channels: int, text_dim: int, grid: tuple[int, int]) -> nn.Module:
        """Build. Arguments as in :class:`Blend`."""
        ...


def built_blend(blend: BlendFactory, channels: int, text_dim: int, grid: tuple[int, int]) -> nn.Module:
    """Build a blending module, and blend zeros once: a wrong shape would be noticed in the middle of training only.

    Raises:
        ConfigError: The module gives back another shape than that of the image feature.
    """
    built = blend(channels=channels, text_dim=text_dim, grid=grid)
    x = torch.zeros(1, channels, *grid)
    text = TextFeatures(torch.zeros(1, text_dim), torch.zeros(1, 2, text_dim), torch.ones(1, 2, dtype=torch.bool))
    was_training = built.training
    with torch.no_grad(), torch.random.fork_rng(devices=[], device_type="cpu"):
        blended = built.eval()(x, text)
    built.train(was_training)
    got = tuple(blended.shape) if isinstance(blended, Tensor) else f"a {type(blended).__name__}"
    if got != tuple(x.shape):
        code = type(built).forward.__code__
        where = f"{code.co_filename}:{code.co_firstlineno}"
        raise ConfigError(
            f"{where}: expected {type(built).__name__}.forward to return the shape of the image feature, "
            f"{tuple(x.shape)}, got {got}"
        )
    return built


def text_projection(text_dim: int, channels: int) -> nn.Module:
    """Give a learned map from the text's size to the image feature's; nothing where they agree, as in the paper."""
    return nn.Identity() if text_dim == channels else nn.Linear(text_dim, channels)
