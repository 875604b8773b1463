import pytest

from saltext.evaluation.evaluator import Evaluator
from saltext.evaluation.protocols import PAPERS, standard
from saltext.training.score_tables import ScoreTables
from tests.evaluation.small_batches import PAIRS, Oracle, batch


def test_every_covered_pair_gets_one_row_a_protocol_whatever_the_order() -> None:
    evaluator, oracle = Evaluator(), Oracle()
    for protocol in (standard(["cc"]), PAPERS["clip_salgan"]):
        evaluator.add("oracle", oracle, protocol)
    tables = ScoreTables(evaluator, PAIRS)
    tables.update(batch([3, 0]))
    tables.update(batch([2, 1]))
    frame = tables.frame()
    rows = list(zip(frame["image_id"], frame["task"], frame["protocol"], strict=True))
    covered = [("1", "pure"), ("1", "whole"), ("2", "whole")]
    assert rows == [(*c, p) for p in ("standard", "clip_salgan") for c in covered]
    assert frame["cc"].tolist() == pytest.approx([1.0] * 6)
    assert frame.loc[frame["protocol"] == "standard", "nss_of_map"].isna().all()


def test_rows_say_whose_they_are() -> None:
    evaluator = Evaluator()
    evaluator.add("oracle", Oracle(), standard(["cc"]), "empty")
    tables = ScoreTables(evaluator, PAIRS)
    tables.update(batch([1]))
    (row,) = tables.frame().drop(columns=["text", "cc"]).to_dict("records")
    who = {"model": "oracle", "variant": "empty", "protocol": "standard"}
    assert row == {"image_id": "1", "task": "whole", **who}


def test_what_was_scored_is_forgotten_on_reset() -> None:
    evaluator = Evaluator()
    evaluator.add("oracle", Oracle(), standard(["cc"]))
    tables = ScoreTables(evaluator, PAIRS)
    tables.update(batch([0, 1]))
    tables.reset()
    tables.update(batch([3]))
    assert len(tables.frame()) == 1
