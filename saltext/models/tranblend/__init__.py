"""TranBlend: TranSalNet with a text blended in at its middle layer."""

from saltext.models.tranblend.blending import (
    Blend,
    BlendingNet,
    CrossAttention,
    FiLM,
    MaskEncoder,
    MiniSample,
    TokenCrossAttention,
    UpsampleBlend,
)
from saltext.models.tranblend.network import TranBlend, load_published

__all__ = [
    "Blend",
    "BlendingNet",
    "CrossAttention",
    "FiLM",
    "MaskEncoder",
    "MiniSample",
    "TokenCrossAttention",
    "TranBlend",
    "UpsampleBlend",
    "load_published",
]
