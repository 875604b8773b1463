"""A metric from outside the package: a function in one's own folder, or of another installed package."""

import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from omegaconf import OmegaConf
from PIL import Image

import saltext
from saltext.data.sources.sjtu_tis import SjtuTis
from saltext.data.synthetic import generate
from saltext.errors import ConfigError
from saltext.metrics import METRICS
from saltext.runs import preflight, schema
from saltext.runs.composition import CommandLine
from saltext.system.run_folder import RunFolder
from tests.command_line import ROOT, command, here, refused
from tests.small_runs import QUICK, composed

MINE = """
from pathlib import Path

(Path(__file__).parent / "EXECUTED").touch()


def hit(pred, density, within=0):
    "Whether the prediction is highest where the human map is highest, up to some pixels."
    width = pred.shape[3]
    places = [maps.flatten(1).argmax(1) for maps in (pred, density)]
    rows, columns = (abs(f(places[0]) - f(places[1])) for f in (lambda p: p // width, lambda p: p % width))
    return ((rows <= within) & (columns <= within)).double()
"""
THEIRS = """
def surprise(pred, fixations):
    "Mean of one minus the prediction at the fixations."
    return ((1 - pred) * fixations).sum((1, 2, 3)) / fixations.sum((1, 2, 3))
"""
METRICS_YAML = """\
# @package evaluation.extra_metrics
hit: {_target_: mine.hit, title: HIT, higher_is_better: true, within: 2}
surprise: {_target_: theirs.scores.surprise, higher_is_better: false}
auc_borji_few: {_target_: saltext.metrics.functional.auc_borji, draws: 3, title: AUC-B (3), higher_is_better: true}
"""


def write_own(place: Path) -> None:
    """Modules of one's own in a folder, and a file that names them as metrics."""
    (place / "theirs").mkdir(parents=True)
    (place / "mine.py").write_text(MINE)
    (place / "theirs" / "__init__.py").touch()
    (place / "theirs" / "scores.py").write_text(THEIRS)
    (place / "my_conf" / "metric").mkdir(parents=True)
    (place / "my_conf" / "metric" / "mine.yaml").write_text(METRICS_YAML)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run whose epoch was chosen by, and whose test scores are of, metrics from outside; two processes trained it."""
    place = tmp_path_factory.mktemp("elsewhere")
    write_own(place)
    done = command(
        "--config-dir", "my_conf", "+metric=mine", *QUICK, "evaluation.test_metrics=[cc,hit,surprise,auc_borji_few]",
        "evaluation.validation_metrics=[cc,surprise]", "evaluation.monitor=val/surprise", "evaluation.paper=null",
        "trainer=ddp", "trainer.devices=2", "trainer.accelerator=cpu", "hydra.run.dir=outputs/run/own",
        cwd=place, environment={"PYTHONPATH": f"{ROOT}:{place}"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert (place / "EXECUTED").exists()
    (place / "EXECUTED").unlink()
    return RunFolder(place / "outputs" / "run" / "own")


@pytest.fixture
def in_place(trained: RunFolder, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """The run, in its folder, by a process that cannot import what is not the package's."""
    monkeypatch.chdir(trained.root.parents[2])
    return trained


@pytest.fixture
def executed(in_place: RunFolder) -> Callable[[], bool]:
    """Whether a module from outside was imported since."""
    return lambda: (in_place.root.parents[2] / "EXECUTED").exists() or "mine" in sys.modules


@pytest.mark.slow
def test_a_run_chooses_and_tests_by_metrics_from_outside(in_place: RunFolder) -> None:
    scores = pd.read_csv(in_place.scores)
    assert {"hit", "surprise", "auc_borji_few"} <= set(scores)
    assert set(scores["hit"]) <= {0.0, 1.0}
    assert scores["surprise"].between(0, 1).all()
    (logged,) = (in_place.root / "metrics").glob("version_*/metrics.csv")
    assert "val/surprise" in pd.read_csv(logged)
    assert OmegaConf.load(in_place.config).evaluation.mode == "min"
    table = in_place.table.read_text()
    for heading in ("HIT ↑", "surprise ↓", "AUC-B (3) ↑"):
        assert heading in table


