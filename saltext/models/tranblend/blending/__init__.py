"""Ways to blend a text into the image feature at the decoder's middle layer, interchangeable by configuration."""

from saltext.models.tranblend.blending.base import Blend, BlendFactory
from saltext.models.tranblend.blending.blending_net import BlendingNet
from saltext.models.tranblend.blending.cross_attention import CrossAttention
from saltext.models.tranblend.blending.film import FiLM
from saltext.models.tranblend.blending.mask_encoder import MaskEncoder
from saltext.models.tranblend.blending.minisample import MiniSample
from saltext.models.tranblend.blending.token_cross_attention import TokenCrossAttention
from saltext.models.tranblend.blending.upsample import UpsampleBlend

__all__ = [
    "Blend",
    "BlendFactory",
    "BlendingNet",
    "CrossAttention",
    "FiLM",
    "MaskEncoder",
    "MiniSample",
    "TokenCrossAttention",
    "UpsampleBlend",
]
