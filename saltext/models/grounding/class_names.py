"""Grounding a text in an image by the names of a classifier's classes: no weights trained on image-text pairs."""

import re
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from saltext.models.freezing import exclude_from_state_dict, freeze
from saltext.models.grounding.base import ClassWeights, Grounder, cosines
from saltext.models.grounding.phrases import head_and_context
from saltext.models.image.efficientnet_lite import LITE0, LITE2, Lite, lite_weights
from saltext.models.inference import Inference, for_inference
from saltext.models.text.base import TextEncoder
from saltext.models.transfer import to_device

_EPS = 1e-6


class ClassNameGrounder(Grounder):
    r"""Where an image shows what a text names, by the classes of an image classifier.

    A class weighs as much as its name is similar to the text, :math:`w_c = \mathrm{softmax}_c(\tau \, s_c)`, with
    :math:`s_c` the cosine of the sentence features of text and name; the text counts once as a whole and once as the
    word that is closest to the name. The classifier, applied at every position, gives class activation maps: relative
    (logits standardised over the positions) and absolute (probabilities).

    The image head is frozen.

    Args:
        head: From the encoder's stride-32 feature, (batch, channels, rows, columns), to class logits of the same rows
            and columns.
        names: The classes' names, in the head's order.
        sharpness: :math:`\tau`. None: the text encoder's own.
        head_and_context: The text counts twice more: once as its head phrase, once as the rest, which often says where
            ("a white pot | on the table"), see :func:`saltext.models.grounding.phrases.head_and_context`. Maps of a
            text without a rest are 0 there.

    Attributes:
        num_maps: Grounding maps of a text: by the whole text, by its best-fitting word, and by head phrase and rest
            if they count, each relative and absolute.
        inference: How the head computes, see :data:`saltext.models.inference.Inference`.

    References:
        Zhou et al., Learning deep features for discriminative localization, CVPR 2016, for the class activation maps.
    """

    inference: Inference = "reference"

    def __init__(
        self,
        head: nn.Module,
        names: Sequence[str],
        sharpness: float | None = 20.0,
        head_and_context: bool = False,
    ) -> None:
        super().__init__()
        self.head = freeze(head)
        self.names = tuple(names)
        self.sharpness = sharpness
        self.head_and_context = head_and_context
        self.num_maps = 8 if head_and_context else 4
        self._class_weights = ClassWeights()

    @torch.no_grad()
    def activations(self, features: Tensor) -> Tensor:
        """Class activation maps, without gradient.

        Args:
            features: The encoder's at stride 32, shape ``(batch, channels, rows, columns)``.

        Returns:
            Relative ones of every class and then absolute ones, shape ``(batch, 2 * classes, rows, columns)``.
        """
        logits: Tensor = for_inference(self.head, features, self.inference)(features)
        relative = (logits - logits.mean((2, 3), keepdim=True)) / (logits.std((2, 3), keepdim=True) + _EPS)
        return torch.cat([relative, logits.softmax(1)], dim=1)

    @torch.no_grad()
    def maps(self, activations: Tensor, texts: Sequence[str], encoder: TextEncoder) -> Tensor:
        """Grounding maps of texts.

        Args:
            activations: As :meth:`activations` gives them.
            texts: One text per image.
            encoder: Frozen encoder of texts and class names.

        Returns:
            Maps without gradient, shape ``(batch, num_maps, rows, columns)``.
        """
        weights = self._class_weights.of(texts, encoder, partial(self._weigh_classes, encoder=encoder))
        weights = to_device(weights, activations.device, activations.dtype)
        maps = [torch.einsum("bkc,bchw->bkhw", weights, kind) for kind in activations.chunk(2, dim=1)]
        return torch.cat(maps, dim=1)

    def semantic_dim(self, encoder: TextEncoder) -> int:
        """Size of the sentence features."""
        return encoder.dim

    @torch.no_grad()
    def semantic_map(self, activations: Tensor, encoder: TextEncoder) -> Tensor:
        """Mean sentence embedding of the class names at each position, weighted by the class probabilities there.

        Args:
            activations: As for :meth:`maps`.
            encoder: As for :meth:`maps`.

        Returns:
            Maps without gradient, shape ``(batch, dim, rows, columns)`` with the size of the sentence features.

        References:
            Norouzi et al., Zero-shot learning by convex combination of semantic embeddings, ICLR 2014.
        """
        return torch.einsum("bchw,cd->bdhw", activations.chunk(2, dim=1)[1], encoder.pooled_list(self.names))

    def extra_repr(self) -> str:
        """What its results depend on besides weights."""
        sharpness = "of the text encoder" if self.sharpness is None else f"{self.sharpness:g}"
        described = f"similarity=cosine, sharpness={sharpness}"
        return f"{described}, head_and_context" if self.head_and_context else described

    def _read(self, text: str) -> list[str]:
        """The text and those of its parts that count: words, then head phrase and rest."""
        return [text, *_words(text), *(head_and_context(text) if self.head_and_context else ())]

    def _weigh_classes(self, texts: Sequence[str], encoder: TextEncoder) -> dict[str, Tensor]:
        if self.texts_ahead:
            ahead = {*texts, *self.texts_ahead}
            encoder.encode_ahead([read for text in sorted(ahead) for read in self._read(text)])
            self.texts_ahead = []  # a list is no setting that the feature cache's digest of a module would include
        return {text: self._weights_of(text, encoder).cpu() for text in texts}

    def _weights_of(self, text: str, encoder: TextEncoder) -> Tensor:
        """Softmax weights of the classes for each way that the text counts, shape ``(num_maps / 2, classes)``."""
        words, phrases = _words(text), head_and_context(text) if self.head_and_context else ()
        whole, *others = cosines(encoder, self._read(text), self.names)
        similarity = torch.stack([whole, torch.stack(others[: len(words)]).amax(0), *others[len(words) :]])
        weights = ((encoder.sharpness if self.sharpness is None else self.sharpness) * similarity).softmax(1)
        if phrases and not phrases[1]:
            weights[-1] = 0
        return weights


