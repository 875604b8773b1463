from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from saltext.reporting.curves import of_runs, run_panels
from saltext.reporting.run_files import write_curves
from saltext.results.run_record import read_history
from saltext.system.run_folder import RunFolder


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


def test_conditions_of_other_data_are_told_from_metrics_whose_name_begins_alike(tmp_path: Path) -> None:
    log = tmp_path / "metrics" / "version_0" / "metrics.csv"
    log.parent.mkdir(parents=True)
    names = ("nss", "nss_told", "nss_free", "nss_unbiased", "nss_unbiased_told", "nss_unbiased_free")
    pd.DataFrame({"epoch": [0], "step": [0], **{f"val/{name}": [0.5] for name in names}}).to_csv(log, index=False)
    panels = run_panels(read_history(RunFolder(tmp_path)))
    assert [list(panel.lines) for panel in panels] == [["mean of tasks", "free", "told"]] * 2


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


def test_the_figure_and_its_numbers_are_written_into_the_run(run: RunFolder) -> None:
    assert write_curves(run)
    again = pd.read_csv(run.root / "curves.csv", keep_default_na=False)
    assert again.to_dict("list") == read_history(run).to_dict("list")
    with Image.open(run.root / "curves.png") as picture:
        assert picture.width > picture.height > 200


def test_a_run_that_logged_nothing_has_no_figure(tmp_path: Path) -> None:
    assert not write_curves(RunFolder(tmp_path))
    assert not list(tmp_path.iterdir())


def test_several_runs_share_a_panel_with_the_mean_of_each(run: RunFolder, tmp_path: Path) -> None:
    history = read_history(run)
    assert list(of_runs({"a": history})[1].lines) == ["mean of tasks", "pure", "salient"]
    loss, cc = of_runs({"a": history, "b": history})
    assert list(loss.lines) == list(cc.lines) == ["a", "b"]
    assert cc.lines["b"].tolist() == [0.1, 0.3]
