"""Serves any mixture of the five tasks to Lightning, after checking everything that can be checked before training."""

import os
from collections.abc import Callable, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any, ClassVar

import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import BatchSampler, DataLoader, Sampler

from saltext.data import splits
from saltext.data.cache import CacheSettings, DecodedCache, open_cache
from saltext.data.dataset import KEPT_ON_CPU, SJTUTIS, Batch, Sample, collate
from saltext.data.density import sigma_for
from saltext.data.geometry import Size
from saltext.data.loading import PREFETCHED, TIMEOUT, PatientLoader, batch_bytes, workers_that_fit
from saltext.data.pairs import Pair
from saltext.data.samplers import EvaluationBatches, TrainingOrder
from saltext.data.sjtu_tis import image_sets, read_index
from saltext.data.splits import Part, Split
from saltext.data.synthetic import generate, generated_sigma
from saltext.data.tasks import TASK_BY_NAME, chosen
from saltext.data.transforms import Augment, single_threaded_worker
from saltext.errors import ConfigError, near

_HELD = ("val", "test")  # parts that are kept out of training


class SaliencyDataModule(LightningDataModule):
    """SJTU-TIS in the published layout.

    The whole data set is read, validated and decoded once, and divided over all images, whatever the tasks: the same
    ``split`` and ``split_seed`` give the same test images to every mixture of tasks.

    ``Trainer(use_distributed_sampler=False)`` is needed: the samplers here know about processes themselves. The
    training order is decided by (seed, epoch), and evaluation repeats no sample. Per process, the last training batch
    is as large as what is left, except that a single left-over sample is dropped, since BatchNorm cannot train on it.

    Args:
        root: Folder of the data set.
        tasks: Task names, see :data:`saltext.data.tasks.TASKS`; all by default.
        split: ``"80/20"``, ``"70/15/15"``, ``"kfold"``, ``"published"`` (see
            :func:`saltext.data.splits.published_tranblend`), or the path of a split file.
        folds: Number of folds of ``"kfold"``.
        fold: The fold that tests, from 0.
        val_fraction: Fraction of the images outside the test part that chooses the epoch (``"80/20"``, ``"kfold"``).
        split_seed: Seed of the split, apart from ``seed`` so that runs with several seeds have the same test images.
        image_size: Height and width of the network's input.
        map_size: Height and width of the maps to train on; those of the input by default.
        resize: ``"stretch"`` or ``"letterbox"``.
        batch_size: Training samples per step and process.
        eval_batch_size: Samples per evaluation step; ``batch_size`` by default.
        num_workers: Loader processes; fewer, or none, where they have too little shared memory for their batches.
        augment: Changes training samples; None trains on them as they are.
        cache_dir: Folder for the decoded arrays; about 0.9 GB for the real data at 288x384.
        choose_on: Part whose scores choose the epoch: ``"val"``, or ``"test"`` for the papers' best test epoch.
        seed: Of training order and augmentation.
        max_pixels: A larger picture is refused.
        pair_pure: Whether, of the pairs without a text, only images are taken that also have another of ``tasks``.
        test_tasks: Tasks of the test part; ``tasks`` by default. Others tell how a model does on what it was not
            trained for, and have no part in choosing the epoch unless ``choose_on`` is ``"test"``.
        images_together: Whether the training pairs of an image follow each other, so that a batch holds several texts
            for it. Otherwise pairs are shuffled.
        test_on: ``"val"`` scores the validation images at the end and leaves the test images alone; no image chooses
            the epoch then. For choosing between models.

    Raises:
        ConfigError: At construction: unknown tasks, or numbers outside their range. At set-up: an unknown split, a
            batch larger than the training part, a part without samples.
        DataError: At set-up: the data set or split file is not as expected.
    """

    published: ClassVar[str | None] = "sjtu_tis"
    """The data set's name among the published values; None where nothing was published."""

    def __init__(
        self,
        root: str | Path,
        tasks: str | Sequence[str] | None = None,
        split: str = "80/20",
        folds: int = 5,
        fold: int = 0,
        val_fraction: float = 0.1,
        split_seed: int = 0,
        image_size: Sequence[int] = (288, 384),
        map_size: Sequence[int] | None = None,
        resize: str = "stretch",
        batch_size: int = 32,
        eval_batch_size: int | None = None,
        num_workers: int = 0,
        augment: Augment | None = None,
        cache_dir: str | Path = "data/cache",
        choose_on: Part = "val",
        seed: int = 0,
        max_pixels: int = 50_000_000,
        pair_pure: bool = False,
        test_tasks: str | Sequence[str] | None = None,
        test_on: Part = "test",
        images_together: bool = False,
    ) -> None:
        super().__init__()
        self.root = Path(root)
        self._tasks = tasks
        self._test_tasks = tasks if test_tasks is None else test_tasks
        self.pair_pure = pair_pure
        self.images_together = images_together
        self.split_name = split
        self.folds = folds
        self.fold = fold
        self.val_fraction = val_fraction
        self.split_seed = split_seed
        self.batch_size = batch_size
        self.eval_batch_size = batch_size if eval_batch_size is None else eval_batch_size
        self.num_workers = num_workers
        self.augment = augment
        self.cache_dir = Path(cache_dir)
        self.choose_on = choose_on
        self.test_on = test_on
        self.seed = seed
        self._check_tasks()
        self._check_numbers()
        self.settings = CacheSettings.checked(image_size, map_size, resize, max_pixels)
        self._pairs: list[Pair] | None = None
        self._cache: DecodedCache | None = None
        self._split: Split | None = None
        self._workers: int | None = None

    def _check_tasks(self) -> None:
        _ = self.tasks, self.test_tasks

    def _check_numbers(self) -> None:
        least = {"batch_size": 1, "eval_batch_size": 1, "num_workers": 0, "seed": 0, "split_seed": 0}
        wrong = [
            f"data.{name}={getattr(self, name)} (at least {bound})"
            for name, bound in least.items()
            if getattr(self, name) < bound
        ]
        if wrong:
            raise ConfigError(f"values that are too small: {', '.join(wrong)}")
        parts = {"choose_on": self.choose_on, "test_on": self.test_on}
        strange = [
            f"data.{name} must be val or test, got {part!r}" for name, part in parts.items() if part not in _HELD
        ]
        if strange:
            raise ConfigError("; ".join(strange))

    @property
    def conditions(self) -> Sequence[str]:
        """Names of all tasks of the data set, in the order of tables."""
        return tuple(TASK_BY_NAME)

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the tasks that train and choose the epoch."""
        return self._chosen(self._tasks)

    @property
    def test_tasks(self) -> tuple[str, ...]:
        """Names of the tasks of the test part."""
        return self._chosen(self._test_tasks)

    def _chosen(self, tasks: str | Sequence[str] | None) -> tuple[str, ...]:
        return tuple(self.conditions) if tasks is None else chosen(tasks, self.conditions)

    @property
    def pairs(self) -> list[Pair]:
        """The whole data set; a batch's ``index`` is a place in this list."""
        if self._pairs is None:
            self._pairs = self._read_pairs()
        return self._pairs

    @property
    def cache(self) -> DecodedCache:
        """The decoded arrays of :attr:`pairs`."""
        if self._cache is None:
            self._cache = open_cache(self.pairs, self.settings, self.cache_dir)
        return self._cache

    def sigma(self, size: Size) -> float:
        """Deviation, in pixels of an image of this size, of the Gaussian that made the data set's maps."""
        return sigma_for(size)

    @property
    def split(self) -> Split:
        """The division in use; ``split.save(path)`` writes it down."""
        if self._split is None:
            split = self._make_split()
            split.check_against(self.pairs)
            self._split = split if self.test_on == "test" else split.validation_tested()
        return self._split

    def indices(self, part: Part) -> list[int]:
        """Places in :attr:`pairs` of the samples of ``part`` that belong to its tasks, ascending."""
        tasks = self.test_tasks if part == "test" else self.tasks
        selected = [index for index in self.split.select(self.pairs, part) if self.pairs[index].task in tasks]
        if not self.pair_pure:
            return selected
        trained = self.tasks
        others = {pair.image_id for pair in self.pairs if pair.task in trained and pair.text}
        return [i for i in selected if self.pairs[i].text or self.pairs[i].image_id in others]

    def dataset(self, part: Part, native: bool = False, augment: Augment | None = None) -> SJTUTIS:
        """The samples of ``part``, with truth at native resolution if ``native``."""
        return SJTUTIS(self.pairs, self.cache, self.indices(part), augment, self.seed, native)

    def prepare_data(self) -> None:
        """Validate and decode; Lightning calls this in one process of each machine before the others go on."""
        self.setup()

    def setup(self, stage: str | None = None) -> None:
        """Open the data, decoding it if need be, and check that what is to run can run.

        Args:
            stage: ``"fit"``, ``"validate"``, ``"test"`` or None for all; scoring alone needs no full training batch.
        """
        self._check_parts(stage)
        _ = self.cache

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> dict[str, Any]:
        """A batch with what networks and losses read on ``device``, and the rest where it is: on the CPU."""
        kept = {name: value for name, value in batch.items() if name in KEPT_ON_CPU}
        read = {name: value for name, value in batch.items() if name not in kept}
        return {**super().transfer_batch_to_device(read, device, dataloader_idx), **kept}

    def train_dataloader(self) -> "DataLoader[Batch]":
        """Augmented samples in the order of (seed, epoch)."""
        dataset = self.dataset("train", augment=self.augment)
        images = [self.pairs[index].image_id for index in dataset.indices] if self.images_together else None
        overfits = bool(getattr(self.trainer, "overfit_batches", 0))  # the same few batches again and again
        sampler = TrainingOrder(len(dataset), self.seed, *self._process(), together=images, repeats=overfits)
        lonely_last = len(sampler) > 1 and len(sampler) % self.batch_size == 1 and self.batch_size > 1
        keys: Any = sampler  # (epoch, place), which torch's annotations do not know of
        return self._loader(dataset, BatchSampler(keys, self.batch_size, drop_last=lonely_last))

    def val_dataloader(self) -> "DataLoader[Batch] | list[Any]":
        """Samples that choose the epoch, with native truth; an empty list where the split keeps none for that."""
        return self._evaluation_loader(self.choose_on) if self.split.parts[self.choose_on] else []

    def test_dataloader(self) -> "DataLoader[Batch]":
        """Samples to score, with native truth."""
        return self._evaluation_loader("test")

    def _read_pairs(self) -> list[Pair]:
        return list(read_index(self.root))

    def _image_sets(self) -> Mapping[str, str]:
        """Image ID -> the set of images it belongs to; a split takes the same fraction of each."""
        return image_sets(self.pairs)

    def _splits(self) -> dict[str, Callable[[], Split]]:
        """Name -> how to make that split."""
        return {
            "80/20": lambda: splits.eighty_twenty(self._image_sets(), self.val_fraction, self.split_seed),
            "70/15/15": lambda: splits.seventy_fifteen_fifteen(self._image_sets(), self.split_seed),
            "kfold": lambda: splits.kfold(
                self._image_sets(), self.folds, self.fold, self.val_fraction, self.split_seed
            ),
            "published": lambda: splits.published_tranblend(self.pairs),
        }

    def _make_split(self) -> Split:
        makers = self._splits()
        if self.split_name in makers:
            return makers[self.split_name]()
        path = Path(self.split_name)
        if path.is_file():
            return Split.load(path)
        raise ConfigError(
            f"data.split={self.split_name!r} is neither one of {', '.join(makers)} nor an existing split file"
            f"{near(self.split_name, makers)}."
        )

    def _check_parts(self, stage: str | None) -> None:
        counts = {part: len(self.indices(part)) for part in splits.PARTS}
        tasks = ", ".join(dict.fromkeys((*self.tasks, *self.test_tasks)))
        empty = [part for part in splits.PARTS if not counts[part] and (part != "val" or self.split.parts["val"])]
        if empty:
            raise ConfigError(
                f"no samples of the tasks {tasks} in the {' and '.join(empty)} part of the split {self.split.method!r}."
                " Choose more tasks, another data.split, or another data.val_fraction."
            )
        world_size = self._process()[1]
        training = counts["train"] // world_size
        if stage in (None, "fit") and self.batch_size > training:
            each = f" for each of {world_size} processes" if world_size > 1 else ""
            raise ConfigError(
                f"data.batch_size={self.batch_size} is larger than the training set of {training} pairs{each} "
                f"(tasks {tasks}, split {self.split.method!r}). Set data.batch_size to at most {training}."
            )
        idle = [part for part in splits.PARTS[1:] if 0 < counts[part] < world_size]
        if idle:
            raise ConfigError(
                f"{world_size} processes share {', '.join(f'{counts[part]} {part} samples' for part in idle)}, so some "
                "would have nothing to score. Use fewer devices or a larger part."
            )

    def _process(self) -> tuple[int, int]:
        """Rank and number of processes."""
        if self.trainer is not None:
            return self.trainer.global_rank, self.trainer.world_size
        return 0, 1

    def _evaluation_loader(self, part: Part) -> "DataLoader[Batch]":
        dataset = self.dataset(part, native=True)
        sizes = [self.cache.native_size(index) for index in dataset.indices]
        return self._loader(dataset, EvaluationBatches(sizes, self.eval_batch_size, *self._process()))

    def _fitting_workers(self) -> int:
        """Processes of each loader, decided once: the first loaders take room that later ones would count as lost."""
        if self._workers is None:
            parts = (
                [part for part in ("train", self.choose_on, "test") if self.indices(part)] if self.num_workers else []
            )
            needed = [self._batch_bytes(part) for part in parts]
            self._workers = workers_that_fit(self.num_workers, needed, int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
        return self._workers

    def _batch_bytes(self, part: Part) -> int:
        if part == "train":
            return batch_bytes(self.dataset(part, augment=self.augment)[0], self.batch_size)
        dataset = self.dataset(part, native=True)
        largest = max(range(len(dataset)), key=lambda place: prod(self.cache.native_size(dataset.indices[place])))
        return batch_bytes(dataset[largest], self.eval_batch_size)

    def _loader(self, dataset: SJTUTIS, batches: Sampler[Any]) -> "DataLoader[Any]":
        workers = self._fitting_workers()
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
            # Of its own, so that starting an epoch does not draw from the generator the network's dropout uses.
            generator=torch.Generator().manual_seed(self.seed),
        )


class SyntheticDataModule(SaliencyDataModule):
    """A small generated data set in the published layout, where the text decides the map.

    Args:
        root: Folder to generate into; must be new, empty, or generated before.
        images: Number of images.
        data_seed: Another seed gives other images and texts.
        **settings: As for :class:`SaliencyDataModule`.
    """

    published = None

    def __init__(self, root: str | Path, images: int = 240, data_seed: int = 0, **settings: Any) -> None:
        super().__init__(root, **settings)
        self.images = images
        self.data_seed = data_seed

    def sigma(self, size: Size) -> float:
        """The generator's own."""
        return generated_sigma(size)

    def _read_pairs(self) -> list[Pair]:
        generate(self.root, images=self.images, seed=self.data_seed)
        return super()._read_pairs()
