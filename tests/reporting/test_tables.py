"""Numbers as tables: what stands where, and what stands out."""

import io

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from saltext.models.transalnet.fix_rates import FreezeRow
from saltext.reporting import tables
from saltext.results.calibration import LEVELS, Calibration
from saltext.results.comparison import Difference, Estimate, spread_over_runs
from saltext.results.text_ablation import SwapAccuracy


def scores(cc: list[float], model: str, task: str = "pure") -> pd.DataFrame:
    ids = [f"{place:03}" for place in range(len(cc))]
    return pd.DataFrame({"image_id": ids, "task": task, "model": model, "seed": 0, "protocol": "standard", "cc": cc})


def repeated(cc: list[float], model: str, task: str = "pure") -> pd.DataFrame:
    return scores(cc * 10, model, task)


THREE = pd.concat([
    repeated([0.5, 0.7], "net"), repeated([0.4, 0.4], "uniform map"), repeated([0.9, 0.9], "split-half fixations"),
    repeated([0.2, 0.4], "net", "salient"), repeated([0.398, 0.2], "uniform map", "salient"),
])  # fmt: skip


def test_protocols_never_share_a_table() -> None:
    as_published = THREE.assign(protocol="tranblend", nss_unbiased=1.0)
    known = {"tranblend": {"TranBlend, published": {"salient": {"cc": 0.8117}}}}
    standard, paper = tables.task_tables(pd.concat([THREE.assign(kl=1.0), as_published]), known, "By hand.")
    assert (standard.metrics, paper.metrics) == (["cc", "kl"], ["cc", "nss_unbiased"])
    assert "published" not in standard.rows[-1].model
    assert paper.rows[-1].model == "TranBlend, published"
    assert "288x384" in paper.note
    assert standard.note.endswith("By hand.")


def test_the_note_explains_the_split_half_row_where_there_is_one() -> None:
    (with_it,) = tables.task_tables(THREE, {})
    (without,) = tables.task_tables(THREE[THREE["model"] == "net"], {})
    assert tables.SPLIT_HALF_NOTE in with_it.note
    assert "split-half" not in without.note


def test_the_best_measured_mean_stands_out_and_ceilings_and_published_rows_do_not_compete() -> None:
    (table,) = tables.task_tables(THREE, {"standard": {"Theirs": {"pure": {"cc": 0.99}}}})
    grid = tables.all_metrics(table)
    assert list(grid.headings) == ["task", "model", "pairs", "CC ↑"]
    assert [row[1] for row in grid.rows] == [
        "net", "uniform map", "split-half fixations", "Theirs", "net", "uniform map"
    ]  # fmt: skip
    assert grid.rows[0][3] == "0.600 ± 0.023"
    assert grid.rows[3][2:] == ["published", "0.990"]
    assert grid.strong == {(0, 3)}
    one = tables.one_metric(table, "cc")
    assert list(one.headings) == ["CC ↑", "pure", "salient"]
    assert one.rows == [
        ["net", "0.600 ± 0.023", "0.300 ± 0.023"],
        ["uniform map", "0.400 ± 0.000", "0.299 ± 0.023"],
        ["split-half fixations", "0.900 ± 0.000", "–"],
        ["Theirs (published)", "0.990", "–"],
    ]
    assert one.strong == {(0, 1)}  # on salient the interval of the difference holds 0


def test_nothing_is_in_bold_beside_nothing_or_of_a_few_images() -> None:
    alone, few = repeated([0.5, 0.7], "net"), [scores([0.5] * 5, "net"), scores([0.4] * 5, "uniform map")]
    for table in (alone, pd.concat(few)):
        (of_protocol,) = tables.task_tables(table, {})
        assert not tables.all_metrics(of_protocol).strong
    more = pd.concat([scores([0.5] * 6, "net"), scores([0.4] * 6, "uniform map")])
    assert tables.all_metrics(tables.task_tables(more, {})[0]).strong == {(0, 3)}


