"""Image-text pairs as samples and batches, read from the memory-mapped arrays of the decoded cache."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NotRequired, TypedDict

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset

from saltext.data.cache import DecodedCache
from saltext.data.geometry import Box, content_box, count_fixations
from saltext.data.keys import ImageKey
from saltext.data.pairs import Pair
from saltext.data.view import View

if TYPE_CHECKING:
    from saltext.data.transforms import Augment  # brings albumentations


class Sample(TypedDict):
    """One image-text pair; :class:`Batch` describes the fields."""

    image: Tensor
    image_key: ImageKey | None
    density: Tensor
    fixations: Tensor
    text: str
    image_id: str
    task: str
    index: int
    box: Tensor
    size: Tensor
    native_density: NotRequired[Tensor]
    native_points: NotRequired[Tensor]


class Batch(TypedDict):
    """B samples.

    Attributes:
        image: uint8 ``(B, 3, height, width)``, RGB at the network's input size, not normalised.
        image_key: Key of each image in the feature cache; None where its pixels do not occur again. Code that changes
            ``image`` has to change the key as well, or remove it.
        density: float32 ``(B, 1, h, w)``, 0 to 1: the published map (maximum 255) resized to ``map_size``, / 255.
        fixations: float32 ``(B, 1, h, w)``: number of fixations in each cell at ``map_size``.
        text: The text that was read; empty for ``pure``.
        image_id: Published IDs, leading zeros kept.
        task: Task names.
        index: int64 ``(B,)``: index of the pair in the whole data set, sorted by image ID and task.
        box: int64 ``(B, 4)``: top, left, height, width of the image content inside ``image``.
        size: int64 ``(B, 2)``: native height and width.
        native_density: Evaluation only: published uint8 maps ``(height, width)``, one per sample.
        native_points: Evaluation only: int64 ``(n, 2)``, (y, x) of the fixated pixels, one per sample.
    """

    image: Tensor
    image_key: list[ImageKey | None]
    density: Tensor
    fixations: Tensor
    text: list[str]
    image_id: list[str]
    task: list[str]
    index: Tensor
    box: Tensor
    size: Tensor
    native_density: NotRequired[list[Tensor]]
    native_points: NotRequired[list[Tensor]]


KEPT_ON_CPU = ("index", "box", "size", "native_density", "native_points")
"""Fields of a batch that no network reads: they stay on the CPU, and the evaluator moves them where it scores."""


class SJTUTIS(Dataset[Sample]):
    """Some of the data set's image-text pairs.

    Args:
        pairs: The whole data set, as its reader (:mod:`saltext.data.sources`) gives it.
        cache: Its decoded arrays.
        indices: The pairs to serve, as indices into ``pairs``; all by default.
        augment: Augmentation, different in each epoch; None for none.
        seed: Seed of the augmentation.
        native: Add ``native_density`` and ``native_points``, which are not augmented: not together with ``augment``.

    Raises:
        ValueError: ``native`` together with ``augment``, or a cache of other data.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        cache: DecodedCache,
        indices: Sequence[int] | None = None,
        augment: "Augment | None" = None,
        seed: int = 0,
        native: bool = False,
    ) -> None:
        if native and augment is not None:
            raise ValueError(
                "native ground truth is as published and cannot go with augmented samples; give one of the two"
            )
        if len(cache) != len(pairs):
            raise ValueError(f"the cache holds {len(cache)} pairs, the data set {len(pairs)}; open this data's cache")
        self.pairs = pairs
        self.cache = cache
        self.indices = list(range(len(pairs)) if indices is None else indices)
        self.augment = augment
        self.seed = seed
        self.native = native

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, key: int | tuple[int, int]) -> Sample:
        """One sample.

        Args:
            key: Position in ``indices``, or (epoch, position). The epoch seeds the augmentation; it is in the key
                because a worker process does not see attributes that change after its start.
        """
        epoch, position = key if isinstance(key, tuple) else (0, key)
        index = self.indices[position]
        pair = self.pairs[index]
        view = self._unaugmented_view(index, pair.text)
        if self.augment is not None:
            view = self.augment(view, (self.seed, epoch, index))
        sample: Sample = {
            "image": torch.from_numpy(view.image.transpose(2, 0, 1).copy()),
            "image_key": self._image_key(index, view),
            "density": torch.from_numpy(np.ascontiguousarray(view.density))[None],
            "fixations": torch.from_numpy(np.ascontiguousarray(view.fixations))[None],
            "text": view.text,
            "image_id": pair.image_id,
            "task": pair.task,
            "index": index,
            "box": torch.tensor(view.box),
            "size": torch.tensor(self.cache.native_size(index)),
        }
        if self.native:
            sample["native_density"] = torch.from_numpy(self.cache.native_density(index).copy())
            sample["native_points"] = torch.from_numpy(self.cache.points(index).astype(np.int64))
        return sample

    def _unaugmented_view(self, index: int, text: str) -> View:
        settings = self.cache.settings
        native = self.cache.native_size(index)
        fixations = count_fixations(self.cache.points(index), native, settings.map_size, self._box(native, maps=True))
        density = self.cache.density[index].astype(np.float32) / np.float32(255)
        return View(np.asarray(self.cache.image(index)), np.asarray(density), fixations, text, self._box(native))

    def _image_key(self, index: int, view: View) -> ImageKey | None:
        """The key of a view's pixels: of the image, of its mirror image, or None; found by comparing the pixels."""
        image = self.cache.image(index)
        key = self.cache.image_key(index)
        if self.augment is None or _equal(view.image, image):
            return key
        return key.flipped() if _equal(view.image, image[:, ::-1]) else None

    def _box(self, native: tuple[int, int], maps: bool = False) -> Box:
        settings = self.cache.settings
        return content_box(native, settings.map_size if maps else settings.image_size, settings.resize)


def _equal(one: npt.NDArray[np.uint8], other: npt.NDArray[np.uint8]) -> bool:
    """Whether two images are the same. The middle row is cheap to compare, and distinguishes most."""
    middle = len(other) // 2
    return one.shape == other.shape and np.array_equal(one[middle], other[middle]) and np.array_equal(one, other)


def collate(samples: Sequence[Sample]) -> Batch:
    """Stack samples into a batch; native ground truth stays a list, since its sizes differ."""
    batch: Batch = {
        "image": torch.stack([sample["image"] for sample in samples]),
        "image_key": [sample["image_key"] for sample in samples],
        "density": torch.stack([sample["density"] for sample in samples]),
        "fixations": torch.stack([sample["fixations"] for sample in samples]),
        "text": [sample["text"] for sample in samples],
        "image_id": [sample["image_id"] for sample in samples],
        "task": [sample["task"] for sample in samples],
        "index": torch.tensor([sample["index"] for sample in samples]),
        "box": torch.stack([sample["box"] for sample in samples]),
        "size": torch.stack([sample["size"] for sample in samples]),
    }
    if "native_density" in samples[0]:
        batch["native_density"] = [sample["native_density"] for sample in samples]
        batch["native_points"] = [sample["native_points"] for sample in samples]
    return batch
