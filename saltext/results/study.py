"""What a study compares: its ``experiments/NAME/expected.yaml``, read and checked.

Keys of the file, those marked * needed:

    title *        what the page is called
    source *       where the published values come from: paper, table or figure
    experiments *  choices of conf/experiment the study is made from, in the order in which they run
    targets        names under which ``saltext reproduce`` and ``make reproduce-NAME`` know it
    part_of_all    whether the target ``all`` has it; true by default
    claims         what the paper concludes, as sentences
    notes          what a reader has to know about the comparison, as sentences
    protocol *     whose metrics: standard, or a paper of saltext/evaluation/protocols.py
    metrics        the metrics shown; a paper's own by default
    paper_rows     row: its name in the paper, in the paper's order; the study's own names and order by default
    rows           rows of the tables, name: [tasks pooled in it]; every task by itself by default
    lines *        what is compared, by name; see :class:`Line`
    tolerance      metric: {within, why}; experiments/tolerance.yaml by default
    panels         panels of the figure: what is logged (cc, train/loss): title
    against        line or lines, baselines included, from which the models' paired differences are shown
    subsets        name: regular expression of whole image names; the differences are shown of these images alone, too
    text_ablation   line or lines whose effect of the text is shown: own text minus others; protocol standard only
    protocol_effects   line or lines of data.split.arm=published, whose differences from the other arms' runs are shown
    starts         experiment: {experiment, stage} whose chosen weights its runs start from

Published curves stand beside it in ``published.csv`` (line, epoch, metric, value; epochs from 0).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import field, fields
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Self

import pandas as pd
from omegaconf import OmegaConf
from pydantic import BeforeValidator, ConfigDict, ValidationError, model_validator
from pydantic.dataclasses import dataclass

from saltext.data.tasks import TASK_BY_NAME
from saltext.data.yaml_files import read_packaged
from saltext.errors import ConfigError
from saltext.evaluation.protocols import PAPERS, STANDARD
from saltext.metrics import METRICS
from saltext.results.means import Published, published
from saltext.results.run_record import RunRecord
from saltext.system.run_folder import RunFolder

DATA_SET = "sjtu_tis"
"""The data set all published values are of."""

CURVE_COLUMNS = ("line", "epoch", "metric", "value")

_STRICT = ConfigDict(extra="forbid", arbitrary_types_allowed=True)
OneOrMore = Annotated[Sequence[str], BeforeValidator(lambda given: (given,) if isinstance(given, str) else given)]
"""A name or several of them."""


@dataclass(frozen=True, config=_STRICT)
class Line:
    """One thing compared: a row of each table and task, a curve of the figure.

    Attributes:
        experiment: Whose jobs it is made from (their ``name``).
        where: Values of the resolved configuration, by dotted key, that tell these jobs from others of the experiment.
        stage: Stage of the run it is made from; empty for the whole run.
        rows: The study's rows it has; empty for all.
        model: A baseline's title, to show a row that stands beside the model; empty for the model itself.
        published: Its name among the published values (saltext/results/published.yaml); empty for none.
        curve: Its line in ``published.csv``, whose best epoch stands in the tables without ``published``.
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


@dataclass(frozen=True, config=_STRICT)
class Tolerance:
    """How far a mean may lie from the published one to count as the same, and why so far."""

    within: float
    why: str


@dataclass(frozen=True, config=_STRICT)
class Start:
    """The weights an experiment starts from: those chosen in a stage of another one."""

    experiment: str
    stage: str


@dataclass(frozen=True, config=_STRICT)
class Study:
    """A comparison with published values, described above; a ValueError says everything that is wrong with one."""

    name: str
    title: str
    source: str
    experiments: Sequence[str]
    protocol: str
    lines: Sequence[Line]
    targets: Sequence[str] = ()
    part_of_all: bool = True
    claims: Sequence[str] = ()
    notes: Sequence[str] = ()
    metrics: Sequence[str] = ()
    rows: Mapping[str, Sequence[str]] = field(default_factory=dict)
    paper_rows: Mapping[str, str] = field(default_factory=dict)
    tolerance: Mapping[str, Tolerance] = field(default_factory=dict)
    panels: Mapping[str, str] = field(default_factory=dict)
    against: OneOrMore = ()
    subsets: Mapping[str, str] = field(default_factory=dict)
    text_ablation: OneOrMore = ()
    protocol_effects: OneOrMore = ()
    starts: Mapping[str, Start] = field(default_factory=dict)
    curves: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(CURVE_COLUMNS)))

    @model_validator(mode="after")
    def _refers_to_what_is_there(self) -> Self:
        names, known = [line.name for line in self.lines], (STANDARD, *PAPERS)
        tasks = {task for pooled in self.rows.values() for task in pooled}
        starting = {name for name, start in self.starts.items() for name in (name, start.experiment)}
        lacking = [column for column in CURVE_COLUMNS if column not in self.curves]
        curves = set(() if lacking else self.curves["line"])
        naming = ("against", "text_ablation", "protocol_effects")
        named = {(key, name) for key in naming for name in getattr(self, key)}
        problems: dict[str, Any] = {
            f"protocol {self.protocol!r} (known: {', '.join(known)})": self.protocol not in known,
            "metrics are needed with protocol: standard": not self.metrics,
            "text_ablation are scored with protocol: standard alone": self.text_ablation and self.protocol != STANDARD,
            f"published.csv lacks the columns {', '.join(lacking)}": lacking,
            **{f"unknown metric {name!r}": name not in METRICS for name in self.metrics},
            **{f"paper_rows: {name!r} is none of the rows": name not in self.rows for name in self.paper_rows},
            **{f"unknown task {name!r} in rows": name not in TASK_BY_NAME for name in sorted(tasks)},
            **{f"subsets.{name}: {why}": why for name, why in map(_expression_problem, self.subsets.items())},
            **{f"starts: {name} is none of the experiments": name not in self.experiments for name in sorted(starting)},
            **{f"{key}: {name!r} is none of the lines": name not in names for key, name in sorted(named)},
        }
        for line in self.lines:
            no_rows, where = sorted(set(line.rows) - set(self.rows)), f"lines.{line.name}:"
            reads = f"text_ablation: {line.name!r} is a baseline, which reads no text"
            problems |= {
                f"{where} experiment {line.experiment!r} is none of the experiments": line.experiment
                not in self.experiments,
                f"{where} unknown rows {no_rows}": no_rows,
                f"{where} {line.published!r} is not published": {line.published} - {"", *self.references},
                f"{where} no curve {line.curve!r} in published.csv": {line.curve} - {"", *curves},
                reads: line.model and line.name in self.text_ablation,
            }
        wrong = [text for text, applies in problems.items() if applies]
        if wrong:
            raise ValueError("; ".join(wrong))
        return self

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
        best = values.max() if METRICS[metric].higher_is_better else values.min()
        return None if values.empty else float(best)

    def curve(self, line: Line, metric: str) -> pd.DataFrame:
        """A line's published curve, epochs rising; empty where there is none."""
        found = self.curves[(self.curves["line"] == line.curve) & (self.curves["metric"] == metric)]
        return found.sort_values("epoch")


