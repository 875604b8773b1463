"""What is wrong with a configuration is said by its key, before anything is imported for it."""

import math
from collections.abc import Iterator
from typing import Any

import pytest
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict

from saltext.baselines import BASELINES
from saltext.data.sources.sjtu_tis import SjtuTis
from saltext.errors import ConfigError
from saltext.runs import jobs, schema, signatures
from saltext.runs.composition import compose_run, config_folder

CONF = config_folder()
GONE = {"_target_": "saltext.data.splits.FromFile", "path": "gone/split.json"}
MODELS = sorted(path.stem for path in (CONF / "model").glob("*.yaml"))
PRESETS = sorted(path.stem for path in (CONF / "preset").glob("*.yaml"))
EXPERIMENTS = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))

jobs.register_resolvers()


def composed(*overrides: str) -> DictConfig:
    cfg = compose_run(overrides)
    HydraConfig.instance().set_config(cfg)
    return cfg


@pytest.fixture(autouse=True)
def _without_hydra() -> Iterator[None]:
    yield
    HydraConfig.instance().cfg = None


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("model", MODELS)
def test_every_model_under_every_preset_is_right(preset: str, model: str) -> None:
    assert schema.problems(composed(f"preset={preset}", f"model={model}")) == {}


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_is_right(experiment: str) -> None:
    assert schema.problems(composed(f"+experiment={experiment}")) == {}


@pytest.mark.parametrize(
    "choices",
    [
        *(f"{group}={path.stem}" for group in ("data", "loss", "optimizer", "scheduler", "stages",
          "trainer", "callbacks", "logger", "normalize", "protocol", "training")
          for path in sorted((CONF / group).glob("*.yaml"))),
        *(f"data/split={path.stem}" for path in sorted((CONF / "data" / "split").glob("*.yaml"))
          if path.stem != "file"),
        *(f"model/{part}={path.stem}" for part in ("blend", "grounder", "decoder", "encoder", "freeze", "text_encoder")
          for path in sorted((CONF / "model" / part).glob("*.yaml"))),
    ],
)  # fmt: skip
def test_every_choice_is_right(choices: str) -> None:
    model = ["model=tranblend"] if choices.startswith("model/") else []
    assert schema.problems(composed(*model, choices)) == {}


FAMILIES = {
    "baselines": ["preset=smoke", "model=baselines"],
    "grounded_gaze": ["logger=wandb", "callbacks=ema"],
    "tranblend": ["preset=paper", "model=tranblend", "stages=tranblend/every_task", "data=own"],
    "transalnet": ["preset=smoke", "model=transalnet", "stages=per_task"],
    "clip_salgan": ["model=clip_salgan", "preset=paper", "data=salicon"],
}
ANY_NUMBER = ("loss.weights", "loss.terms", "normalize.mean", "model.text_encoder.mean")


def leaves(node: DictConfig, above: str = "") -> Iterator[str]:
    for name in map(str, node):
        key = f"{above}.{name}".lstrip(".")
        if key == "hydra" or name == "_target_":
            continue
        if OmegaConf.is_dict(node[name]) and len(node[name]):
            yield from leaves(node[name], key)
        else:
            yield key


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> DictConfig:
    return compose_run(FAMILIES[request.param])


def with_values(cfg: DictConfig, wrong: dict[str, Any]) -> dict[str, str]:
    """Problems of a configuration with some values replaced."""
    other = cfg.copy()
    with open_dict(other):
        for key, value in wrong.items():
            OmegaConf.update(other, key, value, force_add=True, merge=False)
    HydraConfig.instance().set_config(other)
    return schema.problems(other)


def named(found: dict[str, str], key: str) -> bool:
    return any(key == bad or key.startswith(f"{bad}.") for bad in found)


