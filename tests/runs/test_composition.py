"""Everything that is wrong with a command line is said at once, in our words, without a heavy import."""

import pickle
import random
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from saltext.console import MISTAKE
from saltext.errors import ConfigError
from saltext.runs import composition, jobs
from saltext.runs.composition import (
    CommandLine,
    completions,
    compose_run,
    config_folder,
    quoted,
)
from saltext.system.extras import install_command
from tests.command_line import ROOT, command, refused

jobs.register_resolvers()


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    yield
    assert not GlobalHydra.instance().is_initialized()


def said(*arguments: str) -> str:
    with pytest.raises(ConfigError) as raised:
        CommandLine(arguments).check()
    lines = str(raised.value).splitlines()
    assert len(lines) <= 4, lines
    assert "append to your" not in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("seed=abc", "seed=abc: expected an integer, got 'abc'"),
        ("sede=3", "sede=3: no such key (did you mean 'seed'?)"),
        ("+sede=3", "+sede=3: no such key (did you mean 'seed'?)"),
        ("++sede=3", "++sede=3: no such key (did you mean 'seed'?)"),
        ("~sede", "~sede: no such key (did you mean 'seed'?)"),
        ("modle=tranblend", "modle=tranblend: no such key (did you mean 'model'?)"),
        ("presett=smoke", "did you mean 'preset'"),
        ("test_metrics=[cc]", "did you mean 'evaluation.test_metrics'"),
        (
            "model=tranblnd",
            "model=tranblnd: no such choice (did you mean 'tranblend'?); choose from baselines, clip_salgan",
        ),
        ("data=null", "data=null: no such choice; choose from mit1003, osie, own"),
        ("model/backbons=lite0", "model/backbons=lite0: no such group (did you mean 'model/backbones'?)"),
        ("model/blend=film", "model/blend is not a part of model=grounded_gaze"),
        ("trainer.max_epochs=two", "trainer.max_epochs=two: expected an integer, got 'two'"),
        ("optimizer.lr=-1", "optimizer.lr=-1: expected more than 0"),
        ("trainer.limit_train_batches=2", "write +trainer.limit_train_batches=2"),
        ("+seed=3", "+seed=3: seed has a value already; write seed=3"),
        ("+model=tranblend", "+model=tranblend: model has a choice already; write model=tranblend"),
        ("experiment=quickstart", "write +experiment=quickstart"),
        ("seed=0,1", "several values are a sweep, which needs -m"),
        ("seed.x=3", "seed.x=3: expected an integer"),
        ("hydra.run.dr=x", "hydra.run.dr=x: no such key (did you mean 'dir'?)"),
        ("hydra.run=3", "hydra.run=3: Invalid type assigned"),
        ("hydra.run.dir=${nothing}", "hydra.run.dir=${nothing}: Interpolation key 'nothing' not found"),
        ("hydra.run.dir=", "hydra.run.dir=: expected a folder, got ''"),
        ("hydra.run.dir=null", "hydra.run.dir=null: field 'hydra.run.dir' is not Optional"),
        ("hydra.sweep.dir=null", "hydra.sweep.dir=null: field 'hydra.sweep.dir' is not Optional"),
        ("hydra.sweep.subdir=", "hydra.sweep.subdir=: expected a folder"),
        ("hydra.verbose=3", "hydra.verbose=3: expected true, false, the name of a logger or a list of such names, got"),
        ("hydra.verbose=null", "hydra.verbose=null: expected true, false, the name of a logger"),
        ("hydra.verbose=[saltext,3]", "hydra.verbose=[saltext,3]: expected true, false, the name of a logger"),
        ("hydra.sweeper.params.x=3", "hydra.sweeper.params.x=3: Unexpected type"),
        ("callbacks.best.mode=${nothing}", "callbacks.best.mode=${nothing}: Interpolation key 'nothing' not found"),
        ("callbacks.epoch_seed=${oc.env:NOTHING_SUCH}", "Environment variable 'NOTHING_SUCH' not found"),
        ("data.tasks=3", "data.tasks=3: expected a list or a text or null, got 3"),
        ("~scheduler=3", "~scheduler=3: expected the name of a choice, got 3; ~scheduler alone will do"),
        ("data.root=[v2]", """as a text: 'data.root="[v2]"'"""),
        ("label='${hydra:nothing}'", "label"),
        ("label='uniform map'", "label='uniform map': expected a label that is neither the name nor the title of a"),
        ("--config-dir=no-such-folder", "--config-dir: expected a folder"),
    ],
)
def test_a_wrong_argument_is_answered_by_its_name(argument: str, expected: str) -> None:
    assert expected in said(argument)


