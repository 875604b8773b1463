"""Train, validation and test splits, which can be saved and checked.

Every split of this project is grouped by image: all texts of one image are in the same part, for any mixture of tasks.
The exception is the papers' own per-row split, which is needed to compare with their tables.
"""

import csv
import hashlib
import io
import json
import math
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any, Literal, Protocol, get_args

import numpy as np

from saltext import storage
from saltext.data.index import DatasetIndex
from saltext.data.pairs import Pair, Recording
from saltext.data.tasks import TASK_BY_NAME, TASKS
from saltext.errors import ConfigError, DataError

Part = Literal["train", "val", "test"]
Unit = Literal["image", "pair"]
PARTS: tuple[Part, ...] = ("train", "val", "test")
Arm = Literal["published", "leaky", "clean", "clean_pure", "control_pure"]
ARMS: tuple[Arm, ...] = get_args(Arm)
"""Of the published split, with and without its leak; see :func:`published_arm`."""

_FOLD = re.compile(r"fold \d+ of (\d+)")  # in the method of splits by `kfold`


@dataclass(frozen=True)
class Split:
    """A split: the names of the images, or pairs, in each part.

    Attributes:
        method: Description of the method that made it, with its numbers.
        seed: The seed of that method.
        unit: ``"image"`` if the names are image IDs (a whole image is in one part), or ``"pair"`` if they are names of
            a :class:`saltext.data.pairs.Pair` (an image may be in several parts).
        parts: ``train``, ``val`` and ``test``, each a sorted tuple of names; ``val`` may be empty.

    Raises:
        DataError: A name is in two parts or twice in one, or a part or unit is not one of the above.
    """

    method: str
    seed: int
    unit: Unit
    parts: Mapping[Part, tuple[str, ...]]

    def __post_init__(self) -> None:
        if set(self.parts) != set(PARTS) or self.unit not in ("image", "pair"):
            raise DataError(
                "expected a split with the parts train, val and test and the unit image or pair, got the parts "
                f"{', '.join(self.parts)} and the unit {self.unit!r}"
            )
        parts = {part: tuple(sorted(self.parts[part])) for part in PARTS}
        seen: dict[str, str] = {}
        repeated = [name for part in PARTS for name in parts[part] if seen.setdefault(name, part) != part]
        repeated += [name for names in parts.values() for name, count in Counter(names).items() if count > 1]
        if repeated:
            raise DataError(
                f"{len(repeated)} names of the split {self.method!r} are in more than one part (or twice in one): "
                f"{', '.join(sorted(set(repeated))[:5])}. Make the split again: test images would be training images."
            )
        object.__setattr__(self, "parts", parts)

    @property
    def digest(self) -> str:
        """SHA-256 of the unit and the sorted names of each part: equal if and only if two splits are equal."""
        text = json.dumps({"unit": self.unit, **{part: self.parts[part] for part in PARTS}}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def select(self, pairs: Sequence[Pair | Recording], part: Part) -> list[int]:
        """Indices in ``pairs`` of those that belong to ``part``, ascending."""
        names = set(self.parts[part])
        return [index for index, pair in enumerate(pairs) if self._name(pair) in names]

    def validation_tested(self) -> "Split":
        """The same split with the validation set as its test set, and without the test images.

        For model selection: a choice made on validation images does not use the test images.

        Raises:
            ConfigError: There is no validation set.
        """
        if not self.parts["val"]:
            raise ConfigError(
                f"data.test_on=val: the split {self.method!r} keeps no validation images; set data.val_fraction above 0"
            )
        parts: Mapping[Part, tuple[str, ...]] = {"train": self.parts["train"], "val": (), "test": self.parts["val"]}
        return Split(f"{self.method}, validation set tested", self.seed, self.unit, parts)

    def check_against(self, pairs: Iterable[Pair | Recording]) -> None:
        """Raise a DataError if the split names images or pairs the data set does not have."""
        known = {self._name(pair) for pair in pairs}
        unknown = sorted({name for part in PARTS for name in self.parts[part]} - known)
        if unknown:
            raise DataError(
                f"the split {self.method!r} names {len(unknown)} {self.unit}s that are not in the data set: "
                f"{', '.join(unknown[:5])}. It was made for other data: choose another data/split or data.root."
            )

    def _name(self, pair: Pair | Recording) -> str:
        return pair.image_id if self.unit == "image" else pair.name

    def save(self, path: Path | str) -> None:
        """Write the split as JSON: method, seed, unit, digest and the names of each part."""
        path = Path(path)
        content = {"method": self.method, "seed": self.seed, "unit": self.unit, "digest": self.digest}
        path.parent.mkdir(parents=True, exist_ok=True)
        storage.write_json(path, content | {"parts": dict(self.parts)}, durable=True)

    @classmethod
    def load(cls, path: Path | str) -> "Split":
        """Read a split that :meth:`save` wrote.

        Raises:
            DataError: The file is missing or not such a file, its names do not fit its digest, or parts overlap.
        """
        path = Path(path)
        try:
            content: dict[str, Any] = json.loads(storage.read_text(path, storage.MAX_JSON))
            parts = {part: tuple(str(name) for name in names) for part, names in content["parts"].items()}
            split = cls(str(content["method"]), int(content["seed"]), content["unit"], parts)
            digest = content["digest"]
        except DataError:
            raise
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise DataError(
                f"{path} is not a readable split file ({type(error).__name__}: {error}). Expected the JSON a run "
                "writes beside its checkpoint: method, seed, unit, digest, parts. Restore it from a copy; a run whose "
                "data and settings are unchanged makes it again once the file is removed."
            ) from error
        if split.digest != digest:
            raise DataError(
                f"the names in the split file {path} do not fit its digest (written {str(digest)[:12]}..., computed "
                f"{split.digest[:12]}...): it was edited or cut short. Take the original file, or make a new split."
            )
        return split


def holdout(
    image_sets: Mapping[str, str], fractions: tuple[float, float, float], seed: int, *, method: str = "holdout"
) -> Split:
    """A random split of the images, with the same fractions of each image set.

    Images are ordered by a hash of seed and ID. The result depends on neither the order of the input nor the version of
    a random generator, and adding an image moves at most one other image per boundary between parts.

    Args:
        image_sets: Image ID -> set (``"A"`` or ``"B"``).
        fractions: Train, validation and test, summing to 1. The test set is cut first and is exact to rounding
            within each set.
        seed: Another seed gives another split.
        method: Name of the method in the split.

    Raises:
        ConfigError: The fractions are negative or do not sum to 1.
    """
    if min(fractions) < 0 or not math.isclose(sum(fractions), 1.0, abs_tol=1e-9):
        raise ConfigError(f"expected fractions of at least 0 that sum to 1, got {fractions}")
    parts: dict[Part, list[str]] = {part: [] for part in PARTS}
    for ids in _strata(image_sets):
        ordered = _shuffled(ids, f"{seed}")
        tests = round(fractions[2] * len(ids))
        vals = round(fractions[1] * len(ids))
        parts["test"] += ordered[:tests]
        parts["val"] += ordered[tests : tests + vals]
        parts["train"] += ordered[tests + vals :]
    return _split(f"{method}, fractions {fractions[0]:g}/{fractions[1]:g}/{fractions[2]:g}", seed, "image", parts)


def kfold(image_sets: Mapping[str, str], folds: int, fold: int, val_fraction: float, seed: int) -> Split:
    """Fold ``fold`` of a cross-validation over images: every image is in exactly one fold's test set.

    Args:
        image_sets: Image ID -> set. The folds of each set differ by at most one image, and so do whole folds.
        folds: Number of folds, from 2 to the size of the smallest set.
        fold: The test fold, counted from 0.
        val_fraction: Fraction of the other folds' images, per set, in the validation set.
        seed: Another seed gives other folds.

    Raises:
        ConfigError: ``folds``, ``fold`` or ``val_fraction`` is outside its range.
    """
    strata = _strata(image_sets)
    smallest = min((len(ids) for ids in strata), default=0)
    if not 2 <= folds <= smallest:
        raise ConfigError(f"data.folds: expected 2 to {smallest}, the size of the smallest set, got {folds}")
    if not 0 <= fold < folds:
        raise ConfigError(f"data.fold: expected 0 to {folds - 1} with data.folds={folds}, got {fold}")
    _check_val_fraction(val_fraction)
    parts: dict[Part, list[str]] = {part: [] for part in PARTS}
    offset = 0
    for ids in strata:
        # The remainder of each set goes to the folds after those that got the remainder of the set before.
        ordered = _shuffled(ids, f"{seed}")
        test = [name for index, name in enumerate(ordered) if (index + offset) % folds == fold]
        rest = _shuffled(set(ids) - set(test), f"{seed} validation {fold}")
        vals = round(val_fraction * len(rest))
        parts["test"] += test
        parts["val"] += rest[:vals]
        parts["train"] += rest[vals:]
        offset += len(ids)
    return _split(f"fold {fold} of {folds}, validation {val_fraction:g}", seed, "image", parts)


def fold_in(text: str) -> str:
    """The fold in a text with a split's method, such as ``fold 0 of 5``; empty for other methods."""
    match = _FOLD.search(text)
    return match[0] if match else ""


def any_fold(text: str) -> str:
    """A text with a split's method, without the number of the fold: equal for all folds of a cross-validation.

    A text with another method is unchanged.
    """
    return _FOLD.sub(r"folds of \1", text)


def pooled_folds(text: str, folds: Collection[int]) -> str:
    """A text with a split's method, for several folds pooled: ``5 folds``, or ``3 of 5 folds``.

    Args:
        text: The text of any of the folds. A text with another method is unchanged.
        folds: Number of folds of each pooled result, at least one number.
    """
    least, most = min(folds), max(folds)
    pooled = f"{least}" if least == most else f"{least} to {most}"
    return _FOLD.sub(lambda match: f"{'' if least == int(match[1]) else f'{pooled} of '}{match[1]} folds", text)


def eighty_twenty(image_sets: Mapping[str, str], val_fraction: float, seed: int) -> Split:
    """80/20 split: 20 % of the images of each set for test, ``val_fraction`` of the others for validation.

    The test set does not depend on ``val_fraction``.
    """
    _check_val_fraction(val_fraction)
    val = 0.8 * val_fraction
    return holdout(image_sets, (0.8 - val, val, 0.2), seed, method="80/20")


def seventy_fifteen_fifteen(image_sets: Mapping[str, str], seed: int) -> Split:
    """70 % train, 15 % validation, 15 % test, as the CLIP-SalGAN paper describes."""
    return holdout(image_sets, (0.7, 0.15, 0.15), seed, method="70/15/15")


def given(parts: Mapping[str, Sequence[str]], val_fraction: float, seed: int) -> Split:
    """The data set's own split.

    Args:
        parts: Image IDs of ``train``, ``test`` and perhaps ``val``.
        val_fraction: Fraction of the training images used for validation where there is no part ``val``.
        seed: Seed of the choice of these images.
    """
    if parts.get("val"):
        return Split("given", seed, "image", {part: tuple(parts[part]) for part in PARTS})
    _check_val_fraction(val_fraction)
    train = _shuffled(parts["train"], f"{seed} validation")
    vals = round(val_fraction * len(train))
    divided: dict[Part, list[str]] = {"train": train[vals:], "val": train[:vals], "test": list(parts["test"])}
    method = f"given, validation {val_fraction:g} of its training images" if vals else "given"
    return _split(method, seed, "image", divided)


def published_tranblend(
    pairs: Iterable[Pair | Recording],
    seed: int = 42,
    rows: Mapping[str, Sequence[str]] | None = None,
    rotation: int = 0,
) -> Split:
    """The TranBlend authors' split: 80/20 over the rows of each task separately, without a validation set.

    Images leak between tasks: about four fifths of the text tasks' test images are training images of ``pure``, so
    scores of a model that was warmed up on several tasks are optimistic. Only for comparison with the paper's table.

    The authors permute each task's rows with numpy's legacy generator, seeded anew for each task, and train on the
    first ``int(0.8 * n)``. Given their row order this function returns their lists exactly. That order is the one of
    their CSV files (:func:`authors_rows`), which no rule we tried derives from the data set (sorted by name or number,
    the workbook's order, seeded shuffles of these).

    Args:
        pairs: The data set.
        seed: 42 in the authors' script.
        rows: Task name -> names of the task's pairs in the order of the authors' CSV file.
            Without it, the order of sorted names stands in: the same protocol and the same leak, on other lists.
        rotation: 0 tests the authors' fifth of the permuted rows, 1 the fifth before it, and so on; 0 to 4 test every
            row once if the number of rows divides by 5.
    """
    names: dict[str, list[str]] = {task.name: [] for task in TASKS}
    for pair in pairs:
        names[pair.task].append(pair.name)
    parts: dict[Part, list[str]] = {part: [] for part in PARTS}
    for task, present in names.items():
        # DISCREPANCY: the authors' row order is not in the data set; `rows` gives it. Sorted names draw other lists.
        ordered = list(rows[task]) if rows is not None and task in rows else sorted(present)
        permuted = [ordered[index] for index in np.random.RandomState(seed).permutation(len(ordered))]
        cut = int(0.8 * len(permuted))
        before = rotation * (len(permuted) - cut) % len(permuted) if permuted else 0
        rotated = permuted[len(permuted) - before :] + permuted[: len(permuted) - before]
        parts["train"] += rotated[:cut]
        parts["test"] += rotated[cut:]
    order = "" if rows is None else ", in the authors' row order"
    turned = f", rotation {rotation}" if rotation else ""
    return _split(f"TranBlend rows 80/20 per task{order}{turned} (images leak between tasks)", seed, "pair", parts)


def authors_rows(file: Path | str, names: Collection[str]) -> list[str]:
    """The order of a task's rows in a CSV file of the TranBlend authors.

    In each line the first cell that names one of the pairs counts: its own name, or the path of one of its files.
    Lines without one, such as a heading, are left out.

    Args:
        file: The task's CSV file.
        names: Names of all pairs of the task.

    Raises:
        DataError: The file cannot be read, or does not name each pair once.
    """
    found = []
    for cells in csv.reader(io.StringIO(storage.read_text(file))):
        stems = (PureWindowsPath(cell.strip()).stem for cell in cells)  # splits paths of both kinds
        found += [name for name in stems if name in names][:1]
    counts = Counter(found)
    missing, repeated = sorted(set(names) - set(counts)), sorted(name for name in counts if counts[name] > 1)
    if missing or repeated:
        raise DataError(
            f"{file}: expected a row for each of the task's {len(names)} pairs, got none for {len(missing)} "
            f"({', '.join(missing[:3])}) and several for {len(repeated)} ({', '.join(repeated[:3])}). Give the CSV "
            "file that the authors' repository has for this task, not one of its two parts."
        )
    return found


def published_arm(
    pairs: Sequence[Pair | Recording],
    image_sets: Mapping[str, str],
    arm: Arm,
    val_fraction: float,
    seed: int,
    rows: Mapping[str, Sequence[str]] | None = None,
    rotation: int = 0,
) -> Split:
    """The published split with its leak and without it, so that two trainings tell what the leak adds.

    All arms test the rows of :func:`published_tranblend`, and those to be compared train on as many rows of each task:

    * ``published``: that split itself, without a validation set.
    * ``leaky``: its training rows without those of the validation images.
    * ``clean``: as ``leaky``, but the ``pure`` rows of images that are tested under a text are swapped for as many of
      the other ``pure`` rows, which ``leaky`` tests. Tests all texts and not ``pure``.
    * ``clean_pure``: as ``leaky``, without the rows with a text of images that are tested under ``pure``. Tests
      ``pure`` alone.
    * ``control_pure``: as ``leaky``, without as many random rows of each text task as ``clean_pure`` lacks. Tests
      ``pure`` alone.

    The validation images are drawn from those that no task tests, and train in no arm but ``published``. On SJTU-TIS
    each image that is tested under a text and trains as ``pure`` has a counterpart. In a smaller data set, where there
    may be too few, the ``pure`` rows left over train in no arm but ``published``.

    Args:
        pairs: The data set.
        image_sets: Image ID -> set.
        arm: One of the above.
        val_fraction: Fraction of the images without a test row, per set, for validation; rounded up.
        seed: Of the validation images and of the random rows.
        rows: See :func:`published_tranblend`.
        rotation: See :func:`published_tranblend`.

    Raises:
        ConfigError: Unknown arm, a fraction outside its range, or rows with which ``clean`` would not be clean, since
            the three texts of one image are not tested together.
    """
    if arm not in ARMS:
        raise ConfigError(f"data.split.arm: expected one of {', '.join(ARMS)}, got {arm!r}")
    _check_val_fraction(val_fraction)
    published = published_tranblend(pairs, rows=rows, rotation=rotation)
    if arm == "published":
        return published
    train, test = ([pairs[index] for index in published.select(pairs, part)] for part in ("train", "test"))
    tested_pure = {pair.image_id for pair in test if not TASK_BY_NAME[pair.task].has_text}
    tested_text = {pair.image_id for pair in test if TASK_BY_NAME[pair.task].has_text}
    validating: set[str] = set()
    for ids in _strata(image_sets):
        untested = _shuffled(set(ids) - tested_pure - tested_text, f"{seed} validation")
        validating |= set(untested[: math.ceil(val_fraction * len(untested))])

    others = _shuffled(tested_pure - tested_text, f"{seed} swap")
    leaked = _shuffled(tested_text - tested_pure, f"{seed} swap")
    unmatched = set(leaked[len(others) :])
    swapped = set(leaked) - unmatched
    unused = {pair.name for pair in train if pair.image_id in validating}
    unused |= {pair.name for pair in train if pair.task == "pure" and pair.image_id in unmatched}
    added: set[str] = set()
    if arm == "clean":
        unused |= {pair.name for pair in train if pair.task == "pure" and pair.image_id in swapped}
        added = {pair.name for pair in test if pair.task == "pure" and pair.image_id in others[: len(swapped)]}
    elif arm in ("clean_pure", "control_pure"):
        for task in (task.name for task in TASKS if task.has_text):
            name_of = {pair.image_id: pair.name for pair in train if pair.task == task and pair.name not in unused}
            leaking = _shuffled(name_of.keys() & tested_pure, f"{seed} control")
            harmless = _shuffled(name_of.keys() - tested_pure, f"{seed} control")
            dropped = leaking if arm == "clean_pure" else [*harmless, *leaking][: len(leaking)]
            unused |= {name_of[image] for image in dropped}

    of_arm = {"leaky": test, "clean": [p for p in test if p.image_id in tested_text and p.task != "pure"]}
    tested = of_arm.get(arm, [pair for pair in test if pair.task == "pure"])
    trained = {*(pair.name for pair in train if pair.name not in unused), *added}
    both = {pair.image_id for pair in tested} & {pair.image_id for pair in pairs if pair.name in trained}
    if arm in ("clean", "clean_pure") and both:
        raise ConfigError(
            f"data.split.arm={arm}: expected that general, salient and non_salient test the same images, as the "
            f"authors' rows do; {len(both)} tested images train under another condition, such as {min(both)}"
        )
    parts: dict[Part, list[str]] = {
        "train": [*(pair.name for pair in train if pair.name not in unused), *added],
        "val": [pair.name for pair in pairs if pair.image_id in validating],
        "test": [pair.name for pair in tested],
    }
    return _split(f"{published.method}, {arm} arm, validation {val_fraction:g}", seed, "pair", parts)


# Split methods, of which conf/data/split chooses one


@dataclass(frozen=True)
class SplitSettings:
    """Settings of split methods; each method reads those it needs.

    Attributes:
        seed: Another seed gives another split.
        val_fraction: Fraction of the training images used for validation.
        folds: Number of folds of a cross-validation.
        fold: The test fold, from 0.
    """

    seed: int = 0
    val_fraction: float = 0.1
    folds: int = 5
    fold: int = 0


class SplitMethod(Protocol):
    """A method to split a data set."""

    def __call__(self, index: DatasetIndex, settings: SplitSettings) -> Split:
        """Split a data set.

        Raises:
            ConfigError: The data set cannot be split by this method.
        """


@dataclass(frozen=True)
class EightyTwenty:
    """See :func:`eighty_twenty`."""

    def __call__(self, index: DatasetIndex, settings: SplitSettings) -> Split:
        """Test a fifth of the images."""
        return eighty_twenty(index.image_sets, settings.val_fraction, settings.seed)


@dataclass(frozen=True)
class SeventyFifteenFifteen:
    """See :func:`seventy_fifteen_fifteen`."""

    def __call__(self, index: DatasetIndex, settings: SplitSettings) -> Split:
        """Test 15 % of the images."""
        return seventy_fifteen_fifteen(index.image_sets, settings.seed)


@dataclass(frozen=True)
class KFold:
    """See :func:`kfold`."""

    def __call__(self, index: DatasetIndex, settings: SplitSettings) -> Split:
        """Test one fold."""
        return kfold(index.image_sets, settings.folds, settings.fold, settings.val_fraction, settings.seed)


@dataclass(frozen=True)
class PublishedTranBlend:
    """See :func:`published_tranblend`; of SJTU-TIS alone.

    Attributes:
        rows: Task name -> the authors' CSV file of that task, see :func:`authors_rows`; None for the stand-in order.
        rotation: See :func:`published_tranblend`.
    """

    rows: Mapping[str, str] | None = None
    rotation: int = 0

    def __call__(self, index: DatasetIndex, settings: SplitSettings) -> Split:
        """Draw rows of each task."""
        return published_tranblend(index.pairs, rows=_authors_order(index, self.rows), rotation=self.rotation)


@dataclass(frozen=True)
class PublishedArm:
    """See :func:`published_arm`; of SJTU-TIS alone.

    Attributes:
        arm: One of :data:`ARMS`.
        rows: As of :class:`PublishedTranBlend`.
        rotation: As of :class:`PublishedTranBlend`.
    """

    arm: Arm = "leaky"
    rows: Mapping[str, str] | None = None
    rotation: int = 0

    def __call__(self, index: DatasetIndex, settings: SplitSettings) -> Split:
        """Draw rows of each task, and take those of the arm."""
        order = _authors_order(index, self.rows)
        return published_arm(
            index.pairs, index.image_sets, self.arm, settings.val_fraction, settings.seed, order, self.rotation
        )


def _authors_order(index: DatasetIndex, files: Mapping[str, str] | None) -> dict[str, list[str]] | None:
    """The order of each task's rows in the authors' files; None without files."""
    if not index.is_sjtu_tis:
        raise ConfigError(
            f"data/split=published is the papers' split of SJTU-TIS, got {index.root}. Choose 80-20, 70-15-15, "
            "kfold or given, or the split file of another run (data/split=file)."
        )
    if files is None:
        return None
    if set(files) != set(TASK_BY_NAME):
        raise ConfigError(
            f"data.split.rows: expected a CSV file for each of {', '.join(TASK_BY_NAME)}, got one for "
            f"{', '.join(files) or 'none'}"
        )
    names: dict[str, set[str]] = {task: set() for task in TASK_BY_NAME}
    for pair in index.pairs:
        names[pair.task].add(pair.name)
    return {task: authors_rows(file, names[task]) for task, file in files.items()}


@dataclass(frozen=True)
class Given:
    """The data set's own split, see :func:`given`."""

    def __call__(self, index: DatasetIndex, settings: SplitSettings) -> Split:
        """Take the data set's own parts."""
        if index.parts is None:
            raise ConfigError(
                f"data/split=given needs a data set that defines a split, and {index.root} has none. Choose "
                "80-20, 70-15-15 or kfold, or the split file of another run (data/split=file)."
            )
        return given(index.parts, settings.val_fraction, settings.seed)


@dataclass(frozen=True)
class GivenOrEightyTwenty:
    """The data set's own split; 80/20 where it has none."""

    def __call__(self, index: DatasetIndex, settings: SplitSettings) -> Split:
        """Take the data set's own parts, or test a fifth of the images."""
        method: SplitMethod = EightyTwenty() if index.parts is None else Given()
        return method(index, settings)


@dataclass(frozen=True)
class FromFile:
    """A saved split: ``split.json`` of another run.

    Attributes:
        path: The file.
    """

    path: Path | str

    def __call__(self, index: DatasetIndex, settings: SplitSettings) -> Split:
        """Read the file; ``check_against`` checks later that it is of this data set."""
        return Split.load(self.path)


def _split(method: str, seed: int, unit: Unit, parts: Mapping[Part, Iterable[str]]) -> Split:
    return Split(method, seed, unit, {part: tuple(names) for part, names in parts.items()})


def _strata(image_sets: Mapping[str, str]) -> list[list[str]]:
    """The sorted image IDs of each set."""
    sets = sorted(set(image_sets.values()))
    return [sorted(image_id for image_id, own_set in image_sets.items() if own_set == name) for name in sets]


def _shuffled(ids: Iterable[str], salt: str) -> list[str]:
    """Names in the order of a hash of salt and name."""
    return sorted(ids, key=lambda name: hashlib.sha256(f"{salt}:{name}".encode()).digest())


def _check_val_fraction(val_fraction: float) -> None:
    if not 0 <= val_fraction < 1:
        raise ConfigError(f"data.val_fraction: expected at least 0 and below 1, got {val_fraction}")