@pytest.mark.parametrize("wrong", [{"no": "such"}, [["x"]], {"_target_": "no.such"}], ids=["group", "list", "object"])
def test_no_key_takes_a_value_of_another_kind(family: DictConfig, wrong: Any) -> None:
    asked = [key for key in leaves(family) if key not in ("training.lr_multipliers", "stages.sequence")]
    found = with_values(family, dict.fromkeys(asked, wrong))
    missed = [key for key in asked if not named(found, key)]
    # Parts of a model may be anybody's own, a description of CLIP or BLIP may be written out, a device may be a class.
    objects = ("trainer.accelerator", "trainer.strategy", "data.augment", "data.pseudo", "data.free_viewing")
    assert {key for key in missed if not key.startswith("model.") and key not in objects} == set()
    assert all(wrong != [["x"]] for key in missed), missed


def test_a_number_a_switch_and_a_text_are_not_taken_for_each_other(family: DictConfig) -> None:
    wrong: dict[str, Any] = {}
    for key in leaves(family):
        value = OmegaConf.select(family, key) if "hydra:" not in str(family.get(key, "")) else ""
        if isinstance(value, bool):
            wrong[key] = 3
        elif isinstance(value, int | float):
            wrong[key] = "abc"
        elif isinstance(value, str) and key not in ("name", "label", "model.name", "model.family", "trainer.precision"):
            wrong[key] = 17
    found = with_values(family, wrong)
    assert [key for key in wrong if not named(found, key)] == []
    assert all(found[key].startswith("expected ") for key in wrong if key in found)


@pytest.mark.parametrize("number", [-(10**9), math.nan, math.inf, 10**12], ids=["negative", "nan", "infinite", "huge"])
def test_no_number_is_outside_its_range(family: DictConfig, number: float) -> None:
    numbers = [
        key for key in leaves(family) if type(OmegaConf.select(family, key, throw_on_missing=False)) in (int, float)
    ]
    asked = [key for key in numbers if not key.startswith(ANY_NUMBER)]
    found = with_values(family, dict.fromkeys(asked, number))
    missed = [key for key in asked if not named(found, key)]
    if number == 10**12:  # where nothing bounds a number but memory or patience
        asked = [key for key in asked if "image_size" in key or key in ("seed", "model.smoothing", "optimizer.betas")]
        missed = [key for key in missed if key in asked]
    assert missed == []


def test_sizes_and_lists_are_as_long_as_they_must_be_and_hold_what_they_must(family: DictConfig) -> None:
    lists = [key for key in leaves(family) if isinstance(OmegaConf.select(family, key), ListConfig)]
    empty = [key for key in lists if key not in ("evaluation.baselines", "logger.wandb.tags")]
    for wrong in ([], [-5.5, {}, "x", None]):
        found = with_values(family, dict.fromkeys(lists if wrong else empty, wrong))
        assert [key for key in (lists if wrong else empty) if not named(found, key)] == []


def test_no_misspelt_key_is_taken(family: DictConfig) -> None:
    free = ("callbacks", "logger", "stages.sequence", "model.backbones")  # groups in which any name can be
    keys = [key for key in leaves(family) if key.rpartition(".")[0] not in free]
    misspelt = {
        f"{key[:-1]}{key[-1]}q": key for key in keys if not key.startswith(("loss.", "training.lr_multipliers"))
    }
    found = with_values(family, dict.fromkeys(misspelt, 3))
    assert [key for key in misspelt if not named(found, key)] == []
    own = [key for key in misspelt if key in found]
    assert all(f"did you mean {misspelt[key].rpartition('.')[2]!r}" in found[key] for key in own)


def test_no_group_takes_a_plain_value(family: DictConfig) -> None:
    groups = ["evaluation", "normalize", "stages", "stages.sequence", "data.augment", "loss.weights",
              "callbacks", "callbacks.best", "logger", "logger.csv"]  # fmt: skip
    for group in (group for group in groups if OmegaConf.is_dict(OmegaConf.select(family, group))):
        assert list(with_values(family, {group: 3})) == [group]


def test_a_value_that_interpolation_copies_is_named_once() -> None:
    assert list(schema.problems(composed("seed=abc"))) == ["seed"]
    wrong = composed("evaluation.selection_split=both", "optimizer.lr=-1", "training=adversarial")
    assert list(schema.problems(wrong)) == ["evaluation.selection_split", "optimizer.lr"]


