"""What runs logged by epoch, as charts of a page."""

from collections.abc import Mapping

from saltext.reporting.charts import Chart, Curve
from saltext.reporting.curves import MEAN, CurvePanel, Line, read_curves, run_panels
from saltext.system.run_folder import RunFolder


def curve_charts(runs: Mapping[str, RunFolder]) -> list[Chart]:
    """One chart for each thing that was logged.

    Args:
        runs: Name -> its folder. Of a single run every task has a curve; of several, the mean of the tasks alone.
    """
    panels: dict[str, CurvePanel] = {}
    for name, folder in runs.items():
        for panel in run_panels(read_curves(folder)):
            lines = panel.lines if len(runs) == 1 else _named(panel, name)
            earlier = panels[panel.title].lines if panel.title in panels else ()
            panels[panel.title] = CurvePanel(panel.title, panel.ylabel, [*earlier, *lines])
    return [_chart(panel) for panel in panels.values()]


def _named(panel: CurvePanel, run: str) -> list[Line]:
    means = [line for line in panel.lines if line.label == MEAN]
    lines = means or list(panel.lines)
    return [Line(run if len(lines) == 1 else f"{run}, {line.label}", line.epochs, line.values) for line in lines]


def _chart(panel: CurvePanel) -> Chart:
    lines = [Curve(line.label, line.epochs, line.values) for line in panel.lines]
    return Chart(panel.title, "epoch", panel.ylabel, lines, whole=True)
