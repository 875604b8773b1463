"""Every configuration composes, and names only things that exist."""

from pathlib import Path

import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra.utils import get_method
from omegaconf import DictConfig, ListConfig, OmegaConf

from saltext.run import config_folder

CONF = config_folder()


def composed(*overrides: str) -> DictConfig:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("config", overrides=list(overrides))


def choices(group: str) -> list[str]:
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


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
    if path.is_dir() and path.name not in ("experiment", "preset")
)


# Groups that only one choice of another group brings in, and folders of choices inside a group.
BROUGHT_BY = {
    "model/generator": "model=clip_salgan",
    "model/fusion": "model=clip_salgan",
    "model/text_encoder/clip_salgan": "model=clip_salgan",
    "training/discriminator": "training=adversarial",
}
FOLDERS = {"model/text_encoder/clip_salgan": "model/text_encoder=clip_salgan/"}


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
def test_every_experiment_composes_and_sweeps_only_keys_that_exist(experiment: str, preset: str) -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("config", [f"+experiment={experiment}", f"preset={preset}"], return_hydra_config=True)
        for key, values in (cfg.hydra.sweeper.params or {}).items():
            for value in str(values).split(","):
                compose("config", [f"+experiment={experiment}", f"preset={preset}", f"{key}={value}"])


def test_a_choice_on_the_command_line_beats_the_preset() -> None:
    cfg = composed("preset=paper", "model/blend=upsample_bilinear")
    assert cfg.model.blend.mode == "bilinear"
    assert list(cfg.model.channels) == [768, 512, 256, 128, 64, 32]


def leaves(node: object, path: str = "") -> dict[str, object]:
    if not isinstance(node, dict):
        return {path: node}
    return {k: v for key, child in node.items() for k, v in leaves(child, f"{path}.{key}" if path else key).items()}


@pytest.mark.parametrize(
    ("group", "choice"), [(g, c) for g in ("preset", "protocol", "experiment") for c in choices(g)]
)
def test_what_a_preset_protocol_or_experiment_sets_is_what_a_run_gets(group: str, choice: str) -> None:
    given = yaml.safe_load((CONF / group / f"{choice}.yaml").read_text(encoding="utf-8"))
    for key in ("defaults", "hydra"):
        given.pop(key, None)
    override = f"{'+' if group == 'experiment' else ''}{group}={choice}"
    cfg = OmegaConf.to_container(composed(override))
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
