"""What the studies' files say, and what is wrong with a file that says something else."""

import tomllib
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from saltext.errors import ConfigError
from saltext.metrics import METRICS
from saltext.results.means import published
from saltext.results.study import Study, known_study, read_study, studies, studies_folder
from saltext.runs.composition import config_folder

GIVEN = {
    "title": "A study",
    "source": "a paper",
    "experiments": ["one"],
    "protocol": "tranblend",
    "lines": {"ours": {"experiment": "one"}},
}

STUDIES = studies()


def written(folder: Path, **changes: Any) -> Path:
    file = folder / "study" / "expected.yaml"
    file.parent.mkdir(exist_ok=True)
    file.write_text(yaml.safe_dump({k: v for k, v in {**GIVEN, **changes}.items() if v is not None}))
    return file


@pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.name)
def test_every_study_is_made_of_experiments_that_exist(study: Study) -> None:
    known = {path.stem for path in (config_folder() / "experiment").glob("*.yaml")}
    assert set(study.experiments) <= known


@pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.name)
def test_every_metric_with_a_published_value_has_a_tolerance_and_its_reason(study: Study) -> None:
    for line in study.lines:
        for row in study.rows_of(line):
            for metric in study.metrics:
                if study.expected(line, row, metric) is not None:
                    assert study.tolerance[metric].within > 0
                    assert len(study.tolerance[metric].why) > 10


@pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.name)
def test_published_curves_are_whole_and_every_one_is_drawn(study: Study) -> None:
    if study.curves.empty:
        return
    assert {line.curve for line in study.lines} >= set(study.curves["line"])
    assert not study.curves.duplicated(["line", "epoch", "metric"]).any()
    for _, part in study.curves.groupby(["line", "metric"]):
        assert sorted(part["epoch"]) == list(range(len(part)))


def test_the_papers_tables_and_figures_can_be_asked_for_by_name() -> None:
    targets = {target for study in STUDIES for target in study.targets}
    assert {"table2", *(f"fig{number}" for number in range(2, 8)), "salgan"} <= targets


def test_table_2_has_every_published_value_of_the_paper_and_no_other() -> None:
    study = read_study(studies_folder() / "table2" / "expected.yaml")
    found = {
        (line.published, row, metric): study.expected(line, row, metric)
        for line in study.lines
        for row in study.rows_of(line)
        for metric in study.metrics
        if line.published
    }
    known = {
        (model, task, metric): value
        for model, by_task in published("sjtu_tis")["tranblend"].items()
        for task, values in by_task.items()
        for metric, value in values.items()
    }
    assert found == known
    assert len(known) == 2 * 5 * 4


def test_our_network_stands_beside_every_published_value_of_table_2() -> None:
    ours, theirs = (known_study(name) for name in ("embedded_published", "table2"))
    assert {line.published for line in ours.lines} == {line.published for line in theirs.lines}
    assert (ours.rows, ours.metrics, ours.tolerance) == (theirs.rows, theirs.metrics, theirs.tolerance)


def test_figure_4_and_figure_5_share_the_published_curve_of_transalnet_on_non_salient() -> None:
    curves = {
        name: read_study(studies_folder() / name / "expected.yaml").curves
        for name in ("transalnet_tasks", "non_salient_contrast")
    }
    four = curves["transalnet_tasks"].query("line == 'non_salient'")[["epoch", "metric", "value"]]
    five = curves["non_salient_contrast"].query("line == 'TranSalNet'")[["epoch", "metric", "value"]]
    pd.testing.assert_frame_equal(four.reset_index(drop=True), five.reset_index(drop=True))


@pytest.mark.parametrize(
    ("name", "line"), [("non_salient_contrast", "TranBlend"), ("fixrate_ablation", "encoder 0, decoder 0")]
)
def test_table_2_s_row_of_tranblend_on_non_salient_is_the_best_of_its_published_curve(name: str, line: str) -> None:
    study = read_study(studies_folder() / name / "expected.yaml")
    (row,) = [candidate for candidate in study.lines if candidate.name == line]
    table = published("sjtu_tis")["tranblend"]["TranBlend, published"]["non_salient"]
    for metric in ("cc", "nss_unbiased"):
        assert study.expected(row, "non_salient", metric) == pytest.approx(table[metric], abs=6e-4)


