"""What a run leaves in its folder, and what commands print of runs."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from saltext.errors import ConfigError
from saltext.reporting import run_files
from saltext.reporting.run_files import write_curves, write_tables
from saltext.results.run_record import read_history
from saltext.results.score_table import RunScores
from saltext.system.run_folder import RunFolder
from tests import made_up_scores
from tests.command_line import here, refused


def scores(**columns: list[float]) -> RunScores:
    """Twenty images under both texts, the swapped text worse by .1, and a baseline."""
    ids = [f"{n:03}" for n in range(20)]
    table = pd.concat([
        pd.DataFrame({"image_id": ids, "task": task, "text": "x", "model": "m", "protocol": "standard", "seed": 0,
                      "cc": np.linspace(0.5, 0.9, 20)})
        for task in ("salient", "non_salient")
    ])  # fmt: skip
    swapped = table.assign(cc=table["cc"] - 0.1, variant="opposite")
    return RunScores(pd.concat([table, table.assign(model="uniform map", cc=0.0)]).assign(**columns), swapped)


def logged(folder: Path) -> None:
    target = folder / "metrics" / "version_0"
    target.mkdir(parents=True)
    pd.DataFrame({"epoch": [0, 1], "step": [1, 2], "train/loss": [1.0, 0.5]}).to_csv(
        target / "metrics.csv", index=False
    )


def test_a_run_leaves_its_tables_its_curves_and_how_its_maps_follow_the_text(tmp_path: Path) -> None:
    logged(tmp_path)
    write_tables(RunFolder(tmp_path), scores(), "By hand.", None)
    written = {path.name for path in tmp_path.iterdir() if path.is_file()}
    assert written == {
        "table.md", "text_ablation.md", "text_swap.csv", "text_swap.md", "curves.csv", "curves.png", "rows.json",
    }  # fmt: skip
    table, effect, swap = ((tmp_path / f"{name}.md").read_text() for name in ("table", "text_ablation", "text_swap"))
    assert "| salient | m | 20 | **0.700 ± 0.0" in table
    assert "By hand." in table
    assert "| swapped text (salient <-> non_salient) | CC | +0.100 (+0.100 to +0.100) |" in effect.replace("\\", "")
    assert "| CC | 20 | 100 % (83 to 100) | 100 % (83 to 100) | 100 % (83 to 100) | 100 % (100 to 100) |" in swap


def test_a_run_without_epochs_and_without_texts_leaves_its_tables_alone(tmp_path: Path) -> None:
    write_tables(RunFolder(tmp_path), RunScores(scores().pairs, pd.DataFrame()), "By hand.", None)
    assert {path.name for path in tmp_path.iterdir()} == {"table.md"}


def test_what_cannot_be_drawn_leaves_the_tables_and_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise OSError("no room")

    logged(tmp_path)
    monkeypatch.setattr(run_files.figures, "write_png", fail)
    write_tables(RunFolder(tmp_path), scores(), "By hand.", None)
    assert (tmp_path / "table.md").is_file()
    assert "the curves" in caplog.text


def test_the_figure_and_its_numbers_are_written_into_the_run(tmp_path: Path) -> None:
    logged(tmp_path)
    run = RunFolder(tmp_path)
    assert write_curves(run)
    again = pd.read_csv(run.root / "curves.csv", keep_default_na=False)
    assert again.to_dict("list") == read_history(run).to_dict("list")
    with Image.open(run.root / "curves.png") as picture:
        assert picture.width > picture.height > 200


def test_a_run_that_logged_nothing_has_no_figure(tmp_path: Path) -> None:
    assert not write_curves(RunFolder(tmp_path))
    assert not list(tmp_path.iterdir())


def test_one_metric_is_printed_and_the_others_on_request(capsys: pytest.CaptureFixture[str]) -> None:
    (table,) = run_files.tables.task_tables(scores(nss=[1.0] * 80).pairs, {})
    run_files.show(table)
    said = capsys.readouterr().out
    assert "CC ↑" in said
    assert "NSS ↑" not in said
    run_files.show(table, "nss")
    assert "CC ↑" not in capsys.readouterr().out
    run_files.show(table, run_files.ALL)
    said = capsys.readouterr().out
    assert "CC ↑" in said
    assert "NSS ↑" in said


def test_a_label_of_brackets_is_printed_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    own = scores().pairs.replace({"model": {"m": "[bold]x[/] [x]"}})
    (table,) = run_files.tables.task_tables(own, {})
    run_files.show(table)
    assert "[bold]x[/] [x]" in capsys.readouterr().out


@pytest.fixture
def study(tmp_path: Path) -> Path:
    for name, label, cc, seed in (
        ("a", "with", [0.8, 0.6], 1),
        ("b", "with", [0.6, 0.6], 2),
        ("c", "without", [0.5, 0.5], 1),
    ):
        made_up_scores.run(tmp_path / name, {"salient": cc}, label=label, seed=seed)
    return tmp_path


def test_runs_below_a_folder_are_shown_by_means_spread_and_differences(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here("compare", study)
    said = " ".join(capsys.readouterr().out.split())
    assert "with 1.650 ± 0.050" in said  # pairs 1.7 and 1.6, seeds averaged
    assert "mean of their means" in said
    assert "with - without CC +0.150 (2 images, no interval)" in said


def test_runs_are_compared_with_the_first_and_every_metric_can_be_asked_for(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here("compare", study / "a", study / "c", "--metric", "all")
    assert "with - without CC +0.200 (2 images, no interval)" in " ".join(capsys.readouterr().out.split())
    assert "did you mean 'cc'" in refused(capsys, "compare", study / "a", study / "c", "--metric", "ccc")
    assert "Metric 'nss' was not scored; choose from all, cc" in refused(capsys, "compare", study, "--metric", "nss")


def test_a_folder_without_finished_runs_is_an_error_that_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no whole result\.json"):
        run_files.show_folder(tmp_path)
