import re
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from omegaconf import OmegaConf
from PIL import Image

from saltext.data.splits import Split
from saltext.prediction.pictures import ImageRecord, TextMaps
from saltext.reporting.document import Block, Figure, PictureGroup, Points, html
from saltext.reporting.grid import Grid
from saltext.reporting.run_page import (
    Chosen,
    Predicted,
    ShownRun,
    SweepRuns,
    against_baselines,
    best_and_worst,
    comparison,
    opening,
    page,
    results,
    scatters,
    text_ablation,
)
from saltext.results.comparison import differences
from saltext.results.score_table import RunScores, pooled
from saltext.runs.records import read_run, with_unique_names
from saltext.system.run_folder import RunFolder
from tests import made_up_scores


def shown(folder: Path, label: str, cc: float, **more: object) -> ShownRun:
    return read_run(made_up_scores.run(folder, {"pure": [cc, cc + 0.1]}, label=label, **more))


def grids(blocks: list[Block]) -> list[Grid]:
    return [block for block in blocks if isinstance(block, Grid)]


def said(blocks: list[Block]) -> str:
    return "\n".join(block for block in blocks if isinstance(block, str))


def test_runs_of_one_split_share_a_table_and_their_baselines_stand_there_once(tmp_path: Path) -> None:
    prior = {"pure": [0.1, 0.1]}
    runs = [shown(tmp_path / name, name, cc, baseline=prior) for name, cc in (("a", 0.2), ("b", 0.4))]
    standard, paper, intervals = grids(results(runs))
    assert [row[1] for row in standard.rows] == ["a", "b", "centre prior"]
    assert [row[1] for row in paper.rows][:3] == ["a", "b", "centre prior"]
    assert [row[0] for row in intervals.rows] == ["a", "b"]
    assert "Same split" not in said(results(runs))


def test_runs_of_several_splits_have_tables_of_their_own(tmp_path: Path) -> None:
    runs = [shown(tmp_path / name, name, 0.2) for name in ("a", "b")]
    Split("by hand", 0, "image", {"train": ("1",), "val": ("2",), "test": ("4",)}).save(runs[1].record.folder.split)
    blocks = results(runs)
    assert [len({row[1] for row in grid.rows if row[2] != "published"}) for grid in grids(blocks)[:-1]] == [1, 1, 1, 1]
    assert "Same split and evaluation setting: a." in said(blocks)


def test_generated_data_have_no_published_rows_beside_them(tmp_path: Path) -> None:
    real, generated = (
        shown(tmp_path / name, name, 0.2, **more)
        for name, more in (("a", {}), ("b", {"data": "saltext.data.sources.synthetic.Synthetic"}))
    )
    assert any(row[2] == "published" for grid in grids(results([real])) for row in grid.rows)
    assert not any(row[2] == "published" for grid in grids(results([generated])) for row in grid.rows)


def test_what_is_lacking_is_said(tmp_path: Path) -> None:
    unscored = read_run(made_up_scores.run(tmp_path / "c"))
    run = shown(tmp_path / "a", "a", 0.2)
    assert "No test pair was scored yet." in said(results([unscored]))
    assert "scored none of centre prior (other images), human map, free viewing" in said(against_baselines(run)[1])
    assert "not both runs have scored" in said(comparison(run, unscored))
    assert text_ablation([run]) == []


def test_a_run_of_baselines_has_their_tables(tmp_path: Path) -> None:
    run = shown(tmp_path / "a", "uniform map", 0.2)
    cfg = OmegaConf.merge(run.record.cfg, {"label": "baselines"})
    run = replace(run, record=replace(run.record, cfg=cfg))
    standard, _ = grids(results([run]))
    assert [row[1] for row in standard.rows] == ["uniform map"]


def test_two_runs_are_compared_on_what_both_were_tested_on(tmp_path: Path) -> None:
    blocks = comparison(shown(tmp_path / "a", "a", 0.5), shown(tmp_path / "b", "b", 0.2))
    differences, numbered = grids(blocks)
    assert differences.rows == [["a minus b", "CC", "+0.300 (2 images, no interval)"]]
    assert len(numbered.rows) == 2
    assert differences.note.startswith("On the 2 pairs")


