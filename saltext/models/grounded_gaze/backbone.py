"""An image classifier as a backbone: its features at two scales, and its class names as grounding of the text."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from saltext.models.feature_cache import Features, get_or_compute
from saltext.models.freezing import FrozenModulesMixin, is_frozen
from saltext.models.grounded_gaze.two_scale import TwoScale, coarse, fine
from saltext.models.grounding.class_names import ClassNameGrounder
from saltext.models.image.base import Encoder
from saltext.models.inference import for_inference
from saltext.models.network import Colour
from saltext.models.normalize import Renormalize
from saltext.models.text.base import TextEncoder


@dataclass(frozen=True)
class BackboneFeatures:
    """Features of a batch of images, float, shapes ``(batch, channels, rows, columns)``.

    Attributes:
        coarse: Image features on the token grid.
        fine: Image features on a grid twice as fine.
        semantic: Semantic map: mean sentence embedding of the classes at each grid position; None without a grounder.
        grounding: Grounding maps: where the image shows what the text names; None without a grounder.
    """

    coarse: Tensor
    fine: Tensor
    semantic: Tensor | None
    grounding: Tensor | None


class Backbone(FrozenModulesMixin):
    """Image features at two scales, and the grounding of texts by the classes of the same classifier.

    Args:
        encoder: Image encoder. Frozen, as GroundedGaze is meant, its features are cached; one that trains runs every
            time, and ``grounder`` reads its features without a gradient.
        grounder: Maps class logits and texts to grounding maps; None: no grounding.

    Attributes:
        mean: RGB mean the encoder expects to be subtracted, see :class:`saltext.models.network.SaliencyNetwork`.
        std: Standard deviation it expects images to be divided by.
        renormalize: Converts the network's images where they are normalised otherwise; None: they come as they should.
    """

    def __init__(self, encoder: Encoder, grounder: ClassNameGrounder | None = None) -> None:
        super().__init__()
        self.mean, self.std = encoder.mean, encoder.std
        self.two_scale = TwoScale(encoder)
        self.grounder = grounder
        self.renormalize: Renormalize | None = None

    def takes_images_of(self, mean: Colour, std: Colour) -> None:
        """Convert images of this mean and standard deviation to the encoder's own, if they differ."""
        self.renormalize = None if (mean, std) == (self.mean, self.std) else Renormalize(self.mean, self.std)

    def forward(self, images: Tensor, texts: Sequence[str], text_encoder: TextEncoder | None) -> BackboneFeatures:
        """Compute features, or read those of frozen modules from the feature cache.

        Args:
            images: As the network gets them, float, shape ``(batch, 3, height, width)``.
            texts: One text per image.
            text_encoder: Encodes texts and class names; needed with a grounder.
        """
        two_scale, grounder, renormalize = self.two_scale, self.grounder, self.renormalize
        frozen = is_frozen(two_scale) and not two_scale.training
        image_modules: list[nn.Module] = [two_scale] if renormalize is None else [renormalize, two_scale]

        def encode(indices: list[int]) -> Features:
            chosen = images[indices] if renormalize is None else renormalize(images[indices])
            encoded: Features = for_inference(two_scale, images, two_scale.inference)(chosen)
            return encoded

        if frozen:
            features = get_or_compute(image_modules, images, encode)
        else:
            features = two_scale(images if renormalize is None else renormalize(images))
        x8, x16, x32, y16, y32 = (feature.float() for feature in features)
        scales = (x8, x16, x32, y16, y32)
        if grounder is None or text_encoder is None:
            return BackboneFeatures(coarse(scales), fine(scales), semantic=None, grounding=None)

        last = y32.detach()

        def semantic_map(indices: list[int]) -> Features:
            return (grounder.semantic_map(last[indices], text_encoder).half(),)

        def grounding_maps(indices: list[int]) -> Features:
            return (grounder(last[indices], [texts[index] for index in indices], text_encoder).half(),)

        if frozen and is_frozen(text_encoder) and not text_encoder.training:
            modules = [*image_modules, grounder, text_encoder]
            (semantic,) = get_or_compute(modules, images, semantic_map)
            (grounding,) = get_or_compute(modules, images, grounding_maps, texts)
        else:  # features of modules that train are not cached
            every = list(range(len(images)))
            (semantic,), (grounding,) = semantic_map(every), grounding_maps(every)
        return BackboneFeatures(coarse(scales), fine(scales), semantic.float(), grounding.float())
