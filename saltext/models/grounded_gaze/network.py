"""GroundedGaze, from image, text and condition to the density of fixations."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from saltext.errors import ConfigError
from saltext.models.freezing import rest_frozen_parts
from saltext.models.grounded_gaze.member import Member, Seen, Sizes, Standard
from saltext.models.grounded_gaze.views import TwoViews, Views, coarse, fine
from saltext.models.network import SaliencyNetwork, check_inputs
from saltext.models.text import TextEncoder, TextFeatures
from saltext.models.tranblend.bridge import EVIDENCE, ClassNameBridge
from saltext.models.transalnet.encoders import Encoder


class GroundedGaze(SaliencyNetwork):
    """Text-guided saliency without any weights that were trained on images with texts.

    An image classifier and a sentence encoder, both frozen, are brought together by the names of the classes: where the
    image shows what the text names (evidence), and what each place is called, in the space of the sentences (meanings);
    see :class:`ClassNameBridge`. A small transformer over the places reads these two, the image's features and the
    words, and is told the condition under which people looked. Its logits are those of a density: the logarithm of the
    probability that a fixation falls there, up to a constant.

    Args:
        encoder: Of images; frozen, it is run once an image.
        text_encoder: Frozen encoder of sentences, also of the class names. None: the same network without text, which
            still knows the condition.
        bridge: Needs a text encoder; None does without evidence and meanings, and so does a network without text.
        conditions: Names of the conditions it can be told.
        width: Channels of the transformer, a multiple of ``heads``.
        layers: Rounds of asking the words and looking around.
        heads: Attention heads.
        grid: Rows and columns of places at the usual input size, which is 32 times as large.
        members: Networks that are trained side by side on what the frozen parts see, each by itself; predictions are
            the mean of their densities.

    Raises:
        ConfigError: No condition, or a width that the heads cannot share.
    """

    output_stride = 8
    predicts_density = True

    def __init__(
        self,
        encoder: Encoder,
        text_encoder: TextEncoder | None,
        bridge: ClassNameBridge | None,
        conditions: Sequence[str],
        width: int = 128,
        layers: int = 2,
        heads: int = 4,
        grid: Sequence[int] = (16, 20),
        members: int = 1,
    ) -> None:
        super().__init__()
        if not conditions or width % heads:
            raise ConfigError(
                f"GroundedGaze: at least one condition and a width that the heads can share expected; conditions "
                f"{list(conditions)}, width {width} and {heads} heads came"
            )
        self.mean, self.std = encoder.mean, encoder.std
        self.conditions = tuple(conditions)
        self.views = TwoViews(encoder)
        self.text_encoder = text_encoder
        self.bridge = bridge if text_encoder is not None else None
        sizes = Sizes(
            coarse=self.views.coarse_channels,
            fine=self.views.fine_channels,
            evidence=0 if self.bridge is None else EVIDENCE,
            text=0 if text_encoder is None else text_encoder.dim,
            conditions=len(conditions),
        )
        self.standard = Standard(sizes)
        self.members = nn.ModuleList(Member(sizes, width, layers, heads, (grid[0], grid[1])) for _ in range(members))
        rest_frozen_parts(self)

    def forward(self, images: Tensor, texts: Sequence[str], conditions: Sequence[str] = ()) -> Tensor:
        """Predict the logarithm of the density, see :class:`SaliencyNetwork`.

        Args:
            images: As for every network.
            texts: As for every network.
            conditions: The condition of each, of those the network was built with.

        Returns:
            As for every network; in training, those of each member, shape ``(batch, members, rows, columns)``.

        Raises:
            ValueError: As for every network, or a condition that is not known.
        """
        check_inputs(images, texts)
        told = self._numbers(conditions, len(images)).to(images.device)
        views = self._seen(images)
        meanings, evidence = self._grounding(views[-1], texts)
        seen = self.standard(Seen(coarse(views), fine(views), meanings, evidence))
        text = self._read(texts, images)
        rows, columns = (-(-side // self.output_stride) for side in images.shape[2:])
        logits = torch.cat([member(seen, text, told, (rows, columns)) for member in self.members], dim=1)
        return logits if self.training else _together(logits)

    def _seen(self, images: Tensor) -> Views:
        x8, x16, x32, y16, y32 = self.recalled(self.views, images)
        return x8, x16, x32, y16, y32

    def _grounding(self, y32: Tensor, texts: Sequence[str]) -> tuple[Tensor | None, Tensor | None]:
        """Meanings of the places and evidence for the texts, from the full view; nothing without a bridge."""
        bridge, encoder = self.bridge, self.text_encoder
        if bridge is None or encoder is None:
            return None, None
        bridge.learned_names(encoder)  # what is remembered depends on them
        (meanings,) = self.recalled(bridge, y32, None, lambda x: (bridge.meanings(x.float(), encoder).half(),))
        (evidence,) = self.recalled(bridge, y32, texts, lambda x, read: (bridge(x.float(), read, encoder).half(),))
        return meanings.float(), evidence.float()

    def _read(self, texts: Sequence[str], images: Tensor) -> TextFeatures | None:
        if self.text_encoder is None:
            return None
        features: TextFeatures = self.text_encoder(texts, images if self.text_encoder.reads_image else None)
        return features

    def _numbers(self, conditions: Sequence[str], expected: int) -> Tensor:
        unknown = sorted(set(conditions) - set(self.conditions))
        if unknown or len(conditions) != expected:
            raise ValueError(
                f"one condition an image expected, of {', '.join(self.conditions)}; {len(conditions)} came for "
                f"{expected} images{', with ' + ', '.join(map(repr, unknown)) if unknown else ''}"
            )
        return torch.tensor([self.conditions.index(condition) for condition in conditions])


def _together(logits: Tensor) -> Tensor:
    """The logarithm of the mean of the members' densities."""
    densities = logits.flatten(2).log_softmax(dim=2)
    return densities.logsumexp(dim=1).view(len(logits), 1, *logits.shape[2:])
