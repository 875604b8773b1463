"""Every configuration composes, and names only things that exist."""

from itertools import product
from pathlib import Path

import pytest
import yaml
from hydra.errors import HydraException
from hydra.utils import get_method
from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict

from saltext.evaluation.protocols import PAPERS
from saltext.runs.composition import CommandLine, compose_run, config_folder

CONF = config_folder()


def composed(*overrides: str) -> DictConfig:
    cfg = compose_run(overrides)
    with open_dict(cfg):
        del cfg["hydra"]
    return cfg


def choices(group: str) -> list[str]:
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


def text_of(experiment: str) -> str:
    return (CONF / "experiment" / f"{experiment}.yaml").read_text(encoding="utf-8")


def test_what_presets_are_for_models_is_named_by_presets_and_models() -> None:
    named = {path.relative_to(CONF / "preset" / "model") for path in (CONF / "preset" / "model").glob("*/*.yaml")}
    assert {path.parent.name for path in named} == {*choices("preset")}
    assert {path.stem for path in named} == {*choices("model")} - {"baselines"}


def targets(node: object) -> list[str]:
    if isinstance(node, dict):
        own = [node["_target_"]] if "_target_" in node else []
        return own + [t for child in node.values() for t in targets(child)]
    if isinstance(node, list):
        return [t for child in node for t in targets(child)]
    return []


@pytest.mark.parametrize("preset", choices("preset"))
@pytest.mark.parametrize("model", choices("model"))
def test_every_model_composes_under_every_preset(preset: str, model: str) -> None:
    cfg = composed(f"preset={preset}", f"model={model}")
    resolved = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    for target in targets(resolved):
        assert callable(get_method(target)), target


GROUPS = sorted(
    str(path.relative_to(CONF))
    for path in CONF.rglob("*")
    if path.is_dir() and path.name not in ("experiment", "preset") and path.parent != CONF / "preset" / "model"
)


# Groups that only one choice of another group brings in, and folders of choices inside a group.
BROUGHT_BY = {
    **{f"model/{part}": "model=tranblend" for part in ("blend", "grounder", "decoder", "encoder", "freeze")},
    "model/generator": "model=clip_salgan",
    "model/backbones": "model=grounded_gaze",
    "preset/stages": "stages=tranblend/every_task",
}
FOLDERS = {
    "stages/tranblend": "stages=tranblend/",
    "preset/stages": "preset/stages@stages=",
    "debug": "+debug=",
    "trainer/profiler": "+trainer/profiler=",
}


@pytest.mark.parametrize(
    ("group", "choice"), [(g, c) for g in GROUPS for c in choices(g) if g != "model" or c == "tranblend"]
)
def test_every_choice_of_every_group_composes(group: str, choice: str) -> None:
    brought = [BROUGHT_BY[group]] if group in BROUGHT_BY else []
    cfg = composed(*brought, FOLDERS.get(group, f"{group}=") + choice)
    for target in targets(OmegaConf.to_container(cfg, resolve=True)):
        assert callable(get_method(target)), target


@pytest.mark.parametrize("experiment", choices("experiment"))
@pytest.mark.parametrize("preset", choices("preset"))
def test_every_experiment_composes_under_every_preset(experiment: str, preset: str) -> None:
    assert composed(f"+experiment={experiment}", f"preset={preset}").name


@pytest.mark.parametrize("experiment", choices("experiment"))
def test_every_experiment_sweeps_only_keys_that_exist_over_values_that_compose(experiment: str) -> None:
    cfg = compose_run([f"+experiment={experiment}"])
    for key, values in (cfg.hydra.sweeper.params or {}).items():
        for value in str(values).split(","):
            compose_run([f"+experiment={experiment}", f"{key}={value}"])


@pytest.mark.parametrize("experiment", [e for e in choices("experiment") if "variants:" in text_of(e)])
@pytest.mark.parametrize("preset", choices("preset"))
def test_every_variant_of_an_experiment_is_right_under_every_preset_and_has_a_label_of_its_own(
    experiment: str, preset: str
) -> None:
    content = yaml.safe_load(text_of(experiment))
    names = list(content["variants"])
    swept = content.get("hydra", {}).get("sweeper", {}).get("params", {})
    first = [f"{key}={str(values).split(',')[0]}" for key, values in swept.items() if key != "variant"]
    jobs = CommandLine([f"+experiment={experiment}", f"preset={preset}", f"variant={','.join(names)}", *first]).check()
    assert list(dict.fromkeys(cfg.variant for cfg in jobs)) == names
    assert len({cfg.label for cfg in jobs}) == len(names)
    assert not any("variants" in cfg for cfg in jobs)


