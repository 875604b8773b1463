from pathlib import Path

from saltext.data.splits import Split
from saltext.reporting.page import Block, Grid, Paragraph
from saltext.reporting.score_sections import beside_baselines, beside_each_other, results, side_by_side, worth_of_text
from saltext.reporting.shown_run import ShownRun, read_run
from tests.reporting import made_up


def shown(folder: Path, label: str, cc: float, **more: object) -> ShownRun:
    return read_run(made_up.run(folder, {"pure": [cc, cc + 0.1]}, label=label, **more))


def grids(blocks: list[Block]) -> list[Grid]:
    return [block for block in blocks if isinstance(block, Grid)]


def said(blocks: list[Block]) -> str:
    return "\n".join(block.text for block in blocks if isinstance(block, Paragraph))


def test_runs_of_one_split_share_a_table_and_their_baselines_stand_there_once(tmp_path: Path) -> None:
    prior = {"pure": [0.1, 0.1]}
    runs = [shown(tmp_path / name, name, cc, baseline=prior) for name, cc in (("a", 0.2), ("b", 0.4))]
    assert side_by_side(runs)["model"].value_counts().to_dict() == {"a": 4, "b": 4, "centre prior": 4}
    standard, paper, intervals = grids(results(runs))
    assert [row[1] for row in standard.rows] == ["a", "b", "centre prior"]
    assert [row[1] for row in paper.rows][:3] == ["a", "b", "centre prior"]
    assert [row[1] for row in intervals.rows] == ["a", "b"]
    assert "Tested alike" not in said(results(runs))


def test_runs_of_several_splits_have_tables_of_their_own(tmp_path: Path) -> None:
    runs = [shown(tmp_path / name, name, 0.2) for name in ("a", "b")]
    Split("by hand", 0, "image", {"train": ("1",), "val": ("2",), "test": ("4",)}).save(runs[1].folder.split)
    blocks = results(runs)
    assert [len({row[1] for row in grid.rows if row[2] != "published"}) for grid in grids(blocks)[:-1]] == [1, 1, 1, 1]
    assert "Tested alike: a." in said(blocks)


def test_generated_data_have_no_published_rows_beside_them(tmp_path: Path) -> None:
    real, generated = (
        shown(tmp_path / name, name, 0.2, **more)
        for name, more in (("a", {}), ("b", {"data": "saltext.data.SyntheticDataModule"}))
    )
    assert any(row[2] == "published" for grid in grids(results([real])) for row in grid.rows)
    assert not any(row[2] == "published" for grid in grids(results([generated])) for row in grid.rows)


def test_what_is_lacking_is_said(tmp_path: Path) -> None:
    unscored = read_run(made_up.run(tmp_path / "c"))
    run = shown(tmp_path / "a", "a", 0.2)
    assert "No test pair was scored yet." in said(results([unscored]))
    assert "scored none of centre prior (other images), human free-viewing map" in said(beside_baselines(run))
    assert "both runs have to have scored" in said(beside_each_other(run, unscored))
    assert worth_of_text(run, "What the text is worth") == []


def test_a_run_of_baselines_has_their_tables(tmp_path: Path) -> None:
    run = shown(tmp_path / "a", "uniform map", 0.2)
    run.cfg.label = "baselines"
    standard, _ = grids(results([run]))
    assert [row[1] for row in standard.rows] == ["uniform map"]


def test_two_runs_are_compared_on_what_both_were_tested_on(tmp_path: Path) -> None:
    blocks = beside_each_other(shown(tmp_path / "a", "a", 0.5), shown(tmp_path / "b", "b", 0.2))
    differences, numbered = grids(blocks)
    assert differences.rows == [["a minus b", "pure", "2", "+0.300 (+0.300 to +0.300)"]]
    assert len(numbered.rows) == 2
    assert "On the 2 pairs" in said(blocks)