def test_a_page_begins_with_the_findings_then_pictures_then_charts(tmp_path: Path) -> None:
    run = shown(tmp_path / "a", "net", 0.5, baseline={"pure": [0.2, 0.2]}, variants={"empty": {"pure": [0.1, 0.1]}})
    sections = opening([run], Chosen.of(run))
    assert [title for title, _ in sections] == ["", "One image, two texts", "Accuracy and text ablation"]
    blocks = [block for _, of_section in sections for block in of_section]
    kinds = [type(block) for block in blocks if isinstance(block, Points | list)]
    assert kinds == [Points, list]  # no image was tested under two texts, which is said
    assert "no image was tested under a salient and a non_salient text" in said(blocks)
    (summary,) = (block for block in blocks if isinstance(block, Points))
    assert len(summary.points) == 2
    assert all(sentence and caveat for sentence, caveat in summary.points)


def test_conditions_of_any_name_have_findings_tables_and_a_page(tmp_path: Path) -> None:
    scores = {"free": [0.5, 0.6], "after a text": [0.4, 0.8]}
    runs = []
    for name, less in (("net", 0.0), ("other", 0.1)):
        folder = made_up_scores.run(
            tmp_path / name, {t: [v - less for v in cc] for t, cc in scores.items()}, label=name
        )
        more = {"model": {"name": "net"}, "data": {"split_seed": 3}}
        OmegaConf.save(OmegaConf.merge(OmegaConf.load(folder.config), more), folder.config)
        runs.append(replace(read_run(folder), missing="no data set"))
    shown = html(page(runs, Chosen.of(runs[0])))
    for expected in ("CC 1.600 (2 images, no interval) on after a text", "best 1", "+0.100 (2 images, no interval)"):
        assert expected in re.sub("</?span.*?>", "", shown)
    assert "has no CC of its test pairs" not in shown


# Pairs


def scores(cc: list[float], model: str = "a", text: str = "") -> pd.DataFrame:
    ids = [f"{place:03}" for place in range(len(cc))]
    return pd.DataFrame({"image_id": ids, "task": "pure", "text": [text or f"text {i}" for i in ids], "model": model,
                         "protocol": "standard", "cc": cc})  # fmt: skip


def maps(cc: float, image_id: str) -> ImageRecord:
    density = np.full((6, 8), 1 / 48, np.float32)
    of_text = TextMaps("", density, density, "pure", {"CC": cc})
    return ImageRecord(image_id, np.full((6, 8, 3), 90, np.uint8), [of_text])


def with_maps(folder: Path, name: str, cc: list[float], shown: int = 9) -> ShownRun:
    run = read_run(made_up_scores.run(folder, {"pure": cc}, label=name))
    table = scores(cc, name)
    pairs = {(image, "pure"): maps(value, image) for image, value in zip(table["image_id"][:shown], cc, strict=False)}
    return replace(run, scores=RunScores(table, pd.DataFrame()), predicted=Predicted(pairs))


def groups(blocks: list[Block]) -> list[PictureGroup]:
    shown = [one for block in blocks if isinstance(block, list) for one in block]
    return [one for one in shown if isinstance(one, PictureGroup)]


def test_a_group_holds_image_human_map_and_the_map_of_each_run_with_its_score(tmp_path: Path) -> None:
    runs = [with_maps(tmp_path / "a", "a", [0.9, 0.1]), with_maps(tmp_path / "b", "b", [0.25, 0.5], shown=1)]
    best, worst = groups(best_and_worst(runs, Chosen.of(runs[0])))
    assert best.title == "best 1: CC 0.900, image 000"
    assert [tile.caption for row in best.rows for tile in row] == [
        "image", "human map", "prediction, a: CC 0.90", "change from a to b: nothing moves", "prediction, b: CC 0.25"
    ]  # fmt: skip
    # Its maps by the other run are not there.
    assert [tile.caption for row in worst.rows for tile in row] == ["image", "human map", "prediction: CC 0.10"]
    for tile in (tile for row in best.rows for tile in row):
        assert "000" in tile.alt
        with Image.open(BytesIO(tile.data)) as picture:
            assert picture.format == "JPEG"


