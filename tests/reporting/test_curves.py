from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from saltext.reporting.curves import CurvePanel, Line, draw, read_curves, run_panels, spread, write
from saltext.system.run_folder import RunFolder


def log(folder: Path, version: int, rows: list[dict[str, float]]) -> None:
    """As Lightning's CSV logger leaves them: validation and training values of an epoch on lines of their own."""
    target = folder / "metrics" / f"version_{version}"
    target.mkdir(parents=True)
    pd.DataFrame(rows).to_csv(target / "metrics.csv", index=False)


def values(table: pd.DataFrame, name: str, stage: str = "") -> list[float]:
    return table[(table["name"] == name) & (table["stage"] == stage)].sort_values("epoch")["value"].tolist()


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


def test_lines_of_an_epoch_become_rows_without_gaps(run: RunFolder) -> None:
    found = read_curves(run)
    assert list(found.columns) == ["stage", "epoch", "name", "value"]
    assert values(found, "val/cc") == [0.1, 0.3]
    assert values(found, "train/loss") == [9.0, 7.0]
    assert set(found["name"]) == {"val/cc", "val/cc_pure", "val/cc_salient", "train/loss"}
    assert found["value"].notna().all()
    assert found["epoch"].dtype == int


def test_a_resumed_run_goes_on_in_later_files_which_win(run: RunFolder) -> None:
    for version in range(2, 11):  # version_10 is later than version_9, whatever the alphabet says
        log(run.root, version, [{"epoch": 1, "step": 13, "train/loss": 60.0 + version}])
    found = read_curves(run)
    assert values(found, "train/loss") == [9.0, 70.0]
    assert values(found, "val/cc") == [0.1, 0.3]