@pytest.mark.parametrize(
    ("override", "key", "said"),
    [
        ("seed=-1", "seed", "expected 0 or more, got -1"),
        ("seed=4294967296", "seed", "expected less than 4294967296"),
        ("seed=null", "seed", "expected an integer, got null"),
        ("seed=true", "seed", "expected an integer, got true"),
        ("seed=3.0", "seed", "expected an integer"),
        ("trainer.max_epochs=0", "trainer.max_epochs", "expected 1 or more, got 0"),
        ("trainer.precision=fp8", "trainer.precision", "'bf16-mixed'"),
        ("trainer.devices=0", "trainer.devices", "1 or more, or -1 for all"),
        ("evaluation.monitor=val/ncc", "evaluation.monitor", "did you mean 'val/cc'"),
        ("evaluation.monitor=test/cc", "evaluation.monitor", "expected one of train/loss, val/cc, val/kl"),
        ("evaluation.monitor=val/sim", "evaluation.monitor", "evaluation.validation_metrics"),
        ("evaluation.mode=min", "evaluation.mode", "expected max, which is better of val/cc, got min"),
        ("evaluation.test_metrics=[]", "evaluation.test_metrics", "at least 1"),
        ("evaluation.test_metrics=[cc,ncc]", "evaluation.test_metrics", "did you mean 'cc'"),
        ("evaluation.validation_metrics=[cc,cc]", "evaluation.validation_metrics", "names nothing twice"),
        ("evaluation.baselines=[humn_pure]", "evaluation.baselines", "did you mean 'human_pure'"),
        ("evaluation.paper=tranblnd", "evaluation.paper", "did you mean 'tranblend'"),
        ("data.image_size=[288]", "data.image_size", "expected"),
        ("data.tasks=[salient,silent]", "data.tasks", "did you mean 'salient'"),
        ("data.test_tasks=[]", "data.test_tasks", "at least 1"),
        ("data.split=kfold", "data.split", "expected a choice of a group: data/split=kfold, got 'kfold'"),
        ("data.split=80/20", "data.split", "expected a choice of a group: data/split=80-20, got '80/20'"),
        ("data.split=s.json", "data.split", "or data/split=file data.split.path=s.json for a split file"),
        ("data/split=file", "data.split.path", "expected a text, got null"),
        ("prompt='{text:>999999999}'", "prompt", "{text} and {condition} only"),
        ("prompt='{text.__class__}'", "prompt", "{text} and {condition} only"),
        ("evaluation.pictures=1001", "evaluation.pictures", "1000 or less"),
        ("+stages.sequence={a/b:{}}", "stages.sequence", "names of letters, digits, _ and -"),
        ("data.val_fraction=1", "data.val_fraction", "less than 1"),
        ("optimizer.lr=0", "optimizer.lr", "more than 0"),
        ("optimizer.lr=nan", "optimizer.lr", "a finite number"),
        ("prompt='{tex}'", "prompt", "{text} and {condition} only"),
        ("label=a/b", "label", "a name of a folder without /"),
        ("name=..", "name", "without a dot"),
        (f"label={'x' * 101}", "label", "1 to 100"),
        ("+trainer.callbacks=[]", "trainer.callbacks", "a run sets it itself (+callbacks"),
        ("+callbacks.stop={_target_: lightning.pytorch.callbacks.EarlyStopping, monitor: val/cc}",
         "callbacks.stop.mode", "expected max, which is better of val/cc, got min"),
        ("optimizer._target_=torch.optim.AdmW", "optimizer._target_", "did you mean 'torch.optim.AdamW'"),
        ("model._target_=saltext.models.NoSuch", "model._target_", "there is no saltext.models.NoSuch"),
        ("label='${nmae}'", "label", "Interpolation key 'nmae' not found"),
    ],
)  # fmt: skip
def test_what_is_expected_is_said(override: str, key: str, said: str) -> None:
    found = schema.problems(composed(override))
    assert list(found) == [key]
    assert said in found[key]
    assert "\n" not in found[key]


@pytest.mark.parametrize("label", [*BASELINES, *(baseline.title for baseline in BASELINES.values())])
def test_a_run_cannot_have_the_label_of_a_baseline(label: str) -> None:
    said = f"expected a label that is neither the name nor the title of a baseline, got {label!r}"
    assert schema.problems(composed(f"label='{label}'")) == {"label": said}
    assert schema.problems(composed(f"model.name='{label}'")) == {"model.name": said}
    assert schema.problems(composed(f"label='{label}'", "evaluation.baselines=[]")) == {"label": said}


