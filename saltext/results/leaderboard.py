"""The leaderboard: score tables of many models, summarised by condition with their intervals.

A file that describes rows (``experiments/leaderboard/rows.yaml``) has these keys, ``rows`` needed:

    rows     one mapping for each row, see :class:`Row`; paths are relative to the file
    folds    file of the fixed folds, see :class:`saltext.data.folds.Folds`
    unknown  name of a published model: why its values are unknown

A score table by itself has a row for each of its models that is no baseline.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from omegaconf import OmegaConf
from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from saltext.baselines import BASELINES
from saltext.data.folds import Folds
from saltext.data.report import DataReport
from saltext.data.tasks import in_order
from saltext.data.yaml_files import read_yaml
from saltext.errors import ConfigError, DamagedFileError, DataError, near
from saltext.evaluation.protocols import PAPERS, STANDARD
from saltext.metrics import METRICS
from saltext.results.comparison import Estimate, estimate
from saltext.results.means import published
from saltext.results.score_table import averaged_over_seeds, read_scores
from saltext.results.study import DATA_SET
from saltext.results.text_ablation import SwapAccuracy, ablation_differences, has_swaps, swap_accuracies

SHOWN = ("cc", "sim", "kl", "nss", "auc_judd", "auc_shuffled", "ig")
"""The metrics of the leaderboard, in its order."""

Kind = Literal["model", "human", "baseline"]

_CONFIG = ConfigDict(extra="forbid", arbitrary_types_allowed=True)
_ABLATION = "text_ablation"
_TABLES = (".csv", ".gz")
_ROUNDING = 1e-4  # kept scores have five digits
_ADVICE = "Fix or remove these; docs/leaderboard.md describes the files."


@dataclass(frozen=True, config=_CONFIG)
class Row:
    """What a file says about one row.

    Attributes:
        name: Name in the table.
        file: Score table. A ``text_ablation.csv`` (or ``.csv.gz``) beside it has the model's scores with other texts.
        row: The model's name in the file; may be empty where the file has one model.
        kind: ``human`` rows are predicted from human data of the test image itself.
        protocol: What the model was trained on, in a few words.
        source: Where the model, its code or its study is found.
        note: What a reader has to know about the row.
    """

    name: str
    file: str
    row: str = ""
    kind: Kind = "model"
    protocol: str = ""
    source: str = ""
    note: str = ""


@dataclass(frozen=True, config=_CONFIG)
class Entry:
    """A row with its scores: one per image and condition, standard protocol, seeds averaged.

    ``variants`` are those with other texts, with a column ``variant``; empty without any.
    """

    row: Row
    scores: pd.DataFrame
    variants: pd.DataFrame


@dataclass(frozen=True, config=_CONFIG)
class ConditionResult:
    """A row under one condition.

    Attributes:
        task: The condition.
        row: The row's description.
        images: Number of test images.
        folds: Number of folds whose images it has all; None where no folds are known.
        is_complete: Whether it has all images that any row has under the condition.
        estimates: Metric -> mean over images with its interval; NaN for one that was not measured.
        ablation: CC with the own text minus CC with an empty one; NaN where it was not measured.
        swap: Text-swap test by CC in the direction of the condition; None where it was not measured.
    """

    task: str
    row: Row
    images: int
    folds: int | None
    is_complete: bool
    estimates: Mapping[str, Estimate]
    ablation: Estimate
    swap: SwapAccuracy | None


@dataclass(frozen=True, config=_CONFIG)
class Leaderboard:
    """The rows of some files, with the folds.

    Attributes:
        entries: The rows, in the order of the files.
        folds: The fixed folds; None where no file names them.
        unknown: Published model -> why its values are unknown.
    """

    entries: Sequence[Entry]
    folds: Folds | None = None
    unknown: Mapping[str, str] = field(default_factory=dict)

    @property
    def tasks(self) -> list[str]:
        """The conditions of all rows, in the order of tables."""
        return in_order(task for entry in self.entries for task in entry.scores["task"])

    def results(self) -> list[ConditionResult]:
        """All rows by condition: those with all images first, each part by descending CC."""
        found = []
        for task in self.tasks:
            parts = [(entry, entry.scores[entry.scores["task"] == task]) for entry in self.entries]
            everything = {image for _, part in parts for image in part["image_id"]}
            results = [self._result(task, entry, part, everything) for entry, part in parts if len(part)]
            found += sorted(results, key=_by_cc)
        return found

    def _result(self, task: str, entry: Entry, part: pd.DataFrame, everything: set[str]) -> ConditionResult:
        images = set(part["image_id"])
        whole = None
        if self.folds is not None:
            tested = [everything & set(of_fold) for of_fold in self.folds.images]
            whole = sum(bool(of_fold) and of_fold <= images for of_fold in tested)
        estimates = {metric: estimate(part, metric) for metric in SHOWN}
        own = entry.scores[["image_id", "task", "cc"]] if "cc" in entry.scores else entry.scores[:0]
        empty = entry.variants[entry.variants["variant"] == "empty"] if len(entry.variants) else entry.variants
        gaps = ablation_differences(own, empty).get("empty", ())
        ablation = next((gap for gap in gaps if (gap.task, gap.metric) == (task, "cc")), Estimate(float("nan")))
        return ConditionResult(
            task, entry.row, len(images), whole, images >= everything, estimates, ablation, _swap(task, entry, own)
        )


def _by_cc(result: ConditionResult) -> tuple[bool, bool, float]:
    cc = result.estimates["cc"]
    return not result.is_complete, not cc.images, -cc.mean if cc.images else 0.0


def _swap(task: str, entry: Entry, own: pd.DataFrame) -> SwapAccuracy | None:
    if own.empty or not has_swaps(entry.variants):
        return None
    accuracies = swap_accuracies(own, entry.variants[entry.variants["variant"] == "opposite"])
    return next((one for one in accuracies if (one.direction, one.metric) == (task, "cc")), None)


def published_rows() -> list[tuple[str, str, str, Mapping[str, float]]]:
    """Every published row: protocol, model, condition (or pool of conditions), values by metric."""
    return [
        (protocol, model, task, values)
        for protocol, by_model in published(DATA_SET).items()
        for model, by_task in by_model.items()
        for task, values in by_task.items()
        if protocol in PAPERS
    ]


def read(files: Sequence[Path]) -> Leaderboard:
    """Read files that describe rows (``.yaml``) and score tables (``.csv``, ``.csv.gz``).

    Raises:
        DataError: Everything that is wrong with them: a missing or damaged file, a row that its table does not have,
            two rows of one name, two scores of one pair, empty or impossible scores, pairs that are in no fold or that
            the data set does not have, as far as a baseline's row tells them.
        ConfigError: A file that describes rows does not, or there are several files of folds.
    """
    issues = DataReport()
    entries: list[Entry] = []
    folds: dict[Path, Folds] = {}
    unknown: dict[str, str] = {}
    for file in files:
        if file.suffix in (".yaml", ".yml"):
            described = _read_rows(file)
            for row in described["rows"]:
                entries += _read_table(row, file.parent / row.file, issues)
            if described["folds"]:
                path = (file.parent / described["folds"]).resolve()
                folds[path] = Folds.read(path, issues)
            unknown |= described["unknown"]
        elif file.suffix in _TABLES:
            entries += _read_table(None, file, issues)
        else:
            issues.add("files that are neither .yaml, .csv nor .csv.gz", str(file))
    if len({of_file.digest for of_file in folds.values()}) > 1:
        raise ConfigError(f"expected one file of folds, got {', '.join(map(str, folds))}")
    known = next(iter(folds.values()), None)
    names = [entry.row.name for entry in entries]
    issues.add("names of two rows", *sorted({name for name in names if names.count(name) > 1}))
    if known is not None:
        for entry in entries:
            _check_pairs(entry, known, entries, issues)
    issues.raise_if_any("The leaderboard", _ADVICE)
    return Leaderboard(entries, known, unknown)


def _check_pairs(entry: Entry, folds: Folds, entries: Sequence[Entry], issues: DataReport) -> None:
    """Add the pairs of an entry that are in no fold, in another one than it says, or that no baseline has."""
    scores, name = entry.scores, entry.row.name
    pairs = list(zip(scores["image_id"], scores["task"], strict=True))
    without_fold = sorted(set(scores["image_id"]) - set(folds.fold_of))
    issues.add("images that are in no fold", *(f"{name}: {image}" for image in without_fold))
    if "fold" in scores:
        recorded = dict(zip(scores["image_id"], scores["fold"], strict=True))
        issues.add(
            "images that are in another fold than the row says",
            *(
                f"{name}: {image} (fold {fold}, expected {folds.fold_of[image]})"
                for image, fold in recorded.items()
                if folds.fold_of.get(image, fold) != fold
            ),
        )
    baselines = [other.scores for other in entries if other.row.kind == "baseline"]
    if baselines:
        known = {pair for table in baselines for pair in zip(table["image_id"], table["task"], strict=True)}
        issues.add(
            "pairs that the data set does not have",
            *(f"{name}: {image} ({task})" for image, task in pairs if (image, task) not in known),
        )


def _read_rows(file: Path) -> dict[str, Any]:
    try:
        content = read_yaml(file)
    except DataError as error:
        raise ConfigError(f"{file}: {error}") from error
    given = OmegaConf.to_container(content, resolve=False) if content is not None else None
    if not isinstance(given, dict) or not {"rows"} <= set(given) <= {"rows", "folds", "unknown"}:
        raise ConfigError(f"{file}: expected the keys rows, folds and unknown, got {given!r:.80}")
    try:
        rows = TypeAdapter(list[Row]).validate_python(given["rows"])
        unknown = TypeAdapter(dict[str, str]).validate_python(given.get("unknown") or {})
        folds = TypeAdapter(str).validate_python(given.get("folds") or "")
    except ValidationError as error:
        problems = [f"{_place(one['loc'], given['rows'])}: {one['msg']}" for one in error.errors()]
        raise ConfigError(f"{file}: {'; '.join(problems)}. docs/leaderboard.md describes the keys") from error
    untold = [row.name for row in rows if row.kind == "model" and not (row.protocol and row.source)]
    if untold:
        raise ConfigError(
            f"{file}: expected protocol (what it was trained on, or nothing) and source of every model, got none of "
            f"{', '.join(untold)}"
        )
    return {"rows": rows, "folds": folds, "unknown": unknown}


def _place(location: Sequence[int | str], rows: Any) -> str:
    """The row that a problem is in, by its name or its number from 1, and the key."""
    if not location or not isinstance(location[0], int):
        return ".".join(map(str, location)) or "the file"
    row = rows[location[0]]
    name = row.get("name") if isinstance(row, dict) else None
    return " ".join(map(str, (f"row {name or location[0] + 1}", *location[1:])))


def _read_table(row: Row | None, file: Path, issues: DataReport) -> list[Entry]:
    """The entry of a row, or those of all models of a table that has none described."""
    try:
        table = read_scores(file)
        ablations = [file.with_name(f"{_ABLATION}{ending}") for ending in (".csv", ".csv.gz")]
        ablation = next((path for path in ablations if path.is_file()), None)
        variants = pd.DataFrame() if ablation is None else read_scores(ablation)
    except (ConfigError, DamagedFileError) as error:
        issues.add("tables that cannot be read", str(error))
        return []
    column = next((name for name in ("line", "model") if name in table), None)
    if column is None:
        issues.add("tables without a column model", str(file))
        return []
    present = list(table[column].unique())
    titles = {baseline.title for baseline in BASELINES.values()}
    chosen = [name for name in present if name not in titles]
    if row is not None:
        chosen = [row.row] if row.row else chosen
        if len(chosen) != 1 or chosen[0] not in present:
            hint = near(row.row, present) if row.row else ""
            issues.add("rows that their table does not have", f"{row.name}: {row.row!r}{hint} of {', '.join(present)}")
            return []
    if not chosen:
        issues.add("tables without a model", str(file))
    entries = []
    for name in chosen:
        described = row or Row(name, str(file), name)
        scores = _scores_of_model(described, table, column, name, issues)
        of_variants = variants[variants[column] == name] if column in variants else variants[:0]
        if len(present) == 1 and len(variants) and of_variants.empty:
            others = ", ".join(map(str, variants[column].unique())) if column in variants else "none"
            issues.add("text ablations of another model", f"{described.name}: {others}, expected {name}")
        if scores is not None:
            averaged = averaged_over_seeds(of_variants) if len(of_variants) else pd.DataFrame()
            entries.append(Entry(described, scores, averaged))
    return entries


def _scores_of_model(row: Row, table: pd.DataFrame, column: str, name: str, issues: DataReport) -> pd.DataFrame | None:
    """The scores of a model, one per image and condition; None where they are not fit for the leaderboard."""
    own = table[table[column] == name]
    own = own[own["protocol"] == STANDARD] if "protocol" in own else own
    keys = ["image_id", "task", *(key for key in ("seed", "run") if key in own)]
    measured = [metric for metric in SHOWN if metric in own and own[metric].notna().any()]
    impossible = _impossible(own, measured, row.name)
    twice = own[own.duplicated(keys)]
    impossible["two scores of one pair"] = [
        f"{row.name}: {image} ({task})" for image, task in zip(twice["image_id"], twice["task"], strict=True)
    ]
    for kind, names in impossible.items():
        issues.add(kind, *names)
    problems = {
        "rows without CC of the standard protocol": "cc" not in measured,
        "rows of generated images": "generated" in own and bool((own["generated"].astype(str) == "True").any()),
    }
    for kind, applies in problems.items():
        if applies:
            issues.add(kind, row.name)
    if any(problems.values()) or any(impossible.values()):
        return None
    scores = averaged_over_seeds(own.assign(model=row.name))
    if "fold" in own:
        folds = own.drop_duplicates("image_id").set_index("image_id")["fold"]
        scores = scores.assign(fold=scores["image_id"].map(folds))
    return scores


def _impossible(scores: pd.DataFrame, measured: Sequence[str], name: str) -> dict[str, list[str]]:
    """The scores of a row that are missing for some pairs, or that no prediction can have, by the issue."""
    empty, outside = [], []
    for metric in measured:
        values, (low, high) = scores[metric], METRICS[metric].bounds
        missing = scores[values.isna()]
        if len(missing):
            first = missing.iloc[0]
            pairs = f"{len(missing)} of {len(scores)} pairs, such as {first['image_id']} ({first['task']})"
            empty.append(f"{name}: {metric} of {pairs}")
        finite = values.abs() < math.inf
        wrong = scores[values.notna() & ~(finite & values.between(low - _ROUNDING, high + _ROUNDING))]
        outside += [
            f"{name}: {metric} {pair[metric]:g} of {pair['image_id']} ({pair['task']}), expected {low:g} to {high:g}"
            for _, pair in wrong.iterrows()
        ]
    return {"scores that are empty": empty, "scores that are not possible": outside}


def _labels(result: ConditionResult) -> tuple[str, str, str, str, int, int | None]:
    return result.task, result.row.name, result.row.kind, result.row.protocol, result.images, result.folds


def frame(results: Sequence[ConditionResult]) -> pd.DataFrame:
    """A row for each result and metric: task, model, kind, protocol, images, folds, metric, mean, low and high."""
    records = [
        (*_labels(result), metric, found.mean, found.low, found.high)
        for result in results
        for metric, found in result.estimates.items()
        if found.images
    ]
    columns = ["task", "model", "kind", "protocol", "images", "folds", "metric", "mean", "low", "high"]
    return pd.DataFrame(records, columns=columns)
