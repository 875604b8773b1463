"""The interface of all saliency networks."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from torch import Tensor, nn

from saltext.models.feature_cache import FeatureCache, get_or_compute
from saltext.models.feature_file import Features
from saltext.models.freezing import FrozenModulesMixin, is_frozen
from saltext.models.grounding.base import Grounder, ImageGrounder
from saltext.models.inference import Inference, for_inference
from saltext.models.normalize import Normalize, Renormalize
from saltext.models.transfer import select_rows

if TYPE_CHECKING:
    from saltext.data.keys import ImageKey

Colour = tuple[float, float, float]


class SaliencyNetwork(FrozenModulesMixin):
    """A network from images and texts to saliency logits.

    Attributes:
        mean: Mean of the RGB channels in [0, 1] that input images are normalised with.
        std: Standard deviation of the channels, likewise.
        feature_cache: Cache of frozen modules' features, for images named by
            :func:`saltext.models.feature_cache.addressed`; None computes them every time.
        output_stride: Pixels of the input per cell of the output, along a side.
        conditions: Names of the conditions (tasks) that its predictions depend on besides the text; may be empty.
        predicts_density: Whether its logits are those of a density over the image, not of each position separately.
    """

    mean: Colour
    std: Colour
    output_stride: int
    feature_cache: FeatureCache | None = None
    conditions: Sequence[str] = ()
    predicts_density: bool = False

    def maps(self, logits: Tensor) -> Tensor:
        """Saliency in [0, 1] of the network's logits: their sigmoid, or the density over its largest value."""
        if self.predicts_density:
            return (logits - logits.amax(dim=(2, 3), keepdim=True)).exp()
        return logits.sigmoid()

    def cached(self, module: nn.Module, images: Tensor) -> Features:
        """Features of a module of the network; those of a frozen one are read from the feature cache where it has them.

        Args:
            module: The module, which takes images.
            images: The tensor that the network was given.
        """
        if module.training or not is_frozen(module):
            features: Features = module(images)
            return features
        return get_or_compute(
            [module],
            images,
            lambda indices: for_inference(module, images, getattr(module, "inference", "reference"))(
                select_rows(images, indices)
            ),
        )

    def image_features(self, grounder: ImageGrounder, images: Tensor) -> Tensor:
        """What the image encoder of a grounder makes of images, see :meth:`cached`."""
        return self.cached(grounder.image_encoder, images)[0]

    def grounder_features(self, grounder: Grounder, images: Tensor, x32: Tensor) -> Tensor:
        """What a grounder works on: the features of its own image encoder, or the network's at stride 32.

        Args:
            grounder: A module of the network.
            images: The tensor that the network was given.
            x32: The network's image feature at stride 32.
        """
        return self.image_features(grounder, images) if isinstance(grounder, ImageGrounder) else x32

    def set_inference(self, inference: Inference) -> None:
        """Choose how frozen modules compute on a CPU, see :data:`saltext.models.inference.Inference`."""
        for module in self.modules():
            if hasattr(type(module), "inference"):
                module.inference = inference  # type: ignore[assignment]

    def set_input_normalization(self, normalize: Normalize) -> None:
        """Set how the images given to ``forward`` are normalised, for modules that expect them otherwise."""
        mean, std = (values.flatten().tolist() for values in (normalize.mean, normalize.std))
        for module in self.modules():
            if isinstance(module, Renormalize):
                module.set_input_normalization(mean, std, normalize.order)
        text_encoder = getattr(self, "text_encoder", None)
        if text_encoder is not None:
            text_encoder.set_input_normalization(mean, std, normalize.order)

    def encode_ahead(self, texts: "Mapping[ImageKey, Sequence[str]]") -> None:
        """Encode texts that will be read with images, where features of texts are cached.

        Args:
            texts: Key of an image, or of a mirror image -> its texts.
        """
        every = list(dict.fromkeys(text for of_image in texts.values() for text in of_image))
        text_encoder = getattr(self, "text_encoder", None)
        if text_encoder is not None:
            text_encoder.encode_ahead(every)
        for module in self.modules():
            if isinstance(module, Grounder):
                module.texts_ahead = every
        if self.feature_cache is not None:
            self.feature_cache.expect_texts(texts)

    @property
    def reads_text(self) -> bool:
        """Whether the texts can change a prediction."""
        return getattr(self, "text_encoder", None) is not None

    def forward(self, images: Tensor, texts: Sequence[str], conditions: Sequence[str] | None = None) -> Tensor:
        """Predict saliency.

        Args:
            images: Normalised RGB, float, shape ``(batch, 3, height, width)``, at least 32 pixels a side.
            texts: One text per image; the empty string is a text.
            conditions: One condition per image; read by a network that has ``conditions``, which needs them.

        Returns:
            Logits, shape ``(batch, 1, height', width')`` with sizes divided by ``output_stride``, those of the input
            first rounded to a multiple of 8; see :meth:`maps`.

        Raises:
            ValueError: Images of another shape or type, not as many texts as images, or a condition that is missing or
                unknown to a network that has some.
        """
        raise NotImplementedError


def check_inputs(images: Tensor, texts: Sequence[str], smallest: int = 32) -> None:
    """Raise a ValueError that names everything wrong with a network's inputs."""
    problems = []
    if images.ndim != 4 or images.shape[1] != 3:
        problems.append(f"expected images of shape (batch, 3, height, width), got {tuple(images.shape)}")
    elif min(images.shape[2:]) < smallest:
        height, width = images.shape[2:]
        problems.append(f"expected images of at least {smallest}x{smallest} pixels, got {height}x{width}: resize them")
    if not images.is_floating_point():
        problems.append(f"expected normalised float images, got {images.dtype}: see saltext.models.normalize")
    if isinstance(texts, str):
        problems.append(f"expected a sequence of texts, got the single text {texts!r}: put it in a list")
    elif images.ndim == 4 and len(texts) != len(images):
        problems.append(f"expected one text per image, got {len(texts)} texts for {len(images)} images")
    if problems:
        raise ValueError("; ".join(problems))
