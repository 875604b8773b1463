from pathlib import Path

from saltext.reporting.curve_charts import curve_charts
from saltext.system.run_folder import RunFolder
from tests.reporting.test_curves import log


def make(folder: Path, cc: float) -> RunFolder:
    by_task = {"val/cc_pure": cc, "val/cc_whole": cc}
    log(folder, 0, [{"epoch": e, "step": e, "train/loss": 9.0 - e, "val/cc": cc + e, **by_task} for e in range(3)])
    return RunFolder(folder)


def test_a_single_run_shows_every_task(tmp_path: Path) -> None:
    loss, cc = curve_charts({"net": make(tmp_path, 0.5)})
    assert [curve.label for curve in loss.curves] == ["loss"]
    assert [curve.label for curve in cc.curves] == ["mean of tasks", "pure", "whole"]
    assert list(cc.curves[0].ys) == [0.5, 1.5, 2.5]
    assert cc.whole


def test_several_runs_share_charts_by_their_means(tmp_path: Path) -> None:
    loss, cc = curve_charts({"a": make(tmp_path / "a", 0.1), "b": make(tmp_path / "b", 0.2)})
    assert [curve.label for curve in loss.curves] == ["a", "b"]
    assert [(curve.label, curve.ys[0]) for curve in cc.curves] == [("a", 0.1), ("b", 0.2)]


def test_what_logged_nothing_has_no_charts(tmp_path: Path) -> None:
    assert curve_charts({"net": RunFolder(tmp_path)}) == []