@pytest.mark.parametrize("wrong", ["model.freeze.decodr=1", "trainer.max_epoch=1", "stages.finetune_epoch=1"])
def test_a_sweep_over_a_key_that_does_not_exist_is_refused(wrong: str) -> None:
    with pytest.raises(HydraException, match="Could not override"):
        composed("+experiment=fixrate_ablation", wrong)


def test_the_fix_rate_ablation_is_the_paper_s_four_pairs_and_leaves_blip_at_its_rates() -> None:
    rates = []
    for choice in compose_run(["+experiment=fixrate_ablation"]).hydra.sweeper.params["model/freeze"].split(","):
        model = composed("+experiment=fixrate_ablation", "preset=paper", f"model/freeze={choice}").model
        assert (model.freeze.text, model.freeze.vision, model.encoder.frozen) == (0.9, 0.9, False)
        rates.append((model.freeze.encoder, model.freeze.decoder))
    assert rates == [(0.0, 0.0), (0.5, 0.5), (0.0, 1.0), (1.0, 1.0)]


def test_the_jobs_of_the_fix_rate_grid_have_names_of_their_own() -> None:
    params = compose_run(["+experiment=fixrate_grid"]).hydra.sweeper.params
    rates = [params[f"model.freeze.{part}"].split(",")[:2] for part in ("encoder", "decoder")]
    labels = {
        composed("+experiment=fixrate_grid", f"model.freeze.encoder={e}", f"model.freeze.decoder={d}").label
        for e, d in product(*rates)
    }
    assert len(labels) == 4
    assert not any(set("=/ ") & set(label) for label in labels)


@pytest.mark.parametrize(("preset", "warmup", "finetune"), [("smoke", 1, 1), ("embedded", 6, 3), ("paper", 50, 15)])
def test_the_epochs_of_table_2_are_the_preset_s_and_the_command_line_s(preset: str, warmup: int, finetune: int) -> None:
    found = composed("+experiment=table2_tranblend", f"preset={preset}").stages
    assert (found.warmup_epochs, found.finetune_epochs) == (warmup, finetune)
    assert found.sequence.warmup.epochs == warmup
    assert found.sequence.pure.epochs == finetune
    shorter = composed("+experiment=table2_tranblend", f"preset={preset}", "stages.warmup_epochs=7")
    assert shorter.stages.sequence.warmup.epochs == 7


@pytest.mark.parametrize("experiment", ["table2_transalnet", "table2_tranblend", "fixrate_ablation", "mse_overfitting"])
def test_what_is_compared_with_the_paper_is_scored_as_the_paper_does_unless_asked_otherwise(experiment: str) -> None:
    cfg = composed(f"+experiment={experiment}")
    assert cfg.data.split == {"_target_": "saltext.data.splits.PublishedTranBlend"}
    assert (cfg.data.selection_split, cfg.evaluation.monitor) == ("test", "test/cc")
    assert {*PAPERS["tranblend"].metrics} <= {*cfg.evaluation.validation_metrics}
    honest = composed(f"+experiment={experiment}", "protocol=standard")
    assert honest.data.split == {"_target_": "saltext.data.splits.EightyTwenty"}
    assert honest.data.selection_split == "val"


@pytest.mark.parametrize("term", ["cc", "nss", "sim", "kl", "mse"])
def test_a_loss_without_a_term_keeps_the_others(term: str) -> None:
    whole = composed("loss=paper").loss.weights
    assert composed("+experiment=loss_ablation", f"variant=without_{term}").loss.weights == {**whole, term: 0}


def test_a_choice_on_the_command_line_beats_the_preset() -> None:
    cfg = composed("preset=paper", "model/blend=upsample_bilinear")
    assert cfg.model.blend.mode == "bilinear"
    assert list(cfg.model.channels) == [768, 512, 256, 128, 64, 32]


@pytest.mark.parametrize("preset", choices("preset"))
@pytest.mark.parametrize(
    ("model", "part", "choice"),
    [
        ("transalnet", "encoder", "resnet50"),
        ("tranblend", "encoder", "resnet50"),
        ("tranblend", "text_encoder", "none"),
        ("tranblend", "decoder", "tiny"),
        ("tranblend", "blend", "film"),
        ("tranblend", "grounder", "lite2"),
        ("tranblend", "freeze", "half"),
        ("clip_salgan", "generator", "sal_gan_vgg"),
        ("clip_salgan", "text_encoder", "blip"),
        ("clip_salgan", "blend", "inner_product"),
        ("grounded_gaze", "backbones", "lite0"),
        ("grounded_gaze", "text_encoder", "none"),
    ],
)
def test_a_part_on_the_command_line_beats_the_preset_s(preset: str, model: str, part: str, choice: str) -> None:
    chosen = compose_run([f"preset={preset}", f"model={model}", f"model/{part}={choice}"])
    assert chosen.hydra.runtime.choices[f"model/{part}"] == choice
    other = composed(f"preset={preset}", f"model={model}").model
    differing = {key for key in {*chosen.model, *other} if chosen.model.get(key) != other.get(key)}
    own = {"decoder": {"hidden", "heads", "channels", "grid", "layers"}}.get(part, {part, "name"})
    assert differing <= (own if part != "generator" else {*chosen.model, *other} - {"name", "text_encoder", "blend"})


