"""A trained model that predicts where people look in an image after reading a text."""

import logging
import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from saltext.data.cache import CacheSettings
from saltext.data.fitting import fit
from saltext.data.geometry import Box, Size
from saltext.data.keys import ImageKey, ImageSource
from saltext.data.tasks import TASK_BY_NAME, parse_tasks
from saltext.errors import CheckpointError, ConfigError, DataError, InvalidFileError, printable
from saltext.evaluation.groups import resample
from saltext.images import Photo
from saltext.models.out_of_memory import OutOfMemoryError, is_out_of_memory
from saltext.models.pipeline import Pipeline
from saltext.models.text.base import TextEncoder, TextFeatures
from saltext.prediction.explanation import MAX_SIDE, Explanation, effects_of
from saltext.prediction.photos import ImageLike, open_photo
from saltext.prediction.phrases import parts
from saltext.prediction.pictures import shrink_density, shrink_image
from saltext.prediction.texts import TextQuery, characters_read, checked, means_something

_log = logging.getLogger(__name__)

Density = npt.NDArray[np.float32]

_QUOTED_CHARACTERS = 40  # of a text in a message
_MOST_TEXTS = 64  # in a batch of an explanation; a sentence has about 20
_PROBE_SHAPE = (1, 3, 32, 32)  # blank image for text encoders that read one, when only the text matters


