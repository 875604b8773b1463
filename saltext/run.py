"""Train and score a text-guided saliency model: ``python -m saltext.run --help``.

Hydra only composes here. Each job trains in a fresh process that knows nothing of Hydra (``saltext.worker``), so that a
sweep cannot leak state from one job into the next, and every launcher starts the same thing.
"""

import sys
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from saltext.errors import ConfigError, SaltextError
from saltext.launch import launch, processes
from saltext.run_folder import RunFolder


class JobFailedError(RuntimeError):
    """One job of a sweep failed; the others go on."""


def config_folder() -> Path:
    """Folder of the configuration files: ``conf/`` of a checkout, or the copy an installed package carries."""
    package = Path(__file__).resolve().parent
    checkout = package.parent / "conf"
    return checkout if checkout.is_dir() else package / "_conf"


def _job(cfg: DictConfig) -> None:
    hydra_config = HydraConfig.get()
    folder = RunFolder(Path(hydra_config.runtime.output_dir))
    folder.result.unlink(missing_ok=True)
    OmegaConf.save(cfg, folder.config, resolve=True)
    status = _launch(folder)
    if status == 0:
        return
    if hydra_config.mode is RunMode.RUN:
        sys.exit(status)
    raise JobFailedError(f"{folder.root} ended with status {status}; see {folder.log}")


def _launch(folder: RunFolder) -> int:
    cfg = OmegaConf.load(folder.config)
    return launch("saltext.worker", [str(folder.root)], processes(cfg))  # type: ignore[arg-type]


def _resume(arguments: list[str]) -> int:
    target = next(a for a in arguments if a.startswith("resume="))
    others = [a for a in arguments if a != target]
    if others:
        raise ConfigError(
            f"resume= continues a run with the configuration it was started with, but came with {' '.join(others)}. "
            "Leave these out, or start a new run with checkpoint=DIR/checkpoints/best.ckpt."
        )
    return _launch(RunFolder.existing(target.removeprefix("resume=")))


def main() -> None:
    """Entry point; see the module's help."""
    arguments = sys.argv[1:]
    try:
        if any(a.startswith("resume=") for a in arguments):
            sys.exit(_resume(arguments))
        hydra.main(version_base="1.3", config_path=str(config_folder()), config_name="config")(_job)()
    except SaltextError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
