"""Jobs with ``logger=wandb``, without a network: what is in their W&B runs when these are read back."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import wandb
from omegaconf import DictConfig, OmegaConf

from saltext.errors import ConfigError
from saltext.results.score_table import RunScores, read_scores
from saltext.runs import tracking
from saltext.system.run_folder import RunFolder
from tests.command_line import command
from tests.runs.test_sweep_files import SWEEPS, agent_command

PACKAGE = Path(tracking.__file__).parents[1]


@dataclass(frozen=True)
class WandbRun:
    """A run's records on disk, read by W&B's own reader."""

    files: Path
    summary: dict[str, Any]
    config: dict[str, Any]
    state: str
    record: dict[str, Any]
    artifacts: list[dict[str, Any]]

    def media(self, name: str) -> Path:
        path = self.files / self.summary[name]["path"]
        assert path.is_file()
        return path

    def table(self, name: str) -> pd.DataFrame:
        content = json.loads(self.media(name).read_text())
        return pd.DataFrame(content["data"], columns=content["columns"])


def inspected(folder: Path, *options: str) -> str:
    reader = [str(Path(sys.executable).parent / "wandb"), "leet", "inspect", "--json", *options, str(folder)]
    return subprocess.run(reader, capture_output=True, text=True, check=True, timeout=60).stdout


def wandb_runs(run: RunFolder) -> list[WandbRun]:
    found = []
    for folder in sorted((run.root / "wandb").glob("offline-run-*")):
        whole = json.loads(inspected(folder, "--summary"))
        records = [json.loads(line) for line in inspected(folder).splitlines()]
        record = next(r["run"] for r in records if r["type"] == "run")
        kept = [r["artifact"] for r in records if r["type"] == "artifact"]
        found.append(WandbRun(folder / "files", whole["summary"], whole["config"], whole["state"], record, kept))
    return found


def saltext(
    *arguments: str, home: Path, module: str = "saltext.run", **environment: str
) -> "subprocess.CompletedProcess[str]":
    """Runs without a key, with a home and a current folder of its own."""
    home.mkdir(parents=True, exist_ok=True)
    wandbs: dict[str, str | None] = {key: None for key in os.environ if key.startswith("WANDB_")}
    own = {"HOME": str(home), "NETRC": str(home / "netrc"), "PYTHONPATH": str(PACKAGE.parent)}
    return command(*arguments, module=module, cwd=home, environment={**wandbs, **own, **environment})


@pytest.fixture
def configured(tmp_path: Path) -> tuple[DictConfig, RunFolder]:
    """A job that asks for W&B, and its folder."""
    settings = {"_target_": "saltext.training.loggers.StageLogger", "project": "saltext", "tags": [], "mode": None}
    cfg = {"logger": {"csv": {}, "wandb": settings}, "model": {"name": "tranblend"}, "data": {"tasks": None}}
    return OmegaConf.create(cfg), RunFolder(tmp_path)


def test_a_tag_is_as_long_as_wandb_takes_and_a_task_is_one(
    configured: tuple[DictConfig, RunFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    cfg, folder = configured
    cfg.model.name = "tranblend-" + "x" * 90
    cfg.data.tasks = "salient"
    cfg.logger.wandb.tags = ["y" * 63 + " z", "y" * 63, ""]
    asked: list[dict[str, Any]] = []
    monkeypatch.setattr(wandb, "init", lambda **settings: asked.append(settings) or FailingRun())
    with tracking.tracked(cfg, folder):
        pass
    (tags,) = (settings["tags"] for settings in asked)
    assert tags == ["tranblend-" + "x" * 54, "salient", "y" * 63]
    wandb.Settings(run_tags=tags)  # raises for one that is longer
    with pytest.raises(Exception, match="64"):
        wandb.Settings(run_tags=["x" * 65])


class FailingRun:
    """An open run whose process is gone."""

    id, offline, disabled, url = "a1", True, False, None

    def __getattr__(self, name: str) -> Any:
        raise BrokenPipeError("W&B's process is gone")


FAILURES = [OSError(28, "No space left on device"), wandb.Error("no"), RuntimeError("service"), ImportError("protobuf")]


@pytest.mark.parametrize("error", FAILURES)
def test_a_wandb_that_cannot_be_started_is_done_without(
    configured: tuple[DictConfig, RunFolder],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
) -> None:
    def fail(**_: Any) -> None:
        raise error

    cfg, folder = configured
    monkeypatch.setattr(wandb, "init", fail)
    with tracking.tracked(cfg, folder):
        assert list(cfg.logger) == ["csv"]
    assert "the run continues without it" in caplog.text


def test_a_wandb_that_ends_meanwhile_fails_no_finished_run_and_hides_no_error(
    configured: tuple[DictConfig, RunFolder], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cfg, folder = configured
    monkeypatch.setattr(wandb, "init", lambda **_: FailingRun())
    with tracking.tracked(cfg, folder):
        pass
    assert "not everything was logged to W&B" in caplog.text
    with pytest.raises(ConfigError, match="of the run's own"), tracking.tracked(cfg, folder):
        raise ConfigError("of the run's own")


def test_settings_that_wandb_does_not_know_are_a_mistake_before_training(
    configured: tuple[DictConfig, RunFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(**_: Any) -> None:
        raise ValueError("mode: 'onlin' is none of online, offline")

    monkeypatch.setattr(wandb, "init", fail)
    with pytest.raises(ConfigError, match=r"fix logger\.wandb.*onlin"), tracking.tracked(*configured):
        pass


SMALL = ("preset=smoke", "trainer.max_epochs=2", "evaluation.baselines=[uniform]")


@pytest.fixture(scope="module")
def swept(outputs: Path) -> "tuple[RunFolder, subprocess.CompletedProcess[str]]":
    """A job of a W&B sweep, as its agent starts it, that finds no key."""
    (file,) = (path for path in SWEEPS if path.stem == "blend_variants")
    agents = {"WANDB_RUN_ID": "a1b2c3d4", "WANDB_SWEEP_ID": "s1w2e3e4", "WANDB_PROJECT": "saltext"}
    minus_m, module, *words = agent_command(file, {"model/blend": "film"})
    assert minus_m == "-m"
    own = ("logger.wandb.log_model=true", f"output_dir={outputs}")
    done = saltext(*words, *SMALL, *own, home=outputs / "home", module=module, **agents)
    assert done.returncode == 0, done.stdout + done.stderr
    return RunFolder(outputs / "blend_variants" / "a1b2c3d4_tranblend-film"), done


@pytest.fixture(scope="module")
def read_back(swept: "tuple[RunFolder, Any]") -> WandbRun:
    (run,) = wandb_runs(swept[0])
    return run


@pytest.mark.slow
def test_without_a_key_a_job_goes_on_offline_and_says_how_to_upload_it(
    swept: "tuple[RunFolder, subprocess.CompletedProcess[str]]", read_back: WandbRun
) -> None:
    folder, _ = swept
    log = folder.log.read_text()
    assert "No API key configured" in log
    assert f"offline; `wandb sync {folder.root / 'wandb'}` uploads it" in log
    assert read_back.state == "finished"


@pytest.mark.slow
def test_nothing_is_written_outside_the_run_folder(swept: "tuple[RunFolder, Any]", outputs: Path) -> None:
    assert not [path for path in (outputs / "home").rglob("*") if "wandb" in str(path.relative_to(outputs))]


@pytest.mark.slow
def test_a_job_of_a_wandb_sweep_is_the_run_its_agent_named(read_back: WandbRun) -> None:
    assert read_back.record["run_id"] == "a1b2c3d4"
    assert read_back.record["sweep_id"] == "s1w2e3e4"
    assert read_back.record["project"] == "saltext"


@pytest.mark.slow
def test_a_run_says_what_it_is(swept: "tuple[RunFolder, Any]", read_back: WandbRun) -> None:
    assert read_back.record["run_group"] == "blend_variants"
    assert read_back.record["job_type"] == "train"
    assert read_back.record["display_name"] == swept[0].root.name
    assert {"smoke", "tranblend", "tranblend-film", "salient"} <= set(read_back.record["tags"])


@pytest.mark.slow
def test_the_config_is_the_resolved_one_with_where_it_came_from(
    swept: "tuple[RunFolder, Any]", read_back: WandbRun
) -> None:
    config, folder = read_back.config, swept[0]
    assert config["optimizer"]["lr"] > 0
    assert config["trainer"]["max_epochs"] == 2
    assert config["callbacks"]["best"]["monitor"] == "val/cc"
    (start,) = json.loads(folder.provenance.read_text())
    origin = config["provenance"]
    assert origin["commit"] == start["commit"]
    assert origin["packages"] == start["packages"]
    assert origin["processes"] == 1
    assert origin["choices"]["model/blend"] == "film"
    assert "model/blend=film" in origin["overrides"]
    assert config["split"] == json.loads(folder.split.read_text())["digest"]


@pytest.mark.slow
def test_the_summary_has_the_test_scores_of_the_score_table(
    swept: "tuple[RunFolder, Any]", read_back: WandbRun
) -> None:
    scores = read_scores(swept[0].scores).query("model == 'tranblend-film'")
    by_task = scores[scores["protocol"] == "standard"].groupby("task")["cc"].mean()
    assert len(by_task) == 5
    for task, mean in by_task.items():
        assert read_back.summary[f"test/standard/{task}/cc"] == pytest.approx(mean)
    assert read_back.summary["test/cc"] == pytest.approx(by_task.mean())
    papers = scores[(scores["protocol"] == "tranblend") & (scores["task"] == "pure")]
    assert read_back.summary["test/tranblend/pure/nss_unbiased"] == pytest.approx(papers["nss_unbiased"].mean())


@pytest.mark.slow
def test_the_summary_keeps_the_best_of_each_epochs_scores(swept: "tuple[RunFolder, Any]", read_back: WandbRun) -> None:
    curves = pd.read_csv(swept[0].root / "metrics" / "version_0" / "metrics.csv")
    for name in ("val/cc", "val/cc_salient", "val/nss"):
        assert read_back.summary[name] == {"max": pytest.approx(curves[name].max())}, name
    assert read_back.summary["val/kl"] == {"min": pytest.approx(curves["val/kl"].min())}
    assert read_back.summary["best/val/cc"] == pytest.approx(curves["val/cc"].max())


@pytest.mark.slow
def test_the_text_ablation_is_a_number_and_a_table_with_intervals(
    swept: "tuple[RunFolder, Any]", read_back: WandbRun
) -> None:
    own = read_scores(swept[0].scores).query(
        "model == 'tranblend-film' and protocol == 'standard' and task == 'salient'"
    )
    other = read_scores(swept[0].text_ablation_scores).query("variant == 'opposite' and task == 'salient'")
    expected = own.set_index("image_id")["nss"].sub(other.set_index("image_id")["nss"]).mean()
    assert read_back.summary["text_ablation/opposite/salient/nss"] == pytest.approx(expected)
    table = read_back.table("tables/text_ablation")
    row = table.query("own_minus == 'opposite' and task == 'salient' and metric == 'nss'").iloc[0]
    assert row["low"] <= row["mean"] <= row["high"]


@pytest.mark.slow
def test_the_picture_and_the_tables_are_those_of_the_run(swept: "tuple[RunFolder, Any]", read_back: WandbRun) -> None:
    folder, _ = swept
    assert read_back.media("pictures/pairs").read_bytes() == folder.picture.read_bytes()
    pairs, scores = read_back.table("tables/scores"), read_scores(folder.scores)
    assert list(pairs["image_id"]) == list(scores["image_id"])
    assert list(pairs["cc"].astype(float)) == pytest.approx(list(scores["cc"]))
    assert {"encoder", "blend", "decoder"} <= set(read_back.table("tables/freeze")["module"])


@pytest.mark.slow
def test_the_score_table_and_the_tested_weights_are_artifacts(
    swept: "tuple[RunFolder, Any]", read_back: WandbRun
) -> None:
    folder, by_kind = swept[0], {artifact["type"]: artifact for artifact in read_back.artifacts}
    files = {
        kind: {entry["path"]: Path(entry["local_path"]) for entry in by_kind[kind]["manifest"]["contents"]}
        for kind in ("scores", "model")
    }
    assert {"scores.csv", "text_ablation.csv", "table.md", "split.json"} == files["scores"].keys()
    assert files["scores"]["scores.csv"].read_bytes() == folder.scores.read_bytes()
    assert {"best.ckpt", "config.yaml", "split.json"} == files["model"].keys()
    assert files["model"]["best.ckpt"].read_bytes() == folder.best.read_bytes()


@pytest.mark.slow
def test_the_table_of_pairs_has_the_maps_of_the_pictures_pairs(
    swept: "tuple[RunFolder, Any]", read_back: WandbRun
) -> None:
    scores = read_scores(swept[0].scores).query("model == 'tranblend-film' and protocol == 'standard'")
    own = scores.set_index(["image_id", "task"])["cc"]
    (uploaded,) = (artifact for artifact in read_back.artifacts if "tablespairs" in artifact["name"])
    files = {entry["path"]: Path(entry["local_path"]) for entry in uploaded["manifest"]["contents"]}
    table = json.loads(files["tables/pairs.table.json"].read_text())
    for values in table["data"]:
        row = dict(zip(table["columns"], values, strict=True))
        assert row["cc"] == pytest.approx(own[row["image_id"], row["task"]])
        for column in ("image", "human_map", "prediction"):
            assert files[row[column]["path"]].read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_a_resumed_run_goes_on_in_the_same_wandb_run(swept: "tuple[RunFolder, Any]", outputs: Path) -> None:
    folder, _ = swept
    done = saltext(f"resume={folder.root}", home=outputs / "home", WANDB_MODE="offline")
    assert done.returncode == 0, done.stdout + done.stderr
    first, second = wandb_runs(folder)
    assert folder.log.read_text().count("cannot go online") == 1  # in the first one; the second did not try
    assert first.record["run_id"] == second.record["run_id"] == "a1b2c3d4"
    assert second.summary["test/cc"] == pytest.approx(first.summary["test/cc"])


@pytest.mark.slow
def test_a_schedule_on_two_processes_is_one_wandb_run_with_stages_by_name(outputs: Path) -> None:
    folder = RunFolder(outputs / "two")
    done = saltext(
        *SMALL, "evaluation.text_ablation=false", "logger=wandb",
        "logger.wandb.tags=[mine]", "trainer=ddp", "trainer.devices=2",
        "+stages.sequence.first={tasks:[pure,salient],test:false}",
        "+stages.sequence.second={tasks:[pure],start:first}",
        f"output_dir={outputs}", f"hydra.run.dir={folder.root}", home=outputs / "home", WANDB_MODE="offline",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    (run,) = wandb_runs(folder)
    assert run.config["provenance"]["processes"] == 2
    assert "mine" in run.record["tags"]
    for stage in ("first", "second"):
        curves = pd.read_csv(folder.stage(stage).root / "metrics" / "version_0" / "metrics.csv")
        assert run.summary[f"{stage}/val/cc"] == {"max": pytest.approx(curves["val/cc"].max())}
        assert not run.table(f"{stage}/tables/freeze").empty
    assert run.summary["best/val/cc"] == pytest.approx(run.summary["second/best/val/cc"])
    assert run.media("pictures/second").read_bytes() == folder.stage("second").picture.read_bytes()
    assert {name for name in run.summary if name.startswith("test/standard/")} >= {"test/standard/pure/cc"}
    assert not [name for name in run.summary if name.startswith("val/")]


OPEN_AND_CLOSE = """
import sys
from pathlib import Path
from omegaconf import OmegaConf
from saltext.errors import ConfigError
from saltext.system.run_folder import RunFolder
from saltext.runs.tracking import tracked

