from io import BytesIO

import numpy as np
import pandas as pd
from PIL import Image

from saltext.reporting.extremes import blocks, extremes
from saltext.reporting.page import Strips, Subheading
from saltext.reporting.predicted import PairMaps


def scores(values: list[float], task: str = "pure", text: str = "") -> pd.DataFrame:
    ids = [f"{place:03}" for place in range(len(values))]
    return pd.DataFrame({"image_id": ids, "task": task, "text": text, "cc": values})


def ranks(values: list[float], count: int = 2) -> list[tuple[str, str]]:
    return [(one.rank, one.image_id) for one in extremes(scores(values), count)]


def test_the_best_come_first_then_the_worst_each_from_the_end() -> None:
    assert ranks([0.5, 0.9, 0.1, 0.7, 0.3, 0.6]) == [
        ("best 1", "001"), ("best 2", "003"), ("worst 1", "002"), ("worst 2", "004")
    ]  # fmt: skip


def test_no_pair_is_both_and_a_lonely_one_is_the_best() -> None:
    assert ranks([0.5, 0.9, 0.1]) == [("best 1", "001"), ("best 2", "000"), ("worst 1", "002")]
    assert ranks([0.5]) == [("best 1", "000")]
    assert ranks([]) == []


def test_undefined_scores_are_left_out_and_tasks_are_ranked_by_themselves() -> None:
    table = pd.concat([scores([0.2, np.nan, 0.4], "salient"), scores([0.9, 0.8])])
    found = [(one.task, one.rank, one.image_id) for one in extremes(table, 1)]
    assert found == [("pure", "best 1", "000"), ("pure", "worst 1", "001"),
                     ("salient", "best 1", "002"), ("salient", "worst 1", "000")]  # fmt: skip


def maps(cc: float) -> PairMaps:
    density = np.full((6, 8), 1 / 48, np.float32)
    return PairMaps(np.full((6, 8, 3), 90, np.uint8), density, density, cc)


def test_a_strip_holds_image_truth_and_the_map_of_each_run_with_its_score() -> None:
    chosen = extremes(scores([0.9, 0.1], text="the <lamp>"), 1)
    mine = {one.key: maps(one.cc) for one in chosen}
    heading, strips = blocks(chosen, {"a": mine, "b": {chosen[0].key: maps(0.25)}})
    assert heading == Subheading("pure")
    assert isinstance(strips, Strips)
    best, worst = strips.strips
    assert best.title == "best 1: CC 0.900, image 000"
    assert best.text == "the <lamp>"
    captions = [shot.caption for shot in best.shots]
    assert captions == ["image", "where people looked", "predicted by a, CC 0.900", "predicted by b, CC 0.250"]
    assert len(worst.shots) == 3  # it is no test pair of the other run
    for shot in best.shots:
        assert "000" in shot.alt
        with Image.open(BytesIO(shot.jpeg)) as picture:
            assert (picture.format, picture.size) == ("JPEG", (8, 6))


def test_the_best_and_the_worst_take_turns() -> None:
    chosen = extremes(scores([0.9, 0.1, 0.7, 0.2, 0.5]), 3)
    _, strips = blocks(chosen, {"a": {one.key: maps(one.cc) for one in chosen}})
    assert isinstance(strips, Strips)
    assert [strip.title.partition(":")[0] for strip in strips.strips] == [
        "best 1", "worst 1", "best 2", "worst 2", "best 3"
    ]  # fmt: skip
