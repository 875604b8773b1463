"""The papers' tables and figures.

Looks first for the data and the weights that are needed, and says what is missing and how to get it. Then runs the
experiments, or what is left of them, and writes tables, figures and a page, ours beside the published values, to
OUTPUT_DIR/reproduce/STUDY. The command line is ``saltext reproduce``.
"""

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from types import MappingProxyType

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig

from saltext.data.sources.sjtu_tis import SjtuTis
from saltext.errors import ConfigError, SaltextError
from saltext.models.packaged_weights import BY_TARGET, packaged_file
from saltext.reporting.study_page import write_again, write_study
from saltext.results.study import Study, studies
from saltext.results.study_results import kept_file
from saltext.runs import schema
from saltext.runs.composition import CommandLine, compose_run
from saltext.runs.jobs import Job, latest_jobs
from saltext.runs.launch import launch
from saltext.runs.records import read_records
from saltext.runs.targets import parts
from saltext.system.run_folder import RunFolder

EVERYTHING = "all"
ZERO_SHOT = "zero-shot"
"""No study of runs: the pretrained model on other data, see :mod:`saltext.runs.zero_shot`."""

# Parts whose weights default to random ones, which nothing can be reproduced with.
_WAYS_TO_WEIGHTS: Mapping[str, str] = MappingProxyType(
    {
        "saltext.models.text.blip.Blip": (
            "BLIP's weights: give model.text_encoder.weights=PATH of ImageReward.pt, which the authors used, or the "
            "name of a repository on the hub, such as Salesforce/blip-itm-base-coco with model/text_encoder=blip"
        ),
        "saltext.models.text.open_clip.OpenCLIP": (
            "CLIP's weights: give model.text_encoder.weights=openai, fetched once, or the path of a file"
        ),
        "saltext.models.image.staged.DenseNet161": (
            "TranSalNet's SALICON weights: give checkpoint=PATH of TranSalNet_Dense.pth, published by TranSalNet's "
            "authors with their code"
        ),
        "saltext.models.image.staged.ResNet50": (
            "TranSalNet's SALICON weights: give checkpoint=PATH of TranSalNet_Res.pth, published by TranSalNet's "
            "authors with their code"
        ),
    }
)


def targets() -> dict[str, list[Study]]:
    """What can be reproduced: name -> studies; ``all`` is every one that is part of it, ``zero-shot`` has none."""
    found: dict[str, list[Study]] = {}
    for study in studies():
        for name in study.targets:
            found.setdefault(name, []).append(study)
    every = {study.name: study for part in found.values() for study in part if study.part_of_all}
    return {**dict(sorted(found.items())), ZERO_SHOT: [], EVERYTHING: list(every.values())}


def experiments(chosen: Sequence[Study]) -> list[str]:
    """The experiments some studies are made from, each once, those that others start from first."""
    starting = [start.experiment for study in chosen for start in study.starts.values()]
    return list(dict.fromkeys([*starting, *(name for study in chosen for name in study.experiments)]))


def own_overrides(experiment: str, overrides: Sequence[str]) -> list[str]:
    """The overrides of one experiment: those of all, and those that name it before a colon."""
    named = [(_experiment_of(text), text) for text in overrides]
    return [text.removeprefix(f"{experiment}:") for name, text in named if name in ("", experiment)]


def _experiment_of(override: str) -> str:
    name, colon, _ = override.partition(":")
    return name if colon and name.isidentifier() else ""


def composed(experiment: str, overrides: Sequence[str]) -> DictConfig:
    """The configuration of an experiment's first job, Hydra's own included.

    Raises:
        ConfigError: Overrides that do not fit it, everything at once.
    """
    try:
        CommandLine([f"+experiment={experiment}", *overrides, "-m"]).check()
    except ConfigError as error:
        raise ConfigError(f"{experiment}: {error}") from error
    try:
        given = OverridesParser.create().parse_overrides(list(overrides))
        single = [
            f"{override.get_key_element()}={next(override.sweep_string_iterator())}"
            if override.is_sweep_override()
            else str(override.input_line)
            for override in given
        ]
        return compose_run([f"+experiment={experiment}", *single])
    except HydraException as error:
        raise ConfigError(f"{experiment}: {error}") from error


def missing(cfg: DictConfig) -> list[str]:
    """What a run of a configuration lacks here, each with how to get it; empty if nothing."""
    found = []
    if cfg.data._target_ == schema.SJTU_TIS:
        found += _problems_with(SjtuTis(cfg.data.root).read)
    if cfg.checkpoint is not None and not Path(cfg.checkpoint).is_file():
        found.append(f"There is no weight file {cfg.checkpoint} (checkpoint)")
    reads_text = cfg.model.get("blend", True) is not None  # without it the text encoder is dropped
    for name, part in parts(cfg.model):
        if reads_text or name not in ("text_encoder", "grounder"):
            found += _weights_missing(part, started=cfg.checkpoint is not None)
    return found


def _weights_missing(part: DictConfig, started: bool) -> list[str]:
    target = part.get("_target_")
    package = BY_TARGET.get(target)
    if package is not None:
        return [text for path in package.digests for text in _problems_with(partial(packaged_file, package, path))]
    if part.get("revision") is not None:
        return _not_downloaded(part)
    random = target in _WAYS_TO_WEIGHTS and part.get("weights") is None
    of_text = str(target).startswith("saltext.models.text.")
    return [_WAYS_TO_WEIGHTS[target]] if random and (of_text or not started) else []


