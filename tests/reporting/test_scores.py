from pathlib import Path

import pandas as pd
import pytest

from saltext.reporting.scores import averaged_over_seeds, means, metric_names, of_protocol, read_scores, write_scores


@pytest.fixture
def scores() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "image_id": ["007", "008"],
            "task": ["pure", "pure"],
            "text": ["", "NA"],
            "model": "m",
            "nss": [1.0, 2.0],
            "cc": [0.1 + 0.2, 1 / 3],
        }
    )


def test_a_score_table_comes_back_to_the_last_digit(tmp_path: Path, scores: pd.DataFrame) -> None:
    write_scores(tmp_path / "scores.csv", scores)
    again = read_scores(tmp_path / "scores.csv")
    assert again["image_id"].tolist() == ["007", "008"]
    assert again["text"].tolist() == ["", "NA"]
    assert again["cc"].tolist() == scores["cc"].tolist()


def test_only_known_metrics_are_metrics(scores: pd.DataFrame) -> None:
    assert metric_names(scores) == ["nss", "cc"]


def test_means_are_taken_by_model_and_task(scores: pd.DataFrame) -> None:
    assert means(scores) == {"m": {"pure": {"nss": 1.5, "cc": pytest.approx((0.1 + 0.2 + 1 / 3) / 2)}}}


def test_a_protocol_s_rows_have_its_own_metrics_only(scores: pd.DataFrame) -> None:
    both = pd.concat([scores.assign(protocol="standard"), scores.drop(columns="nss").assign(protocol="paper")])
    assert metric_names(of_protocol(both, "paper")) == ["cc"]
    assert metric_names(of_protocol(both, "standard")) == ["nss", "cc"]
    assert len(of_protocol(both, "paper")) == 2


def test_seeds_are_averaged_for_each_variant_of_the_text_by_itself(scores: pd.DataFrame) -> None:
    variants = pd.concat(
        [scores.assign(variant=name, cc=cc) for name, cc in (("empty", 0.1), ("empty", 0.3), ("x", 1))]
    )
    found = averaged_over_seeds(variants).set_index(["image_id", "variant"])["cc"].to_dict()
    expected = {(image, name): cc for image in ("007", "008") for name, cc in (("empty", 0.2), ("x", 1.0))}
    assert found == pytest.approx(expected)