def test_stages_stand_in_the_order_of_the_schedule(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    for name in ("a_last", "warmup"):
        log(run.stage(name).root, 0, [{"epoch": 0, "step": 1, "train/loss": float(len(name))}])
    run.config.write_text("schedule: {stages: {warmup: {}, a_last: {}}}")
    found = read_curves(run)
    assert found["stage"].tolist() == ["warmup", "a_last"]
    assert values(found, "train/loss", "warmup") == [6.0]


def test_a_run_that_logged_nothing_yet_has_no_rows_and_no_figure(tmp_path: Path) -> None:
    (tmp_path / "metrics" / "version_0").mkdir(parents=True)
    (tmp_path / "metrics" / "version_0" / "metrics.csv").touch()  # stopped before its first line
    assert read_curves(RunFolder(tmp_path)).empty
    assert not write(RunFolder(tmp_path))
    assert not (tmp_path / "curves.png").exists()


def test_a_supervised_run_shows_its_loss_and_its_scores_by_task(run: RunFolder) -> None:
    loss, cc = run_panels(read_curves(run))
    assert [line.label for line in loss.lines] == ["loss"]
    assert [line.label for line in cc.lines] == ["mean of tasks", "pure", "salient"]
    assert (cc.title, list(cc.lines[2].values)) == ("CC on validation images", [0.0, 0.2])


def test_conditions_of_other_data_are_told_from_metrics_whose_name_begins_alike(tmp_path: Path) -> None:
    log = tmp_path / "metrics" / "version_0" / "metrics.csv"
    log.parent.mkdir(parents=True)
    names = ("nss", "nss_told", "nss_free", "nss_unbiased", "nss_unbiased_told", "nss_unbiased_free")
    pd.DataFrame({"epoch": [0], "step": [0], **{f"val/{name}": [0.5] for name in names}}).to_csv(log, index=False)
    panels = run_panels(read_curves(RunFolder(tmp_path)))
    assert [[line.label for line in panel.lines] for panel in panels] == [["mean of tasks", "free", "told"]] * 2


def test_an_adversarial_run_shows_both_players_and_the_accuracies(tmp_path: Path) -> None:
    players = {"train/loss": 2.0, "train/adversarial": 1.0, "train/bce": 1.0, "train/discriminator": 0.5}
    told = {"train/accuracy_real": 0.9, "train/accuracy_generated": 0.8}
    # In a warm start, nothing of the discriminator is logged.
    log(tmp_path, 0, [{"epoch": 0, "step": 1, "train/loss": 3.0}, {"epoch": 1, "step": 2, **players, **told}])
    losses, accuracies = run_panels(read_curves(RunFolder(tmp_path)))
    assert [line.label for line in losses.lines] == ["generator", "its adversarial term", "discriminator"]
    assert (list(losses.lines[2].epochs), list(losses.lines[2].values)) == ([1], [0.5])
    assert [list(line.values) for line in accuracies.lines] == [[0.9], [0.8]]


def test_a_run_with_stages_shows_a_curve_a_stage(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    for name in ("pure", "warmup"):
        logged = {"epoch": 0, "step": 1, "train/loss": 1.0, "test/cc": 0.5, "test/cc_pure": 0.6, "test/cc_whole": 0.4}
        log(run.stage(name).root, 0, [logged])
    loss, cc = run_panels(read_curves(run))
    assert [line.label for line in loss.lines] == [line.label for line in cc.lines] == ["pure", "warmup"]
    assert cc.title == "CC on test images"
    assert [list(line.values) for line in cc.lines] == [[0.5], [0.5]]


def test_a_run_of_one_task_shows_it_once(tmp_path: Path) -> None:
    log(tmp_path, 0, [{"epoch": 0, "step": 1, "val/cc": 0.5, "val/cc_pure": 0.5}])
    (cc,) = run_panels(read_curves(RunFolder(tmp_path)))
    assert [line.label for line in cc.lines] == ["pure"]


def test_the_figure_and_its_numbers_are_written_into_the_run(run: RunFolder) -> None:
    assert write(run)
    again = pd.read_csv(run.root / "curves.csv", keep_default_na=False)
    assert again.to_dict("list") == read_curves(run).to_dict("list")
    with Image.open(run.root / "curves.png") as picture:
        assert picture.width > picture.height > 200


def panel(*lines: Line) -> CurvePanel:
    return CurvePanel("t", "y", lines)


def coloured(path: Path) -> bool:
    pixels = np.asarray(Image.open(path).convert("RGB")).astype(int)
    return bool((pixels.max(axis=2) - pixels.min(axis=2) > 60).any())


def test_published_curves_are_grey_and_ours_are_not(tmp_path: Path) -> None:
    draw([panel(Line("theirs", [0, 1], [0.5, 0.6], published=True))], tmp_path / "theirs.png")
    draw([panel(Line("ours", [0, 1], [0.5, 0.6]))], tmp_path / "ours.png")
    assert not coloured(tmp_path / "theirs.png")
    assert coloured(tmp_path / "ours.png")


@pytest.mark.parametrize(("count", "columns"), [(1, 1), (3, 3), (4, 2), (7, 3)])
def test_any_number_of_panels_can_be_drawn(tmp_path: Path, count: int, columns: int) -> None:
    draw([panel(Line("a", [0, 1], [0.1, 0.2]), Line("b", [0], [0.2]))] * count, tmp_path / "x.png")
    with Image.open(tmp_path / "x.png") as picture:
        assert picture.width == pytest.approx(columns * 572, abs=2)


def test_values_that_are_not_finite_are_gaps_and_a_curve_of_them_alone_has_no_label(tmp_path: Path) -> None:
    lost = Line("lost", [0, 1], [np.nan, np.inf])
    draw([panel(Line("ended", [0, 1, 2], [1.0, 0.5, np.nan]), lost)], tmp_path / "x.png")
    draw([panel(lost)], tmp_path / "empty.png")
    assert coloured(tmp_path / "x.png")
    assert not coloured(tmp_path / "empty.png")


def test_nothing_to_draw_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one"):
        draw([], tmp_path / "x.png")
    with pytest.raises(ValueError, match="at least one curve"):
        draw([panel()], tmp_path / "x.png")
    with pytest.raises(ValueError, match="2 epochs and 1 values"):
        Line("a", [0, 1], [0.1])


def test_labels_that_would_overlap_move_apart_around_their_mean() -> None:
    assert spread([0.5, 0.1, 0.9], 0.1) == [0.5, 0.1, 0.9]
    assert spread([0.5, 0.5], 0.1) == pytest.approx([0.45, 0.55])
    # The pair moves into the third, and all three around their common mean.
    assert spread([0.52, 0.50, 0.61], 0.1) == pytest.approx([0.54333, 0.44333, 0.64333], abs=1e-4)
    assert spread([], 0.1) == []


def test_spread_labels_keep_their_order_and_their_distance() -> None:
    wanted = np.random.default_rng(0).uniform(size=12).tolist()
    found = spread(wanted, 0.06)
    assert np.argsort(found).tolist() == np.argsort(wanted).tolist()
    assert np.diff(sorted(found)).min() > 0.06 - 1e-9
    assert np.mean(found) == pytest.approx(np.mean(wanted))