def test_a_label_that_holds_the_title_of_a_baseline_is_accepted() -> None:
    assert schema.problems(composed("label='uniform map 2'")) == {}


def test_a_saved_configuration_has_the_types_of_a_new_one_whatever_became_of_its_files() -> None:
    cfg = composed("label=7", "evaluation.pictures=150", "+stages.sequence={read:{epochs:2}}", "model=tranblend")
    del cfg.hydra
    saved: Any = OmegaConf.to_container(cfg, resolve=True)
    assert schema.unfit(saved | {"of_an_earlier_version": 3}) == {}
    assert schema.unfit(saved | {"data": saved["data"] | {"split": GONE, "augment": None}}) == {}
    wrong = {"seed": "abc", "normalize": [], "data": saved["data"] | {"split": 3, "folds": 1},
             "callbacks": {"best": {}}, "stages": {"sequence": {"read": {"epochs": 0}}}}  # fmt: skip
    assert set(schema.unfit(saved | wrong)) == {"seed", "normalize", "data.split", "data.folds", "callbacks.best",
                                                "stages.sequence.read.epochs"}  # fmt: skip


def test_a_fold_is_one_of_the_folds() -> None:
    assert schema.problems(composed("data/split=kfold", "data.folds=3", "data.fold=2")) == {}
    assert schema.problems(composed("data/split=kfold", "data.folds=3", "data.fold=3")) == {
        "data.fold": "expected 0 to 2 with data.folds=3, got 3"
    }


@pytest.mark.parametrize(
    "key",
    ["evaluation.paper", "evaluation", "stages.sequence", "stages", "data.tasks", "data._target_", "trainer",
     "loss", "optimizer", "scheduler", "training", "callbacks", "logger", "normalize.order", "label", "output_dir"],
)  # fmt: skip
def test_a_deleted_key_that_every_run_needs_is_missed(key: str) -> None:
    found = schema.problems(composed(f"~{key}"))
    is_set_elsewhere = key in ("optimizer", "trainer")  # one of its values
    assert found[f"{key}._target_" if is_set_elsewhere else key] == "expected a value, but it was deleted"


@pytest.mark.parametrize(
    "override",
    ["+trainer.limit_train_batches=2", "+trainer.limit_val_batches=0.5", "+trainer.fast_dev_run=true",
     "+optimizer.amsgrad=true", "+scheduler.cycle_momentum=false", "evaluation.monitor=train/loss",
     "evaluation.monitor=val/cc_salient", "data.tasks=salient", "trainer.devices=[0,1]", "+model.cache_size=1",
     "trainer.precision=bf16", "+data.seed=3", "data.augment=null", "+model.text_encoder.cache_size=7"],
)  # fmt: skip
def test_ordinary_use_stays(override: str) -> None:
    found = schema.problems(composed(override.replace("+data.seed", "data.seed")))
    assert found == ({} if override != "+model.cache_size=1" else {"model.cache_size": found["model.cache_size"]})


@pytest.mark.parametrize(("monitor", "mode"), [("val/kl", "min"), ("val/cc", "max"), ("val/nss_salient", "max"),
                                               ("val/kl_pure", "min"), ("train/loss", "min")])  # fmt: skip
def test_which_way_a_monitored_value_is_better_comes_from_its_metric(monitor: str, mode: str) -> None:
    cfg = composed(f"evaluation.monitor={monitor}")
    assert cfg.evaluation.mode == cfg.callbacks.best.mode == mode
    assert schema.problems(cfg) == {}
    assert composed(f"evaluation.monitor={monitor}", "hydra/sweeper=search").hydra.sweeper.direction == f"{mode}imize"


