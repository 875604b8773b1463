"""An image classifier, and what it says about an image and a text."""

from collections.abc import Sequence

from torch import Tensor

from saltext.models.feature_cache import Features, get_or_compute
from saltext.models.freezing import KeepsFrozenParts, is_frozen
from saltext.models.grounded_gaze.member import Seen
from saltext.models.grounded_gaze.views import TwoViews, coarse, fine
from saltext.models.grounding.class_names import ClassNameBridge
from saltext.models.image.base import Encoder
from saltext.models.text.base import TextEncoder


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

    def forward(self, images: Tensor, texts: Sequence[str], encoder: TextEncoder | None) -> Seen:
        """See.

        Args:
            images: Normalised, float, shape ``(batch, 3, height, width)``.
            texts: One text an image.
            encoder: Of texts and of the classes' names; needed with a bridge.
        """
        views = self.views
        frozen = is_frozen(views) and not views.training
        if frozen:
            x8, x16, x32, y16, y32 = get_or_compute([views], images, lambda places: views(images[places]))
        else:
            x8, x16, x32, y16, y32 = views(images)
        seen = (x8.float(), x16.float(), x32.float(), y16.float(), y32.float())
        return Seen(coarse(seen), fine(seen), *self._grounding(images, y32.detach(), texts, encoder, frozen))

    def _grounding(
        self, images: Tensor, y32: Tensor, texts: Sequence[str], encoder: TextEncoder | None, frozen: bool
    ) -> tuple[Tensor | None, Tensor | None]:
        """Meanings of the places and evidence for the texts, from the full view; nothing without a bridge."""
        bridge, views = self.bridge, self.views
        if bridge is None or encoder is None:
            return None, None
        fixed = frozen and is_frozen(encoder) and not encoder.training

        def meanings_of(places: list[int]) -> Features:
            return (bridge.meanings(y32[places].float(), encoder).half(),)

        def evidence_of(places: list[int]) -> Features:
            return (bridge(y32[places].float(), [texts[place] for place in places], encoder).half(),)

        every = list(range(len(images)))
        if fixed:
            (meanings,) = get_or_compute([views, bridge, encoder], images, meanings_of)
            (evidence,) = get_or_compute([views, bridge, encoder], images, evidence_of, texts)
        else:  # features of modules that train are not cached
            (meanings,), (evidence,) = meanings_of(every), evidence_of(every)
        return meanings.float(), evidence.float()