def test_the_best_and_the_worst_take_turns(tmp_path: Path) -> None:
    run = with_maps(tmp_path / "a", "a", [0.9, 0.1, 0.7, 0.2, 0.5])
    found = groups(best_and_worst([run], Chosen.of(run)))
    assert [group.title.partition(":")[0] for group in found] == ["best 1", "worst 1", "best 2", "worst 2", "best 3"]


ONE = scores([0.9, 0.5, 0.4, 0.7, 0.2, 0.6, 0.8, 0.3])
OTHER = scores([0.1, 0.6, 0.4, 0.5, 0.5, 0.5, 0.75, 0.35])


def test_the_pairs_at_both_ends_are_numbered_in_the_plot_and_in_the_table() -> None:
    plots, grid = scatters(ONE, OTHER.sample(frac=1, random_state=0), ("a", "b"))
    assert isinstance(grid, Grid)
    assert grid.rows[0] == ["pure", "1", "000", "text 000", "0.900", "0.100", "+0.800"]
    assert [row[1] for row in grid.rows] == [str(n) for n in range(1, 7)]
    assert grid.rows[-1][2] == "004"
    assert list(grid.headings)[4:] == ["a", "b", "difference"]
    (figure,) = plots
    assert isinstance(figure, Figure)
    assert "000 text 000: 0.900 against 0.100" in figure.svg
    (expected,) = differences(ONE, OTHER)
    assert f"pure: {expected.signed()}" in " ".join(re.sub(r"<[^>]+>", " ", figure.svg).split())
    assert "CC of b" in figure.svg


def test_few_pairs_have_a_number_each_once() -> None:
    _, grid = scatters(ONE[:2], OTHER[:2], ("a", "b"))
    assert isinstance(grid, Grid)
    assert [row[2] for row in grid.rows] == ["000", "001"]


# Sweeps


def make(root: Path, label: str, best: float, monitor: str, mode: str) -> RunFolder:
    folder = made_up_scores.run(root, {"pure": [0.5, 0.7]}, label=label, curve={monitor: [0.0, best, 0.0]})
    choice = {"evaluation": {"monitor": monitor, "mode": mode}}
    OmegaConf.save(OmegaConf.merge(OmegaConf.load(folder.config), choice), folder.config)
    return folder


def sweep(folders: list[RunFolder]) -> SweepRuns:
    finished = [folder for folder in folders if folder.result.is_file()]
    runs = with_unique_names([read_run(folder) for folder in folders])
    return SweepRuns("study", runs, pooled(finished), list(dict.fromkeys(run.record.label for run in runs)))


@pytest.mark.parametrize(("monitor", "mode", "sign"), [("val/cc", "max", 1), ("val/kl", "min", -1)])
def test_runs_are_ranked_by_what_chose_their_epochs_and_models_by_its_mean(
    tmp_path: Path, monitor: str, mode: str, sign: int
) -> None:
    # Of model a one seed is the best of all, the other the worst: b is better on average.
    made = [("a", 0.9), ("a", 0.1), ("b", 0.6), ("b", 0.7)]
    folders = [
        make(tmp_path / str(place), label, sign * value, monitor, mode) for place, (label, value) in enumerate(made)
    ]
    found = sweep(folders)
    assert [run.record.folder.root.name for run, _ in found.ranked()] == ["0", "3", "2", "1"]
    assert found.leaders() == ["b", "a"]


def test_unfinished_runs_are_not_ranked(tmp_path: Path) -> None:
    folders = [make(tmp_path / name, name, value, "val/cc", "max") for name, value in (("a", 0.3), ("b", 0.9))]
    folders[1].result.unlink()
    found = sweep(folders)
    assert [run.name for run, _ in found.ranked()] == ["a"]
    assert found.leaders() == ["a"]