def _not_downloaded(part: DictConfig) -> list[str]:
    """What a part needs of a repository on the hub, where that may not be asked; empty where it may."""
    from saltext.models.hub import hub_folder, is_offline  # takes seconds, and few studies need a hub

    weights = str(part.get("weights"))
    offline = is_offline(bool(part.get("local_files_only")))
    if not offline or weights.count("/") != 1 or Path(weights).is_dir():
        return []
    return _problems_with(partial(hub_folder, weights, part.revision, [], True))


def _problems_with(reading: Callable[[], object]) -> list[str]:
    """The message of the error that reading a file raises; empty without one."""
    try:
        reading()
    except SaltextError as error:
        return [str(error)]
    return []


def check(chosen: Sequence[Study], overrides: Sequence[str]) -> dict[str, DictConfig]:
    """Make sure that all runs can start.

    Returns:
        Experiment -> the configuration of its first job, in the order in which they run.

    Raises:
        ConfigError: Everything that is missing, at once.
    """
    names = experiments(chosen)
    unknown = [text for text in overrides if _experiment_of(text) not in ("", *names)]
    if unknown:
        raise ConfigError(f"{', '.join(unknown)}: expected before the colon one of the experiments {', '.join(names)}")
    found = {name: composed(name, own_overrides(name, overrides)) for name in names}
    problems = list(dict.fromkeys(text for cfg in found.values() for text in missing(cfg)))
    if problems:
        listed = "\n".join(f"  * {text}" for text in problems)
        raise ConfigError(f"Cannot start; what is missing, and how to get it:\n{listed}")
    return found


def reproduce(chosen: Sequence[Study], overrides: Sequence[str]) -> bool:
    """Run or resume what some studies need, and write them.

    Args:
        chosen: Studies.
        overrides: Of the configuration of every experiment, or of one (``EXPERIMENT:key=value``); several values of a
            key (``seed=0,1``) make several jobs.

    Returns:
        Whether every job finished.

    Raises:
        ConfigError: See :func:`check`; nothing was run then.
    """
    configurations = check(chosen, overrides)
    starts = {name: start for study in chosen for name, start in study.starts.items()}
    jobs: dict[str, list[Job]] = {}
    failed = []
    for name, cfg in configurations.items():
        own = own_overrides(name, overrides)
        start = starts.get(name)
        sweeps = [own] if start is None else _started(own, jobs[start.experiment], start.stage)
        if start is not None and not sweeps:
            print(f"{name} is not run: no {start.stage} of {start.experiment} has finished", file=sys.stderr)
        jobs[name], finished = [], []
        for given in sweeps:
            found, complete = _run(name, cfg, given)
            jobs[name] += found
            finished.append(complete)
        if not finished or not all(finished):
            failed.append(name)
    _write(chosen, [job.folder for found in jobs.values() for job in found], configurations)
    if failed:
        print(f"not finished: {', '.join(failed)}; the same command continues with the others", file=sys.stderr)
    return not failed


def _started(overrides: Sequence[str], jobs: Sequence[Job], stage: str) -> list[list[str]]:
    """The overrides of a sweep from each of some jobs' stage; none from a stage that has not finished."""
    weights = {job: job.folder.stage(stage) for job in jobs if job.folder.stage(stage).has_trained}
    return [
        [*_as_in(overrides, job), f"checkpoint={json.dumps(str(folder.chosen))}"] for job, folder in weights.items()
    ]


def _as_in(overrides: Sequence[str], job: Job) -> list[str]:
    """Overrides with the one value that a job has of each key with several."""
    parser = OverridesParser.create()
    values = {text.partition("=")[0]: text for text in job.overrides}
    return [
        values.get(text.partition("=")[0], text) if parser.parse_override(text).is_sweep_override() else text
        for text in overrides
    ]


def _run(experiment: str, cfg: DictConfig, overrides: Sequence[str]) -> tuple[list[Job], bool]:
    """Run an experiment in a separate process; its jobs, and whether all finished."""
    print(f"--- {experiment}", flush=True)
    started = datetime.now().strftime("%Y-%m-%d_%H-%M-%S.%f")
    status = launch("saltext.run", [f"+experiment={experiment}", *overrides, "-m"])
    # A sweep that ended before its first job must not pass off an earlier one's jobs as its own.
    own = [job for job in latest_jobs(Path(cfg.hydra.sweep.dir)) if job.sweep >= started]
    return own, status == 0


def _write(chosen: Iterable[Study], jobs: Sequence[RunFolder], configurations: Mapping[str, DictConfig]) -> None:
    root = Path(next(iter(configurations.values())).output_dir) / "reproduce"
    records = read_records(jobs)
    for study in chosen:
        written = write_study(study, records, root / study.name)
        print(f"{', '.join(study.targets)}: {written or 'no run has results to show'}")


def write_from(study: Study, sources: Sequence[Path], to: Path) -> Path:
    """Write a study from all its runs below some folders, or again from the scores of single pairs kept in one folder.

    Args:
        study: The study.
        sources: Folders of runs, or one folder with kept scores (``experiments/NAME``).
        to: Folder to write into.

    Returns:
        The page.

    Raises:
        ConfigError: No run of this study, or folders of both kinds.
    """
    kept = [file for file in map(kept_file, sources) if file is not None]
    listed = ", ".join(map(str, sources))
    if kept and len(sources) > 1:
        raise ConfigError(f"expected folders of runs, or one folder with kept scores; got {listed}")
    if kept:
        return write_again(study, kept[0], to)
    folders = [RunFolder(config.parent) for source in sources for config in sorted(source.rglob("config.yaml"))]
    written = write_study(study, read_records(folders), to)
    if written is None:
        raise ConfigError(f"No run of this study below {listed}. Start: saltext reproduce NAME")
    return written