@pytest.mark.parametrize(
    "argument",
    ["seed=abc", "+sede=3", "modle=tranblend", "trainer.max_epochs=two", "optimizer.lr=-1",
     "evaluation.monitor=val/ncc", "evaluation.mode=maximum", "trainer.accelerator=gpu"],
)  # fmt: skip
def test_the_command_answers_a_wrong_argument_in_five_lines_with_status_2_and_writes_nothing(
    argument: str, tmp_path: Path
) -> None:
    done = command("preset=smoke", argument, cwd=tmp_path, environment={"PYTHONPATH": str(ROOT)})
    assert done.returncode == MISTAKE
    assert done.stdout == ""
    assert done.stderr.startswith(f"error: {argument.partition('=')[0]}")
    assert len(done.stderr.splitlines()) <= 5
    assert not any(tmp_path.iterdir())


def test_all_that_is_wrong_comes_at_once() -> None:
    lines = said("model=xyz", "seed=true", "optimizer.lr=-1").splitlines()
    assert lines[0].startswith("3 values cannot be used")
    assert {line.split("=")[0].strip("* ") for line in lines[1:]} == {"model", "seed", "optimizer.lr"}


def keys_of(node: DictConfig, above: str = "") -> Iterator[str]:
    for name in (str(name) for name in node if name != "hydra"):
        yield f"{above}{name}"
        child = node._get_node(name)
        if isinstance(child, DictConfig) and not child._is_none():
            yield from keys_of(child, f"{above}{name}.")


@pytest.mark.parametrize("wrong", ["{key}q=3", "+{key}q=3", "{key}={{no:such}}", "{key}=[[x]]"])
def test_every_key_of_a_job_that_is_misspelt_or_given_something_else_is_named_as_it_was_written(wrong: str) -> None:
    job = compose_run([])
    keys = [key for key in keys_of(job) if key != "stages.sequence"]
    if "q=" in wrong:
        free = ("callbacks", "logger", "model.backbones", "loss.weights")  # takes any name, or is named whole
        asked = [key for key in keys if key.rpartition(".")[0] not in free]
    else:  # what a class takes is not known while its name is wrong
        asked = [key for key in keys if not key.endswith("_") and not OmegaConf.is_dict(OmegaConf.select(job, key))]
    arguments = [wrong.format(key=key) for key in asked]
    with pytest.raises(ConfigError) as raised:
        CommandLine(arguments).check()
    lines = [line.removeprefix("  * ") for line in str(raised.value).splitlines()[1:]]
    assert len(asked) > 80
    assert [argument for argument in arguments if not any(line.startswith(f"{argument}: ") for line in lines)] == []
    assert len(lines) == len(asked)


