"""What a grounder is: where an image shows what a text names."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from saltext.models.feature_cache import get_or_compute, get_or_compute_by_text
from saltext.models.feature_file import Features
from saltext.models.freezing import is_frozen, parameters_and_buffers, tensor_versions
from saltext.models.recently_used import RecentlyUsed
from saltext.models.text.base import TextEncoder
from saltext.models.transfer import select_rows


class Grounder(nn.Module):
    """Base of the grounders: they work on the feature of an image classifier at stride 32.

    Attributes:
        num_maps: Grounding maps of a text.
        texts_ahead: Texts that will be grounded; a grounder may encode what it reads of them in batches.
    """

    num_maps: int
    texts_ahead: Sequence[str] = ()

    def activations(self, features: Tensor) -> Tensor:
        """What an image has in common for all texts; computed once for several texts of an image.

        Args:
            features: Of the images, shape ``(batch, channels, rows, columns)``.

        Returns:
            Shape ``(batch, ...)``; by default the features.
        """
        return features

    def maps(self, activations: Tensor, texts: Sequence[str], encoder: TextEncoder) -> Tensor:
        """Ground texts.

        Args:
            activations: As :meth:`activations` gives them.
            texts: One text per image.
            encoder: Encodes texts.

        Returns:
            Grounding maps, shape ``(batch, num_maps, rows, columns)``.
        """
        raise NotImplementedError

    def forward(self, features: Tensor, texts: Sequence[str], encoder: TextEncoder) -> Tensor:
        """Ground texts in one call.

        Args:
            features: As for :meth:`activations`.
            texts: One text per image.
            encoder: Encodes texts.

        Returns:
            As :meth:`maps`.
        """
        return self.maps(self.activations(features), texts, encoder)

    def semantic_dim(self, encoder: TextEncoder) -> int:
        """Channels of the semantic map; 0: the grounder has none."""
        return 0

    def semantic_map(self, activations: Tensor, encoder: TextEncoder) -> Tensor:
        """What is at each position, whatever the text, shape ``(batch, semantic_dim, rows, columns)``.

        Args:
            activations: As :meth:`activations` gives them.
            encoder: Encodes texts.
        """
        raise NotImplementedError


class ImageGrounder(Grounder):
    """Base of the grounders that encode the images themselves, such as by a detector.

    Attributes:
        image_encoder: Encodes the images as the saliency network gets them, shape ``(batch, 3, height, width)``, to the
            features that :meth:`activations` takes, ``images -> (features,)``: an image is encoded once whatever its
            texts are. A :class:`saltext.models.normalize.Renormalize` in it gets the images' normalisation.
    """

    image_encoder: nn.Module


class Grounding(NamedTuple):
    """What a grounder says about a batch of images and their texts.

    Attributes:
        maps: Grounding maps, float, shape ``(batch, num_maps, rows, columns)``.
        semantic: Semantic map, float, shape ``(batch, semantic_dim, rows, columns)``; None of a grounder without.
    """

    maps: Tensor
    semantic: Tensor | None


def cosines(encoder: TextEncoder, texts: Sequence[str], names: Sequence[str]) -> Tensor:
    """Cosines of the sentence features of texts and of names, shape ``(texts, names)``."""
    of_texts, of_names = encoder(texts).pooled, encoder.pooled_list(names)
    if not encoder.unit_length:
        of_texts, of_names = F.normalize(of_texts, dim=1), F.normalize(of_names, dim=1)
    table: Tensor = of_texts @ of_names.T
    return table


class ClassWeights:
    """How much each class counts for texts, on the CPU; computed once for a text while the encoder's weights stay.

    Those of 4096 texts are kept, 16 kB each for four ways of counting and 1000 classes.
    """

    def __init__(self) -> None:
        self._kept = RecentlyUsed[str, Tensor](4096)
        self._encoder: TextEncoder | None = None
        self._versions: tuple[object, ...] = ()

    def of(
        self, texts: Sequence[str], encoder: TextEncoder, weigh: Callable[[list[str]], Mapping[str, Tensor]]
    ) -> Tensor:
        """The weights of texts, shape ``(texts, ...)``; ``weigh`` computes those that are missing."""
        versions = tensor_versions(encoder)
        if encoder is not self._encoder or versions != self._versions:
            self._kept.clear()
            self._encoder, self._versions = encoder, versions
        return torch.stack(self._kept.get(texts, weigh))


def ground(
    grounder: Grounder,
    features: Callable[[], Tensor],
    images: Tensor,
    texts: Sequence[str],
    encoder: TextEncoder,
    image_modules: Sequence[nn.Module] = (),
) -> Grounding:
    """Grounding and semantic maps; those of frozen modules are read from the feature cache where it has them.

    Args:
        grounder: The grounder.
        features: Gives what it works on; called, once, if maps are not in the feature cache.
        images: The very tensor that the network was given, by which the cache finds the images.
        texts: One text per image.
        encoder: Encodes texts.
        image_modules: The modules that computed ``features`` from ``images``, besides the grounder's own.

    Returns:
        Maps in the precision of the cache, half, as float, whether computed or read.
    """

    computed = cache(features)

    @cache
    def activations(indices: tuple[int, ...]) -> Tensor:
        return grounder.activations(select_rows(computed(), indices))

    def semantic_map(indices: list[int]) -> Features:
        return (grounder.semantic_map(activations(tuple(indices)), encoder).half(),)

    def grounding_maps(indices: list[int], read: Sequence[str]) -> Features:
        distinct = tuple(dict.fromkeys(indices))
        shared = activations(distinct)
        rows = [distinct.index(index) for index in indices]
        return (grounder.maps(select_rows(shared, rows), read, encoder).half(),)

    has_semantic = grounder.semantic_dim(encoder) > 0
    modules = [*image_modules, grounder, encoder]
    trains = any(p.requires_grad for module in modules for p in parameters_and_buffers(module)[0])
    if trains or any(module.training for module in (*image_modules, encoder)) or not is_frozen(encoder):
        # Features of modules that train are not cached.
        every = list(range(len(images)))
        semantic = semantic_map(every) if has_semantic else ()
        (maps,) = grounding_maps(every, texts)
    else:
        semantic = get_or_compute(modules, images, semantic_map) if has_semantic else ()
        (maps,) = get_or_compute_by_text(modules, images, texts, grounding_maps)
    return Grounding(maps.float(), semantic[0].float() if semantic else None)
