"""Ways a generator takes the text in. TranBlend's blending modules are of the same kind and can be used instead."""

from saltext.models.clip_salgan.fusion.concat import Concat
from saltext.models.clip_salgan.fusion.inner_product import InnerProduct

__all__ = ["Concat", "InnerProduct"]
