"""The data module: loaders for any mixture of a data set's tasks, after all checks that can be made before training."""

import logging
import os
from collections.abc import Callable, Sequence
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import BatchSampler, DataLoader, Sampler

from saltext.data.cache import CacheSettings, DecodedCache, open_cache
from saltext.data.dataset import KEPT_ON_CPU, SJTUTIS, Batch, Sample, collate
from saltext.data.geometry import Size
from saltext.data.ground_truth import fitted_blur
from saltext.data.index import AuxiliaryPairs, DatasetIndex, Source
from saltext.data.loading import PREFETCHED, TIMEOUT, PatientLoader, batch_bytes, workers_that_fit
from saltext.data.pairs import Pair
from saltext.data.samplers import EvaluationBatches, TrainingOrder
from saltext.data.splits import PARTS, GivenOrEightyTwenty, Part, Split, SplitMethod, SplitSettings
from saltext.data.tasks import chosen
from saltext.data.transforms import Augment, single_threaded_worker
from saltext.errors import ConfigError
from saltext.images import MAX_PIXELS

_log = logging.getLogger(__name__)

_HELD_OUT_PARTS = ("val", "test")


class SaliencyDataModule(LightningDataModule):
    """A data set of images, texts, density maps and fixations.

    The whole data set is read, validated and decoded once. The split is drawn over all images, whatever the tasks: the
    same ``split`` and ``split_seed`` give the same test images for every mixture of tasks.

    Needs ``Trainer(use_distributed_sampler=False)``: the samplers here distribute the samples themselves. The training
    order depends on (seed, epoch) alone, and evaluation repeats no sample. Per process, the last training batch may be
    smaller than the others, but a single left-over sample is dropped, since BatchNorm cannot train on it.

    Args:
        source: The data set's reader, such as ``SjtuTis("data/sjtu-tis")`` (:mod:`saltext.data.sources`).
        tasks: Names of the data set's tasks; all by default. Unknown ones are an error; where the tasks are known only
            after reading the data, at set-up.
        test_tasks: Tasks of the test set; ``tasks`` by default. Tasks that were not trained show how a model
            generalises; they do not select the checkpoint unless ``selection_split`` is ``"test"``.
        pair_pure: Whether pairs without a text are used only for images that also have another of ``tasks``.
        split: Split method (:mod:`saltext.data.splits`); by default the data set's own split, or 80/20 where it has
            none.
        folds: Number of folds of a :class:`saltext.data.splits.KFold`.
        fold: The test fold, from 0.
        val_fraction: Fraction of the training images used for validation, where the split method reads it.
        split_seed: Seed of the split, separate from ``seed`` so that runs with several seeds have the same test images.
        selection_split: Split that selects the checkpoint: ``"val"``, or ``"test"`` for the papers' best test epoch.
        epoch_splits: Splits that are scored after every epoch: ``selection_split``, alone by default, or both.
        test_on: ``"val"`` scores the validation images at the end instead of the test images; no checkpoint is
            selected then. For model selection.
        image_size: Height and width of the network's input.
        map_size: Height and width of the maps to train on; those of the input by default.
        resize: ``"stretch"`` or ``"letterbox"``.
        max_pixels: Maximum number of pixels of an image.
        cache_dir: Folder for the decoded arrays; about 0.9 GB for the real data at 288x384.
        batch_size: Training samples per step and process.
        eval_batch_size: Samples per evaluation step; ``batch_size`` by default.
        num_workers: Loader processes; fewer, or none, where shared memory is too small for their batches.
        images_together: Whether the training pairs of an image follow each other, so that a batch holds several texts
            for it. Otherwise pairs are shuffled.
        augment: Augmentation of training samples; None for none.
        pseudo: Derives further training pairs from the images; None for none. They are trained on where ``tasks`` has
            their condition.
        free_viewing: Further training pairs of another data set's images, likewise.
        seed: Seed of training order and augmentation.

    Raises:
        ConfigError: At construction: unknown tasks, or numbers outside their range. At set-up: a split that the data
            set cannot have, a batch larger than the training set, a set without samples.
        DataError: At set-up: the data set or split file is not as expected.

    Example:
        >>> from saltext.data.sources.synthetic import Synthetic
        >>> data = SaliencyDataModule(Synthetic("outputs/synthetic"), tasks=["salient"], batch_size=8)
        >>> data.tasks
        ('salient',)
    """

    def __init__(
        self,
        source: Source,
        tasks: str | Sequence[str] | None = None,
        test_tasks: str | Sequence[str] | None = None,
        pair_pure: bool = False,
        split: SplitMethod | None = None,
        folds: int = 5,
        fold: int = 0,
        val_fraction: float = 0.1,
        split_seed: int = 0,
        selection_split: Part = "val",
        epoch_splits: Sequence[Part] | None = None,
        test_on: Part = "test",
        image_size: Sequence[int] = (288, 384),
        map_size: Sequence[int] | None = None,
        resize: str = "stretch",
        max_pixels: int = MAX_PIXELS,
        cache_dir: str | Path = "data/cache",
        batch_size: int = 32,
        eval_batch_size: int | None = None,
        num_workers: int = 0,
        images_together: bool = False,
        augment: Augment | None = None,
        pseudo: AuxiliaryPairs | None = None,
        free_viewing: AuxiliaryPairs | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.source = source
        self._tasks = tasks
        self._test_tasks = tasks if test_tasks is None else test_tasks
        self.pair_pure = pair_pure
        self.split_method = GivenOrEightyTwenty() if split is None else split
        self.split_settings = SplitSettings(split_seed, val_fraction, folds, fold)
        self.selection_split = selection_split
        self._epoch_splits = epoch_splits
        self.test_on = test_on
        self.cache_dir = Path(cache_dir)
        self.batch_size = batch_size
        self.eval_batch_size = batch_size if eval_batch_size is None else eval_batch_size
        self.num_workers = num_workers
        self.images_together = images_together
        self.augment = augment
        self.pseudo = pseudo
        self.auxiliary = [pairs for pairs in (pseudo, free_viewing) if pairs is not None]
        self.seed = seed
        if source.conditions is not None:
            _ = self.tasks, self.test_tasks  # unknown ones are an error
        self._check_numbers(split_seed)
        self.settings = CacheSettings.checked(image_size, map_size, resize, max_pixels)

    def _check_numbers(self, split_seed: int) -> None:
        numbers = {
            "batch_size": (self.batch_size, 1),
            "eval_batch_size": (self.eval_batch_size, 1),
            "num_workers": (self.num_workers, 0),
            "seed": (self.seed, 0),
            "split_seed": (split_seed, 0),
        }
        wrong = [f"data.{name}={value} (at least {least})" for name, (value, least) in numbers.items() if value < least]
        if wrong:
            raise ConfigError(f"values that are too small: {', '.join(wrong)}")
        parts = {"selection_split": self.selection_split, "test_on": self.test_on}
        unknown = [
            f"data.{name} must be val or test, got {part!r}"
            for name, part in parts.items()
            if part not in _HELD_OUT_PARTS
        ]
        if self.selection_split not in self.epoch_splits or not set(self.epoch_splits) <= set(_HELD_OUT_PARTS):
            unknown.append(
                f"data.epoch_splits must be of val and test, with selection_split ({self.selection_split}) among them, "
                f"got {', '.join(map(str, self.epoch_splits)) or 'none'}"
            )
        if unknown:
            raise ConfigError("; ".join(unknown))

    @property
    def root(self) -> Path:
        """Folder of the data set."""
        return Path(self.source.root)

    @property
    def published(self) -> str | None:
        """The data set's name among the published values; None where nothing was published."""
        return self.source.published

    @cached_property
    def _recorded_index(self) -> DatasetIndex:
        return self.source.read()

    @cached_property
    def index(self) -> DatasetIndex:
        """The index of the data set, with its auxiliary pairs."""
        index = self._recorded_index
        for auxiliary in self.auxiliary:
            index = index.with_auxiliary_pairs(auxiliary.condition, auxiliary(self._recorded_index))
        return index

    @property
    def conditions(self) -> Sequence[str]:
        """Names of all tasks of the data set, in the order of tables."""
        known = self.source.conditions
        own = self.index.conditions if known is None else known
        return tuple(dict.fromkeys([*own, *(auxiliary.condition for auxiliary in self.auxiliary)]))

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the tasks of the training and validation sets."""
        return self._tasks_or_all(self._tasks)

    @property
    def test_tasks(self) -> tuple[str, ...]:
        """Names of the tasks of the test set; those of auxiliary pairs are not tested."""
        return self._recorded(self._tasks_or_all(self._test_tasks))

    def _tasks_or_all(self, tasks: str | Sequence[str] | None) -> tuple[str, ...]:
        return tuple(self.conditions) if tasks is None else chosen(tasks, self.conditions)

    def _recorded(self, tasks: tuple[str, ...]) -> tuple[str, ...]:
        auxiliary = {pairs.condition for pairs in self.auxiliary}
        return tuple(task for task in tasks if task not in auxiliary)

    @cached_property
    def pairs(self) -> list[Pair]:
        """The whole data set; a batch's ``index`` is a position in this list."""
        return self.index.pairs_with_images()

    @cached_property
    def cache(self) -> DecodedCache:
        """The decoded arrays of :attr:`pairs`."""
        return open_cache(self.pairs, self.settings, self.cache_dir)

    @cached_property
    def _blur_sigma(self) -> Callable[[Size], float]:
        return fitted_blur(self.cache) if self.index.blur is None else self.index.blur.sigma

    def sigma(self, size: Size) -> float:
        """Standard deviation in pixels of the Gaussian that blurred the data set's maps for an image of this size.

        It is fitted to the maps where the data set does not document it.
        """
        return self._blur_sigma(size)

    @cached_property
    def split(self) -> Split:
        """The split in use."""
        split = self.split_method(self._recorded_index, self.split_settings)
        split.check_against(self.pairs)
        if split.unit == "pair" and self.pseudo is not None and self.pseudo.condition in self.tasks:
            raise ConfigError(
                f"data.tasks: expected a split by image for the pseudo pairs ({self.pseudo.condition}), which train "
                f"where their image does; got the split {split.method!r}"
            )
        return split if self.test_on == "test" else split.validation_tested()

    def indices(self, part: Part) -> list[int]:
        """Indices in :attr:`pairs` of the samples of ``part`` that belong to its tasks, ascending."""
        tasks = {"train": self.tasks, "val": self._recorded(self.tasks), "test": self.test_tasks}[part]
        in_part = self.split.select(self.pairs, part)
        if part == "train":  # images of auxiliary pairs alone are in no split
            images = {pair.image_id for pair in self._recorded_index.pairs}
            in_part += [number for number, pair in enumerate(self.pairs) if pair.image_id not in images]
        selected = [index for index in in_part if self.pairs[index].task in tasks]
        if not self.pair_pure:
            return selected
        tasks = self.tasks
        with_text = {pair.image_id for pair in self.pairs if pair.task in tasks and pair.text}
        auxiliary = self.index.auxiliary_conditions
        chosen_pairs = ((i, self.pairs[i]) for i in selected)
        return [i for i, pair in chosen_pairs if pair.text or pair.image_id in with_text or pair.task in auxiliary]

    @property
    def validates(self) -> bool:
        """Whether there are samples that select the checkpoint."""
        return bool(self.indices(self.selection_split))

    @property
    def epoch_splits(self) -> tuple[Part, ...]:
        """Splits that are scored after every epoch; by default the one that selects the checkpoint."""
        return (self.selection_split,) if self._epoch_splits is None else tuple(self._epoch_splits)

    @property
    def epoch_parts(self) -> dict[int, Part]:
        """Indices of the samples that are scored after every epoch, ascending, with the part each belongs to."""
        part_of = {index: part for part in self.epoch_splits for index in self.indices(part)}
        return dict(sorted(part_of.items()))

    @property
    def recorded_training_indices(self) -> list[int]:
        """Those of :meth:`indices` of the training set that were recorded, which baselines are made from."""
        recorded = self._recorded(self.tasks)
        return [index for index in self.indices("train") if self.pairs[index].task in recorded]

    def dataset(self, part: Part, native: bool = False, augment: Augment | None = None) -> SJTUTIS:
        """The samples of ``part``, with ground truth at native resolution if ``native``."""
        return self._dataset(self.indices(part), native, augment)

    def _dataset(self, indices: Sequence[int], native: bool = False, augment: Augment | None = None) -> SJTUTIS:
        return SJTUTIS(self.pairs, self.cache, indices, augment, self.seed, native)

    def prepare_data(self) -> None:
        """Validate and decode; Lightning calls this in one process of each machine before the others go on."""
        self.setup()

    def setup(self, stage: str | None = None) -> None:
        """Open the data, decode it if need be, and check that the parts suffice for the stage.

        Args:
            stage: ``"fit"``, ``"validate"``, ``"test"`` or None for all; scoring alone needs no full training batch.
        """
        self._check_parts(stage)
        _ = self.cache

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> dict[str, Any]:
        """Move the fields that networks and losses read to ``device``; the others stay on the CPU."""
        staying = {name: value for name, value in batch.items() if name in KEPT_ON_CPU}
        moving = {name: value for name, value in batch.items() if name not in staying}
        return {**super().transfer_batch_to_device(moving, device, dataloader_idx), **staying}

    def train_dataloader(self) -> "DataLoader[Batch]":
        """Augmented samples in the order of (seed, epoch)."""
        dataset = self.dataset("train", augment=self.augment)
        images = [self.pairs[index].image_id for index in dataset.indices] if self.images_together else None
        overfits = bool(getattr(self.trainer, "overfit_batches", 0))  # the same few batches again and again
        sampler = TrainingOrder(len(dataset), self.seed, *self._rank_and_world_size(), groups=images, repeats=overfits)
        lonely_last = len(sampler) > 1 and len(sampler) % self.batch_size == 1 and self.batch_size > 1
        keys: Any = sampler  # (epoch, index), which torch's annotations do not know of
        return self._loader(dataset, BatchSampler(keys, self.batch_size, drop_last=lonely_last))

    def val_dataloader(self) -> "DataLoader[Batch] | list[Any]":
        """Samples to score after every epoch, with native ground truth; an empty list where none selects the
        checkpoint."""
        return self._evaluation_loader(list(self.epoch_parts)) if self.validates else []

    def test_dataloader(self) -> "DataLoader[Batch]":
        """Test samples, with native ground truth."""
        return self._evaluation_loader(self.indices("test"))

    def _check_parts(self, stage: str | None) -> None:
        counts = {part: len(self.indices(part)) for part in PARTS}
        tasks = ", ".join(dict.fromkeys((*self.tasks, *self.test_tasks)))
        # Auxiliary pairs alone are neither validated nor tested.
        needed = {
            "train": True,
            "val": bool(self.split.parts["val"] and self._recorded(self.tasks)),
            "test": bool(self.test_tasks),
        }
        empty = [part for part in PARTS if needed[part] and not counts[part]]
        if empty:
            raise ConfigError(
                f"no samples of the tasks {tasks} in the {' and '.join(empty)} part of the split {self.split.method!r}."
                " Choose more tasks, another data/split, or another data.val_fraction."
            )
        world_size = self._rank_and_world_size()[1]
        training = counts["train"] // world_size
        if stage in (None, "fit") and training < min(2, self.batch_size):
            raise ConfigError(
                f"expected at least two training pairs for each of {world_size} processes, got {counts['train']} "
                f"(tasks {tasks}, split {self.split.method!r}); data.batch_size=1 trains on one."
            )
        if stage == "fit" and self.batch_size > training:
            each = f"each of {world_size} processes" if world_size > 1 else "the training set"
            _log.info("data.batch_size=%d, but %s has %d pairs: all are one batch", self.batch_size, each, training)
        idle = [part for part in PARTS[1:] if 0 < counts[part] < world_size]
        if idle:
            raise ConfigError(
                f"{world_size} processes share {', '.join(f'{counts[part]} {part} samples' for part in idle)}, so some "
                "would have nothing to score. Use fewer devices or a larger part."
            )

    def _rank_and_world_size(self) -> tuple[int, int]:
        """Rank and number of processes."""
        if self.trainer is not None:
            return self.trainer.global_rank, self.trainer.world_size
        return 0, 1

    def _evaluation_loader(self, indices: Sequence[int]) -> "DataLoader[Batch]":
        dataset = self._dataset(indices, native=True)
        sizes = [self.cache.native_size(index) for index in dataset.indices]
        return self._loader(dataset, EvaluationBatches(sizes, self.eval_batch_size, *self._rank_and_world_size()))

    @cached_property
    def _workers_per_loader(self) -> int:
        """Processes of each loader, decided once, before the first loaders take their shared memory."""
        needed = []  # bytes of a batch, by part
        if self.num_workers:
            if self.indices("train"):
                needed.append(batch_bytes(self.dataset("train", augment=self.augment)[0], self.batch_size))
            for indices in (list(self.epoch_parts), self.indices("test")):
                if indices:
                    dataset = self._dataset(indices, native=True)
                    sizes = [self.cache.native_size(index) for index in dataset.indices]
                    largest = max(range(len(dataset)), key=lambda number: prod(sizes[number]))
                    needed.append(batch_bytes(dataset[largest], self.eval_batch_size))
        return workers_that_fit(self.num_workers, needed, int(os.environ.get("LOCAL_WORLD_SIZE", "1")))

    def _loader(self, dataset: SJTUTIS, batches: Sampler[Any]) -> "DataLoader[Any]":
        workers = self._workers_per_loader
        return PatientLoader[Sample](
            dataset,
            batch_sampler=batches,
            collate_fn=collate,
            num_workers=workers,
            prefetch_factor=PREFETCHED if workers else None,
            timeout=TIMEOUT if workers else 0,
            persistent_workers=workers > 0,
            worker_init_fn=single_threaded_worker,
            pin_memory=torch.cuda.is_available(),
            # A generator of its own: starting an epoch does not draw from the one the network's dropout uses.
            generator=torch.Generator().manual_seed(self.seed),
        )
