"""One job of every experiment runs from composing to its tables, at smoke size."""

from pathlib import Path

import pytest

from saltext.runs.composition import compose_run
from saltext.system.run_folder import RunFolder
from tests.data.made_up_layouts import write_salicon
from tests.small_runs import QUICK, drop_weights, ran
from tests.test_config import choices

pytestmark = pytest.mark.slow


def small_data(experiment: str, outputs: Path) -> list[str]:
    if experiment != "pretrain_salicon":
        return [f"data.root={outputs / 'synthetic'}", "data.images=12"]
    write_salicon(outputs / "salicon")
    return [f"data.root={outputs / 'salicon'}"]


def last_job(experiment: str, outputs: Path) -> list[str]:
    """Overrides for the last job of an experiment's sweep, which differs most from the default one."""
    base = [f"+experiment={experiment}", *QUICK, f"output_dir={outputs}", *small_data(experiment, outputs)]
    hydra = compose_run(base).hydra
    if hydra.runtime.choices.get("model/generator") == "small":
        base.append("model/generator=tiny")  # the same with an eighth of its widths, which is the smoke preset's
    params = hydra.sweeper.params or {}
    return [*base, *(f"{key}={str(values).split(',')[-1]}" for key, values in params.items())]


@pytest.mark.parametrize("experiment", choices("experiment"))
def test_an_experiment_runs_to_its_tables(experiment: str, outputs: Path) -> None:
    folder = ran(RunFolder(outputs / experiment), *last_job(experiment, outputs))
    for written in (folder.result, folder.scores, folder.table):
        assert written.stat().st_size > 0
    drop_weights(folder)