def _expression_problem(subset: tuple[str, str]) -> tuple[str, str]:
    """Name of a subset, and why its regular expression is none; empty if it is one."""
    name, expression = subset
    try:
        re.compile(expression)
    except re.error as error:
        return name, f"{expression!r} is no regular expression ({error})"
    return name, ""


def is_of(run: RunRecord, line: Line) -> bool:
    """Whether a line is made from a run."""
    return bool(run.cfg.name == line.experiment) and all(
        OmegaConf.select(run.cfg, key) == value for key, value in line.where.items()
    )


def part_of(run: RunRecord, line: Line) -> RunFolder:
    """The folder that holds what a line shows: the run's, or a stage's."""
    return run.folder.stage(line.stage) if line.stage else run.folder


def studies_folder() -> Path:
    """Where studies are described: ``experiments/`` of a checkout, or the part of it that an installed package has."""
    package = Path(__file__).resolve().parents[1]
    checkout = package.parent / "experiments"
    return checkout if checkout.is_dir() else package / "_experiments"


def studies(folder: Path | None = None) -> list[Study]:
    """All studies that are compared with published values, by name; see :func:`read_study`."""
    return [read_study(file) for file in sorted((folder or studies_folder()).glob("*/expected.yaml"))]


def known_study(name: str, folder: Path | None = None) -> Study:
    """The study of a name, see :func:`read_study`; a ConfigError names those there are."""
    file = (folder or studies_folder()) / name / "expected.yaml"
    if not file.is_file():
        known = ", ".join(study.name for study in studies(folder))
        raise ConfigError(f"No study {name!r} is compared with published values ({DATA_SET}). Known: {known}")
    return read_study(file)


def read_study(file: Path) -> Study:
    """Read one ``expected.yaml``, the curves beside it and the tolerances above it.

    Raises:
        ConfigError: Everything that is wrong with it.
    """
    given = read_packaged(file)
    protocol, lines = given.get("protocol"), given.get("lines") or {}
    metrics = given.get("metrics") or (PAPERS[protocol].metrics if protocol in PAPERS else ())
    shared, curves = file.parent.with_name("tolerance.yaml"), file.with_name("published.csv")
    tolerances = read_packaged(shared) if shared.is_file() else {}
    tolerance = {**tolerances.get(protocol, {}), **(given.get("tolerance") or {})}
    read = {
        "name": file.parent.name,
        "lines": [{"name": name, **(values or {})} for name, values in lines.items()],
        "metrics": metrics,
        "rows": given.get("rows") or {task: [task] for task in TASK_BY_NAME},
        "tolerance": {metric: value for metric, value in tolerance.items() if metric in metrics},
    }
    if curves.is_file():
        read["curves"] = pd.read_csv(curves, dtype={"line": str, "metric": str})
    try:
        return Study(**{**given, **read})
    except ValidationError as error:
        problems = [_in_words(problem, list(lines)) for problem in error.errors()]
        raise ConfigError(
            f"{file} does not describe a study: {'; '.join(problems)}. Keys: see saltext/results/study.py"
        ) from error


def _in_words(problem: Any, lines: Sequence[str]) -> str:
    if problem["type"] == "value_error":
        return str(problem["msg"]).removeprefix("Value error, ")
    where = [lines[part] if parent == "lines" else part for parent, part in pairwise(("", *problem["loc"]))]
    keys = [f.name for f in fields(Line if where[0] == "lines" else Study) if f.name not in ("name", "curves")]
    key, known = ".".join(map(str, where)), ", ".join(keys)
    said = {"missing": f"{key} is missing", "unexpected_keyword_argument": f"unknown key {key} (known: {known})"}
    return said.get(problem["type"], f"{key}: {problem['msg']}, got {problem['input']!r}")
