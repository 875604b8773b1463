from pathlib import Path

import pandas as pd
import pytest

from saltext.errors import ConfigError, DamagedFileError
from saltext.metrics import METRICS
from saltext.metrics.scores import _REGISTERED, describe_metric
from saltext.results.score_table import (
    RunScores,
    averaged_over_seeds,
    combined,
    means,
    metric_names,
    of_protocol,
    pooled,
    read_run_scores,
    read_scores,
    write_run_scores,
    write_scores,
)
from saltext.system.run_folder import RunFolder
from tests.made_up_scores import run


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


def test_names_that_look_like_numbers_stay_names(tmp_path: Path, scores: pd.DataFrame) -> None:
    write_scores(tmp_path / "scores.csv", scores.assign(model="042", task="1", protocol="standard", variant="7"))
    again = read_scores(tmp_path / "scores.csv")
    assert again[["model", "task", "protocol", "variant"]].iloc[0].tolist() == ["042", "1", "standard", "7"]


@pytest.mark.parametrize(
    "content", ["a,b\n1,2\n", "image_id,task,model\n1,pure,m\n", "image_id,task,cc\n1,pure,high\n"]
)
def test_a_table_of_something_else_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "scores.csv").write_text(content)
    with pytest.raises(DamagedFileError, match=r"scores\.csv is damaged: expected a score table"):
        read_scores(tmp_path / "scores.csv")


def test_an_undefined_score_is_written_as_nothing_and_read_as_such(tmp_path: Path, scores: pd.DataFrame) -> None:
    write_scores(tmp_path / "scores.csv", scores.assign(cc=float("nan"), nss=[1.0, float("nan")]))
    again = read_scores(tmp_path / "scores.csv")
    assert again["nss"].isna().tolist() == [False, True]
    assert again["cc"].isna().all()
    assert metric_names(of_protocol(again.assign(protocol="standard"), "standard")) == ["nss"]


def test_only_known_metrics_are_metrics(scores: pd.DataFrame) -> None:
    assert metric_names(scores) == ["nss", "cc"]


@pytest.fixture
def with_own(tmp_path: Path, scores: pd.DataFrame) -> Path:
    """A table with a metric from outside, as a process without that metric finds it."""
    describe_metric("hit", "HIT", higher_is_better=False)
    write_scores(tmp_path / "scores.csv", scores.assign(hit=[0.0, 1.0]))
    _REGISTERED.clear()
    return tmp_path / "scores.csv"


def test_a_table_says_itself_how_a_metric_from_outside_is_called_and_which_way_it_is_better(with_own: Path) -> None:
    assert metric_names(read_scores(with_own)) == ["nss", "cc", "hit"]
    assert (METRICS["hit"].title, METRICS["hit"].higher_is_better) == ("HIT", False)


def test_a_column_that_no_metric_is_known_for_is_named_and_left_out(
    with_own: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with_own.with_name("extra_metrics.json").unlink()
    assert metric_names(read_scores(with_own)) == ["nss", "cc"]
    assert "left out hit: no known metric of that name" in caplog.text


def test_tables_that_disagree_about_a_metric_are_not_shown_together(with_own: Path) -> None:
    read_scores(with_own)
    file = with_own.with_name("extra_metrics.json")
    file.write_text(file.read_text().replace("false", "true"))
    with pytest.raises(ConfigError, match=r"extra_metrics\.json: expected one direction of metric 'hit', got lower is"):
        read_scores(with_own)


def test_a_table_cannot_turn_a_metric_of_the_package_round(with_own: Path) -> None:
    with_own.with_name("extra_metrics.json").write_text('{"cc": {"title": "CC", "higher_is_better": false}}')
    with pytest.raises(ConfigError, match="expected one direction of metric 'cc'"):
        read_scores(with_own)
    assert METRICS["cc"].higher_is_better


@pytest.mark.parametrize(
    "content",
    ["", "[]", '{"hit": 1}', '{"hit": {"title": "HIT"}}', '{"hit": {"title": "\\u001b[2J", "higher_is_better": true}}',
     '{"hit": {"title": "HIT", "higher_is_better": "up"}}'],
)  # fmt: skip
def test_a_damaged_description_of_metrics_is_refused(with_own: Path, content: str) -> None:
    with_own.with_name("extra_metrics.json").write_text(content)
    with pytest.raises(DamagedFileError, match=r"extra_metrics\.json is damaged"):
        read_scores(with_own)


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


@pytest.fixture
def runs(tmp_path: Path) -> list[RunFolder]:
    prior = {"salient": [0.3, 0.3]}
    return [
        run(tmp_path / "a", {"salient": [0.8, 0.6]}, label="with", seed=1, baseline=prior),
        run(tmp_path / "b", {"salient": [0.5, 0.5]}, label="without", baseline=prior),
        run(tmp_path / "c", {"salient": [0.6, 0.6]}, label="with", seed=2, baseline=prior),
    ]


def test_a_baseline_that_runs_and_seeds_share_is_kept_once_and_the_models_are_not(runs: list[RunFolder]) -> None:
    scores = of_protocol(pooled(runs), "standard")
    assert list(scores["model"]) == ["with"] * 4 + ["without"] * 2 + ["centre prior"] * 2
    assert scores.groupby("model")["run"].unique().map(list).to_dict() == {
        "with": ["a", "c"], "without": ["b"], "centre prior": ["a"]
    }  # fmt: skip


def test_pooled_ids_keep_their_zeros_and_an_empty_text_stays_a_text(runs: list[RunFolder]) -> None:
    scores = pooled(runs)
    assert set(scores["image_id"]) == {"0000000000", "0000000001"}
    assert set(scores["text"]) == {""}


def test_a_damaged_table_is_named_and_left_out_unless_it_is_the_last_one(
    runs: list[RunFolder], caplog: pytest.LogCaptureFixture
) -> None:
    for folder in runs[:2]:
        folder.scores.write_text("")
    assert set(pooled(runs)["run"]) == {"c"}
    assert str(runs[0].scores) in caplog.text
    with pytest.raises(DamagedFileError) as caught:
        pooled(runs[:2])
    assert all(str(folder.scores) in str(caught.value) for folder in runs[:2])


def test_the_scores_of_stages_are_those_of_their_run_and_come_back(tmp_path: Path, scores: pd.DataFrame) -> None:
    nothing = pd.DataFrame()
    other = scores.assign(task="salient", variant="empty")
    both = combined([RunScores(scores, nothing), RunScores(scores.assign(task="salient"), other)])
    assert both.pairs["task"].tolist() == ["pure", "pure", "salient", "salient"]
    write_run_scores(RunFolder(tmp_path), both)
    again = read_run_scores(RunFolder(tmp_path))
    pd.testing.assert_frame_equal(again.pairs, both.pairs, check_dtype=False)
    pd.testing.assert_frame_equal(again.text_ablation, other, check_dtype=False)


def test_a_run_that_reads_no_text_has_no_scores_with_other_texts(tmp_path: Path, scores: pd.DataFrame) -> None:
    write_run_scores(RunFolder(tmp_path), RunScores(scores, pd.DataFrame()))
    assert not RunFolder(tmp_path).text_ablation_scores.exists()
    assert read_run_scores(RunFolder(tmp_path)).text_ablation.empty
