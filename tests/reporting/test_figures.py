import doctest
import math
import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from saltext.reporting import figures as module
from saltext.reporting.document import Document, html
from saltext.reporting.document import Figure as Drawing
from saltext.reporting.figures import (
    COLOURS,
    CurvePanel,
    Series,
    calibration,
    curves,
    estimates,
    gains,
    panels_of_runs,
    run_panels,
    scatter,
    svg,
    write_png,
)
from saltext.results.calibration import LEVELS, Calibration
from saltext.results.comparison import Estimate
from saltext.results.run_record import read_history
from saltext.system.run_folder import RunFolder

NAN = math.nan
STRANGE = "$x$ <b>_y_ & “画像” \x07" + "long " * 30


def of_maps(covered: np.ndarray) -> Calibration:
    return Calibration("pure", 9, covered, covered - 0.02, covered + 0.02, Estimate(0.0, -0.1, 0.1))


def of_two(mean: float) -> dict[str, Estimate]:
    return {name: Estimate(mean, mean - 0.02, mean + 0.02) for name in ("pure", "non_salient")}


def panel(published: tuple[str, ...] = (), **lines: list[float]) -> CurvePanel:
    values = {label: pd.Series(line, dtype=float) for label, line in lines.items()}
    return CurvePanel("CC on validation images", "CC", values, published)


def points(*rows: tuple[float, float, str, str]) -> pd.DataFrame:
    return pd.DataFrame(list(rows), columns=["x", "y", "name", "number"])


def some(name: str, label: str = "ours") -> Figure:
    """A figure of each function, with a label."""
    if name == "curves":
        return curves([panel(("paper",), **{label: [0.5, 0.6], "paper": [0.4, 0.6]})])
    if name == "scatter":
        return scatter(label, f"CC of {label}", label, points((0.1, 0.2, label, "1"), (0.3, 0.2, "other", "")))
    if name == "calibration":
        return calibration(label, {label: of_maps(np.array(LEVELS))})
    series = [Series(label, of_two(0.6)), Series("shuffled text", of_two(0.5), "text"),
              Series("centre prior", of_two(0.4), "baseline")]  # fmt: skip
    if name == "gains":
        return gains(label, {label: [Series(label, of_two(0.6), single={"pure": [0.5, 0.7]})], "another": series[:1]})
    return estimates(label, label, series, gains=name == "gain")


FIGURES = ("curves", "scatter", "calibration", "accuracy", "gain", "gains")


@pytest.fixture(scope="module")
def drawn() -> dict[str, Figure]:
    return {name: some(name) for name in FIGURES}


def elements(figure: Figure, tag: str, label: str = "a figure") -> Iterator[ElementTree.Element]:
    return ElementTree.fromstring(svg(figure, label)).iter(tag)


def texts(figure: Figure) -> list[str]:
    return [element.text or "" for element in elements(figure, "text")]


def named(figure: Figure) -> list[str]:
    return [element.text or "" for element in elements(figure, "title")]


def coloured(path: Path) -> bool:
    pixels = np.asarray(Image.open(path).convert("RGB")).astype(int)
    return bool((pixels.max(axis=2) - pixels.min(axis=2) > 60).any())


def test_a_figure_is_the_same_bytes_however_often_it_is_drawn(drawn: dict[str, Figure]) -> None:
    for name, figure in drawn.items():
        assert svg(figure, name) == svg(figure, name)
    assert svg(drawn["gain"], "gain") == svg(some("gain"), "gain")


def test_figures_follow_the_colours_of_a_page(drawn: dict[str, Figure]) -> None:
    for name, figure in drawn.items():
        text = svg(figure, name)
        assert "currentColor" in text
        colours = set(re.findall(r"(?<!, )#[0-9a-f]{6}\b", text))
        assert not colours, name
        assert "font-family" not in text
        assert "<style" not in text  # it would be that of the whole page
    page = html(Document("t", []))
    for number, colour in enumerate(COLOURS[:-1]):
        assert page.count(f"--s{number}: ") == 2
        assert f"--s{number}: {colour}" in page


