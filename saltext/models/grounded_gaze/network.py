"""GroundedGaze, from image, text and condition to the density of fixations."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from saltext.errors import ConfigError
from saltext.models.freezing import rest_frozen_parts
from saltext.models.grounded_gaze.eye import Eye
from saltext.models.grounded_gaze.member import Members, Shape, Sizes
from saltext.models.grounding.class_names import EVIDENCE
from saltext.models.network import SaliencyNetwork, check_inputs
from saltext.models.text.base import TextEncoder, TextFeatures

_TINY = 1e-12


class GroundedGaze(SaliencyNetwork):
    """Text-guided saliency without any weights that were trained on images with texts.

    Image classifiers and a sentence encoder, all frozen, are brought together by the names of the classes: where the
    image shows what the text names (evidence), and what each place is called, in the space of the sentences (meanings);
    see :class:`saltext.models.grounding.class_names.ClassNameBridge`. A small transformer over the grid positions reads
    these two, the image's features and the words, and is conditioned on the task. Its logits are those of a density:
    the logarithm of the probability that a fixation falls there, up to a constant.

    Args:
        eyes: Classifiers by name, each with members of its own: what two of them see differs more than what two members
            make of it, so that their mean gains more.
        text_encoder: Frozen encoder of sentences, also of the class names. None: the same network without text, which
            still knows the condition; then no eye has a bridge.
        conditions: Names of the conditions it can be told.
        width: Channels of the transformer, a multiple of ``heads``.
        layers: Rounds of asking the words and looking around.
        heads: Attention heads.
        grid: Rows and columns of places at the usual input size, which is 32 times as large.
        smoothing: Standard deviation of a Gaussian, as a share of the image's longer side, that predicted densities are
            smoothed with; 0: not at all. Not in training: what is smoothed there is learned all the sharper.
        members: Networks an eye that are trained side by side on what it sees, each by itself; predictions are the mean
            of all densities.

    Raises:
        ConfigError: No eye or condition, a width that the heads cannot share, or eyes that want images normalised in
            different ways.
    """

    output_stride = 8
    predicts_density = True

    def __init__(
        self,
        eyes: Mapping[str, Eye],
        text_encoder: TextEncoder | None,
        conditions: Sequence[str],
        width: int = 128,
        layers: int = 2,
        heads: int = 4,
        grid: Sequence[int] = (16, 20),
        smoothing: float = 0.0,
        members: int = 1,
    ) -> None:
        super().__init__()
        wanted = {(eye.mean, eye.std) for eye in eyes.values()}
        if len(wanted) != 1 or not conditions or width % heads:
            raise ConfigError(
                f"GroundedGaze: eyes that want images normalised alike, at least one condition and a width that the "
                f"heads can share expected; {len(eyes)} eyes, mean and deviation {sorted(wanted)}, conditions "
                f"{list(conditions)}, width {width} and {heads} heads came"
            )
        ((self.mean, self.std),) = wanted
        self.conditions = tuple(conditions)
        self.smoothing = smoothing
        self.text_encoder = text_encoder
        if text_encoder is None:
            for eye in eyes.values():
                eye.bridge = None
        self.eyes = nn.ModuleDict(eyes)
        shape = Shape(width, layers, heads, (grid[0], grid[1]))
        self.members = nn.ModuleDict({name: Members(self._sizes(eye), shape, members) for name, eye in eyes.items()})
        rest_frozen_parts(self)

    def _sizes(self, eye: Eye) -> Sizes:
        return Sizes(
            coarse=eye.views.coarse_channels,
            fine=eye.views.fine_channels,
            evidence=0 if eye.bridge is None else EVIDENCE,
            text=0 if self.text_encoder is None else self.text_encoder.dim,
            conditions=len(self.conditions),
        )

    def forward(self, images: Tensor, texts: Sequence[str], conditions: Sequence[str] | None = None) -> Tensor:
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
        told = self._numbers(conditions or (), len(images)).to(images.device)
        text = self._read(texts, images)
        rows, columns = (-(-side // self.output_stride) for side in images.shape[2:])
        found = []
        for eye, members in zip(self.eyes.values(), self.members.values(), strict=True):
            seen = eye(images, texts, self.text_encoder)
            found.append(members(seen, text, told, (rows, columns)))
        logits = torch.cat(found, dim=1)
        return logits if self.training else _together(logits, self.smoothing * max(rows, columns))

    def _read(self, texts: Sequence[str], images: Tensor) -> TextFeatures | None:
        if self.text_encoder is None:
            return None
        features: TextFeatures = self.text_encoder(texts, images if self.text_encoder.reads_image else None)
        return features

    def _numbers(self, conditions: Sequence[str], expected: int) -> Tensor:
        unknown = sorted(set(conditions) - set(self.conditions))
        if unknown or len(conditions) != expected:
            raise ValueError(
                f"expected one condition per image, of {', '.join(self.conditions)}; got {len(conditions)} for "
                f"{expected} images{', with ' + ', '.join(map(repr, unknown)) if unknown else ''}"
            )
        return torch.tensor([self.conditions.index(condition) for condition in conditions])


def _together(logits: Tensor, sigma: float) -> Tensor:
    """The logarithm of the mean of the members' densities, smoothed by a Gaussian of ``sigma`` cells."""
    densities = logits.float().flatten(2).softmax(dim=2)
    density = densities.mean(dim=1).view(len(logits), 1, *logits.shape[2:])
    if sigma:
        rows, columns = (_gaussian(side, sigma).to(density) for side in logits.shape[2:])
        density = rows @ density @ columns.T
    return density.clamp_min(_TINY).log()


def _gaussian(side: int, sigma: float) -> Tensor:
    """Weights of the cells of a line in the mean around each of them, shape ``(side, side)``."""
    cells = torch.arange(side, dtype=torch.float32)
    weights = (-((cells[:, None] - cells) / sigma).square() / 2).exp()
    mean: Tensor = weights / weights.sum(dim=1, keepdim=True)
    return mean
