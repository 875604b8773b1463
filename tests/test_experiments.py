"""One job of every experiment runs from composing to its tables, at smoke size."""

from pathlib import Path

import pytest

from saltext.runs.composition import compose_run
from saltext.system.run_folder import RunFolder
from tests.data.made_up_layouts import write_salicon
from tests.small_runs import QUICK, drop_weights, ran
from tests.test_config import choices

pytestmark = pytest.mark.slow

# A plain CLIP with the tokens of the published ones, and two of their twelve layers, narrower.
TINY_CLIP = (
    "{embed_dim: 512, vision_cfg: {layers: 1, width: 64, patch_size: 16, image_size: 32},"
    " text_cfg: {width: 64, heads: 2, layers: 2}}"
)


def small_data(experiment: str, outputs: Path) -> list[str]:
    if experiment != "pretrain_salicon":
        more = ["data/free_viewing=generated"] if experiment == "free_viewing" else []
        return [f"data.root={outputs / 'synthetic'}", "data.images=12", *more]
    write_salicon(outputs / "salicon")
    return [f"data.root={outputs / 'salicon'}"]


def last_job(experiment: str, outputs: Path) -> list[str]:
    """Overrides for the last job of an experiment's sweep, which differs most from the default one."""
    base = [f"+experiment={experiment}", *QUICK, f"output_dir={outputs}", *small_data(experiment, outputs)]
    cfg = compose_run(base)
    chosen = cfg.hydra.runtime.choices
    if chosen.get("model/generator") == "small":
        base.append("model/generator=tiny")  # the same with an eighth of its widths, which is the smoke preset's
    if chosen.get("model/text_encoder") == "open_clip":
        base.append(f"model.text_encoder.name={TINY_CLIP}")
    if "bf16" in str(cfg.trainer.get("precision")):
        base.append("data.image_size=[32,48]")  # which most CPUs compute by a loop
    params = cfg.hydra.sweeper.params or {}
    return [*base, *(f"{key}={str(values).split(',')[-1]}" for key, values in params.items())]


@pytest.mark.parametrize("experiment", choices("experiment"))
def test_an_experiment_runs_to_its_tables(experiment: str, outputs: Path) -> None:
    folder = ran(RunFolder(outputs / experiment), *last_job(experiment, outputs))
    for written in (folder.result, folder.scores, folder.table):
        assert written.stat().st_size > 0
    drop_weights(folder)
