"""What frozen encoders cost a training step, computed each time and read back from a feature cache."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import cycle
from pathlib import Path

import torch
from torch import Tensor, nn

from saltext.data.keys import ImageKey, ImageSource
from saltext.errors import ConfigError
from saltext.losses import PAPER_WEIGHTS, SaliencyLoss
from saltext.models.feature_cache import FeatureCache, addressed
from saltext.models.feature_file import Features
from saltext.models.freezing import freeze
from saltext.models.text.base import TextFeatures
from saltext.models.text.cached import CachedTextEncoder
from saltext.models.tranblend.network import TranBlend
from tests.benchmarks import harness
from tests.benchmarks.steps import Batch, Model, generate

TEXTS = ("the white lamp on the left of the table", "a dog", "people on a bench under the trees", "")
Calls = dict[str, Callable[[Batch], object]]

BATCHES = 4
"""Of different images, so that what is read back is not always the same."""

ALL_COMPUTED, TEXTS_CACHED, ALL_CACHED = (
    "image and text features computed",
    "text features cached",
    "text and image features cached",
)
"""Ways to take a step."""


@dataclass(frozen=True)
class FrozenCost:
    """Seconds an image takes.

    Attributes:
        steps: Of a whole step, by the way it is taken.
        parts: Of parts of it.
        first: Of computing and keeping the image features, which the first epoch does.
        disk: Bytes an image takes on disk.
    """

    steps: dict[str, float]
    parts: dict[str, float]
    first: float
    disk: float


class FrozenStep:
    """TranBlend with frozen image and text encoders, and batches to train on.

    Args:
        model: TranBlend with a text encoder of its own, which does not read images.
        batch: Pairs of a step.
        device: Where.
        folder: For the feature cache.

    Raises:
        ConfigError: Another model.
    """

    def __init__(self, model: Model, batch: int, device: torch.device, folder: Path) -> None:
        network = model.build()
        if not isinstance(network, TranBlend) or network.text_encoder is None or network.text_encoder.reads_image:
            raise ConfigError(f"expected TranBlend with a text encoder that reads texts only, got {model.title}")
        self.network, self.text_encoder = network.to(device), freeze(network.text_encoder)
        freeze(network.encoder)
        self.loss = SaliencyLoss(PAPER_WEIGHTS)
        self.optimizer = torch.optim.Adam([p for p in network.parameters() if p.requires_grad])
        self.cache = FeatureCache(folder)
        size = model.compose().data.image_size
        texts = [TEXTS[i % len(TEXTS)] for i in range(batch)]
        generated = [generate(size, batch, network.output_stride, device, seed=seed) for seed in range(BATCHES)]
        self.batches = [replace(each, texts=texts) for each in generated]
        source = ImageSource(f"generated {size}", batch * BATCHES)
        self._keys = {
            id(each): [ImageKey(source, number * batch + row) for row in range(batch)]
            for number, each in enumerate(self.batches)
        }

    @torch.no_grad()
    def encode(self, batch: Batch) -> Features:
        """Image features, computed."""
        taps: Features = self.network.encoder(batch.images)
        return taps

    def encode_cached(self, batch: Batch) -> Features:
        """Image features of one of ``batches``, read back if they were computed before."""
        with addressed(self.cache, batch.images, self._keys[id(batch)], nn.Identity()):
            return self.network.encode(batch.images)

    @torch.no_grad()
    def read(self, batch: Batch) -> TextFeatures:
        """Text features, computed."""
        encoder = self.text_encoder
        read = encoder.encode if isinstance(encoder, CachedTextEncoder) else encoder
        features: TextFeatures = read(batch.texts)
        return features

    @torch.no_grad()
    def read_cached(self, batch: Batch) -> TextFeatures:
        """Text features, from an encoder that keeps them."""
        features: TextFeatures = self.text_encoder(batch.texts)
        return features

    def learn(self, batch: Batch, taps: Features, text: TextFeatures) -> Tensor:
        """All that comes after the encoders; the loss."""
        if self.network.grounder is not None:
            text = replace(text, grounding=self.network.grounder(taps[2], batch.texts, self.text_encoder))
        saliency = torch.sigmoid(self.network.decoder(taps, text))
        total: Tensor = self.loss(saliency, batch.density, batch.fixations)[0]
        self.optimizer.zero_grad()
        total.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        return total


def frozen_cost(model: Model, batch: int, rounds: int, device: torch.device, folder: Path) -> FrozenCost:
    """Measure a step of :class:`FrozenStep`, each part and each way in turn.

    Args:
        model: As of :class:`FrozenStep`.
        batch: As above.
        rounds: Of which the median counts.
        device: As above.
        folder: As above.
    """
    step = FrozenStep(model, batch, device, folder)
    start = time.perf_counter()
    for each in step.batches:
        step.encode_cached(each)
    first = (time.perf_counter() - start) / (batch * BATCHES)
    taps, text = step.encode(step.batches[0]), step.read(step.batches[0])

    def whole(image: Callable[[Batch], Features], words: Callable[[Batch], TextFeatures], given: Batch) -> None:
        step.learn(given, image(given), words(given))

    ways: Calls = {
        ALL_COMPUTED: partial(whole, step.encode, step.read),
        TEXTS_CACHED: partial(whole, step.encode, step.read_cached),
        ALL_CACHED: partial(whole, step.encode_cached, step.read_cached),
    }
    parts: Calls = {
        "of which image encoder": step.encode,
        "of which image features cached": step.encode_cached,
        "of which text encoder": step.read,
        "of which text features cached": step.read_cached,
        "of which grounder, decoder, loss, backward, optimizer": lambda given: step.learn(given, taps, text),
    }
    timed = {name: _over(step.batches, call, device) for name, call in {**ways, **parts}.items()}
    seconds = {name: each / batch for name, each in harness.median_seconds(timed, rounds).items()}
    return FrozenCost(
        steps={name: seconds[name] for name in ways},
        parts={name: seconds[name] for name in parts},
        first=first,
        disk=step.cache.disk_bytes / len(step.cache),
    )


def _over(batches: list[Batch], call: Callable[[Batch], object], device: torch.device) -> Callable[[], None]:
    """Call with the next batch each time."""
    endless = cycle(batches)

    def timed() -> None:
        call(next(endless))
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return timed
