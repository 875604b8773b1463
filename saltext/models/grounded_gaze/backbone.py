"""An image encoder as a backbone: its features at two scales, and grounding of the text by its class names."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from saltext.errors import ConfigError
from saltext.models.feature_cache import get_or_compute
from saltext.models.feature_file import Features
from saltext.models.freezing import FrozenModulesMixin, is_frozen
from saltext.models.grounded_gaze.two_scale import TwoScale, TwoScaleVit, resize_to_grid
from saltext.models.grounding.base import Grounder, Grounding, ImageGrounder, ground
from saltext.models.image.base import Encoder
from saltext.models.image.vit import VitEncoder
from saltext.models.inference import features_format, for_inference
from saltext.models.network import Colour
from saltext.models.normalize import Renormalize
from saltext.models.text.base import TextEncoder
from saltext.models.transfer import select_rows


@dataclass(frozen=True)
class BackboneFeatures:
    """Features of a batch of images, float, shapes ``(batch, channels, rows, columns)``.

    Attributes:
        coarse: Image features on the token grid.
        fine: Image features on a grid twice as fine.
        semantic: Semantic maps of all grounders, what is at each position of the token grid; None without one.
        grounding: Grounding maps of all grounders, where the image shows what the text names; None without a grounder.
    """

    coarse: Tensor
    fine: Tensor
    semantic: Tensor | None
    grounding: Tensor | None


class Backbone(FrozenModulesMixin):
    """Image features at two scales, and the grounding of texts by the classes of the same classifier, if it is one.

    Args:
        encoder: Image encoder. Frozen, as GroundedGaze is meant, its features are cached; one that trains runs every
            time, and ``grounder`` reads its features without a gradient.
        grounder: Grounds texts by the encoder's feature at stride 32, as by its class names; None: it grounds none.

    Attributes:
        mean: RGB mean the encoder expects to be subtracted, see :class:`saltext.models.network.SaliencyNetwork`.
        std: Standard deviation it expects images to be divided by.
        renormalize: Converts the network's images where they are normalised otherwise; None: they come as they should.

    Raises:
        ConfigError: A grounder that encodes the images itself and does not use this encoder's features.
    """

    def __init__(self, encoder: Encoder | VitEncoder, grounder: Grounder | None = None) -> None:
        super().__init__()
        if isinstance(grounder, ImageGrounder):
            raise ConfigError(
                f"Backbone: expected a grounder that reads the backbone's features, got {type(grounder).__name__}, "
                "which encodes the images itself; give it to the network, as one of model.grounders"
            )
        self.mean, self.std = encoder.mean, encoder.std
        self.two_scale = TwoScaleVit(encoder) if isinstance(encoder, VitEncoder) else TwoScale(encoder)
        self.grounder = grounder
        self.renormalize: Renormalize | None = None

    def takes_images_of(self, mean: Colour, std: Colour) -> None:
        """Convert images of this mean and standard deviation to the encoder's own, if they differ."""
        self.renormalize = None if (mean, std) == (self.mean, self.std) else Renormalize(self.mean, self.std)

    def forward(
        self,
        images: Tensor,
        texts: Sequence[str],
        text_encoder: TextEncoder | None,
        groundings: Sequence[Grounding] = (),
    ) -> BackboneFeatures:
        """Compute features, or read those of frozen modules from the feature cache.

        Args:
            images: As the network gets them, float, shape ``(batch, 3, height, width)``.
            texts: One text per image.
            text_encoder: Encodes texts and class names; needed with a grounder.
            groundings: Of the network's own grounders; they join that of the backbone.
        """
        two_scale, grounder, renormalize = self.two_scale, self.grounder, self.renormalize
        frozen = is_frozen(two_scale) and not two_scale.training
        image_modules: list[nn.Module] = [two_scale] if renormalize is None else [renormalize, two_scale]

        def encode(indices: list[int]) -> Features:
            chosen = select_rows(images, indices)
            chosen = chosen if renormalize is None else renormalize(chosen)
            encoded: Features = for_inference(two_scale, images, two_scale.inference)(chosen)
            return encoded

        if frozen:
            features = get_or_compute(image_modules, images, encode)
        else:
            features = two_scale(images if renormalize is None else renormalize(images))
        last = two_scale.last(features).float()
        if grounder is not None and text_encoder is not None:
            own = ground(grounder, last.detach, images, texts, text_encoder, image_modules)
            groundings = [own, *groundings]
        grid = (last.shape[2], last.shape[3])
        maps = [resize_to_grid(grounding.maps, grid) for grounding in groundings]
        semantic = [resize_to_grid(each.semantic, grid) for each in groundings if each.semantic is not None]
        layout = features_format(images, two_scale.inference)
        scales = [feature.to(torch.float32, memory_format=layout) for feature in features]
        return BackboneFeatures(
            coarse=two_scale.coarse(scales),
            fine=two_scale.fine(scales),
            semantic=torch.cat(semantic, dim=1).contiguous(memory_format=layout) if semantic else None,
            grounding=torch.cat(maps, dim=1).contiguous(memory_format=layout) if maps else None,
        )
