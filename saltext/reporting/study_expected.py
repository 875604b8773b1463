"""What a study compares: its ``experiments/NAME/expected.yaml``, read and checked.

Keys of the file, those marked * needed:

    title *        what the page is called
    source *       where the published values come from: paper, table or figure
    experiments *  choices of conf/experiment the study is made from, in the order in which they run
    targets        names under which ``saltext reproduce`` and ``make reproduce-NAME`` know it
    claims         what the paper concludes, as sentences
    notes          what a reader has to know about the comparison, as sentences
    protocol *     whose metrics: standard, or a paper of saltext/evaluation/protocols.py
    metrics        the metrics shown; a paper's own by default
    rows           rows of the tables, name: [tasks pooled in it]; every task by itself by default
    lines *        what is compared, by name; see :class:`Line`
    tolerance      metric: {within, why}; experiments/tolerance.yaml by default
    panels         panels of the figure: what is logged (cc, train/loss): title
    against        line or lines, baselines included, from which the models' paired differences are shown
    text_effects   line or lines whose effect of the text is shown: own text minus others; protocol standard only
    starts         experiment: {experiment, stage} whose chosen weights its runs start from

Published curves stand beside it in ``published.csv`` (line, epoch, metric, value; epochs from 0).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pandas as pd
from omegaconf import OmegaConf

from saltext.data.tasks import TASK_BY_NAME
from saltext.errors import ConfigError
from saltext.evaluation.protocols import PAPERS, STANDARD
from saltext.metrics import METRICS
from saltext.reporting.tables import Published, published

DATA_SET = "sjtu_tis"
"""The data set all published values are of."""

CURVE_COLUMNS = ("line", "epoch", "metric", "value")

_NEEDED = ("title", "source", "experiments", "protocol", "lines")


@dataclass(frozen=True)
class Line:
    """One thing compared: a row of each table and task, a curve of the figure.

    Attributes:
        name: In tables.
        experiment: Whose jobs it is made from (their ``name``).
        where: Values of the resolved configuration, by dotted key, that tell these jobs from others of the experiment.
        stage: Stage of the schedule it is made from; empty for the whole run.
        rows: The study's rows it has; empty for all.
        model: A baseline's title, to show a row that stands beside the model; empty for the model itself.
        published: Its name among the published values (saltext/reporting/published.yaml); empty for none.
        curve: Its line in ``published.csv``; empty for none. Without ``published``, the best epoch of each metric
            stands for it in the tables.
        picture: Whether the picture of its test pairs is shown.
    """

    name: str
    experiment: str
    where: Mapping[str, Any] = field(default_factory=dict)
    stage: str = ""
    rows: Sequence[str] = ()
    model: str = ""
    published: str = ""
    curve: str = ""
    picture: bool = False


@dataclass(frozen=True)
class Tolerance:
    """How far a mean may lie from the published one to count as the same, and why so far."""

    within: float
    why: str


@dataclass(frozen=True)
class Start:
    """The weights an experiment starts from: those chosen in a stage of another one."""

    experiment: str
    stage: str


@dataclass(frozen=True)
class Study:
    """A comparison with published values; attributes as described above."""

    name: str
    title: str
    source: str
    experiments: Sequence[str]
    protocol: str
    lines: Sequence[Line]
    targets: Sequence[str] = ()
    claims: Sequence[str] = ()
    notes: Sequence[str] = ()
    metrics: Sequence[str] = ()
    rows: Mapping[str, Sequence[str]] = field(default_factory=dict)
    tolerance: Mapping[str, Tolerance] = field(default_factory=dict)
    panels: Mapping[str, str] = field(default_factory=dict)
    against: Sequence[str] = ()
    text_effects: Sequence[str] = ()
    starts: Mapping[str, Start] = field(default_factory=dict)
    curves: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(CURVE_COLUMNS)))

    @property
    def references(self) -> Published:
        """Published values of its protocol: name -> row -> metric -> value."""
        return published(DATA_SET).get(self.protocol, {})

    def rows_of(self, line: Line) -> list[str]:
        """The rows a line has, in the order of the tables."""
        return [row for row in self.rows if row in (line.rows or self.rows)]

    def expected(self, line: Line, row: str, metric: str) -> float | None:
        """The published value of a cell; None where there is none."""
        if line.published:
            return self.references.get(line.published, {}).get(row, {}).get(metric)
        values = self.curve(line, metric)["value"]
        if values.empty:
            return None
        return float(values.max() if METRICS[metric].higher_is_better else values.min())

    def curve(self, line: Line, metric: str) -> pd.DataFrame:
        """A line's published curve, epochs rising; empty where there is none."""
        found = self.curves[(self.curves["line"] == line.curve) & (self.curves["metric"] == metric)]
        return found.sort_values("epoch")


def studies_folder() -> Path:
    """Where studies are described: ``experiments/`` of a checkout, or the part of it that an installed package has."""
    package = Path(__file__).resolve().parents[1]
    checkout = package.parent / "experiments"
    return checkout if checkout.is_dir() else package / "_experiments"


def studies(folder: Path | None = None) -> list[Study]:
    """All studies that are compared with published values, by name.

    Raises:
        ConfigError: A file that does not say what is needed.
    """
    files = sorted((folder or studies_folder()).glob("*/expected.yaml"))
    return [read_study(file) for file in files]