@pytest.mark.parametrize("tasks", [("pure", "whole", "general", "salient", "non_salient")])
def test_a_metric_of_five_conditions_is_readable_in_80_columns(tasks: tuple[str, ...]) -> None:
    (table,) = tables.task_tables(pd.concat([scores([0.5, 0.7], "centre prior (other images)", t) for t in tasks]), {})
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(tables.one_metric(table, "cc"))
    lines = console.export_text().splitlines()
    assert max(map(len, lines)) <= 80
    assert sum("centre prior (other images)" in line for line in lines) >= 1
    assert "".join(lines).count("0.600 ± 0.100") == 5


def test_intervals_hold_the_mean_and_leave_out_what_is_undefined() -> None:
    values = np.random.default_rng(0).normal(0.5, 0.1, 40).tolist()
    one = scores([*values, np.nan], "a")
    grid = tables.intervals({"a": one, "b": scores([0.3], "b", "salient")})
    assert list(grid.headings) == ["model", "metric", "pure", "salient"]
    assert [row[:2] for row in grid.rows] == [["a", "CC ↑"], ["b", "CC ↑"]]
    mean, low, _, high = grid.rows[0][2].replace("(", "").replace(")", "").split()
    assert float(mean) == pytest.approx(np.mean(values), abs=5e-4)
    assert float(high) - float(low) == pytest.approx(2 * 1.96 * 0.1 / np.sqrt(40), rel=0.25)
    assert grid.rows[1][2:] == ["–", "0.300 (1 image, no interval)"]
    assert tables.intervals({"a": one.assign(cc=np.nan)}).rows[0][2] == "–"


def test_differences_have_intervals_in_place_of_stars() -> None:
    clear, unclear = Difference(0.1, 0.05, 0.15, 9, "pure", "cc"), Difference(-0.1, -0.3, 0.1, 9, "pure", "nss")
    other = Difference(0.2, 0.1, 0.3, 7, "own", "cc")
    grid = tables.differences({"empty text": [clear, unclear, other]}, "own text vs.", "Paired.")
    assert list(grid.headings) == ["own text vs.", "metric", "pure (9)", "own (7)"]
    assert grid.rows == [
        ["empty text", "CC", "+0.100 (+0.050 to +0.150)", "+0.200 (+0.100 to +0.300)"],
        ["empty text", "NSS", "-0.100 (-0.300 to +0.100)", "–"],
    ]
    assert not grid.strong
    assert "*" not in grid.markdown().replace("**", "")


def test_the_text_swap_test_has_a_table_for_each_exchange() -> None:
    ends = (0.1, 0.9, 0.2, 0.8)
    accuracies = [
        SwapAccuracy(variant, "cc", direction, 12, 0.5, *ends)
        for variant in ("opposite", "opposite_condition")
        for direction in ("salient", "non_salient", "both", "texts")
    ]
    one, other = tables.swaps(accuracies)
    assert one.title == "Text-swap test (swapped text)"
    assert other.title == "Text-swap test (swapped text and condition)"
    assert one.rows == [["CC", "12", *["50 % (10 to 90)"] * 3, "50 % (20 to 80)"]]


def test_calibration_stands_by_condition_then_by_whose_maps() -> None:
    half = np.full(len(LEVELS), 0.5)
    one = Calibration("own", 3, half, half, half, Estimate(0.0, -0.1, 0.1))
    grid = tables.calibration({"net": [one], "human maps": [one]})
    assert [row[:3] for row in grid.rows] == [["own", "net", "3"], ["own", "human maps", "3"]]
    assert grid.rows[0][4] == "+0.000 (-0.100 to +0.100)"
    assert set(grid.rows[0][5:]) == {"0.500"}


def test_the_spread_over_runs_has_a_row_a_model() -> None:
    both = pd.concat([scores([0.4], "net").assign(run="a"), scores([0.6], "net").assign(run="b")])
    grid = tables.spread(spread_over_runs(both))
    assert grid.rows == [["pure", "net", "2", "0.500 ± 0.100"]]


def test_trainable_parameters_end_with_their_sum() -> None:
    rows = [FreezeRow("encoder", 4, 3, 1000, 10), FreezeRow("blend", 0, 0, 2000, 2000)]
    grid = tables.trainable(rows)
    assert [list(row) for row in grid.rows] == [
        ["encoder", "4", "3", "1,000", "10"], ["blend", "–", "–", "2,000", "2,000"],
        ["all", "–", "–", "3,000", "2,010"],
    ]  # fmt: skip
