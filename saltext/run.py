"""Train and score a text-guided saliency model: ``python -m saltext.run --help``.

Hydra only composes here. Each job trains in a fresh process that knows nothing of Hydra (``saltext.worker``), so that a
sweep cannot leak state from one job into the next, and every launcher starts the same thing.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import hydra
from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import DictConfig

from saltext import jobs, sweep, trust
from saltext.console import set_up_streams
from saltext.errors import ConfigError, SaltextError
from saltext.launch import INTERRUPTED, termination_raises
from saltext.run_folder import RunFolder
from saltext.trust import config_folder
from saltext.watched import announce_front

_OUTPUT_DIR = "outputs"  # conf/config.yaml's; resuming composes nothing


def compose_run(overrides: Sequence[str]) -> DictConfig:
    """The configuration of one run, Hydra's own included.

    Raises:
        HydraException: Overrides that do not fit it.
    """
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        return compose("config", list(overrides), return_hydra_config=True)


def _parts(overrides: list[str]) -> dict[str, str]:
    """The chosen model, and the choice of each of its parts."""
    choices = compose_run(overrides).hydra.runtime.choices
    return {group: choice for group, choice in choices.items() if group.partition("/")[0] == "model"}


def _check_parts(arguments: list[str]) -> None:
    """Name the models that have the part asked for, where the chosen one has none: Hydra would advise to append it."""
    asked = {argument.partition("=")[0] for argument in arguments if argument.startswith("model/")}
    firsts = [a.partition(",")[0] for a in arguments if a.startswith(("model=", "preset=", "+experiment="))]
    try:
        chosen = _parts(firsts) if asked else {}
    except HydraException:  # of another mistake, which Hydra names
        return
    for part in sorted(asked - chosen.keys()):
        models = sorted(path.stem for path in (config_folder() / "model").glob("*.yaml"))
        having = [model for model in models if part in _parts([*firsts, f"model={model}"])]
        parts = sorted(group for group in chosen if group.startswith("model/") and "@" not in group)
        raise ConfigError(
            f"{part} is not a part of model={chosen['model']}, which has {', '.join(parts) or 'none'}. "
            + (
                f"It is one of {' and '.join(f'model={model}' for model in having)}: add that."
                if having
                else "No model has it."
            )
        )


def _resume(arguments: list[str]) -> int:
    target = next(a for a in arguments if a.startswith("resume="))
    trusts = trust.TRUST in arguments
    others = [a for a in arguments if a not in (target, trust.TRUST)]
    name = target.removeprefix("resume=")
    if name == "latest" and len(others) < 2 and all(a.startswith("output_dir=") for a in others):
        below = others[0].removeprefix("output_dir=") if others else _OUTPUT_DIR
        folder = jobs.latest_unfinished(Path(below))
        print(f"continuing {folder.root}", flush=True)
    elif others:
        raise ConfigError(
            f"resume= continues a run with the configuration it was started with, but came with {' '.join(others)}. "
            "Leave these out, or start a new run with checkpoint=DIR/checkpoints/best.ckpt."
        )
    else:
        folder = RunFolder.existing(name)
    text = trust.read_text(folder.config)
    resumed = trust.read(folder, trust=trusts, resumes=True)
    if resumed.remark():
        print(resumed.remark(), flush=True)
    trust.refuse_links(folder)
    with jobs.held(folder, wait=False):
        return jobs.start(folder, resumed.cfg, text if trusts or trust.is_own(folder, text) else None)


def main() -> None:
    """Entry point; see the module's help."""
    set_up_streams()
    arguments = sys.argv[1:]
    try:
        if any(a.startswith("resume=") for a in arguments):
            sys.exit(_resume(arguments))
        _check_parts(arguments)
        announce_front()
        with termination_raises(), sweep.summarised():
            hydra.main(version_base="1.3", config_path=str(config_folder()), config_name="config")(jobs.run)()
    except SaltextError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        print("interrupted; a sweep's command goes on where it stopped, a run with resume=latest", file=sys.stderr)
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
