"""A user's own data from a description to tables and predictions, and SALICON as the start of other studies."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from omegaconf import OmegaConf
from PIL import Image

import saltext
from saltext.errors import ConfigError
from saltext.models.checkpoints import read_weights
from saltext.results.score_table import of_protocol, read_scores
from saltext.runs import build
from saltext.runs.evaluate import evaluate
from saltext.runs.saved import configuration
from saltext.system.run_folder import RunFolder
from tests.command_line import here, refused
from tests.data.made_up_layouts import own_copy, write_salicon
from tests.small_runs import SMALL, composed, ran

pytestmark = pytest.mark.slow

LABEL = "tranblend-token_cross_attention"
NAMES = {"pure": "free", "whole": "scene", "general": "both", "salient": "large", "non_salient": "small"}


def small_run(folder: Path, *overrides: str) -> RunFolder:
    return ran(RunFolder(folder / "run"), *SMALL, f"output_dir={folder}", *overrides)


@pytest.fixture(scope="module")
def description(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two dozen images under conditions that SJTU-TIS does not know."""
    path = own_copy(tmp_path_factory.mktemp("own"), images=24)[1]
    content = yaml.safe_load(path.read_text())
    content["conditions"] = {NAMES[name]: value for name, value in content["conditions"].items()}
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    for table in ("texts.csv", "fixations.csv"):
        lines = (path.parent / table).read_text(encoding="utf-8").splitlines()
        cells = [line.split(",", 2) for line in lines]
        changed = [",".join([image, NAMES.get(condition, condition), rest]) for image, condition, rest in cells]
        (path.parent / table).write_text("\n".join(changed) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def finished(description: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return small_run(tmp_path_factory.mktemp("finished"), "data=own", f"data.description={description}")


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    folder = tmp_path_factory.mktemp("pretrained")
    write_salicon(folder / "salicon")
    return small_run(folder, "+experiment=pretrain_salicon", f"data.root={folder / 'salicon'}")


def test_every_condition_is_scored_beside_human_maps_and_the_centre_prior(finished: RunFolder) -> None:
    scores = of_protocol(read_scores(finished.scores), "standard")
    models = {task: set(part["model"]) for task, part in scores.groupby("task")}
    assert set(models) == set(NAMES.values())
    baselines = {LABEL, "uniform map", "centre prior", "centre prior (other images)", "split-half fixations"}
    assert all(baselines <= found for found in models.values())
    assert {task for task, found in models.items() if "human map, free viewing" in found} == {*NAMES.values()} - {
        "free"
    }
    assert scores[["cc", "nss", "auc_judd", "auc_shuffled", "ig"]].notna().all().all()


def test_the_tables_name_every_condition_and_quote_no_paper(finished: RunFolder) -> None:
    table = finished.table.read_text(encoding="utf-8")
    assert all(f"| {name} | {LABEL} |" in table for name in NAMES.values())
    assert ", published |" not in table


def test_the_effect_of_the_text_is_measured_where_one_was_read(finished: RunFolder) -> None:
    effect = read_scores(finished.text_ablation_scores)
    assert set(effect["variant"]) == {"empty", "other_image"}
    assert set(effect["task"]) == {*NAMES.values()} - {"free"}


def test_the_run_is_scored_again_to_the_same_numbers(finished: RunFolder) -> None:
    again = evaluate(configuration(finished, OmegaConf.create()).cfg, finished).pairs
    own = read_scores(finished.scores)
    np.testing.assert_allclose(again["cc"], own["cc"], rtol=0, atol=1e-6)


def test_its_model_predicts_where_the_data_are_not(
    finished: RunFolder, description: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "saltext.data.sources.custom.read_description", lambda *_: pytest.fail("the data were looked for")
    )
    density = saltext.load(finished.root).predict(np.zeros((30, 40, 3), np.uint8), "a large red circle")
    assert density.shape == (30, 40)
    assert density.sum() == pytest.approx(1, abs=1e-4)


def test_the_run_is_shown_on_a_page_also_without_its_data(finished: RunFolder, tmp_path: Path) -> None:
    cfg = OmegaConf.load(finished.config)
    assert cfg.data.root is cfg.data.tasks is None
    copied = RunFolder(Path(shutil.copytree(finished.root, tmp_path / "run")))
    here("report", copied.root)
    page = copied.report.read_text(encoding="utf-8")
    assert all(f">{name}<" in page for name in NAMES.values())
    copied.report.unlink()
    OmegaConf.update(cfg, "data.description", str(tmp_path / "gone.yaml"))
    OmegaConf.save(cfg, copied.config)
    here("report", copied.root)
    assert "gone.yaml" in copied.report.read_text(encoding="utf-8")


def test_the_run_is_exported_and_the_export_predicts_as_it_does(finished: RunFolder, tmp_path: Path) -> None:
    here("export", finished.root, tmp_path / "model", "--single")
    black = np.zeros((30, 40, 3), np.uint8)
    maps = [saltext.load(root).predict(black, "a large red circle") for root in (finished.root, tmp_path / "model")]
    assert np.array_equal(*maps)


def test_a_network_conditioned_on_the_task_gets_the_conditions_of_the_data(
    description: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = ("model=grounded_gaze", f"model.conditions=[{','.join(NAMES.values())}]", "evaluation.text_ablation=false")
    run = small_run(tmp_path, "data=own", f"data.description={description}", *told)
    assert set(read_scores(run.scores)["task"]) == set(NAMES.values())

    model, image = saltext.load(run.root, device="cpu"), np.zeros((30, 40, 3), np.uint8)
    free, large = (model.predict(image, "a circle", task=task) for task in ("free", "large"))
    assert not np.array_equal(free, large)
    Image.fromarray(image).save(tmp_path / "black.png")
    asked = [
        str(tmp_path / "black.png"),
        "--text",
        "a circle",
        "--model",
        str(run.root),
        "--out",
        str(tmp_path / "out"),
    ]
    here("predict", *asked, "--task", "large")
    np.testing.assert_allclose(np.load(tmp_path / "out" / "density" / "black.npy"), large, rtol=1e-4)
    assert re.search(
        r"other than free, scene, both, large, small.*'general', since no condition", refused(capsys, "predict", *asked)
    )

    for task in (None, "pure", "lage"):
        with pytest.raises(ConfigError, match=r"free, scene, both, large, small; got "):
            model.predict(image, "a circle", task=task)


def test_a_schedule_may_name_the_conditions(description: Path, tmp_path: Path) -> None:
    stages = "stages.sequence={look:{tasks:[free],test:false},read:{tasks:[large,small],start:look}}"
    none = ("evaluation.baselines=[]", "evaluation.text_ablation=false", "evaluation.paper=null")
    own = ("data=own", f"data.description={description}", f"output_dir={tmp_path}")
    run = ran(RunFolder(tmp_path / "run"), *SMALL, *own, f"+{stages}", *none)
    assert set(read_scores(run.scores)["task"]) == {"large", "small"}
    with pytest.raises(ConfigError, match="unknown tasks in"):
        small_run(
            tmp_path / "wrong", "data=own", f"data.description={description}", "+stages.sequence={a:{tasks:[lage]}}"
        )


def test_salicon_trains_to_weights_and_a_table(pretrained: RunFolder) -> None:
    assert pretrained.best.is_file()
    scores = read_scores(pretrained.scores)
    assert set(scores["task"]) == {"pure"}
    assert all("val2014" in name for name in scores["image_id"])
    assert "human map, free viewing" not in set(scores["model"])


@pytest.mark.parametrize("model", ["transalnet", "tranblend"])
def test_what_salicon_taught_is_the_start_of_other_studies(
    pretrained: RunFolder, description: Path, tmp_path: Path, model: str
) -> None:
    own = ("data=own", f"data.description={description}", f"output_dir={tmp_path}")
    cfg = composed(*SMALL, *own, f"model={model}", f"checkpoint={pretrained.best}")
    state = build.network(cfg).state_dict()
    taught = read_weights(pretrained.best)
    assert taught.keys() <= state.keys()
    assert all(torch.equal(state[name], value) for name, value in taught.items())
    assert any(name.startswith("decoder.") for name in taught)