def test_ids_of_a_pages_figures_do_not_collide(drawn: dict[str, Figure]) -> None:
    more = curves([panel(other=[0.5, 0.6])])
    page = html(Document("t", [("", [[Drawing(svg(figure, "x")) for figure in (*drawn.values(), more)]])]))
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids)) > 10
    assert set(re.findall(r'(?:url\(|href=")#([^")]+)', page)) <= set(ids)


def test_a_figure_says_what_it_shows_to_those_who_cannot_see_it(drawn: dict[str, Figure]) -> None:
    text = svg(drawn["gain"], 'Gain of <the> "text"')
    assert 'role="img" aria-label="Gain of &lt;the&gt; &quot;text&quot;"' in text


@pytest.mark.parametrize("name", FIGURES)
def test_labels_may_hold_any_text(name: str, tmp_path: Path) -> None:
    figure = some(name, STRANGE)
    write_png(figure, tmp_path / "x.png")
    shown = "".join(texts(figure))
    assert "$x$ <b>_y_" in shown
    axes = figure.axes[0].get_window_extent()
    assert axes.width > 0.3 * figure.bbox.width
    assert all("\x07" not in found for found in (*named(figure), shown))


def test_published_curves_are_grey_and_ours_are_not(tmp_path: Path) -> None:
    write_png(curves([panel(("theirs",), theirs=[0.5, 0.6])]), tmp_path / "theirs.png")
    write_png(curves([panel(ours=[0.5, 0.6])]), tmp_path / "ours.png")
    assert not coloured(tmp_path / "theirs.png")
    assert coloured(tmp_path / "ours.png")


@pytest.mark.parametrize(("count", "columns"), [(1, 1), (3, 3), (4, 2), (5, 3)])
def test_any_number_of_panels_can_be_drawn(tmp_path: Path, count: int, columns: int) -> None:
    write_png(curves([panel(a=[0.1, 0.2], b=[0.2])] * count), tmp_path / "x.png")
    with Image.open(tmp_path / "x.png") as picture:
        assert picture.width == pytest.approx(columns * 572, abs=2)


def test_labels_stand_in_the_order_in_which_curves_end_and_whole_names_in_the_page() -> None:
    name = "a run with a name that is much too long for a label lr=0.1"
    figure = curves([panel(**{name: [0.1, 0.2], "b": [0.3, 0.4]})])
    assert texts(figure)[-2:] == ["b", "a run with…bel lr=0.1"]
    assert named(figure) == [name, "b"]


def test_values_that_are_not_finite_are_gaps_and_a_curve_of_them_alone_has_no_label(tmp_path: Path) -> None:
    lost = [NAN, math.inf]
    both = curves([panel(ended=[1.0, 0.5, NAN], lost=lost)])
    write_png(curves([panel(lost=lost)]), tmp_path / "empty.png")
    assert "ended" in texts(both)
    assert "lost" not in texts(both)
    assert not coloured(tmp_path / "empty.png")


def test_epochs_are_whole_numbers_even_if_there_is_one() -> None:
    ticks = set(texts(curves([CurvePanel("CC", "CC", {"a": pd.Series([0.5], index=[3])})])))
    assert {"3", "4"} <= ticks
    assert not {tick for tick in ticks if re.fullmatch(r"[23]\.\d+", tick)}


def test_nothing_to_draw_is_refused() -> None:
    with pytest.raises(ValueError, match="expected at least one panel"):
        curves([])
    with pytest.raises(ValueError, match="each with at least one curve"):
        curves([panel()])
    with pytest.raises(ValueError, match="expected at least one estimate"):
        estimates("t", "CC", [Series("ours", {})])


def test_a_point_says_which_pair_it_is_and_higher_scores_lie_higher() -> None:
    three = points((0.1, 0.9, "001 “a & b”: 0.900 and 0.100", "1"), (0.5, 0.4, "002", ""), (NAN, 0.4, "003", ""))
    figure = scatter("pure", "CC of b", "CC of a", three)
    assert named(figure) == ["001 “a & b”: 0.900 and 0.100", "002"]
    assert {"CC of b", "CC of a", "1"} <= set(texts(figure))
    first, second = (e for e in elements(figure, "use") if "fill: var(--s0" in e.get("style", ""))
    assert float(first.get("x", "")) < float(second.get("x", ""))
    assert float(first.get("y", "")) < float(second.get("y", ""))  # pixels count downwards


