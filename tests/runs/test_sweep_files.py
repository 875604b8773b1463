"""The files for ``wandb sweep``: what an agent would start."""

import warnings
from pathlib import Path
from typing import Any

import pytest
from hydra.types import RunMode
from omegaconf import OmegaConf

from saltext.runs.composition import compose_run

SWEEPS = sorted((Path(__file__).resolve().parents[2] / "experiments" / "sweeps").glob("*.yaml"))
each_sweep = pytest.mark.parametrize("path", SWEEPS, ids=lambda p: p.stem)


def sweep(path: Path) -> dict[str, Any]:
    from wandb.sdk.launch.sweeps.utils import load_sweep_config  # two seconds: not for each process that collects

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # wandb 0.31 leaves the file open
        found: dict[str, Any] | None = load_sweep_config(str(path))
    assert found
    return found


def agent_command(path: Path, chosen: dict[str, object]) -> list[str]:
    """What the agent of W&B makes of a sweep's file for one choice of its parameters, without its interpreter."""
    from wandb.sdk.launch.sweeps.utils import create_sweep_command, create_sweep_command_args

    given = sweep(path)
    parts = create_sweep_command_args({"args": {key: {"value": value} for key, value in chosen.items()}})
    macros = {f"${{{name}}}": words for name, words in parts.items()}
    macros |= {"${env}": [], "${interpreter}": [], "${program}": [given["program"]]}
    return [word for part in create_sweep_command(given["command"]) for word in macros.get(part, [part])]


def choices(given: dict[str, Any]) -> list[dict[str, object]]:
    """Every value of every parameter, or the ends of its range, one at a time beside the others' first."""
    values = {key: p.get("values") or [p["min"], p["max"]] for key, p in given["parameters"].items()}
    first = {key: options[0] for key, options in values.items()}
    return [first | {key: value} for key, options in values.items() for value in options]


def test_there_are_sweeps() -> None:
    assert len(SWEEPS) >= 4


@each_sweep
def test_every_parameter_is_a_key_that_exists_and_reaches_the_configuration(path: Path) -> None:
    for chosen in choices(sweep(path)):
        module, program, *overrides = agent_command(path, chosen)
        assert (module, program) == ("-m", "saltext.run")
        cfg = compose_run(overrides)
        for key, value in chosen.items():
            found = cfg.hydra.runtime.choices[key] if "/" in key else OmegaConf.select(cfg, key)
            assert found == value, key


@each_sweep
def test_an_agent_starts_a_single_run_in_a_folder_of_its_own_with_wandb(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_RUN_ID", "a1b2c3d4")
    cfg = compose_run(agent_command(path, choices(sweep(path))[0])[2:])
    assert cfg.hydra.mode in (None, RunMode.RUN)
    assert "a1b2c3d4" in cfg.hydra.run.dir
    assert {"csv", "wandb"} == set(cfg.logger)
    assert cfg.logger.wandb.project == sweep(path)["project"]
    assert cfg.logger.wandb.group == cfg.name != "run"


@each_sweep
def test_a_sweep_looks_at_the_score_that_chooses_the_epoch_and_never_at_test_scores(path: Path) -> None:
    given = sweep(path)
    cfg = compose_run(agent_command(path, choices(given)[0])[2:])
    assert given["metric"]["name"] == f"best/{cfg.evaluation.monitor}" == "best/val/cc"
    assert given["metric"]["goal"] == {"max": "maximize", "min": "minimize"}[cfg.evaluation.mode]