cfg, outputs = OmegaConf.load(sys.argv[1]), Path(sys.argv[2])
with tracked(cfg, RunFolder(outputs / "disabled")):
    pass
cfg.logger.wandb.mode = "offline"
try:
    with tracked(cfg, RunFolder(outputs / "failed")):
        raise KeyError
except KeyError:
    pass
cfg.logger.wandb.mode = "onlin"
try:
    with tracked(cfg, RunFolder(outputs / "refused")):
        pass
except ConfigError as error:
    print(error)
"""


@pytest.mark.slow
def test_a_job_that_fails_is_a_failed_run_and_a_disabled_one_leaves_nothing(
    swept: "tuple[RunFolder, Any]", outputs: Path
) -> None:
    config = str(swept[0].config)
    (outputs / "home" / "open_and_close.py").write_text(OPEN_AND_CLOSE)
    done = saltext(config, str(outputs), module="open_and_close", home=outputs / "home", WANDB_MODE="disabled")
    assert done.returncode == 0, done.stdout + done.stderr
    (failed,) = wandb_runs(RunFolder(outputs / "failed"))
    assert failed.state == "failed"
    assert not (outputs / "disabled" / "wandb" / "id").exists()
    assert not wandb_runs(RunFolder(outputs / "disabled"))
    assert "onlin" in done.stdout
    assert "logger.wandb" in done.stdout


def test_the_means_over_tasks_are_of_the_standard_protocol_and_of_the_model_alone() -> None:
    pairs = pd.DataFrame(
        [
            ("1", "pure", "ours", "standard", 0.5, 2.0),
            ("2", "pure", "ours", "standard", 0.75, 4.0),
            ("1", "salient", "ours", "standard", 0.25, 1.0),
            ("1", "pure", "ours", "published", 0.125, float("nan")),
            ("1", "pure", "uniform map", "standard", 0.0, 9.0),
        ],
        columns=["image_id", "task", "model", "protocol", "cc", "kl"],
    )
    assert tracking.test_values(RunScores(pairs, pd.DataFrame()), "ours") == {
        "test/standard/pure/cc": 0.625,
        "test/standard/pure/kl": 3.0,
        "test/standard/salient/cc": 0.25,
        "test/standard/salient/kl": 1.0,
        "test/cc": (0.625 + 0.25) / 2,
        "test/kl": 2.0,
        "test/published/pure/cc": 0.125,
    }


def test_baselines_alone_have_no_scores_of_a_model() -> None:
    pairs = pd.DataFrame({"image_id": ["1"], "task": "pure", "model": "uniform map", "protocol": "standard", "cc": 0.0})
    assert tracking.test_values(RunScores(pairs, pd.DataFrame()), "baselines") == {}


def test_a_run_that_does_not_ask_for_wandb_does_not_start_it() -> None:
    # timm imports wandb where it is installed; starting it is another thing.
    code = "import saltext.run, sys; assert 'wandb' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    for path in PACKAGE.rglob("*.py"):
        lines = path.read_text(encoding="utf-8").splitlines()
        assert not [line for line in lines if line.startswith(("import wandb", "from wandb"))], path