def test_random_weights_that_are_fixed_are_warned_of() -> None:
    half = ["+experiment=fixrate_ablation", "model/freeze=half"]
    (said,) = schema.warnings(composed(*half))
    assert "model.freeze.decoder=0.5" in said
    assert "checkpoint=RUN/stages/warmup/checkpoints/best.ckpt" in said
    assert schema.warnings(composed(*half, "checkpoint=best.ckpt")) == []
    assert schema.warnings(composed("+experiment=fixrate_ablation")) == []
    assert schema.warnings(composed("model=grounded_gaze")) == []


def test_check_says_everything_at_once() -> None:
    with pytest.raises(ConfigError, match=r"(?s)optimizer.lr: expected more than 0.*sede: no such key.*'seed'"):
        schema.check(composed("+sede=3", "optimizer.lr=-1"))


def test_a_split_file_has_to_be_there() -> None:
    for path in ("gone.json", "x" * 300):
        found = schema.problems(composed("data/split=file", f"data.split.path={path}"))
        assert list(found) == ["data.split.path"]
        assert "expected an existing split file" in found["data.split.path"]
    assert schema.problems(composed("data/split=file", f"data.split.path={__file__}")) == {}


def test_the_files_of_the_authors_rows_have_to_be_there() -> None:
    for choice, mark in (("published_arm", ""), ("published", "+")):
        found = schema.problems(composed(f"data/split={choice}", f"{mark}data.split.rows={{pure: gone.csv}}"))
        assert found == {"data.split.rows": "expected existing CSV files, got gone.csv"}
        assert schema.problems(composed(f"data/split={choice}", f"{mark}data.split.rows={{pure: {__file__}}}")) == {}


def test_the_training_set_is_not_scored_after_every_epoch() -> None:
    found = schema.problems(composed("+data.epoch_splits=[val,train]"))
    assert found == {"data.epoch_splits": "expected 'val' or 'test' or null, got [\"val\", \"train\"]"}


def test_there_are_five_rotations() -> None:
    assert list(schema.problems(composed("data/split=published_arm", "data.split.rotation=5"))) == [
        "data.split.rotation"
    ]


@pytest.mark.parametrize(
    ("task", "choice"), [("referring", "data/pseudo=detections"), ("scenes", "data/free_viewing=osie")]
)
def test_the_task_of_auxiliary_pairs_is_known_where_there_are_some(task: str, choice: str) -> None:
    tasks = f"data.tasks=[pure,{task}]"
    with pytest.raises(ConfigError, match=f"got '{task}'"):
        schema.check(composed(tasks))
    schema.check(composed(tasks, choice))


def test_the_names_of_tasks_are_those_of_the_published_data() -> None:
    assert signatures.names("saltext.data.tasks.TASKS") == tuple(SjtuTis.conditions)


@pytest.mark.parametrize(
    ("key", "node", "problem", "said"),
    [
        ("model.blend", {"_target_": "mine.Gate"}, "model.blend._partial_", "expected true below _target_"),
        ("model.encoder", {"_target_": "mine.Net", "_partial_": True}, "model.encoder._partial_", "expected none"),
        ("logger", {"_target_": "mine.Lines"}, "logger._target_", "expected a name above it"),
        ("callbacks", {"_target_": "mine.Stop"}, "callbacks._target_", "expected a name above it"),
        ("data", {"_target_": "mine.Data"}, "data.cache_dir", "`defaults: [sjtu_tis, _self_]` is missing"),
        (
            "evaluation.extra_metrics",
            {"hit": {"_target_": "mine.hit", "higher_is_better": True}},
            "evaluation.extra_metrics.hit",
            "nothing computes it; add evaluation.test_metrics=[cc,",
        ),
    ],
)
def test_what_a_part_s_file_lacks_is_named_with_the_line_to_add(key: str, node: Any, problem: str, said: str) -> None:
    cfg = composed("preset=smoke", "model=tranblend")
    with open_dict(cfg):
        group, _, name = key.rpartition(".")
        (OmegaConf.select(cfg, group) if group else cfg)[name] = node
    assert said in schema.problems(cfg)[problem]


def test_our_files_say_where_their_class_is_given_more_arguments() -> None:
    for key in schema.PARTIAL:
        for path in (CONF / key.replace(".", "/")).glob("*.yaml"):
            text = path.read_text()
            assert "_target_" not in text or "_partial_: true" in text or "_target_: ${" in text, path
