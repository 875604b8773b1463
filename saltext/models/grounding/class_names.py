"""From a sentence to places in an image by way of class names: grounding that no image-text pair was needed for."""

import re
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from saltext.models.freezing import freeze, leave_out_of_state_dict
from saltext.models.image.efficientnet_lite import LITE0, LITE2, Lite, lite_weights
from saltext.models.text.base import TextEncoder

EVIDENCE = 4
"""Maps a bridge gives: by the whole text and by its best-fitting word, each as relative and as absolute evidence."""

_EPS = 1e-6


class ClassNameBridge(nn.Module):
    r"""Where an image shows what a text names, through the classes of an image classifier.

    A class weighs as much as its name is close to the text, :math:`w_c = \mathrm{softmax}_c(\tau \, s_c)`, with
    :math:`s_c` the cosine of the sentence features of text and name; the text counts once as a whole and once as the
    word that is closest to the name. The classifier, applied at every position, says where each class is: as logits
    standardised over the positions, and as probabilities.

    The image head is frozen and left out of state dicts.

    Args:
        head: From the encoder's stride-32 feature, (batch, channels, rows, columns), to class logits of the same rows
            and columns.
        names: The classes' names, in the head's order.
        sharpness: :math:`\tau`.

    References:
        Zhou et al., Learning deep features for discriminative localization, CVPR 2016, for the class activation maps.
    """

    def __init__(self, head: nn.Module, names: Sequence[str], sharpness: float = 20.0) -> None:
        super().__init__()
        self.head = leave_out_of_state_dict(freeze(head))
        self.names = tuple(names)
        self.sharpness = sharpness
        self._known: dict[str, Tensor] = {}

    @torch.no_grad()
    def forward(self, x32: Tensor, texts: Sequence[str], encoder: TextEncoder) -> Tensor:
        """Evidence for texts.

        Args:
            x32: The encoder's feature at stride 32, shape ``(batch, channels, rows, columns)``.
            texts: One text an image.
            encoder: Frozen sentence encoder of texts and names.

        Returns:
            Maps without gradient, shape ``(batch, EVIDENCE, rows, columns)``.
        """
        logits: Tensor = self.head(x32)
        for text in texts:
            if text not in self._known:
                self._known[text] = self._weights(text, encoder).cpu()
        weights = torch.stack([self._known[text] for text in texts]).to(logits)
        relative = (logits - logits.mean((2, 3), keepdim=True)) / (logits.std((2, 3), keepdim=True) + _EPS)
        absolute = logits.softmax(1)
        by_text = [torch.einsum("bkc,bchw->bkhw", weights, maps) for maps in (relative, absolute)]
        return torch.cat(by_text, dim=1)

    @torch.no_grad()
    def meanings(self, x32: Tensor, encoder: TextEncoder) -> Tensor:
        """What each place is called: the mean of the class names' sentence features, weighted by the classes there.

        Args:
            x32: As for :meth:`forward`.
            encoder: As for :meth:`forward`.

        Returns:
            Maps without gradient, shape ``(batch, dim, rows, columns)`` with the size of the sentence features.

        References:
            Norouzi et al., Zero-shot learning by convex combination of semantic embeddings, ICLR 2014.
        """
        return torch.einsum("bchw,cd->bdhw", self.head(x32).softmax(1), encoder.pooled_list(self.names))

    def extra_repr(self) -> str:
        """What its results depend on besides weights."""
        return f"sharpness={self.sharpness:g}"

    def _weights(self, text: str, encoder: TextEncoder) -> Tensor:
        """Weights of the classes, by the text as a whole and by its words, shape ``(2, classes)``."""
        words = list(dict.fromkeys(re.findall(r"[a-z]+", text.lower()))) or [text]
        whole, *single = encoder([text, *words]).pooled @ encoder.pooled_list(self.names).T
        closeness = torch.stack([whole, torch.stack(single).amax(0)])
        return (self.sharpness * closeness).softmax(1)


def lite0_bridge(sharpness: float = 20.0) -> ClassNameBridge:
    """The bridge of EfficientNet-Lite0's 1000 ImageNet classes, weights from the ``embedded`` extra.

    Raises:
        CheckpointError: The packaged weights are not installed, or not the expected ones.
    """
    return _lite_bridge(LITE0, sharpness)


def lite2_bridge(sharpness: float = 20.0) -> ClassNameBridge:
    """The same of EfficientNet-Lite2."""
    return _lite_bridge(LITE2, sharpness)


def _lite_bridge(lite: Lite, sharpness: float) -> ClassNameBridge:
    from timm import create_model  # takes seconds, and is needed only to build a network
    from timm.data.imagenet_info import ImageNetInfo

    model: Any = create_model(lite.architecture, pretrained=False)
    model.load_state_dict(lite_weights(lite))
    classifier = nn.Conv2d(model.classifier.in_features, model.classifier.out_features, kernel_size=1)
    classifier.weight.data = model.classifier.weight.data[:, :, None, None]
    classifier.bias = model.classifier.bias
    info: Any = ImageNetInfo()
    names = [info.index_to_description(index) for index in range(info.num_classes())]
    return ClassNameBridge(nn.Sequential(model.conv_head, model.bn2, classifier), names, sharpness)