@pytest.mark.slow
def test_what_only_shows_a_run_runs_nothing_from_outside(
    in_place: RunFolder, executed: Callable[[], bool], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(in_place.root, tmp_path / "stranger")
    for folder in (in_place.root, tmp_path / "stranger"):
        here("compare", folder, "--metric", "all")
        said = capsys.readouterr().out
        assert "HIT ↑" in said
        assert "surprise ↓" in said
        here("report", folder, "--no-predict")
        page = (folder / "report.html").read_text()
        assert "HIT ↑" in page
        assert "surprise" in page
        assert not executed()


@pytest.mark.slow
def test_a_run_predicts_without_its_metrics(in_place: RunFolder, executed: Callable[[], bool], tmp_path: Path) -> None:
    assert saltext.load(in_place.root).predict(np.zeros((40, 30, 3), np.uint8), "a lamp").shape == (40, 30)
    Image.new("RGB", (40, 30)).save(tmp_path / "photo.png")
    here("predict", tmp_path / "photo.png", "--text", "a", "--model", in_place.root, "--out", tmp_path / "maps")
    assert not executed()


@pytest.mark.slow
def test_a_run_is_scored_again_by_its_metrics_with_a_word_alone(
    in_place: RunFolder,
    executed: Callable[[], bool],
    importable: Callable[[Path], None],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    alone = ["trainer.devices=1", "trainer.strategy=auto"]
    said = refused(capsys, "evaluate", in_place.root, *alone)
    assert "evaluation.validation_metrics: metrics: unknown metric 'surprise'" in said
    logged = (in_place.root / "evaluation.log").read_text()
    assert "Ignored, since the folder is not trusted: evaluation.extra_metrics={'hit'" in logged
    assert "--trust" in logged
    assert not executed()
    without = ["evaluation.test_metrics=[cc]", "evaluation.validation_metrics=[cc]"]
    shutil.copytree(in_place.root, tmp_path / "stranger")
    here("evaluate", tmp_path / "stranger", *alone, *without, f"data.root={in_place.root.parents[1]}/synthetic-smoke")
    assert not executed()
    importable(Path.cwd())
    here("evaluate", in_place.root, *alone, "--trust")
    assert executed()
    again = pd.read_csv(in_place.root / "evaluation" / "scores.csv")
    first = pd.read_csv(in_place.scores)
    pd.testing.assert_frame_equal(again[["hit", "surprise"]], first[["hit", "surprise"]], atol=1e-5)
    assert json.loads((in_place.root / "evaluation" / "extra_metrics.json").read_text())["hit"] == {
        "title": "HIT",
        "higher_is_better": True,
    }


@pytest.fixture
def scored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, importable: Callable[[Path], None]) -> list[str]:
    """Maps and data in a folder of one's own: what ``saltext score`` is given."""
    place = tmp_path / "place"
    write_own(place)
    monkeypatch.chdir(place)
    importable(place)
    Path("maps").mkdir()
    for pair in SjtuTis(generate(place / "data", images=4, size_range=(96, 128))).read().pairs:
        shutil.copyfile(pair.density, Path("maps") / f"{pair.name}.png")
    return ["score", "maps", "data", "--beside", "uniform", "--extra-metrics", "my_conf/metric/mine.yaml", "--out", "o"]


def test_a_folder_of_maps_is_scored_by_metrics_from_outside(scored: list[str]) -> None:
    here(*scored, "--metric", "hit", "--metric", "cc", "--metric", "surprise")
    scores = pd.read_csv("o/scores.csv").groupby("model")[["hit", "surprise", "cc"]].mean()
    assert scores.loc["maps", "hit"] == 1
    assert scores.loc["uniform map", "surprise"] == 0  # its maps are of ones
    assert "HIT ↑" in Path("o/table.md").read_text()


def test_the_example_of_the_documentation_works(scored: list[str]) -> None:
    page = (ROOT / "docs" / "own-metric.md").read_text()
    blocks = dict(re.findall(r'^```\w+ title="(mine\.py|my_conf/metric/mine\.yaml)"\n(.*?)^```$', page, re.M | re.S))
    assert set(blocks) == {"mine.py", "my_conf/metric/mine.yaml"}
    for name, code in blocks.items():
        Path(name).write_text(code)
    here(*scored, "--metric", "hit")
    assert pd.read_csv("o/scores.csv").query("model == 'maps'")["hit"].eq(1).all()


def test_scores_of_a_function_that_was_changed_are_not_taken_from_the_cache(scored: list[str]) -> None:
    here(*scored, "--metric", "surprise")
    before = pd.read_csv("o/scores.csv")
    sys.modules["theirs.scores"].surprise = lambda pred, fixations: pred.sum((1, 2, 3)) * 0 + 5  # type: ignore[attr-defined]
    here(*scored, "--metric", "surprise")
    after = pd.read_csv("o/scores.csv")
    assert not (before["surprise"] == 5).any()
    assert (after["surprise"] == 5).all()  # the baselines', which are cached otherwise, as well


def test_own_metrics_are_scored_beside_the_usual_ones_where_none_is_named(scored: list[str]) -> None:
    here(*scored, "--task", "salient")
    assert {"cc", "auc_shuffled", "ig", "hit", "surprise", "auc_borji_few"} <= set(pd.read_csv("o/scores.csv"))


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("hit: {_target_: mine.hitt, higher_is_better: true}", "hit._target_: mine.hitt cannot be imported"),
        ("hit: {_target_: mine.hit, higher_is_better: true, wihtin: 2}", "hit.wihtin: no argument of mine.hit (did"),
        ("hit: {_target_: mine.hit}", "hit.higher_is_better: expected true or false, got null"),
        ("hit: {_target_: mine.hit, higher_is_better: up}", "hit.higher_is_better: expected true or false, got 'up'"),
        ("cc: {_target_: mine.hit, higher_is_better: true}", "cc: expected a new name of letters, digits and _"),
        ("a-b: {_target_: mine.hit, higher_is_better: true}", "a-b: expected a new name of letters, digits and _"),
        ("task: {_target_: mine.hit, higher_is_better: true}", "expected another name than those of the package"),
        ("hit: mine.hit", "hit: expected a group of keys, got 'mine.hit'"),
        ("hit: {_target_: os.path.join, higher_is_better: true}", "expected join to take pred and any of density, fix"),
        ("hit: {_target_: saltext.metrics.functional.ccc, higher_is_better: true}", "there is no saltext.metrics.func"),
        ("- hit", "expected names of metrics, got"),
        ("hit: [", "cannot be read as a configuration"),
    ],
)
def test_a_file_of_metrics_that_cannot_be_used_says_why(
    scored: list[str], file: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("my_conf/metric/mine.yaml").write_text(file)
    assert said in refused(capsys, *scored)


def test_a_function_that_gives_no_score_per_image_is_named(
    scored: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    Path("mean.py").write_text("def mean(pred, density):\n    return (pred - density).abs().mean()\n")
    Path("my_conf/metric/mine.yaml").write_text("mean: {_target_: mean.mean, higher_is_better: false}")
    with pytest.raises(ValueError, match=r"expected mean to give one score per image, shape \(\d,\), got shape \(\)"):
        here(*scored)


OWN = "+evaluation.extra_metrics.hit={_target_: mine.hit, higher_is_better: true}"


def test_a_configuration_says_which_way_its_own_metric_is_better() -> None:
    cfg = composed("preset=smoke", OWN.replace("true", "false"), "evaluation.validation_metrics=[cc,hit]",
                   "evaluation.monitor=val/hit")  # fmt: skip
    assert cfg.evaluation.mode == "min"
    assert schema.problems(cfg) == {}
    assert schema.metrics(cfg) == {**{name: one.higher_is_better for name, one in METRICS.items()}, "hit": False}


@pytest.mark.parametrize(
    ("overrides", "key", "said"),
    [
        ([OWN, "evaluation.test_metrics=[cc,hitt]"], "evaluation.test_metrics", "did you mean 'hit'"),
        ([OWN, "evaluation.monitor=val/hit"], "evaluation.monitor", "expected one of train/loss, val/cc"),
        (["+evaluation.extra_metrics.hit.title=HIT"], "evaluation.extra_metrics.hit", "a node with _target_"),
        ([OWN.replace("hit=", "nss=")], "evaluation.extra_metrics.nss", "expected a new name"),
        ([OWN.replace("true", "1")], "evaluation.extra_metrics.hit.higher_is_better", "expected true or false, got 1"),
        ([OWN.replace(", higher_is_better: true", "")], "evaluation.extra_metrics.hit.higher_is_better", "got null"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_metric_from_outside_is_said_by_its_key(overrides: list[str], key: str, said: str) -> None:
    assert said in schema.problems(composed("preset=smoke", *overrides))[key]


def test_a_metric_whose_file_was_not_chosen_is_answered_with_the_choice(tmp_path: Path) -> None:
    file = tmp_path / "metric" / "mine.yaml"
    file.parent.mkdir()
    file.write_text("# @package evaluation.extra_metrics\nhit: {_target_: mine.hit, higher_is_better: true}\n")
    line = [f"--config-dir={tmp_path}", "preset=smoke", "evaluation.test_metrics=[cc,hit]"]
    with pytest.raises(ConfigError, match=rf'got \["cc", "hit"\]; hit is described in {file}: add \+metric=mine$'):
        CommandLine(line).check()
    CommandLine([*line, "+metric=mine"]).check()


def test_a_function_from_outside_is_looked_for_before_a_run_starts(
    tmp_path: Path, importable: Callable[[Path], None]
) -> None:
    write_own(tmp_path / "place")
    importable(tmp_path / "place")
    preflight.check([composed("preset=smoke", OWN, "evaluation.test_metrics=[hit]")])
    with pytest.raises(ValueError, match=r"evaluation\.extra_metrics\.hit\._target_: mine\.hitt cannot be imported"):
        preflight.check([composed("preset=smoke", OWN.replace("mine.hit", "mine.hitt"))])