def test_what_two_networks_have_in_common_is_the_same_part_in_every_preset() -> None:
    for preset in choices("preset"):
        ours, theirs = (composed(f"preset={preset}", f"model={name}").model for name in ("tranblend", "transalnet"))
        assert {key: ours[key] for key in theirs if key not in ("_target_", "name")} == {
            key: value for key, value in theirs.items() if key not in ("_target_", "name")
        }


def test_a_network_that_no_preset_knows_composes_in_all_of_them(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "own.yaml").write_text("defaults: [encoder: resnet50]\nname: own\n")
    for preset in choices("preset"):
        cfg = composed(f"hydra.searchpath=[file://{tmp_path}]", f"preset={preset}", "model=own")
        assert set(cfg.model) == {"name", "encoder"}


def test_the_default_is_grounded_gaze_by_its_recipe() -> None:
    cfg = composed()
    assert cfg == composed("preset=embedded", "model=grounded_gaze")
    assert cfg.model._target_ == "saltext.models.grounded_gaze.network.GroundedGaze"
    assert set(cfg.model.backbones) == {"lite0", "lite2"}
    assert cfg.loss == composed("loss=density").loss != composed("loss=paper").loss
    assert cfg.data.augment == composed("data/augment=flip").data.augment
    assert (list(cfg.data.image_size), cfg.trainer.max_epochs, cfg.evaluation.mirror) == ([512, 640], 5, True)


def test_what_a_preset_is_for_one_network_reaches_no_other() -> None:
    cfg = composed("model=tranblend")
    assert cfg.loss == composed("loss=paper").loss
    assert (list(cfg.data.image_size), cfg.trainer.max_epochs, cfg.evaluation.mirror) == ([256, 320], 10, False)


def test_a_choice_on_the_command_line_beats_what_a_preset_is_for_the_model() -> None:
    cfg = composed("loss=paper", "data/augment=none", "trainer.max_epochs=7")
    assert cfg.loss == composed("model=tranblend").loss
    assert cfg.data.augment is None
    assert cfg.trainer.max_epochs == 7


def leaves(node: object, path: str = "") -> dict[str, object]:
    if not isinstance(node, dict):
        return {path: node}
    return {k: v for key, child in node.items() for k, v in leaves(child, f"{path}.{key}" if path else key).items()}


@pytest.mark.parametrize(
    ("group", "choice"), [(g, c) for g in ("preset", "protocol", "experiment", "preset/model") for c in choices(g)]
)
def test_what_a_preset_protocol_or_experiment_sets_is_what_a_run_gets(group: str, choice: str) -> None:
    given = yaml.safe_load((CONF / group / f"{choice}.yaml").read_text(encoding="utf-8"))
    for key in ("defaults", "hydra", "variants"):
        given.pop(key, None)
    override = f"{'+' if group == 'experiment' else ''}{group}={choice}"
    of_no_recipe = ["model=tranblend"] if group == "preset" else []
    cfg = OmegaConf.to_container(composed(override, *of_no_recipe))
    found = leaves(cfg)
    for key, value in leaves(given).items():
        assert found[key] == value, key


def test_every_file_is_reachable_as_a_choice() -> None:
    loose = [p for p in CONF.glob("*.yaml") if p.name != "config.yaml"]
    assert not loose


def test_nothing_is_written_outside_the_output_folder() -> None:
    def paths(node: object) -> list[str]:
        if isinstance(node, DictConfig):
            return [p for child in node.values() for p in paths(child)]
        if isinstance(node, ListConfig):
            return [p for child in node for p in paths(child)]
        return [node] if isinstance(node, str) and node.startswith("ELSEWHERE") else []

    cfg = composed("data=synthetic", "output_dir=ELSEWHERE")
    assert all(Path(p).parts[0] == "ELSEWHERE" for p in paths(cfg))
    assert {cfg.data.root, cfg.data.cache_dir} <= set(paths(cfg))
