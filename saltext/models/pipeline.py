"""From a batch of images and texts to maps: the preprocessing and postprocessing of a network."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from saltext.data.keys import ImageKey
from saltext.data.mirrored_text import mirror_text
from saltext.models.feature_cache import addressed
from saltext.models.network import SaliencyNetwork
from saltext.models.normalize import Deferred


class Pipeline:
    """A network with the normalisation of its images and the wording of its texts; it trains nothing.

    Args:
        network: ``(normalised images (B,3,H,W), texts, tasks) -> logits (B,1,h,w)``, see
            :class:`saltext.models.network.SaliencyNetwork`.
        normalize: ``uint8 images (B,3,H,W) -> float32`` of the same shape.
        prompt: What the network reads for a pair: ``{text}`` is its text, ``{condition}`` the name of its task.
        mirror: Whether predictions are averaged with those for the mirrored image, with left and right exchanged in
            its text.

    Attributes:
        reads_text: Whether the text can change a prediction.
        conditions: Names of the conditions the network is conditioned on; empty where there are none.
        reads_condition: Whether the network is conditioned on the task, by a separate input or in its text.

    Raises:
        ValueError: ``prompt`` has another field than these two.
    """

    def __init__(self, network: nn.Module, normalize: nn.Module, prompt: str = "{text}", mirror: bool = False) -> None:
        try:
            prompt.format(text="", condition="")
        except (KeyError, IndexError, ValueError) as error:
            raise ValueError(
                f"prompt may name {{text}} and {{condition}} only, got {prompt!r}. Write a literal brace twice."
            ) from error
        self.network = network
        self.normalize = normalize
        self._prompt = prompt
        self._mirror = mirror
        self.reads_text = bool(getattr(network, "reads_text", False))
        self.conditions: tuple[str, ...] = tuple(getattr(network, "conditions", ()))
        in_prompt = self.reads_text and prompt.format(text="", condition="x") != prompt.format(text="", condition="")
        self.reads_condition = in_prompt or bool(self.conditions)

    @property
    def device(self) -> torch.device:
        """The device of the network."""
        return next((parameter.device for parameter in self.network.parameters()), torch.device("cpu"))

    def saliency(self, batch: Mapping[str, Any]) -> Tensor:
        """Maps in 0..1, float32 (B,1,h,w) whatever the network's precision, over its whole input."""
        logits = self.logits(self.images(batch), batch).float()
        maps: Tensor = self.network.maps(logits) if isinstance(self.network, SaliencyNetwork) else logits.sigmoid()
        return maps

    def predict(self, batch: Mapping[str, Any]) -> Tensor:
        """Maps to score or show: with ``mirror``, the mean of those for the batch and for it mirrored."""
        saliency = self.saliency(batch)
        if not self._mirror:
            return saliency
        texts = [mirror_text(text) for text in batch["text"]]
        flipped = {**batch, "image": batch["image"].flip(-1), "text": texts}
        if "image_key" in batch:
            flipped["image_key"] = [key and key.flipped() for key in batch["image_key"]]
        other = self.saliency(flipped)
        return (saliency + other.flip(-1)) / 2

    def images(self, batch: Mapping[str, Any]) -> Tensor:
        """A batch's images, normalised.

        On a CPU, where it takes a tenth of a step, normalisation is deferred if the features may all be cached.
        """
        pixels: Tensor = batch["image"]
        cacheable = getattr(self.network, "feature_cache", None) is not None and all(batch.get("image_key") or [None])
        images: Tensor = (
            Deferred(self.normalize, pixels) if cacheable and pixels.device.type == "cpu" else self.normalize(pixels)
        )
        return images

    def logits(self, images: Tensor, batch: Mapping[str, Any]) -> Tensor:
        """The network's logits for a batch; features of frozen modules may come from the feature cache.

        Args:
            images: The batch's images, normalised.
            batch: Texts, tasks and, for the feature cache, the ``image_key`` of each image.
        """
        cache = getattr(self.network, "feature_cache", None)
        with addressed(cache, images, batch.get("image_key"), self.normalize):
            logits: Tensor = self.network(images, self.read(batch), batch["task"])
        return logits

    def encode_ahead(self, texts: Sequence[str], conditions: Sequence[str], keys: Sequence[ImageKey]) -> None:
        """Encode the prompts of pairs that will be read, also of their mirror images, where text features are cached.

        Args:
            texts: Text of each pair.
            conditions: Task of each pair.
            keys: Key of each pair's image.
        """
        if not isinstance(self.network, SaliencyNetwork):
            return
        prompts: dict[ImageKey, list[str]] = {}
        mirrored = [mirror_text(text) for text in texts]
        for read, mirror in ((texts, False), (mirrored, True)):
            for key, prompt in zip(keys, self.read({"text": read, "task": conditions}), strict=True):
                prompts.setdefault(key.flipped() if mirror else key, []).append(prompt)
        self.network.encode_ahead(prompts)

    def read(self, batch: Mapping[str, Any]) -> list[str]:
        """The prompt of each pair of a batch."""
        pairs = zip(batch["text"], batch["task"], strict=True)
        return [self._prompt.format(text=text, condition=task.replace("_", " ")) for text, task in pairs]
