"""TranBlend: TranSalNet with a text blended in at its middle layer."""

from saltext.models.tranblend.blending import BlendingNet, TokenCrossAttention, UpsampleBlend
from saltext.models.tranblend.network import TranBlend, load_published

__all__ = ["BlendingNet", "TokenCrossAttention", "TranBlend", "UpsampleBlend", "load_published"]
