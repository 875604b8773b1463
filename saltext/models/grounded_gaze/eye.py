"""An image classifier, and what it says about an image and a text."""

from collections.abc import Callable, Sequence

from torch import Tensor

from saltext.models.freezing import KeepsFrozenParts, is_frozen
from saltext.models.grounded_gaze.member import Seen
from saltext.models.grounded_gaze.views import TwoViews, coarse, fine
from saltext.models.network import afresh
from saltext.models.text import TextEncoder
from saltext.models.tranblend.bridge import ClassNameBridge
from saltext.models.transalnet.encoders import Encoder

Recalled = Callable[..., tuple[Tensor, ...]]
"""See :meth:`saltext.models.network.SaliencyNetwork.recalled`."""


class Eye(KeepsFrozenParts):
    """Sees the features of an image, and by its classes what a text names there.

    Args:
        encoder: Of images; frozen, it is run once an image, which is how GroundedGaze is meant. One that trains is run
            every time, and ``bridge`` reads it without training it.
        bridge: Through the names of its classes; None: it knows none.

    Attributes:
        mean: What the encoder wants subtracted from images, see :class:`saltext.models.network.SaliencyNetwork`.
        std: What it wants them divided by.
    """

    def __init__(self, encoder: Encoder, bridge: ClassNameBridge | None = None) -> None:
        super().__init__()
        self.mean, self.std = encoder.mean, encoder.std
        self.views = TwoViews(encoder)
        self.bridge = bridge

    def forward(self, images: Tensor, texts: Sequence[str], encoder: TextEncoder | None, recalled: Recalled) -> Seen:
        """See.

        Args:
            images: Normalised, float, shape ``(batch, 3, height, width)``.
            texts: One text an image.
            encoder: Of texts and of the classes' names; needed with a bridge.
            recalled: Runs a frozen part, or reads what it made before.
        """
        if not is_frozen(self.views):
            recalled = afresh  # of inputs that come from what trains, nothing comes back
        x8, x16, x32, y16, y32 = recalled(self.views, images)
        views = (x8, x16, x32, y16, y32)
        return Seen(coarse(views), fine(views), *self._grounding(y32.detach(), texts, encoder, recalled))

    def _grounding(
        self, y32: Tensor, texts: Sequence[str], encoder: TextEncoder | None, recalled: Recalled
    ) -> tuple[Tensor | None, Tensor | None]:
        """Meanings of the places and evidence for the texts, from the full view; nothing without a bridge."""
        bridge = self.bridge
        if bridge is None or encoder is None:
            return None, None
        bridge.learned_names(encoder)  # what is remembered depends on them
        (meanings,) = recalled(bridge, y32, None, lambda x: (bridge.meanings(x.float(), encoder).half(),))
        (evidence,) = recalled(bridge, y32, texts, lambda x, read: (bridge(x.float(), read, encoder).half(),))
        return meanings.float(), evidence.float()