def known_study(name: str, folder: Path | None = None) -> Study:
    """The study of a name.

    Raises:
        ConfigError: There is none, or its file does not say what is needed.
    """
    file = (folder or studies_folder()) / name / "expected.yaml"
    if not file.is_file():
        known = ", ".join(study.name for study in studies(folder))
        raise ConfigError(f"No study {name!r} is compared with published values ({DATA_SET}). Known: {known}")
    return read_study(file)


def read_study(file: Path) -> Study:
    """Read one ``expected.yaml`` and the curves beside it.

    Raises:
        ConfigError: Everything that is wrong with it.
    """
    given: Any = OmegaConf.to_container(OmegaConf.load(file), resolve=True)
    problems = _wrong_keys(given, [f.name for f in fields(Study) if f.name not in ("name", "curves")])
    problems += [f"{key} is missing" for key in _NEEDED if key not in given]
    lines = given.get("lines") or {}
    for name, values in lines.items():
        problems += [f"lines.{name}: {text}" for text in _wrong_keys(values, [f.name for f in fields(Line)])]
        problems += [] if "experiment" in values else [f"lines.{name}: experiment is missing"]
    _refuse(file, problems)
    study = _built(file, given)
    _refuse(file, _problems(study))
    return study


def _refuse(file: Path, problems: Iterable[str]) -> None:
    found = list(problems)
    if found:
        raise ConfigError(f"{file} does not describe a study: {'; '.join(found)}. Keys: see study_expected.py")


def _wrong_keys(given: Mapping[str, Any], known: Sequence[str]) -> list[str]:
    return [f"unknown key {key!r} (known: {', '.join(known)})" for key in given if key not in known]


def _built(file: Path, given: dict[str, Any]) -> Study:
    protocol = given["protocol"]
    paper = PAPERS.get(protocol)
    metrics = given.get("metrics") or (paper.metrics if paper else ())
    shared = _tolerances(file.parent.with_name("tolerance.yaml")).get(protocol, {})
    own = {metric: Tolerance(**values) for metric, values in (given.get("tolerance") or {}).items()}
    curves = file.with_name("published.csv")
    read = {
        "lines": [Line(name, **values) for name, values in given["lines"].items()],
        "metrics": tuple(metrics),
        "rows": given.get("rows") or {task: [task] for task in TASK_BY_NAME},
        "tolerance": {metric: value for metric, value in {**shared, **own}.items() if metric in metrics},
        "against": _names(given.get("against")),
        "text_effects": _names(given.get("text_effects")),
        "starts": {name: Start(**values) for name, values in (given.get("starts") or {}).items()},
    }
    if curves.is_file():
        read["curves"] = pd.read_csv(curves, dtype={"line": str, "metric": str})
    return Study(file.parent.name, **{**given, **read})


def _names(given: str | Sequence[str] | None) -> tuple[str, ...]:
    """One name or several."""
    return (given,) if isinstance(given, str) else tuple(given or ())


def _tolerances(file: Path) -> Mapping[str, Mapping[str, Tolerance]]:
    if not file.is_file():
        return MappingProxyType({})
    given: Any = OmegaConf.to_container(OmegaConf.load(file))
    return {p: {metric: Tolerance(**values) for metric, values in by.items()} for p, by in given.items()}


def _problems(study: Study) -> list[str]:
    names = [line.name for line in study.lines]
    tasks = {task for pooled in study.rows.values() for task in pooled}
    own = [
        f"protocol {study.protocol!r} (known: {', '.join([STANDARD, *PAPERS])})"
        for _ in range(study.protocol not in (STANDARD, *PAPERS))
    ]
    own += [f"unknown metric {name!r}" for name in study.metrics if name not in METRICS]
    own += [] if study.metrics else ["metrics are needed with protocol: standard"]
    own += [f"unknown task {name!r} in rows" for name in sorted(tasks - set(TASK_BY_NAME))]
    for key, named in {"against": study.against, "text_effects": study.text_effects}.items():
        own += [f"{key}: {name!r} is none of the lines" for name in named if name not in names]
    own += [
        f"text_effects: {line.name!r} is a baseline, which reads no text"
        for line in study.lines
        if line.model and line.name in study.text_effects
    ]
    if study.text_effects and study.protocol != STANDARD:
        own.append("text_effects are scored with protocol: standard alone")
    missing = [c for c in CURVE_COLUMNS if c not in study.curves]
    own += [f"published.csv lacks the columns {', '.join(missing)}"] if missing else []
    starting = {name for name, start in study.starts.items() for name in (name, start.experiment)}
    own += [f"starts: {name} is none of the experiments" for name in sorted(starting - set(study.experiments))]
    return own + ([] if missing else [text for line in study.lines for text in _problems_of(line, study)])


def _problems_of(line: Line, study: Study) -> list[str]:
    found = {
        f"experiment {line.experiment!r} is none of the experiments": line.experiment not in study.experiments,
        f"unknown rows {sorted(set(line.rows) - set(study.rows))}": set(line.rows) - set(study.rows),
        f"{line.published!r} is not published": line.published and line.published not in study.references,
        f"no curve {line.curve!r} in published.csv": line.curve and line.curve not in set(study.curves["line"]),
    }
    return [f"lines.{line.name}: {text}" for text, wrong in found.items() if wrong]
