"""A study's figure: scores by epoch, ours beside the published ones."""

from collections.abc import Mapping, Sequence

import pandas as pd

from saltext.metrics import METRICS
from saltext.reporting import curves
from saltext.reporting.study_cells import Job
from saltext.reporting.study_expected import Line, Study

OURS, PUBLISHED = "ours", "published"

COLUMNS = ("line", "by", "how", "logged", "epoch", "value")


def values(study: Study, jobs: Mapping[str, Sequence[Job]]) -> pd.DataFrame:
    """Every point of the figure.

    Args:
        study: Whose panels are drawn.
        jobs: Split and choice of the epoch -> jobs.

    Returns:
        One row a point: ``line``, ``by`` (ours, published), ``how`` (ours: split and choice of the epoch), ``logged``
        (a panel's key), ``epoch`` from 0 and ``value``; runs of several seeds or folds are averaged.
    """
    found = [_published(study)]
    found += [_ours(study, line, how, part) for how, part in jobs.items() for line in study.lines]
    return pd.concat([table for table in found if len(table)] or [found[0]], ignore_index=True)[list(COLUMNS)]


def _published(study: Study) -> pd.DataFrame:
    parts = [study.curve(line, panel).assign(line=line.name) for line in study.lines for panel in study.panels]
    known = pd.concat([study.curves[:0], *(part for part in parts if len(part))])
    return known.rename(columns={"metric": "logged"}).assign(by=PUBLISHED, how="")


def _ours(study: Study, line: Line, how: str, jobs: Sequence[Job]) -> pd.DataFrame:
    # A row that stands beside the model has no training of its own.
    parts = [_logged(study, line, job) for job in jobs if job.is_of(line) and not line.model]
    if not parts:
        return pd.DataFrame(columns=list(COLUMNS))
    pooled = pd.concat(parts).groupby(["logged", "epoch"], sort=False)["value"].mean().reset_index()
    return pooled.assign(line=line.name, by=OURS, how=how)


def _logged(study: Study, line: Line, job: Job) -> pd.DataFrame:
    table = curves.read_curves(job.folder)
    names = {_name(panel, job): panel for panel in study.panels}
    part = table[(table["stage"] == line.stage) & table["name"].isin(list(names))]
    return part.assign(logged=part["name"].map(names))


def _name(panel: str, job: Job) -> str:
    """A metric is logged under the part of the split that chooses the epoch."""
    return f"{job.cfg.data.choose_on}/{panel}" if panel in METRICS else panel


def panels(study: Study, points: pd.DataFrame) -> list[curves.CurvePanel]:
    """What is drawn: a panel for each thing logged that has a curve."""
    ways = list(dict.fromkeys(points.loc[points["by"] == OURS, "how"]))
    found = [
        curves.CurvePanel(title, _unit(panel), _lines(study, points[points["logged"] == panel], ways))
        for panel, title in study.panels.items()
    ]
    return [panel for panel in found if panel.lines]


def _unit(panel: str) -> str:
    return METRICS[panel].title if panel in METRICS else "mean of the epoch"


def _lines(study: Study, points: pd.DataFrame, ways: Sequence[str]) -> list[curves.Line]:
    lines = []
    for name in (line.name for line in study.lines):
        for (by, how), part in points[points["line"] == name].groupby(["by", "how"], sort=False):
            label = f"{name}, paper" if by == PUBLISHED else f"{name}{numbered(str(how), ways)}"
            lines.append(curves.Line(label, part["epoch"].tolist(), part["value"].tolist(), by == PUBLISHED))
    return lines


def numbered(how: str, ways: Sequence[str]) -> str:
    """What tells runs of one line apart in a figure: the number of their section; nothing where there is one only."""
    return f" ({ways.index(how) + 1})" if len(ways) > 1 else ""


def best_and_last(points: pd.DataFrame) -> pd.DataFrame:
    """What each curve of a metric comes to.

    Args:
        points: See :func:`values`.

    Returns:
        One row a curve: ``line``, ``by``, ``how``, ``logged``, ``best``, ``epoch`` of it, ``last`` and ``lost`` (how
        much worse the last epoch is than the best one, at least 0).
    """
    records = []
    scored = points[points["logged"].isin(METRICS)]
    for (line, by, how, logged), part in scored.groupby(["line", "by", "how", "logged"], sort=False):
        sign = 1 if METRICS[str(logged)].higher_is_better else -1
        ordered = part.sort_values("epoch")
        scores = ordered["value"].to_numpy()
        place = int((sign * scores).argmax())
        best, last = float(scores[place]), float(scores[-1])
        epoch = int(ordered["epoch"].iloc[place])
        records.append((line, by, how, logged, best, epoch, last, sign * (best - last)))
    return pd.DataFrame(records, columns=["line", "by", "how", "logged", "best", "epoch", "last", "lost"])
