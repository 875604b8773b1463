"""Grounding maps beside the text, for any blending module."""

from torch import Tensor, nn
from torch.nn import functional as F

from saltext.errors import ConfigError
from saltext.models.blending.base import Blend
from saltext.models.grounding.class_names import EVIDENCE
from saltext.models.text.base import TextFeatures


class Grounded(Blend):
    """A blending module that is shown, beside the text, where the image has what the text names.

    The evidence scales and shifts the image feature before the blending; both maps start at zero, so at first it does
    nothing.

    Args:
        blend: What comes after.
        channels: Channels of the image feature.
    """

    def __init__(self, blend: nn.Module, channels: int) -> None:
        super().__init__()
        self.blend = blend
        self.film = nn.Conv2d(EVIDENCE, 2 * channels, kernel_size=1)
        nn.init.zeros_(self.film.weight)
        if self.film.bias is not None:
            nn.init.zeros_(self.film.bias)

    def forward(self, x: Tensor, text: TextFeatures) -> Tensor:
        """Blend, see :class:`Blend`; ``text.evidence`` is needed."""
        if text.evidence is None:
            raise ConfigError("a grounded blending module needs evidence; give the network a bridge")
        evidence = F.interpolate(text.evidence, size=x.shape[2:], mode="bilinear", align_corners=False)
        scale, shift = self.film(evidence).chunk(2, dim=1)
        blended: Tensor = self.blend(x * (1 + scale) + shift, text)
        return blended
