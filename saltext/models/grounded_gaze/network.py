"""GroundedGaze, from image, text and condition to the density of fixations."""

from collections.abc import Mapping, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from saltext.errors import ConfigError
from saltext.models.freezing import freeze_eval_mode
from saltext.models.grounded_gaze.backbone import Backbone
from saltext.models.grounded_gaze.readout import ConditionPrior, InputDims, Readouts, TransformerConfig
from saltext.models.grounding.base import ImageGrounder, ground
from saltext.models.network import SaliencyNetwork, check_inputs
from saltext.models.normalize import Normalize
from saltext.models.text.base import TextEncoder, TextFeatures
from saltext.models.transfer import to_device

_TINY = 1e-12


class GroundedGaze(SaliencyNetwork):
    """Text-guided saliency without any weights that were trained on images with texts.

    Image classifiers and a sentence encoder, all frozen, are connected by the names of the classes: grounding maps show
    where the image shows what the text names, and a semantic map has the mean sentence embedding of the classes at each
    grid position; see :class:`saltext.models.grounding.class_names.ClassNameGrounder`. Further grounders, such as a
    detector, add maps of their own. A small transformer over image
    tokens reads these two, the image's features and the words, and is conditioned on the task. Its logits are those of
    a density: the logarithm of the probability that a fixation falls there, up to a constant.

    Args:
        backbones: Classifiers by name, each with separate readouts: the features of two backbones differ more than
            two readouts of one, so their mean gains more. Images come normalised as the first of them expects; the
            others convert them if they expect another normalisation.
        text_encoder: Frozen encoder of sentences, also of the class names. None: the same network without text, which
            still knows the condition; then there is no grounder.
        conditions: Names of the conditions that predictions can be conditioned on.
        width: Channels of the transformer, a multiple of ``heads``.
        layers: Transformer blocks.
        heads: Attention heads.
        grid: Rows and columns of tokens at the usual input size, which is 32 times as large.
        smoothing: Standard deviation of a Gaussian, as a fraction of the image's longer side, that predicted densities
            are smoothed with; 0: none. By condition, those that are not named are not smoothed. Not applied in
            training, where the network would learn to undo it.
        grounders: Grounders by name that encode the images themselves, such as a detector; every readout gets their
            maps besides those of its backbone's own grounder.
        readouts_per_backbone: Readouts trained side by side on the features of each backbone, each with its own loss;
            predictions are the mean of all densities.
        condition_prior: Whether each condition learns a centre prior and a spread of its own, see
            :class:`saltext.models.grounded_gaze.readout.ConditionPrior`.

    Raises:
        ConfigError: No backbone or condition, a width that the heads do not divide, or a grounder that encodes no
            images.
    """

    output_stride = 8
    predicts_density = True

    def __init__(
        self,
        backbones: Mapping[str, Backbone],
        text_encoder: TextEncoder | None,
        conditions: Sequence[str],
        width: int = 128,
        layers: int = 2,
        heads: int = 4,
        grid: Sequence[int] = (16, 20),
        smoothing: float | Mapping[str, float] = 0.0,
        readouts_per_backbone: int = 1,
        grounders: Mapping[str, ImageGrounder] | None = None,
        condition_prior: bool = False,
    ) -> None:
        super().__init__()
        if not backbones or not conditions or width % heads:
            raise ConfigError(
                "GroundedGaze: expected at least one backbone, at least one condition, and a width that the heads "
                f"divide; got {len(backbones)} backbones, conditions {list(conditions)}, "
                f"width {width} and {heads} heads"
            )
        blind = [name for name, grounder in (grounders or {}).items() if not isinstance(grounder, ImageGrounder)]
        if blind:
            raise ConfigError(
                f"GroundedGaze: expected grounders with an image encoder of their own, got {', '.join(blind)}, which "
                "read the features of a classifier; give them to a backbone, as model.backbones.NAME.grounder"
            )
        first = next(iter(backbones.values()))
        self.mean, self.std = first.mean, first.std
        for backbone in backbones.values():
            backbone.takes_images_of(self.mean, self.std)
        self.conditions = tuple(conditions)
        by_condition = smoothing if isinstance(smoothing, Mapping) else dict.fromkeys(self.conditions, smoothing)
        unknown = sorted({*by_condition} - {*self.conditions})
        if unknown:
            raise ConfigError(
                f"GroundedGaze: expected smoothing of conditions among {', '.join(self.conditions)}; got "
                f"{', '.join(unknown)}"
            )
        self.smoothing = {name: float(by_condition.get(name, 0.0)) for name in self.conditions}
        self.text_encoder = text_encoder
        if text_encoder is None:
            for backbone in backbones.values():
                backbone.grounder = None
            grounders = None
        self.backbones = nn.ModuleDict(backbones)
        self.grounders = nn.ModuleDict(grounders or {})
        transformer = TransformerConfig(width, layers, heads, (grid[0], grid[1]))
        self.readouts = nn.ModuleDict()
        for name, backbone in backbones.items():
            joined = [each for each in (backbone.grounder, *(grounders or {}).values()) if each is not None]
            inputs = InputDims(
                coarse=backbone.two_scale.coarse_channels,
                fine=backbone.two_scale.fine_channels,
                grounding=sum(grounder.num_maps for grounder in joined),
                semantic=0 if text_encoder is None else sum(each.semantic_dim(text_encoder) for each in joined),
                text=0 if text_encoder is None else text_encoder.dim,
                conditions=len(self.conditions),
            )
            self.readouts[name] = Readouts(inputs, transformer, readouts_per_backbone)
        self.condition_prior = ConditionPrior(len(self.conditions)) if condition_prior else None
        self.set_input_normalization(Normalize(self.mean, self.std))
        freeze_eval_mode(self)

    def forward(self, images: Tensor, texts: Sequence[str], conditions: Sequence[str] | None = None) -> Tensor:
        """Predict the logarithm of the density, see :class:`SaliencyNetwork`.

        Args:
            images: As for every network.
            texts: As for every network.
            conditions: The condition of each image, of those the network was built with.

        Returns:
            As for every network; in training, the logits of each readout, shape ``(batch, readouts, rows, columns)``.

        Raises:
            ValueError: As for every network, or a condition that is not known.
        """
        check_inputs(images, texts)
        condition = to_device(self._condition_indices(conditions or (), len(images)), images.device)
        text: TextFeatures | None = None
        if self.text_encoder is not None:
            text = self.text_encoder(texts, images if self.text_encoder.reads_image else None)
        rows, columns = (-(-side // self.output_stride) for side in images.shape[2:])
        groundings = []
        for grounder in self.grounders.values():
            if isinstance(grounder, ImageGrounder) and self.text_encoder is not None:
                features = partial(self.image_features, grounder, images)
                groundings.append(ground(grounder, features, images, texts, self.text_encoder))
        outputs = []
        for name, backbone in self.backbones.items():
            read = backbone(images, texts, self.text_encoder, groundings)
            outputs.append(self.readouts[name](read, text, condition, (rows, columns)))
        logits = torch.cat(outputs, dim=1)
        if self.condition_prior is not None:
            logits = self.condition_prior(logits, condition)
        if self.training:
            return logits
        sigmas = [self.smoothing[name] * max(rows, columns) for name in conditions or ()]
        return _mean_log_density(logits, sigmas)

    def _condition_indices(self, conditions: Sequence[str], expected: int) -> Tensor:
        unknown = sorted(set(conditions) - set(self.conditions))
        if unknown or len(conditions) != expected:
            raise ValueError(
                f"expected one condition per image, of {', '.join(self.conditions)}; got {len(conditions)} for "
                f"{expected} images{', with ' + ', '.join(map(repr, unknown)) if unknown else ''}"
            )
        return torch.tensor([self.conditions.index(condition) for condition in conditions])


def _mean_log_density(logits: Tensor, sigmas: Sequence[float]) -> Tensor:
    """The logarithm of the mean of the readouts' densities, smoothed by a Gaussian of so many cells for each image."""
    densities = logits.float().flatten(2).softmax(dim=2)
    density = densities.mean(dim=1).view(len(logits), 1, *logits.shape[2:])
    for sigma in {*sigmas} - {0.0}:
        rows, columns = (
            to_device(_smoothing_matrix(side, sigma), density.device, density.dtype) for side in logits.shape[2:]
        )
        smoothed = rows @ density @ columns.T
        chosen = to_device(torch.tensor([each == sigma for each in sigmas]), density.device)
        density = torch.where(chosen[:, None, None, None], smoothed, density)
    return density.clamp_min(_TINY).log()


def _smoothing_matrix(side: int, sigma: float) -> Tensor:
    """Matrix that smooths a line of ``side`` cells by a Gaussian, rows sum to 1, shape ``(side, side)``."""
    cells = torch.arange(side, dtype=torch.float32)
    weights = (-((cells[:, None] - cells) / sigma).square() / 2).exp()
    kernel: Tensor = weights / weights.sum(dim=1, keepdim=True)
    return kernel
