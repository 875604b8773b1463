"""A trained model that is given pictures and texts."""

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
from saltext.prediction.photos import ImageLike, open_photo
from saltext.prediction.texts import TextQuery, characters_read, checked, means_something

_log = logging.getLogger(__name__)

Density = npt.NDArray[np.float32]

_SHOWN = 40  # characters of a text in a message
_PROBE = (1, 3, 32, 32)  # image for encoders that read one, when only the text matters


class Model:
    """Where people look in a picture after reading a text about it; see :func:`saltext.load`.

    Args:
        pipeline: What predicts, in evaluation mode, on the device to compute on.
        settings: What pictures become before they enter.
        name: In messages.
    """

    def __init__(self, pipeline: Pipeline, settings: CacheSettings, name: str) -> None:
        self.name = name
        self._pipeline = pipeline
        self._settings = settings
        self._heeded: set[str] = set()

    @property
    def reads_text(self) -> bool:
        """Whether a text can change its maps."""
        return self._pipeline.reads_text

    @property
    def reads_condition(self) -> bool:
        """Whether it is told the condition in words besides the text."""
        return self._pipeline.reads_condition

    @property
    def conditions(self) -> tuple[str, ...]:
        """What it can be told, whether or not it heeds that: conditions of its own, or SJTU-TIS's."""
        return self._pipeline.conditions or tuple(TASK_BY_NAME)

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self._pipeline.device

    def predict(self, image: ImageLike, text: str = "", *, task: str | None = None) -> Density:
        """Where people look in a picture after reading a text.

        Logs a warning where a text is longer than the model reads, or is not read at all, and where a decision about
        the picture should be known (remarks of :class:`saltext.images.Photo`).

        Args:
            image: A file, a Pillow picture, or an array; see :func:`saltext.prediction.photos.open_photo`.
            text: The sentence; empty for free viewing.
            task: The condition told to models that are trained to know it: a name of
                :data:`saltext.data.tasks.TASKS`, or of the model's own conditions. Default: ``general`` with a text,
                ``pure`` without.

        Returns:
            Density of fixations, float32 of the picture's own (height, width) as a person sees it, that is after
            rotation by EXIF; not negative, sums to 1.

        Raises:
            DataError: The picture or the text cannot be used.
            ConfigError: An unknown task.
        """
        try:
            photo = open_photo(image)
            text = checked(text)
        except InvalidFileError as error:
            what = str(image) if isinstance(image, str | Path) else "the image"
            raise DataError(f"{what} with the text {_shown(text)} cannot be used: {error}") from error
        for remark in photo.remarks:
            _log.warning("%s %s", printable(str(image)) if isinstance(image, str | Path) else "the image", remark)
        return next(self.densities([(photo, TextQuery(text, task))]))

    def densities(self, wanted: Iterable[tuple[Photo, TextQuery]], *, batch_size: int = 8) -> Iterator[Density]:
        """Densities of many pictures and texts, in order.

        Args:
            wanted: Opened pictures and checked texts, taken as they are needed, a batch ahead.
            batch_size: Pictures with a text that go through the network together, at least 1.

        Yields:
            As :meth:`predict` returns.

        Raises:
            ConfigError: An unknown task.
            CheckpointError: The network's output is no number.
            OutOfMemoryError: The device's memory does not hold a batch.
        """
        remaining = iter(wanted)
        while batch := list(islice(remaining, batch_size)):
            self._check_tasks([query for _, query in batch])
            self._heed(query for _, query in batch)
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
        settings = self._settings
        # Neighbours often are one picture under several texts.
        inputs = {
            id(photo): fit(Image.fromarray(photo.pixels), settings.image_size, settings.resize) for photo, _ in batch
        }
        pixels, boxes = zip(*(inputs[id(photo)] for photo, _ in batch), strict=True)
        images = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).contiguous()
        given = {
            "image": images.to(self.device),
            "image_key": [self._key(photo) for photo, _ in batch],
            "text": [query.text for _, query in batch],
            "task": [query.condition for _, query in batch],
        }
        return self._pipeline.predict(given).float(), list(boxes)

    def _key(self, photo: Photo) -> ImageKey:
        """Stands for what enters the network of a photo."""
        height, width = self._settings.image_size
        return ImageKey(ImageSource(f"{photo.digest} {self._settings.resize} {height}x{width}", 1), 0)

    @torch.inference_mode()
    def _density(self, saliency: Tensor, box: Box, size: Size) -> Density:
        native = resample(saliency, box, size, self._settings.image_size)[0, 0].cpu()  # not every device has float64
        total = float(native.sum(dtype=torch.float64))
        if not math.isfinite(total):
            raise CheckpointError(f"{self.name} predicts values that are no numbers: its weights are of no use.")
        # A map that is zero everywhere says nothing about where people look.
        density = native / total if total > 0 else torch.full_like(native, 1 / native.numel())
        values: Density = density.numpy()
        return values

    def remarks(self, query: TextQuery) -> list[str]:
        """What a user should know about what is read of a checked text; often nothing."""
        text = query.text
        if not text or not self.reads_text:
            return []
        read = self._characters_read(query)
        if not means_something(text[read:]):
            return []
        return [f"only {read} of {len(text)} characters are read of the text {_shown(text)}"]

    def _heed(self, queries: Iterable[TextQuery]) -> None:
        """Say, once for each, what is not read of texts."""
        for query in queries:
            text = query.text
            if not text or text in self._heeded:
                continue
            if not self.reads_text and not self._heeded:
                _log.warning("%s reads no text: every text gives the same map", self.name)
            for remark in self.remarks(query):
                _log.warning("%s", remark)
            self._heeded.add(text)

    @torch.inference_mode()
    def _characters_read(self, query: TextQuery) -> int:
        encoder: Any = getattr(self._pipeline.network, "text_encoder", None)
        if not isinstance(encoder, TextEncoder):
            return len(query.text)
        images = None
        if encoder.reads_image:
            images = self._pipeline.normalize(torch.zeros(_PROBE, dtype=torch.uint8, device=self.device))

        def encode(part: str) -> TextFeatures:
            read = self._pipeline.read({"text": [part], "task": [query.condition]})
            features: TextFeatures = encoder(read, images)
            return features

        return characters_read(encode, query.text)


def _shown(text: object) -> str:
    whole = str(text)
    return ascii(whole) if len(whole) <= _SHOWN else f"{whole[:_SHOWN]!a}..."