def test_a_few_points_or_none_can_be_drawn() -> None:
    assert named(scatter("t", "x", "y", points((0.5, 0.5, "only", "")))) == ["only"]
    assert named(scatter("t", "x", "y", points())) == []


def test_a_calibration_curve_goes_from_nothing_to_everything() -> None:
    figure = calibration("pure", {"_ours": of_maps(np.square(LEVELS))})
    (line,) = [line for line in figure.axes[0].lines if len(line.get_xdata()) > 2]
    assert (line.get_xdata()[0], line.get_ydata()[0], line.get_xdata()[-1], line.get_ydata()[-1]) == (0, 0, 1, 1)
    assert any(text.startswith("_ours, error 0.") for text in texts(figure))


def test_each_estimate_has_its_label_its_value_and_its_interval() -> None:
    series = [Series("ours", {"pure": Estimate(0.6, 0.58, 0.62), "whole": Estimate(0.5, 0.48, 0.52)}),
              Series("published", {"pure": Estimate(0.7)}, "baseline"),
              Series("undefined", {"whole": Estimate(NAN, NAN, NAN)}, "baseline")]  # fmt: skip
    figure = estimates("Accuracy", "CC", series)
    labels = [text for text in texts(figure) if text in ("pure", "whole", "ours", "published", "undefined")]
    assert labels == ["pure", "ours", "published", "whole", "ours", "undefined"]
    assert {"0.600", "0.700", "0.500", "–"} <= set(texts(figure))
    assert "pure, ours: 0.600 (0.580 to 0.620)" in named(figure)
    assert "pure, published: 0.700" in named(figure)


def test_a_single_series_is_labelled_by_its_conditions_and_a_single_condition_by_its_series() -> None:
    one = texts(
        estimates(
            "Gain", "CC", [Series("vs. shuffled", {"a": Estimate(-0.01, -0.02, 0.0), "b": Estimate(0.1)})], gains=True
        )
    )
    assert {"a", "b", "−0.010", "+0.100"} <= set(one)
    assert "vs. shuffled" not in one
    both = texts(
        estimates("All", "CC", [Series("ours", {"all": Estimate(0.5)}), Series("prior", {"all": Estimate(0.4)})])
    )
    assert {"ours", "prior"} <= set(both)
    assert "all" not in both


def test_gains_stand_beside_a_line_of_no_difference() -> None:
    series = [Series("vs. empty", {"a": Estimate(0.2, 0.15, 0.25)}, "text")]
    low, high = estimates("Gain", "CC", series, gains=True).axes[0].get_xlim()
    assert low < 0 < high
    assert estimates("Accuracy", "CC", series).axes[0].get_xlim()[0] > 0


