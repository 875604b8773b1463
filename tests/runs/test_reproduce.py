"""Tables and figures by one command: what is needed, what runs in which order, what is said of what is missing."""

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from huggingface_hub import constants
from huggingface_hub.errors import LocalEntryNotFoundError

from saltext.errors import ConfigError
from saltext.models import hub
from saltext.runs import reproduce as module
from saltext.runs.jobs import Job
from saltext.runs.reproduce import EVERYTHING, check, experiments, own_overrides, reproduce, targets
from tests.command_line import command
from tests.made_up_scores import run

SMOKE = ["preset=smoke"]
LATER = "9999-12-31_00-00-00.000000"
STAGES: Mapping[str, Mapping[str, object]] = {"warmup": {"test": False}, "non_salient": {"start": "warmup"}}
TARGETS = targets()


def overrides_of(arguments: list[str]) -> dict[str, str]:
    return dict(text.lstrip("+").split("=", 1) for text in arguments if "=" in text)


class Launched:
    """Stands for the processes that run an experiment: writes made-up jobs, one a seed, and notes what was asked.

    Args:
        output_dir: Where to.
        fail: Experiments that end with status 1 before their first job.
        sweep: When its sweeps start.
    """

    def __init__(self, output_dir: Path, fail: tuple[str, ...] = (), sweep: str = LATER) -> None:
        self.output_dir = output_dir
        self.fail = fail
        self.sweep = sweep
        self.commands: list[list[str]] = []

    def __call__(self, program: str, arguments: list[str]) -> int:
        assert program == "saltext.run"
        assert arguments[-1] == "-m"
        self.commands.append(arguments)
        given = overrides_of(arguments)
        name = given["experiment"]
        if name in self.fail:
            return 1
        for number, seed in enumerate(given.get("seed", "42").split(",")):
            self._job(name, number, seed, len(self.commands))
        return 0

    def _job(self, name: str, number: int, seed: str, command: int) -> None:
        root = self.output_dir / name / f"job-{command}-{seed}"
        folder = run(
            root,
            {"non_salient": [0.5, 0.6]},
            name=name,
            label="net",
            stages=STAGES,
            stage="non_salient",
            seed=int(seed),
        )
        warmup = folder.stage("warmup")
        warmup.checkpoints.mkdir(parents=True)
        warmup.best.touch()
        warmup.finished_stage.write_text('{"tasks": ["pure"]}')
        Job(folder, self.sweep, number, (f"+experiment={name}", f"seed={seed}")).write()


@pytest.fixture
def launched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Launched:
    fake = Launched(tmp_path)
    monkeypatch.setattr(module, "launch", fake)
    return fake


def test_what_an_experiment_starts_from_is_run_before_it() -> None:
    order = experiments(TARGETS[EVERYTHING])
    assert order.index("table2_tranblend") < order.index("fixrate_ablation")
    assert len(order) == len(set(order))
    assert experiments(TARGETS["fig6"]) == ["table2_tranblend", "fixrate_ablation"]


def test_figures_share_the_runs_of_table_2() -> None:
    both = {"table2_transalnet", "table2_tranblend"}
    assert set(experiments(TARGETS["table2"])) == both
    for name in ("fig4", "fig5", "fig7"):
        assert set(experiments(TARGETS[name])) <= both


def test_an_override_can_be_of_one_experiment() -> None:
    given = ["seed=1", "one:trainer.max_epochs=2", "two:seed=3", "data.root='a:b'"]
    assert own_overrides("one", given) == ["seed=1", "trainer.max_epochs=2", "data.root='a:b'"]
    assert own_overrides("two", given) == ["seed=1", "seed=3", "data.root='a:b'"]


def test_generated_data_and_random_weights_need_nothing() -> None:
    assert list(check(TARGETS["table2"], SMOKE)) == ["table2_transalnet", "table2_tranblend"]


def test_everything_that_is_missing_is_said_at_once_with_how_to_get_it() -> None:
    with pytest.raises(ConfigError) as caught:
        check(TARGETS["fig6"], ["preset=paper", "data.root=nowhere"])
    said = str(caught.value)
    for word in ("nowhere", "SALTEXT_DATA", "TranSalNet_Dense.pth", "checkpoint=", "ImageReward.pt"):
        assert word in said
    assert said.count("nowhere") == 1  # not once for each experiment


def test_weights_that_are_given_are_not_missing_unless_their_file_is(tmp_path: Path) -> None:
    given = ["preset=paper", "data=synthetic_smoke", "model.text_encoder.weights=Salesforce/blip-itm-base-coco"]
    weights = tmp_path / "TranSalNet_Dense.pth"
    with pytest.raises(ConfigError, match=r"There is no weight file .*TranSalNet_Dense\.pth"):
        check(TARGETS["table2"], [*given, f"checkpoint={weights}"])
    weights.touch()
    check(TARGETS["table2"], [*given, f"checkpoint={weights}"])


def test_packaged_weights_are_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("saltext.models.packaged_weights.find_spec", lambda name: None)
    with pytest.raises(ConfigError) as caught:
        check(TARGETS["table2"], ["preset=embedded", "data=synthetic_smoke"])
    assert "efficientnet-lite0" in str(caught.value)
    assert "minilm" in str(caught.value)
    assert str(caught.value).count("efficientnet-lite0") == 1


