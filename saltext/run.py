"""Train and score a text-guided saliency model: ``python -m saltext.run --help``.

Hydra only composes here. One run trains in this process; the jobs of a sweep, and the ranks of several devices, train
in fresh processes that know nothing of Hydra (:mod:`saltext.runs.worker`), so that a sweep cannot leak state from one
job into the next, and every launcher starts the same thing.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from saltext import storage
from saltext.console import ending_in_words, set_up_streams
from saltext.errors import ConfigError
from saltext.runs import schema, trust
from saltext.runs.composition import CommandLine, is_elsewhere
from saltext.runs.launch import termination_raises
from saltext.system.environment import restart_with_environment
from saltext.system.garbage import leave_to_the_system
from saltext.system.run_folder import RunFolder
from saltext.system.watched import announce_front

_OUTPUT_DIR = "outputs"  # conf/config.yaml's; resuming composes nothing
_INTERRUPTED = "interrupted; start a sweep's command again to continue it, a run with resume=latest"


def _resume(arguments: Sequence[str]) -> None:
    from saltext.runs import jobs, preflight

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
            f"resume= continues a run with the configuration it was started with, got {' '.join(others)}. "
            "Leave these out, or start a new run with checkpoint=DIR/checkpoints/best.ckpt."
        )
    else:
        folder = RunFolder.existing(name)
    text = storage.read_text(folder.config)
    resumed = trust.read(folder, trust=trusts, resumes=True)
    preflight.check([resumed.cfg])
    if resumed.remark():
        print(resumed.remark(), flush=True)
    trust.check_links(folder)
    with jobs.held(folder, wait=False):
        jobs.run_alone(folder, resumed.cfg, text if trusts or trust.is_own(folder, text) else None)


def _run(arguments: Sequence[str]) -> None:
    line = CommandLine(arguments)
    if line.asks_for_help:
        line.show_help()
        return
    if line.asks_hydra:
        line.ask_hydra()
        return
    configurations = line.check()
    for warning in dict.fromkeys(text for cfg in configurations for text in schema.warnings(cfg)):
        print(f"warning: {warning}", flush=True)
    # Only now, for they import torch and pandas.
    from saltext.runs import jobs, preflight, sweep

    preflight.check(cfg for cfg in configurations if not is_elsewhere(cfg))
    announce_front()
    if line.shows_configuration:
        line.show_configuration()
    elif line.is_single_run(configurations):
        line.run_once(jobs.run)
    else:
        with sweep.summarised():
            line.run_sweep(jobs.run)


def main() -> None:
    """Entry point; see the module's help."""
    set_up_streams()
    arguments = sys.argv[1:]
    with ending_in_words(_INTERRUPTED), termination_raises():
        if any(a.startswith("resume=") for a in arguments):
            _resume(arguments)
        else:
            _run(arguments)


if __name__ == "__main__":
    restart_with_environment(trains=True)
    leave_to_the_system()
    main()