def test_gains_of_several_kinds_stand_on_the_same_axes_with_one_mark_for_each_model() -> None:
    one = Series("one", of_two(0.02), single={"pure": [0.01, 0.03]})
    figure = gains("added", {"by this": [one, Series("other", of_two(-0.1))], "by that": [one]})
    first, second = figure.axes
    assert first.get_xlim() == second.get_xlim()
    assert [label.get_text() for label in first.get_yticklabels()] == ["pure", "non_salient"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["one", "other"]
    marks = [{line.get_marker() for line in axes.lines if line.get_url() and "one" in line.get_url()}
             for axes in figure.axes]  # fmt: skip
    assert marks[0] == marks[1]
    assert any(list(line.get_xdata()) == [0.01, 0.03] for line in second.lines)
    with pytest.raises(ValueError, match="at least one difference"):
        gains("added", {"by this": []})


def test_kinds_differ_without_colour() -> None:
    series = [Series("a", of_two(0.6)), Series("b", of_two(0.5), "text"), Series("c", of_two(0.4), "baseline"),
              Series("d", of_two(0.3), "baseline")]  # fmt: skip
    lines = estimates("t", "CC", series).axes[0].lines
    assert len({line.get_marker() for line in lines} - {"None"}) == 4


def test_the_examples_hold() -> None:
    assert doctest.testmod(module).failed == 0


# Curves of runs


def log(folder: Path, version: int, rows: list[dict[str, float]]) -> None:
    """As Lightning's CSV logger leaves them: validation and training values of an epoch on lines of their own."""
    target = folder / "metrics" / f"version_{version}"
    target.mkdir(parents=True)
    pd.DataFrame(rows).to_csv(target / "metrics.csv", index=False)


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    log(
        tmp_path,
        0,
        [
            {"epoch": 0, "step": 6, "val/cc": 0.1, "val/cc_pure": 0.2, "val/cc_salient": 0.0},
            {"epoch": 0, "step": 6, "train/loss": 9.0},
            {"epoch": 1, "step": 13, "val/cc": 0.3, "val/cc_pure": 0.4, "val/cc_salient": 0.2},
            {"epoch": 1, "step": 13, "train/loss": 7.0},
        ],
    )
    return RunFolder(tmp_path)


def test_a_supervised_run_shows_its_loss_and_its_scores_by_task(run: RunFolder) -> None:
    loss, cc = run_panels(read_history(run))
    assert list(loss.lines) == ["loss"]
    assert list(cc.lines) == ["mean of tasks", "pure", "salient"]
    assert (cc.title, cc.lines["salient"].tolist()) == ("CC on validation images", [0.0, 0.2])


def test_conditions_of_other_data_are_not_taken_for_metrics_whose_name_begins_alike(tmp_path: Path) -> None:
    log = tmp_path / "metrics" / "version_0" / "metrics.csv"
    log.parent.mkdir(parents=True)
    names = ("nss", "nss_guided", "nss_free", "nss_unbiased", "nss_unbiased_guided", "nss_unbiased_free")
    pd.DataFrame({"epoch": [0], "step": [0], **{f"val/{name}": [0.5] for name in names}}).to_csv(log, index=False)
    panels = run_panels(read_history(RunFolder(tmp_path)))
    assert [list(panel.lines) for panel in panels] == [["mean of tasks", "free", "guided"]] * 2


def test_an_adversarial_run_shows_the_losses_of_both_networks_and_the_accuracies(tmp_path: Path) -> None:
    losses_of = {"train/loss": 2.0, "train/adversarial": 1.0, "train/bce": 1.0, "train/discriminator": 0.5}
    accuracies_of = {"train/accuracy_real": 0.9, "train/accuracy_generated": 0.8}
    # In a warm start, nothing of the discriminator is logged.
    log(
        tmp_path, 0, [{"epoch": 0, "step": 1, "train/loss": 3.0}, {"epoch": 1, "step": 2, **losses_of, **accuracies_of}]
    )
    losses, accuracies = run_panels(read_history(RunFolder(tmp_path)))
    assert list(losses.lines) == ["generator", "its adversarial term", "discriminator"]
    assert losses.lines["discriminator"].to_dict() == {1: 0.5}
    assert [line.tolist() for line in accuracies.lines.values()] == [[0.9], [0.8]]


def test_a_run_with_stages_shows_a_curve_a_stage(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    for name in ("pure", "warmup"):
        logged = {"epoch": 0, "step": 1, "train/loss": 1.0, "test/cc": 0.5, "test/cc_pure": 0.6, "test/cc_whole": 0.4}
        log(run.stage(name).root, 0, [logged])
    loss, cc = run_panels(read_history(run))
    assert list(loss.lines) == list(cc.lines) == ["pure", "warmup"]
    assert cc.title == "CC on test images"
    assert [line.tolist() for line in cc.lines.values()] == [[0.5], [0.5]]


def test_a_run_of_one_task_shows_it_once(tmp_path: Path) -> None:
    log(tmp_path, 0, [{"epoch": 0, "step": 1, "val/cc": 0.5, "val/cc_pure": 0.5}])
    (cc,) = run_panels(read_history(RunFolder(tmp_path)))
    assert list(cc.lines) == ["pure"]


def test_several_runs_share_a_panel_with_the_mean_of_each(run: RunFolder, tmp_path: Path) -> None:
    history = read_history(run)
    assert list(panels_of_runs({"a": history})[1].lines) == ["mean of tasks", "pure", "salient"]
    loss, cc = panels_of_runs({"a": history, "b": history})
    assert list(loss.lines) == list(cc.lines) == ["a", "b"]
    assert cc.lines["b"].tolist() == [0.1, 0.3]