def test_without_a_table_the_best_epoch_of_a_published_curve_is_expected(tmp_path: Path) -> None:
    file = written(tmp_path, metrics=["cc", "kl"], lines={"ours": {"experiment": "one", "curve": "theirs"}})
    rows = [("theirs", epoch, metric, value) for metric in ("cc", "kl") for epoch, value in enumerate((0.2, 0.4, 0.3))]
    pd.DataFrame(rows, columns=["line", "epoch", "metric", "value"]).to_csv(
        file.with_name("published.csv"), index=False
    )
    study = read_study(file)
    assert study.expected(study.lines[0], "pure", "cc") == 0.4  # higher is better
    assert study.expected(study.lines[0], "pure", "kl") == 0.2  # lower is


def test_a_study_s_own_tolerance_beats_the_shared_one(tmp_path: Path) -> None:
    shared = {"tranblend": {"cc": {"within": 0.05, "why": "shared"}, "top20_auc": {"within": 0.02, "why": "shared"}}}
    (tmp_path / "tolerance.yaml").write_text(yaml.safe_dump(shared))
    study = read_study(written(tmp_path, tolerance={"cc": {"within": 0.5, "why": "own"}}))
    assert (study.tolerance["cc"].why, study.tolerance["top20_auc"].why) == ("own", "shared")


def test_a_paper_s_metrics_and_all_tasks_are_the_default(tmp_path: Path) -> None:
    study = read_study(written(tmp_path))
    assert tuple(study.metrics) == ("top20_auc", "top20_sauc", "cc", "nss_unbiased")
    assert study.rows == {task: [task] for task in ("pure", "whole", "general", "salient", "non_salient")}
    assert set(study.metrics) <= set(METRICS)


def test_one_line_or_several_can_be_named(tmp_path: Path) -> None:
    given = {"protocol": "standard", "metrics": ["cc"]}
    study = read_study(written(tmp_path, **given, against="ours", text_ablation="ours"))
    assert (study.against, study.text_ablation) == (("ours",), ("ours",))
    lines = {"ours": {"experiment": "one"}, "prior": {"experiment": "one", "model": "centre prior"}}
    assert list(read_study(written(tmp_path, against=["ours", "prior"], lines=lines)).against) == ["ours", "prior"]
    assert read_study(written(tmp_path)).against == ()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"titel": "A"}, ["titel", "title"]),
        ({"source": None, "title": None}, ["source is missing", "title is missing"]),
        ({"lines": {"ours": {"where": {}, "stagee": "pure"}}}, ["lines.ours", "stagee", "experiment is missing"]),
        ({"tolerance": {"cc": 0.05}, "lines": {"ours": {"experiment": "one", "picture": "rarely"}}},
         ["tolerance.cc", "lines.ours.picture", "got 'rarely'"]),
        ({"protocol": "tranblent"}, ["tranblent", "tranblend"]),
        ({"protocol": "standard"}, ["metrics are needed"]),
        ({"metrics": ["cc", "ccc"]}, ["ccc"]),
        ({"rows": {"both": ["pure", "salientt"]}}, ["salientt"]),
        ({"against": "theirs"}, ["against: 'theirs' is none"]),
        ({"against": ["ours", "theirs"]}, ["against: 'theirs' is none"]),
        ({"text_ablation": ["prior", "theirs"], "lines": {"prior": {"experiment": "one", "model": "centre prior"}}},
         ["'theirs' is none of the lines", "'prior' is a baseline", "protocol: standard alone"]),
        ({"subsets": {"some": "(", "others": "[0-9"}}, ["subsets.some: '('", "subsets.others", "regular expression"]),
        ({"starts": {"one": {"experiment": "two", "stage": "warmup"}}}, ["starts: two"]),
        ({"lines": {"a": {"experiment": "two", "rows": ["pur"], "published": "Nobody", "curve": "c"}}},
         ["experiment 'two'", "pur", "Nobody", "no curve 'c'"]),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else None,
)  # fmt: skip
def test_everything_wrong_with_a_file_is_said_at_once(tmp_path: Path, changes: dict[str, Any], said: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        read_study(written(tmp_path, **changes))
    for word in said:
        assert word in str(caught.value)


def test_an_installed_package_carries_every_published_value() -> None:
    root = Path(__file__).resolve().parents[2]
    carried = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    included = carried["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    read = {file for name in ("expected.yaml", "published.csv") for file in (root / "experiments").glob(f"*/{name}")}
    names = {file.relative_to(root).as_posix() for file in {*read, root / "experiments" / "tolerance.yaml"}}
    assert {name: f"saltext/_{name}" for name in names} | {"conf": "saltext/_conf"} == included
