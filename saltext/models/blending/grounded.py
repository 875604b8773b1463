"""Adds grounding maps to any blending module."""

from torch import Tensor, nn
from torch.nn import functional as F

from saltext.errors import ConfigError
from saltext.models.blending.base import Blend
from saltext.models.film import FiLM
from saltext.models.text.base import TextFeatures


class Grounded(Blend):
    """A blending module after FiLM of the image feature by grounding maps, position by position.

    Args:
        blend: Blends the modulated feature with the text.
        channels: Channels of the image feature.
        num_maps: Grounding maps of a text.
    """

    def __init__(self, blend: nn.Module, channels: int, num_maps: int) -> None:
        super().__init__()
        self.blend = blend
        self.grounding_film = FiLM(num_maps, channels)

    def forward(self, x: Tensor, text: TextFeatures) -> Tensor:
        """Blend, see :class:`Blend`; ``text.grounding`` is needed."""
        if text.grounding is None:
            raise ConfigError("expected grounding maps for the blending module, got none; give the network a grounder")
        maps = F.interpolate(text.grounding, size=x.shape[2:], mode="bilinear", align_corners=False)
        modulated = self.grounding_film(x.movedim(1, -1), maps.movedim(1, -1)).movedim(-1, 1)
        blended: Tensor = self.blend(modulated, text)
        return blended