def test_weights_of_the_hub_are_looked_for_where_it_may_not_be_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    given = ["data=synthetic_smoke"]
    monkeypatch.setattr(hub, "snapshot_download", nothing_here)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    assert list(check(TARGETS["aligned"], given)) == ["aligned"]
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ConfigError, match=r"hf download IDEA-Research/grounding-dino-tiny --revision a2bb814dd30d"):
        check(TARGETS["aligned"], given)


def nothing_here(*given: Any, **options: Any) -> str:
    raise LocalEntryNotFoundError("not here")


def test_what_needs_a_hub_is_no_part_of_all() -> None:
    assert "aligned" not in experiments(TARGETS[EVERYTHING])
    assert "embedded" in experiments(TARGETS[EVERYTHING])


@pytest.mark.parametrize(
    ("wrong", "said"),
    [("trainer.max_epoch=1", "trainer.max_epoch"), ("fixrate:seed=1", "fixrate_ablation"), ("preset=huge", "huge")],
)
def test_an_override_that_fits_nothing_is_refused_before_anything_runs(
    launched: Launched, wrong: str, said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        reproduce(TARGETS["fig6"], [*SMOKE, wrong])
    assert not launched.commands


def test_the_ablation_starts_from_the_warm_up_and_the_study_is_written(launched: Launched, tmp_path: Path) -> None:
    assert reproduce(TARGETS["fig6"], [*SMOKE, f"output_dir={tmp_path}"])
    first, second = (overrides_of(arguments) for arguments in launched.commands)
    assert (first["experiment"], second["experiment"]) == ("table2_tranblend", "fixrate_ablation")
    assert "checkpoint" not in first
    expected = tmp_path / "table2_tranblend" / "job-1-42" / "stages" / "warmup" / "checkpoints" / "best.ckpt"
    assert second["checkpoint"] == f'"{expected}"'


def test_each_seed_of_the_ablation_starts_from_its_own_warm_up(launched: Launched, tmp_path: Path) -> None:
    assert reproduce(TARGETS["fig6"], [*SMOKE, f"output_dir={tmp_path}", "seed=0,1"])
    warmup, *ablations = (overrides_of(arguments) for arguments in launched.commands)
    assert warmup["seed"] == "0,1"
    assert [(a["seed"], f"job-1-{a['seed']}" in a["checkpoint"]) for a in ablations] == [("0", True), ("1", True)]


def test_the_files_are_written_from_the_jobs_that_just_ran(launched: Launched, tmp_path: Path) -> None:
    assert reproduce(TARGETS["fig5"], [*SMOKE, f"output_dir={tmp_path}"])
    table = pd.read_csv(tmp_path / "reproduce" / "non_salient_contrast" / "results.csv")
    assert set(table.query("pairs > 0")["line"]) == {"TranSalNet", "TranBlend"}
    assert (tmp_path / "reproduce" / "non_salient_contrast" / "results.html").is_file()


def test_a_failed_experiment_stops_no_other_and_fails_the_command(
    launched: Launched, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    launched.fail = ("table2_transalnet",)
    assert not reproduce(TARGETS["fig5"], [*SMOKE, f"output_dir={tmp_path}"])
    assert len(launched.commands) == 2
    assert "not finished: table2_transalnet" in capsys.readouterr().err
    assert (tmp_path / "reproduce" / "non_salient_contrast" / "results.html").is_file()


def test_without_a_warm_up_the_ablation_is_not_run(
    launched: Launched, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    launched.fail = ("table2_tranblend",)
    assert not reproduce(TARGETS["fig6"], [*SMOKE, f"output_dir={tmp_path}"])
    assert len(launched.commands) == 1
    assert "fixrate_ablation is not run: no warmup of table2_tranblend" in capsys.readouterr().err


def test_jobs_of_an_earlier_sweep_are_not_passed_off_as_this_one_s(launched: Launched, tmp_path: Path) -> None:
    launched.sweep = "2001-01-01_00-00-00.000000"
    reproduce(TARGETS["fig4"], [*SMOKE, f"output_dir={tmp_path}"])
    assert not (tmp_path / "reproduce").exists()


def saltext_reproduce(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return command("reproduce", *arguments, module="saltext")


@pytest.mark.slow
def test_figure_6_is_one_command(tmp_path: Path) -> None:
    done = saltext_reproduce(
        "fig6", *SMOKE, f"output_dir={tmp_path}", "data.image_size=[64,96]", "data.map_size=[16,24]",
        "evaluation.baselines=[]", "evaluation.text_ablation=false", "evaluation.pictures=1",
        "fixrate_ablation:model/freeze=full",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    written = tmp_path / "reproduce" / "fixrate_ablation"
    assert str(written / "results.html") in done.stdout
    table = pd.read_csv(written / "results.csv")
    assert set(table.query("pairs > 0")["line"]) == {"encoder 1, decoder 1"}
    assert set(table.query("pairs > 0")["verdict"]) == {"no verdict (synthetic data)"}
    assert (written / "curves.png").stat().st_size > 10_000
    assert set(pd.read_csv(written / "curves.csv")["by"]) == {"ours", "published"}


@pytest.mark.slow
def test_a_name_that_is_none_is_answered_with_those_that_are() -> None:
    done = saltext_reproduce("fig1")
    assert done.returncode == 2
    assert "fig2, fig3" in done.stderr
    assert "Traceback" not in done.stderr