class Model:
    """Predicts where people look in an image after reading a text about it; see :func:`saltext.load`.

    Args:
        pipeline: The network with its preprocessing, in evaluation mode, on the device to compute on.
        settings: How images are resized for the network.
        name: The model's name in messages.
    """

    def __init__(self, pipeline: Pipeline, settings: CacheSettings, name: str) -> None:
        self.name = name
        self._pipeline = pipeline
        self._settings = settings
        self._warned_texts: set[str] = set()

    @property
    def reads_text(self) -> bool:
        """Whether a text can change its maps."""
        return self._pipeline.reads_text

    @property
    def reads_condition(self) -> bool:
        """Whether it is conditioned on the task besides the text."""
        return self._pipeline.reads_condition

    @property
    def conditions(self) -> tuple[str, ...]:
        """Names of the conditions it accepts, used or not: those it was trained on, or SJTU-TIS's."""
        return self._pipeline.conditions or tuple(TASK_BY_NAME)

    @property
    def device(self) -> torch.device:
        """The device it computes on."""
        return self._pipeline.device

    def predict(self, image: ImageLike, text: str = "", *, task: str | None = None) -> Density:
        """Predict where people look in an image after reading a text.

        Logs a warning where a text is longer than the model reads, or is not read at all, and for remarks on the image
        (see :class:`saltext.images.Photo`).

        Args:
            image: A file, a Pillow image, or an array; see :func:`saltext.prediction.photos.open_photo`.
            text: The sentence; empty for free viewing.
            task: The condition, for models that are conditioned on it: a name of :data:`saltext.data.tasks.TASKS`, or
                of the model's own conditions. Default: ``general`` with a text, ``pure`` without.

        Returns:
            Density of fixations, float32 (height, width) of the image after rotation by EXIF; non-negative, sums to 1.

        Raises:
            DataError: The image or the text is invalid.
            ConfigError: An unknown task.
        """
        return next(self.densities([_opened(image, text, task)]))

    def explain(self, image: ImageLike, text: str, *, task: str | None = None) -> Explanation:
        """What each phrase and word of a text adds to the map.

        Each is left out of the text, and replaced by a neutral word; all texts are predicted as one batch. It says what
        the *model* does with its words, not what viewers do: ``experiments/explain`` measures how far the two agree.

        Args:
            image: As for :meth:`predict`, as are the others.
            text: A sentence; phrases are found by rules for English (:mod:`saltext.prediction.phrases`).
            task: As above; without the words it stays the same.

        Returns:
            The map and the effects, at most 640 pixels on the longer side. ``explanation.ranked[0].part.words`` is the
            strongest; ``explanation.write("explanation.png")`` draws them, and a notebook shows the drawing.

        Raises:
            DataError: The image or the text is invalid, or the text has no word.
            ConfigError: An unknown task, or a model that reads no text.

        Example::

            explanation = saltext.load().explain("photo.jpg", "a man beside a red bus")
            print(explanation)  # the share of the predicted attention that each part moves
        """
        photo, query = _opened(image, text, task)
        name = Path(image).name if isinstance(image, str | Path) else "image"
        return self.explanation(photo, query, name)

    def explanation(self, photo: Photo, query: TextQuery, image_id: str = "image") -> Explanation:
        """As :meth:`explain`, of an opened image and a checked text; ``image_id`` names the image in alternative texts.

        Raises:
            DataError: The text has no word.
            ConfigError: An unknown task, or a model that reads no text.
        """
        if not self.reads_text:
            raise ConfigError(f"{self.name} reads no text: there is nothing to explain")
        found = parts(query.text)
        if not found:
            raise DataError(f"expected a text with words to explain, got {_quoted_start(query.text)}")
        texts = [query.text, *(text for part in found for text in (part.without, part.replaced))]
        queries = [(photo, TextQuery(text, query.condition)) for text in texts]
        pixels = shrink_image(photo.pixels, MAX_SIDE)
        maps = self.densities(queries, batch_size=min(len(queries), _MOST_TEXTS))
        whole, *others = [shrink_density(density, pixels) for density in maps]
        return Explanation(query.text, pixels, whole, effects_of(found, whole, others), image_id)

    def densities(self, queries: Iterable[tuple[Photo, TextQuery]], *, batch_size: int = 8) -> Iterator[Density]:
        """Predict densities for many images and texts, in order.

        Args:
            queries: Opened images with checked texts, consumed lazily, one batch ahead.
            batch_size: Image-text pairs per forward pass, at least 1.

        Yields:
            As :meth:`predict` returns.

        Raises:
            ConfigError: An unknown task.
            CheckpointError: The network's output is not finite.
            OutOfMemoryError: The device's memory does not hold a batch.
        """
        remaining = iter(queries)
        while batch := list(islice(remaining, batch_size)):
            self._check_tasks([query for _, query in batch])
            self._warn_of_unread_text([query for _, query in batch])
            try:
                saliency, boxes = self._saliency(batch)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                height, width = self._settings.image_size
                raise OutOfMemoryError(
                    f"{len(batch)} images at {height}x{width} do not fit into the memory of {self.device}. Predict "
                    f"fewer at a time (--batch-size, batch_size=), or on another device (device=cpu)."
                ) from error
            for (photo, _), row, box in zip(batch, saliency, boxes, strict=True):
                yield self._density(row[None], box, photo.size)

    def _check_tasks(self, queries: Sequence[TextQuery]) -> None:
        """Raise ConfigError for tasks that the model, or the data set, does not have."""
        known = self._pipeline.conditions
        if not known:
            for task in dict.fromkeys(query.task for query in queries if query.task is not None):
                parse_tasks(task)
        elif unknown := sorted({query.condition for query in queries} - set(known)):
            raise ConfigError(
                f"{self.name}: expected one of the conditions {', '.join(known)}; got {', '.join(unknown)}. Choose "
                f"one with predict(..., task={known[0]!r}); without it a text is read as 'general', none as 'pure'."
            )

    @torch.inference_mode()
    def _saliency(self, batch: Sequence[tuple[Photo, TextQuery]]) -> tuple[Tensor, list[Box]]:
        """Maps (n,1,h,w), float32, over the whole network input, and the box of each image in it."""
        (height, width), resize = self._settings.image_size, self._settings.resize
        # Neighbours often are one image under several texts.
        inputs = {id(photo): fit(Image.fromarray(photo.pixels), (height, width), resize) for photo, _ in batch}
        pixels, boxes = zip(*(inputs[id(photo)] for photo, _ in batch), strict=True)
        images = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).contiguous()
        samples = {
            "image": images.to(self.device),
            # The key of the feature cache: it identifies the network's input.
            "image_key": [
                ImageKey(ImageSource(f"{photo.digest} {resize} {height}x{width}", 1), 0) for photo, _ in batch
            ],
            "text": [query.text for _, query in batch],
            "task": [query.condition for _, query in batch],
        }
        return self._pipeline.predict(samples).float(), list(boxes)

    @torch.inference_mode()
    def _density(self, saliency: Tensor, box: Box, size: Size) -> Density:
        """The map (1,1,h,w) of one image at its own size, divided by its sum."""
        native = resample(saliency, box, size, self._settings.image_size)[0, 0].cpu()  # not every device has float64
        total = float(native.sum(dtype=torch.float64))
        if not math.isfinite(total):
            raise CheckpointError(f"{self.name}: expected finite predictions, got NaN or infinity. Use other weights.")
        # A map that is zero everywhere says nothing about where people look.
        density = native / total if total > 0 else torch.full_like(native, 1 / native.numel())
        values: Density = density.numpy()
        return values

    def remarks(self, query: TextQuery) -> list[str]:
        """A remark where the model reads only the beginning of a checked text; usually none."""
        text = query.text
        if not text or not self.reads_text:
            return []
        read = self._characters_read(query)
        if not means_something(text[read:]):
            return []
        return [f"only {read} of {len(text)} characters are read of the text {_quoted_start(text)}"]

    def _warn_of_unread_text(self, queries: Sequence[TextQuery]) -> None:
        """Log, once per text, that the model reads no text or only the beginning of this one."""
        for query in queries:
            text = query.text
            if not text or text in self._warned_texts:
                continue
            if not self.reads_text and not self._warned_texts:
                _log.warning("%s reads no text: every text gives the same map", self.name)
            for remark in self.remarks(query):
                _log.warning("%s", remark)
            self._warned_texts.add(text)

    @torch.inference_mode()
    def _characters_read(self, query: TextQuery) -> int:
        """How many characters of a text the model's text encoder reads; all where it has no text encoder."""
        encoder: Any = getattr(self._pipeline.network, "text_encoder", None)
        if not isinstance(encoder, TextEncoder):
            return len(query.text)
        images = None
        if encoder.reads_image:
            images = self._pipeline.normalize(torch.zeros(_PROBE_SHAPE, dtype=torch.uint8, device=self.device))

        def encode(part: str) -> TextFeatures:
            read = self._pipeline.read({"text": [part], "task": [query.condition]})
            features: TextFeatures = encoder(read, images)
            return features

        return characters_read(encode, query.text)


def _opened(image: ImageLike, text: str, task: str | None) -> tuple[Photo, TextQuery]:
    """An image and a text, checked; the log has the remarks on the image.

    Raises:
        DataError: The image or the text is invalid.
    """
    of_file = isinstance(image, str | Path)
    try:
        photo, query = open_photo(image), TextQuery(checked(text), task)
    except InvalidFileError as error:
        what = str(image) if of_file else "the image"
        raise DataError(f"{what} with the text {_quoted_start(text)} cannot be used: {error}") from error
    for remark in photo.remarks:
        _log.warning("%s %s", printable(str(image)) if of_file else "the image", remark)
    return photo, query


def _quoted_start(text: object) -> str:
    whole = str(text)
    return ascii(whole) if len(whole) <= _QUOTED_CHARACTERS else f"{whole[:_QUOTED_CHARACTERS]!a}..."