def _words(text: str) -> list[str]:
    """The distinct words of a text; the text itself if it has none."""
    return list(dict.fromkeys(re.findall(r"[a-z]+", text.lower()))) or [text]


def lite0_grounder(
    sharpness: float | None = 20.0, head_and_context: bool = False, from_package: bool = True
) -> ClassNameGrounder:
    """Build the grounder of EfficientNet-Lite0's 1000 ImageNet classes, weights from the ``embedded`` extra.

    State dicts leave out weights of the package, since that has them.

    Args:
        sharpness: As of :class:`ClassNameGrounder`.
        head_and_context: As of :class:`ClassNameGrounder`.
        from_package: Whether the weights are read from the package; otherwise they are random until a state dict is
            loaded, such as that of a self-contained export.

    Raises:
        CheckpointError: The packaged weights are not installed, or not the expected ones.
    """
    return _lite_grounder(LITE0, sharpness, head_and_context, from_package)


def lite2_grounder(
    sharpness: float | None = 20.0, head_and_context: bool = False, from_package: bool = True
) -> ClassNameGrounder:
    """Build that of EfficientNet-Lite2, see :func:`lite0_grounder`."""
    return _lite_grounder(LITE2, sharpness, head_and_context, from_package)


def _lite_grounder(
    lite: Lite, sharpness: float | None, head_and_context: bool, from_package: bool
) -> ClassNameGrounder:
    from timm import create_model  # takes seconds, and is needed only to build a network
    from timm.data.imagenet_info import ImageNetInfo

    model: Any = create_model(lite.architecture, pretrained=False)
    if from_package:
        model.load_state_dict(lite_weights(lite))
    classifier = nn.Conv2d(model.classifier.in_features, model.classifier.out_features, kernel_size=1)
    classifier.weight.data = model.classifier.weight.data[:, :, None, None]
    classifier.bias = model.classifier.bias
    info: Any = ImageNetInfo()
    names = [info.index_to_description(index) for index in range(info.num_classes())]
    head = nn.Sequential(model.conv_head, model.bn2, classifier)
    if from_package:
        exclude_from_state_dict(head)  # the package is their record, by digest
    return ClassNameGrounder(head, names, sharpness, head_and_context)
