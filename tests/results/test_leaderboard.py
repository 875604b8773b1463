"""The leaderboard from score files."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from saltext.data.folds import Folds
from saltext.errors import ConfigError, DataError
from saltext.results.comparison import estimate
from saltext.results.leaderboard import ConditionResult, frame, published_rows, read

TOLD = "protocol: other folds, source: code"  # which rows.yaml has to tell of a model
IMAGES = [f"{number:02d}" for number in range(20)]
FOLDS = Folds(tuple(tuple(IMAGES[first::5]) for first in range(5)))


def scores(model: str, images: list[str] = IMAGES, base: float = 0.5, task: str = "salient") -> pd.DataFrame:
    """A score for each image, from ``base`` upwards."""
    values = [base + 0.01 * number for number in range(len(images))]
    return pd.DataFrame(
        {"image_id": images, "task": task, "model": model, "seed": 0, "protocol": "standard", "cc": values, "nss": 1.0}
    )


@pytest.fixture
def kept(tmp_path: Path) -> Callable[..., Path]:
    """Writes a score table, and returns its path."""

    def write(name: str, *tables: pd.DataFrame) -> Path:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        pd.concat(tables).to_csv(path, index=False, lineterminator="\n")
        return path

    return write


def rows(tmp_path: Path, text: str) -> Path:
    FOLDS.write(tmp_path / "folds.json")
    (tmp_path / "rows.yaml").write_text(f"folds: folds.json\nrows:\n{text}")
    return tmp_path / "rows.yaml"


def by_name(results: list[ConditionResult]) -> dict[str, ConditionResult]:
    return {result.row.name: result for result in results}


def test_a_row_is_the_mean_over_its_images_with_its_interval(kept: Callable[..., Path], tmp_path: Path) -> None:
    table = scores("net")
    kept("scores.csv", table)
    (result,) = read([rows(tmp_path, f"  - {{name: ours, file: scores.csv, row: net, {TOLD}}}")]).results()
    assert result.estimates["cc"] == estimate(table, "cc")
    assert result.images == 20
    assert result.folds == 5
    assert result.is_complete
    assert result.estimates["kl"].images == 0


def test_rows_that_lack_images_say_so_and_stand_below(kept: Callable[..., Path], tmp_path: Path) -> None:
    kept("scores.csv", scores("all"), scores("part", [*FOLDS.images[0], *FOLDS.images[3], IMAGES[1]], base=0.9))
    text = "".join(f"  - {{name: {name}, file: scores.csv, row: {name}, {TOLD}}}\n" for name in ("part", "all"))
    results = read([rows(tmp_path, text)]).results()
    assert [result.row.name for result in results] == ["all", "part"]
    part = by_name(results)["part"]
    assert (part.images, part.folds, part.is_complete) == (9, 2, False)


def test_a_table_alone_gives_its_models_without_the_baselines(kept: Callable[..., Path]) -> None:
    path = kept("scores.csv", scores("mine"), scores("uniform map"), scores("other", base=0.6))
    results = read([path]).results()
    assert [result.row.name for result in results] == ["other", "mine"]
    assert {result.folds for result in results} == {None}


def test_the_effect_of_the_text_is_read_from_the_table_beside_the_scores(
    kept: Callable[..., Path], tmp_path: Path
) -> None:
    tasks = ("salient", "non_salient")
    path = kept("scores.csv", *(scores("mine", task=task) for task in tasks))
    variants = [
        scores("mine", base=base, task=task).assign(variant=variant)
        for variant, base in (("empty", 0.4), ("opposite", 0.3))
        for task in tasks
    ]
    kept("text_ablation.csv", *variants)
    for result in read([path]).results():
        assert result.ablation.mean == pytest.approx(0.1)
        assert result.swap is not None
        assert (result.swap.accuracy, result.swap.direction) == (1.0, result.task)


def test_a_row_without_other_texts_has_no_effect_of_the_text(kept: Callable[..., Path]) -> None:
    (result,) = read([kept("scores.csv", scores("mine"))]).results()
    assert result.ablation.images == 0
    assert result.swap is None


def test_seeds_are_averaged_before_anything_is_counted(kept: Callable[..., Path]) -> None:
    path = kept("scores.csv", scores("mine"), scores("mine", base=0.7).assign(seed=1))
    (result,) = read([path]).results()
    assert result.images == 20
    assert result.estimates["cc"].mean == pytest.approx(estimate(scores("mine", base=0.6), "cc").mean)


def test_all_that_is_wrong_is_said_at_once(kept: Callable[..., Path], tmp_path: Path) -> None:
    kept("twice.csv", scores("net"), scores("net"))
    kept("strangers.csv", scores("net", ["99"]))
    kept("folds.csv", scores("net").assign(fold=0))
    kept("papers.csv", scores("net").assign(protocol="tranblend"))
    kept("generated.csv", scores("net").assign(generated=True))
    text = "".join(
        f"  - {{name: {name}, file: {name}.csv, row: net, {TOLD}}}\n"
        for name in ("twice", "strangers", "folds", "papers", "generated", "gone")
    )
    text += f"  - {{name: twice, file: folds.csv, row: nett, {TOLD}}}\n"
    text += f"  - {{name: folds, file: strangers.csv, row: net, {TOLD}}}\n"
    with pytest.raises(DataError) as raised:
        read([rows(tmp_path, text)])
    for expected in (
        "two scores of one pair (20): twice: 00 (salient)",
        "images that are in no fold (2): folds: 99, strangers: 99",
        "images that are in another fold than the row says (16): folds: 01 (fold 0, expected 1)",
        "rows without CC of the standard protocol (1): papers",
        "rows of generated images (1): generated",
        "tables that cannot be read (1)",
        "gone.csv is missing: expected a table",
        "rows that their table does not have (1): twice: 'nett' (did you mean 'net'?) of net",
        "names of two rows (1): folds",
    ):
        assert expected in str(raised.value)


@pytest.mark.parametrize(
    ("metric", "value", "said"),
    [
        ("cc", None, r"scores that are empty \(1\): mine: cc of 1 of 20 pairs, such as 03 \(salient\)"),
        ("nss", None, r"scores that are empty \(1\): mine: nss of 1 of 20 pairs"),
        ("cc", 1.7, r"not possible \(1\): mine: cc 1.7 of 03 \(salient\), expected -1 to 1"),
        ("cc", -40, "mine: cc -40 of 03"),
        ("nss", float("inf"), "mine: nss inf of 03"),
    ],
)
def test_scores_that_are_missing_for_some_pairs_or_that_no_map_can_have_are_refused(
    kept: Callable[..., Path], metric: str, value: float | None, said: str
) -> None:
    table = scores("mine")
    table.loc[3, metric] = value
    with pytest.raises(DataError, match=said):
        read([kept("scores.csv", table)])


def test_without_cc_there_is_no_row(kept: Callable[..., Path]) -> None:
    with pytest.raises(DataError, match=r"rows without CC of the standard protocol \(1\): mine"):
        read([kept("scores.csv", scores("mine").drop(columns="cc"))])


def test_pairs_that_no_baseline_has_are_not_the_data_sets(kept: Callable[..., Path], tmp_path: Path) -> None:
    kept("base.csv", scores("base"))
    described = rows(tmp_path, "  - {name: base, file: base.csv, kind: baseline}\n")
    other = kept("mine.csv", scores("mine", task="whole"))
    with pytest.raises(DataError, match=r"pairs that the data set does not have \(20\): mine: 00 \(whole\)"):
        read([described, other])
    assert len(read([described, kept("mine.csv", scores("mine"))]).entries) == 2


def test_a_text_ablation_of_a_model_of_another_name_is_not_lost_without_a_word(kept: Callable[..., Path]) -> None:
    path = kept("scores.csv", scores("mine"))
    kept("text_ablation.csv", scores("other").assign(variant="empty"))
    with pytest.raises(DataError, match=r"text ablations of another model \(1\): mine: other, expected mine"):
        read([path])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- a", "expected the keys rows, folds and unknown"),
        ("rows: []\nrow: 1", "expected the keys rows, folds and unknown"),
        ("rows: [{name: a}]", "row a file: Field required"),
        ("rows: [{name: a, file: b, kind: c}]", "row a kind: Input"),
        ("rows: [{file: b}]", "row 1 name: Field required"),
        ("rows: [{name: a, file: b, source: c}]", "expected protocol .* and source of every model, got none of a"),
    ],
)
def test_a_file_that_describes_no_rows_is_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "rows.yaml").write_text(text)
    with pytest.raises(ConfigError, match=said):
        read([tmp_path / "rows.yaml"])


def test_the_numbers_are_those_of_the_results(kept: Callable[..., Path]) -> None:
    results = read([kept("scores.csv", scores("mine"))]).results()
    table = frame(results).set_index("metric")
    assert list(table.index) == ["cc", "nss"]
    assert table.loc["cc", "mean"] == results[0].estimates["cc"].mean


def test_published_rows_are_of_both_papers() -> None:
    assert {paper for paper, *_ in published_rows()} == {"tranblend", "clip_salgan"}