@pytest.mark.parametrize("number", range(20))
def test_no_wrong_argument_starts_a_run_or_ends_in_a_traceback(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(jobs, "run", lambda _: pytest.fail("a run was started"))
    wrong = ("{key}q=3", "+{key}q=3", "++{key}q=3", "~{key}q", "{key}={{no:such}}", "{key}=[[x]]", "{key}", "{key}=[",
             "{key}=${{no_such}}", "{key}=${{oc.env:NO_SUCH}}", "+{key}=3", "{key}=a,b", "{key}@x=3", "@{key}=3",
             "++{key}.a.b=${{no_such}}", "{key}=???", "{key}=-1e400", "{key}.x=3", "{key}=range(3)",
             "{key}={{_target_:os.mkdir,path:x}}")  # fmt: skip
    of_groups = ("data", "model", "loss", "scheduler", "trainer", "callbacks", "model/blend", "hydra.run")
    drawn = random.Random(number)
    argument = wrong[number].format(key=drawn.choice([*keys_of(compose_run([])), *of_groups]))
    text = refused(capsys, "train", "preset=smoke", argument)
    assert text.startswith("error: "), argument
    assert len(text.splitlines()) <= 5, argument
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    "key",
    ["loss._target_", "optimizer._partial_", "evaluation", "model", "data.tasks", "data.split.path", "hydra.run.dir"],
)
def test_a_value_that_refers_to_nothing_is_named(key: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no_such" in refused(capsys, "train", "preset=smoke", f"{key}=${{no_such}}")


@pytest.mark.parametrize(
    "value",
    ["/tmp/epoch=3-step=100.ckpt", "/tmp/数据/sjtu-tis", "/tmp/My Data (1)/x", "data[12]/my.yaml", "data [v2]/my.yaml",
     'a"b', "it's", "a\\b", "a\\", "{x}", "a,b", "$HOME", "null", "true", "17"],
)  # fmt: skip
def test_the_quoted_argument_means_what_was_written(value: str) -> None:
    shown = quoted("data.root", value)
    read = subprocess.run(["bash", "-c", f"printf %s {shown}"], capture_output=True, text=True, check=True).stdout
    (cfg,) = CommandLine([read]).check()
    assert cfg.data.root == value.replace("$HOME", "$HOME")


@pytest.mark.parametrize(
    "arguments",
    [["checkpoint=/tmp/epoch=3-step=100.ckpt"], ["data.root=/tmp/数据/sjtu-tis"], ["data.root=/tmp/My Data (1)/x"],
     ["data.root=/tmp/My", "Data", "(1)/x"]],
)  # fmt: skip
def test_an_argument_that_must_be_quoted_is_shown_quoted(arguments: list[str]) -> None:
    key, _, value = " ".join(arguments).partition("=")
    assert said(*arguments).endswith(quoted(key, value))


def test_an_argument_without_a_value_is_named() -> None:
    assert said("seed") == "seed: expected key=value"


@pytest.mark.parametrize(
    ("argument", "extra"),
    [("hydra/launcher=joblib", "parallel"), ("hydra/launcher=local", "parallel"),
     ("hydra/launcher=slurm", "slurm"),
     ("hydra/launcher=submitit_local", "slurm"), ("hydra/sweeper=search", "optuna"),
     ("hydra/sweeper=optuna", "optuna"), ("logger=tensorboard", "tensorboard"), ("logger=mlflow", "mlflow")],
)  # fmt: skip
def test_a_package_that_is_not_installed_is_answered_with_the_extra(
    argument: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(composition, "find_spec", lambda name: None)
    assert said(argument, "seed=1,2", "-m").endswith(install_command(extra))


def test_one_bad_job_of_a_grid_is_named_before_the_first_starts() -> None:
    assert said("seed=0,1,abc", "-m") == "seed=abc: expected an integer, got 'abc' (job 2 of 3, from 0)"
    assert "(job 2, 3 of 4, from 0)" in said("model=tranblend", "model.freeze.encoder=0.5,2", "seed=1,2", "-m")
    assert "model=xyz: no such choice" in said("model=tranblend,xyz", "-m")


def test_a_grid_has_the_jobs_that_hydra_makes_of_it() -> None:
    jobs_of = CommandLine(["+experiment=fixrate_grid", "model.freeze.encoder=0.0,0.5", "-m"]).check()
    assert [(c.model.freeze.encoder, c.model.freeze.decoder) for c in jobs_of][:6] == [
        (0.0, 0.0), (0.0, 0.25), (0.0, 0.5), (0.0, 0.75), (0.0, 1.0), (0.5, 0.0),
    ]  # fmt: skip
    assert len(jobs_of) == 10
    assert [cfg.seed for cfg in CommandLine(["seed=range(3)", "-m"]).check()] == [0, 1, 2]


VARIANTS = """# @package _global_
defaults:
  - override /model: tranblend
label: ${variant}
variant: first
variants:
  first: []
  film: [model/blend=film, optimizer.lr=0.5]
  long: [trainer.max_epochs=99, +loss.weights.contrast=0.2]
  wrong: [optimizer.lr=-1]
hydra:
  mode: MULTIRUN
  sweeper:
    params:
      seed: 1,2
"""


@pytest.fixture
def variants(tmp_path: Path) -> list[str]:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "own.yaml").write_text(VARIANTS)
    return ["--config-dir", str(tmp_path), "preset=smoke", "+experiment=own"]


def test_a_sweep_has_the_chosen_variants_in_each_combination_of_the_other_values(variants: list[str]) -> None:
    found = CommandLine([*variants, "variant=first,film,long", "-m"]).check()
    assert [(cfg.seed, cfg.label) for cfg in found] == [
        (1, "first"), (1, "film"), (1, "long"), (2, "first"), (2, "film"), (2, "long"),
    ]  # fmt: skip
    film, long = found[1:3]
    assert (film.model.name, film.optimizer.lr, film.trainer.max_epochs) == ("tranblend-film", 0.5, 2)
    assert (long.trainer.max_epochs, long.loss.weights.contrast) == (99, 0.2)
    assert long.optimizer.lr == found[0].optimizer.lr == compose_run(["preset=smoke"]).optimizer.lr


def test_a_sweep_that_names_no_variant_has_all_of_them(variants: list[str]) -> None:
    assert said(*variants, "-m") == "optimizer.lr: expected more than 0.0, got -1 (job 3, 7 of 8, from 0)"


def test_a_job_gets_the_name_of_its_variant_and_records_the_values(variants: list[str]) -> None:
    job = CommandLine([*variants, "variant=film", "seed=1"]).check()[0]
    assert list(job.hydra.overrides.task) == ["variant=film", "preset=smoke", "+experiment=own"]
    assert (job.variant, "variants" in job) == ("film", False)


def test_a_process_of_a_launcher_composes_a_job_s_variant_too(variants: list[str]) -> None:
    _, folder, *arguments = variants
    with composition._hydra(None, folder) as hydra:
        sweep = hydra.compose_config("config", arguments, RunMode.MULTIRUN, with_log_configuration=False)
        loader = pickle.loads(pickle.dumps(hydra.config_loader))
        job = loader.load_sweep_config(sweep, [*arguments, "variant=film", "seed=1"])
    assert sweep.hydra.sweeper.params == {"seed": "1,2", "variant": "first,film,long,wrong"}
    assert (job.variant, job.model.name, "variants" in job) == ("film", "tranblend-film", False)


def test_variants_of_a_file_that_an_experiment_starts_from_are_refused(variants: list[str]) -> None:
    other = Path(variants[1]) / "experiment" / "other.yaml"
    other.write_text("# @package _global_\ndefaults:\n  - own\n")
    arguments = [argument.replace("=own", "=other") for argument in variants]
    assert "variants: expected in the file of the experiment, got those of a file it starts from" in said(*arguments)


def test_what_the_command_line_sets_beats_a_variant(variants: list[str]) -> None:
    given = ["variant=film", "model/blend=inner_product", "optimizer.lr=0.25", "seed=1"]
    (job,) = CommandLine([*variants, *given]).check()
    assert (job.model.name, job.optimizer.lr) == ("tranblend-inner_product", 0.25)


@pytest.mark.parametrize("argument", ["variant=flim", "variant=first,flim"])
def test_an_unknown_variant_is_answered_with_the_nearest(variants: list[str], argument: str) -> None:
    expected = "variant=flim: no such variant (did you mean 'film'?); choose from first, film, long, wrong"
    assert said(*variants, argument, "-m") == expected


@pytest.mark.parametrize("argument", ["variant=film", "+variant=film"])
def test_a_variant_without_an_experiment_that_has_some_is_refused(argument: str) -> None:
    assert said(argument) == "variant=film: no experiment with variants is chosen"


def test_a_variant_is_shown_as_it_runs(variants: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    CommandLine([*variants, "variant=film", "--cfg", "job"]).show_configuration()
    shown = OmegaConf.create(capsys.readouterr().out)
    assert shown.optimizer.lr == 0.5
    assert "variants" not in shown


def test_a_grid_may_ask_for_every_choice_of_a_pattern() -> None:
    names = [cfg.model.name.partition("-")[0] for cfg in CommandLine(["model=glob(tr*)", "-m"]).check()]
    assert names == ["tranblend", "transalnet"]
    said("model=glob(tr*)")


def test_a_key_of_a_list_is_named() -> None:
    key = "data.image_size"
    for argument in (f"{key}.a=3", f"{key}.a.b=3", f"++{key}.a.b=3", f"+{key}.a=3", f"~{key}.a.b"):
        assert said("preset=smoke", argument).startswith(f"{argument}: ")


def test_a_value_that_hydra_does_not_read_back_is_named_in_a_grid() -> None:
    assert said("seed=1,2", "data.root=${oc.decode:'['}", "-m").startswith("data.root: a value with such characters")


def test_a_range_is_for_a_search() -> None:
    assert "hydra/sweeper=search" in said("optimizer.lr=interval(1e-5,1e-2)", "-m")
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    search = ["hydra/sweeper=search", "optimizer.lr=tag(log,interval(1e-5,1e-2))", "-m"]
    assert len(CommandLine(search).check()) == 1
    assert "seed=abc" in said("seed=abc", *search)


@pytest.mark.parametrize("model", ["tranblend", "clip_salgan", "grounded_gaze"])
def test_what_is_composed_is_what_hydra_composes_however_often(model: str) -> None:
    overrides = [f"model={model}", "preset=smoke", "optimizer.lr=0.5", "~callbacks", "+trainer.profiler=simple"]
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        theirs = compose("config", overrides, return_hydra_config=True)
    for _ in range(2):
        ours = compose_run(overrides)
        assert OmegaConf.to_yaml(ours) == OmegaConf.to_yaml(theirs)
        assert OmegaConf.is_struct(ours)
        ours.seed = 99  # is nobody else's
    assert compose_run([*overrides, "seed=5"]).seed == 5


def test_a_file_that_has_changed_is_read_again(tmp_path: Path) -> None:
    chosen = tmp_path / "optimizer" / "own.yaml"
    chosen.parent.mkdir()
    arguments = ["--config-dir", str(tmp_path), "preset=smoke", "optimizer=own"]
    for rate in (0.5, 0.7):  # texts of the same length, so that only their content tells them apart
        chosen.write_text(f"defaults: [adam]\nlr: {rate}\n")
        assert CommandLine(arguments).check()[0].optimizer.lr == rate
    chosen.write_text("defaults: [adamw]\nlr: 0.7\n")
    assert CommandLine(arguments).check()[0].optimizer._target_ == "torch.optim.AdamW"


def test_files_of_another_folder_can_be_chosen(tmp_path: Path) -> None:
    (tmp_path / "loss").mkdir()
    (tmp_path / "loss" / "mine.yaml").write_text("_target_: saltext.losses.SaliencyLoss\nweights: {kl: 1}\n")
    (cfg,) = CommandLine(["--config-dir", str(tmp_path), "loss=mine"]).check()
    assert cfg.loss.weights == {"kl": 1}
    assert "loss=mine: no such choice" in said("loss=mine")


def test_a_file_of_one_s_own_that_is_no_yaml_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "loss").mkdir()
    (tmp_path / "loss" / "mine.yaml").write_text("_target_: [\n")
    with pytest.raises(ConfigError, match=r"loss/mine\.yaml cannot be read: while parsing .* line 2"):
        CommandLine(["--config-dir", str(tmp_path), "loss=mine"]).check()


def test_there_is_one_way_to_name_a_folder_of_one_s_own() -> None:
    assert "expected --config-dir DIR" in said("hydra.searchpath=[file:///tmp]")


@pytest.mark.parametrize("words", [["--config-dir", "FOLDER"], ["-cd", "FOLDER"], ["--config-dir=FOLDER"]])
def test_choices_of_another_folder_are_completed(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own" / "loss").mkdir(parents=True)
    (tmp_path / "own" / "loss" / "mine.yaml").write_text("_target_: mine.Loss\n")
    given = [word.replace("FOLDER", str(tmp_path / "own")) for word in words]
    assert completions([*given, "seed=1"], "loss=mi") == ["loss=mine"]
    assert "loss._target_=" in completions([*given, "loss=mine"], "loss.")
    monkeypatch.chdir(tmp_path)
    assert completions(["--config-dir"], "ow") == ["own/"]
    assert completions(["--config-dir", "nothing"], "loss=") == []


def test_help_lists_the_configuration_and_completion_is_hydras_own(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert CommandLine(["model=tranblend", "--help"]).asks_for_help
    assert CommandLine(["-sc", "query=bash"]).asks_hydra
    assert not CommandLine(["seed=1"]).asks_for_help
    assert not CommandLine(["seed=1", "-m"]).asks_hydra
    CommandLine(["model=tranblend"]).show_help()
    said = capsys.readouterr().out
    assert "model: " in said
    assert "model: baselines, clip_salgan" in said


def test_a_pickled_configuration_is_not_run_again() -> None:
    assert "resume=DIR" in said("--experimental-rerun", "config.pickle")


def test_the_first_check_imports_nothing_heavy_and_writes_nothing(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "sys.argv = ['saltext.run', 'preset=smoke', 'seed=abc', '+sede=3']\n"
        "from saltext import run\n"
        "try: run.main()\n"
        "except SystemExit as end: assert end.code == 2, end.code\n"
        "heavy = {'torch', 'lightning', 'torchmetrics', 'timm', 'transformers', 'pandas'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    assert [line.split(":")[0] for line in done.stderr.splitlines()][1:] == ["  * seed=abc", "  * +sede=3"]
    assert not any(tmp_path.iterdir())


def test_the_configurations_lie_in_the_checkout() -> None:
    assert (config_folder() / "config.yaml").is_file()
    assert re.search("direction", (config_folder() / "config.yaml").read_text())


def test_a_part_of_another_model_than_the_chosen_one_is_named() -> None:
    assert "It is one of model=tranblend and model=transalnet: add that." in said(
        "model=grounded_gaze", "model/freeze=half"
    )
