"""From a command line to configurations that can run, or to everything that is wrong with them: the first check.

Hydra composes a command's configuration itself when it starts; here the same is composed beforehand, without what a run
imports, so that all mistakes come out at once, in our words, before anything is written. A grid's jobs are all
composed; those of a search are checked when they are proposed (:func:`saltext.runs.jobs.run`).
"""

import pickle
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import CachingConfigRepository, ConfigRepository, IConfigRepository
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path, get_args_parser, run_and_report
from hydra.core.config_search_path import ConfigSearchPath, SearchPathQuery
from hydra.core.default_element import ResultDefault
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.plugins.config_source import ConfigResult
from hydra.types import RunMode
from hydra.version import VersionBase, setbase
from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict
from omegaconf.errors import InterpolationToMissingValueError, OmegaConfBaseException
from yaml import YAMLError  # type: ignore[import-untyped]

from saltext.errors import ConfigError, near
from saltext.runs import plugins, schema
from saltext.system.extras import install_command

_Result = TypeVar("_Result")

_VERSION_BASE = "1.3"
_VARIANT = "variant"  # the key that names one of an experiment's variants
_NO_VARIANTS = "no experiment with variants is chosen"
_OF_LIST = "no such key: a list has numbers, from 0"  # OmegaConf raises what int() does
_CONFIG_DIR = ("--config-dir", "-cd")
_GRID = "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"

# Choices that a package brings which not everybody has: the module it is found by, and our extra that installs it.
_PARALLEL = ("hydra_plugins.hydra_joblib_launcher", "parallel")
_SLURM = ("hydra_plugins.hydra_submitit_launcher", "slurm")
_OPTUNA = ("hydra_plugins.hydra_optuna_sweeper", "optuna")
_EXTRAS: Mapping[tuple[str, str], tuple[str, str]] = MappingProxyType(
    {
        ("hydra/launcher", "joblib"): _PARALLEL,
        ("hydra/launcher", "local"): _PARALLEL,
        ("hydra/launcher", "slurm"): _SLURM,
        ("hydra/launcher", "submitit_slurm"): _SLURM,
        ("hydra/launcher", "submitit_local"): _SLURM,
        ("hydra/sweeper", "optuna"): _OPTUNA,
        ("hydra/sweeper", "search"): _OPTUNA,
        ("logger", "tensorboard"): ("tensorboard", "tensorboard"),
        ("logger", "mlflow"): ("mlflow", "mlflow"),
    }
)


def config_folder() -> Path:
    """Folder of the configuration files: ``conf/`` of a checkout, or the copy an installed package carries."""
    package = Path(__file__).resolve().parents[1]
    checkout = package.parent / "conf"
    return checkout if checkout.is_dir() else package / "_conf"


def compose_run(overrides: Sequence[str]) -> DictConfig:
    """The configuration of one run, Hydra's own included.

    Raises:
        HydraException: Overrides that do not fit it.
    """
    with _hydra(None, None) as hydra:
        return hydra.compose_config(
            "config", list(overrides), RunMode.RUN, with_log_configuration=False, from_shell=False
        )


def is_elsewhere(cfg: DictConfig) -> bool:
    """Whether the jobs of a command run on other machines than this one, which may have other devices."""
    return str(cfg.hydra.launcher.get("_target_")).endswith("SlurmLauncher")


# ${direction:MONITOR}: which way a monitored value is better.
OmegaConf.register_new_resolver("direction", lambda monitor, *, _root_: schema.direction(monitor, _root_), replace=True)


class CommandLine:
    """A command line of ``saltext.run``, read once.

    Args:
        arguments: Hydra's: overrides and options.
    """

    def __init__(self, arguments: Sequence[str]) -> None:
        self._parser = get_args_parser()
        self._args = self._parser.parse_args(list(arguments))

    @property
    def asks_for_help(self) -> bool:
        """Whether it asks for the page of help about the configuration."""
        return bool(self._args.help)

    @property
    def asks_hydra(self) -> bool:
        """Whether it asks Hydra about itself, and not for a run."""
        return bool(self._args.hydra_help or self._args.shell_completion or self._args.info)

    @property
    def shows_configuration(self) -> bool:
        """Whether it asks for a look at the composed configuration: ``--cfg``."""
        return bool(self._args.cfg)

    def ask_hydra(self) -> None:
        """Have Hydra answer what it is asked about itself.

        Raises:
            SystemExit: It could not; Hydra has said why.
        """
        args, name = self._args, self._args.config_name or "config"
        with _hydra(args.config_path, args.config_dir) as hydra:
            if args.hydra_help:
                hydra.hydra_help(name, self._parser, args)
            elif args.shell_completion:
                run_and_report(lambda: hydra.shell_completion(name, args.overrides))
            else:
                hydra.show_info(args.info, name, args.overrides)

    def show_help(self) -> None:
        """Print Hydra's page of help about this package's configuration."""
        with _hydra(self._args.config_path, self._args.config_dir) as hydra:
            hydra.app_help(self._args.config_name or "config", self._parser, self._args)

    def show_configuration(self) -> None:
        """Print the composed configuration, as ``--cfg``, ``--package`` and ``--resolve`` ask for it."""
        args = self._args
        with _hydra(args.config_path, args.config_dir) as hydra:
            hydra.show_cfg(args.config_name or "config", args.overrides, args.cfg, args.package, args.resolve)

    def check(self) -> list[DictConfig]:
        """Check what it asks for.

        Returns:
            The configurations of its jobs: one, those of a grid, or the one that a search starts from.

        Raises:
            ConfigError: Everything that is wrong, at once.
        """
        if self._args.experimental_rerun:
            raise ConfigError("--experimental-rerun reads a pickled configuration, which can run code; use resume=DIR")
        with _hydra(self._args.config_path, self._args.config_dir):
            loader = GlobalHydra.instance().config_loader()
            if not isinstance(loader, ConfigLoaderImpl):
                raise TypeError(f"expected Hydra's own loader, got {type(loader).__name__}")
            overrides = _Overrides(loader, self._args.config_name or "config", self._args.overrides)
            return overrides.jobs(self._args.multirun)

    def is_single_run(self, configurations: Sequence[DictConfig]) -> bool:
        """Whether it asks for one run: not for a sweep, and not for a look at a configuration.

        Args:
            configurations: What :meth:`check` gave.
        """
        modes = [str(cfg.hydra.get("mode")) for cfg in configurations]
        asks_otherwise = self._args.cfg or self._args.multirun
        return not asks_otherwise and len(modes) == 1 and not modes[0].endswith("MULTIRUN")

    def run_once(self, task: Callable[[DictConfig], _Result]) -> _Result:
        """Compose the configuration of one run and call a task with it, as ``hydra.main`` does, but in nobody's way.

        What Hydra holds for the whole process is as it was afterwards, and what the task raises is raised.

        Args:
            task: Is called once the run's folder is there.
        """
        raised: list[Exception] = []

        def watched(cfg: DictConfig) -> _Result | None:
            try:
                return task(cfg)
            except Exception as error:  # Hydra would print that a job failed
                raised.append(error)
                return None

        args = self._args
        with _hydra(args.config_path, args.config_dir) as hydra:
            done = hydra.run(config_name=args.config_name or "config", task_function=watched, overrides=args.overrides)
        if raised:
            raise raised[0]
        result: _Result = done.return_value
        return result

    def run_sweep(self, task: Callable[[DictConfig], object]) -> None:
        """Start every job of a sweep with its configuration, as ``hydra.main`` does.

        Hydra composes each job's configuration twice: to validate all of them first, and to start the job.

        Args:
            task: Is called with each job's configuration, in its folder; where, the launcher decides.

        Raises:
            SystemExit: The sweep could not be started; Hydra has said why.
        """
        args = self._args
        overrides = [*args.overrides, *(["hydra.mode=MULTIRUN"] if args.multirun else [])]
        with _hydra(args.config_path, args.config_dir) as hydra:
            run_and_report(lambda: hydra.multirun(args.config_name or "config", task, overrides))


def completions(words: Sequence[str], begun: str) -> list[str]:
    """What an argument of a command line can become; see :class:`saltext.runs.completion.Candidates`.

    Args:
        words: The arguments before it.
        begun: The argument, as far as it is written.
    """
    from saltext.runs.completion import Candidates, files

    if words and words[-1] in _CONFIG_DIR:
        return [path for path in files(begun) if path.endswith("/")]
    arguments, config_dir = [], None
    for before, word in zip(["", *words], words, strict=False):
        option, _, value = word.partition("=")
        if before in _CONFIG_DIR or (option in _CONFIG_DIR and value):
            config_dir = value or word
        elif not word.startswith("-"):
            arguments.append(word)
    try:
        with _hydra(None, config_dir):
            return Candidates(GlobalHydra.instance().config_loader(), arguments).of(begun)
    except ConfigError:  # the command says what is wrong when it is started
        return []


@contextmanager
def _hydra(config_path: str | None, config_dir: str | None) -> Iterator[Hydra]:
    """Hydra over this package's files, those of plugins and those of ``--config-dir``.

    What Hydra holds for the whole process is put back.
    """
    search_path = create_config_search_path(str(Path(config_path or config_folder()).absolute()))
    own = None if config_dir is None else Path(config_dir).absolute()
    if own is not None and not own.is_dir():
        raise ConfigError(f"--config-dir: expected a folder, but {own} is none")
    wrong = list(plugins.problems(config_folder(), own))
    if wrong:
        raise ConfigError("\n  ".join(wrong))
    added = {"command-line": own, **{str(plugin): plugin.folder for plugin in plugins.plugins()}}
    for provider, folder in added.items():
        if folder is not None:
            search_path.prepend(provider, f"file://{folder}", SearchPathQuery(provider="schema"))
    before, composed = GlobalHydra.instance().hydra, HydraConfig.instance().cfg
    version = VersionBase.instance().getbase()
    setbase(_VERSION_BASE)
    GlobalHydra.instance().clear()
    try:
        hydra = Hydra("saltext", _Loader(search_path))
        GlobalHydra.instance().initialize(hydra)
        yield hydra
    finally:
        HydraConfig.instance().cfg = composed
        GlobalHydra.instance().hydra = before
        VersionBase.instance().version_base = version


_READ: dict[tuple[object, ...], bytes] = {}  # files, and what they make together, as this process found them


def _copy_of_cached(key: tuple[object, ...], make: Callable[[], _Result]) -> _Result:
    """A copy of what was made for a key before, or what is made for it now."""
    if key not in _READ:
        made = make()
        try:
            _READ[key] = pickle.dumps(made)
        except pickle.PicklingError:
            # In a launcher's process: Hydra is given its schemas' classes, and then imports their modules anew.
            return made
    copied: _Result = pickle.loads(_READ[key])  # noqa: S301 - this process's own
    return copied


class _Repository(ConfigRepository):
    """Hydra's own, which parses a file anew for each configuration; here once for each content it has.

    Who composes changes what it is given, so that everybody gets a copy.
    """

    def __init__(self, config_search_path: ConfigSearchPath) -> None:
        super().__init__(config_search_path)
        self.found: dict[str, tuple[object, ...]] = {}  # what was read of the files that were asked for

    def load_config(self, config_path: str) -> ConfigResult | None:
        source = self._find_object_source(config_path, ObjectType.CONFIG)
        if source is None:
            return super().load_config(config_path)
        key: tuple[object, ...] = (type(source), source.provider, source.path, config_path)
        if source.scheme() == "file":  # not by its class: Hydra executes its plugins' modules twice
            key = (*key, Path(source.path, source._normalize_file_name(config_path)).read_bytes())
        self.found[config_path] = key
        try:
            return _copy_of_cached(key, partial(super().load_config, config_path))
        except YAMLError as error:  # in a file of a config_dir
            path = f"{source.path.removeprefix('file://')}/{source._normalize_file_name(config_path)}"
            raise ConfigError(f"{path} cannot be read: {' '.join(str(error).split())}") from error


class _Loader(ConfigLoaderImpl):
    """Hydra's own, which caches no file and no configuration from one time to the next.

    It also copies all it has read each time it is asked for a group's choices (help asks 200 times).

    And it knows an experiment's variants (docs/configuration.md): it sets what the chosen one stands for.
    """

    def __init__(self, config_search_path: ConfigSearchPath) -> None:
        super().__init__(config_search_path)
        self.repository = _Repository(config_search_path)

    def _load_configuration_impl(
        self, config_name: str | None, overrides: list[str], *args: Any, **kwargs: Any
    ) -> DictConfig:
        own = self._variant_overrides(overrides)
        cfg = super()._load_configuration_impl(config_name, [*(own or ()), *overrides], *args, **kwargs)
        if "variants" not in cfg:
            if _VARIANT in cfg:
                raise HydraException(f"{_VARIANT}={cfg.variant}: {_NO_VARIANTS}")
            return cfg
        if own is None:
            raise HydraException("variants: expected in the file of the experiment, got those of a file it starts from")
        with open_dict(cfg):
            variants = cfg.pop("variants")
            swept = {**(cfg.hydra.sweeper.get("params") or {})}
            cfg.hydra.sweeper.params = swept if _VARIANT in swept else {**swept, _VARIANT: ",".join(variants)}
            # A job's record has its variant's name, not what it stands for.
            for recorded in (cfg.hydra.overrides.task, cfg.hydra.overrides.hydra):
                recorded[:] = [line for line in recorded if line not in own]
        return cfg

    def _variant_overrides(self, overrides: Sequence[str]) -> list[str] | None:
        """What the chosen variant of the experiment sets, but for the keys and groups that the overrides set.

        Read from the experiment's file, before anything is composed; None where it has no variants.
        """
        if not any("experiment=" in override for override in overrides):
            return None
        parser = OverridesParser.create()
        parsed = parser.parse_overrides(list(overrides))
        values = {override.key_or_group: override.value() for override in parsed if not override.is_sweep_override()}
        found = self.repository.load_config(f"experiment/{values.get('experiment')}")
        content: Any = {} if found is None else found.config
        variants = content.get("variants")
        if not variants:
            return None
        name = str(values.get(_VARIANT, content.get(_VARIANT)))
        if name not in variants:
            known = [str(other) for other in variants]
            raise HydraException(
                f"{_VARIANT}={name}: no such variant{near(name, known)}; choose from {', '.join(known)}"
            )
        keys = {override.key_or_group for override in parsed}
        lines = parser.parse_overrides(list(variants[name]))
        return [str(override.input_line) for override in lines if override.key_or_group not in keys]

    def _compose_config_from_defaults_list(self, defaults: list[ResultDefault], repo: IConfigRepository) -> DictConfig:
        if not isinstance(repo, CachingConfigRepository) or not isinstance(repo.delegate, _Repository):
            return super()._compose_config_from_defaults_list(defaults, repo)
        # What a list of files makes, before any value is set, follows from the list and from what is in them.
        key = (*map(repr, defaults), *repo.delegate.found.values())
        return _copy_of_cached(key, partial(super()._compose_config_from_defaults_list, defaults, repo))

    def list_groups(self, parent_name: str) -> list[str]:
        """Hydra's own, for help and completion; without the groups that presets consist of."""
        return [] if parent_name == "preset" else super().list_groups(parent_name)

    def get_group_options(
        self,
        group_name: str,
        results_filter: ObjectType | None = ObjectType.CONFIG,
        config_name: str | None = None,
        overrides: list[str] | None = None,
    ) -> list[str]:
        if config_name is not None or overrides:
            return super().get_group_options(group_name, results_filter, config_name, overrides)
        return self.repository.get_group_options(group_name, results_filter)


class _Overrides:
    """The overrides of a command, and what is wrong with them.

    Args:
        loader: Where files are found.
        config_name: The primary configuration's.
        given: Overrides as they came.
    """

    def __init__(self, loader: ConfigLoaderImpl, config_name: str, given: Sequence[str]) -> None:
        self._loader = loader
        self._config_name = config_name
        self._bases: dict[tuple[str, ...], bytes] = {}  # pickled: each job changes a copy of its own
        self._problems: dict[str, None] = {}
        self._overrides = [override for text in _joined(given) if (override := self._parsed(text)) is not None]

    def jobs(self, multirun: bool) -> list[DictConfig]:
        """See :meth:`CommandLine.check`."""
        start = [override for override in self._overrides if not override.is_sweep_override()]
        swept = [override for override in self._overrides if override.is_sweep_override()]
        base = self._composed(start)
        several = multirun or str(base.hydra.get("mode")).endswith("MULTIRUN")
        if not several:
            for override in swept:
                key, _, values = str(override.input_line).partition("=")
                listed = shlex.quote(f"{key}=[{values}]")
                self._note(f"{key}={values}: several values are a sweep, which needs -m at the end; a list is {listed}")
            jobs = [start]
        elif base.hydra.sweeper._target_ == _GRID:
            jobs = self._grid(base, [*start, *swept])
        else:  # what a search proposes is checked when it does; all but that is the same
            jobs = [[*start, *(first for override in swept for first in _first(override))]]
        found: dict[str, list[int]] = {}
        configurations = []
        for number, overrides in enumerate(jobs):
            cfg, problems = self._checked(overrides)
            configurations.append(cfg)
            for text in problems:
                found.setdefault(text, []).append(number)
        for text, numbers in found.items():
            of = f" (job {', '.join(map(str, numbers))} of {len(jobs)}, from 0)" if len(numbers) < len(jobs) else ""
            self._note(text + of)
        if self._problems:
            raise ConfigError(_listed(list(self._problems)))
        return configurations

    def _note(self, problem: str) -> None:
        self._problems[problem] = None

    def _parsed(self, text: str) -> Override | None:
        """An argument as Hydra reads it; None after noting why it cannot be used."""
        try:
            override = OverridesParser.create(self._loader).parse_override(text)
        except HydraException:
            self._note(_quoting(text))
            return None
        if override.key_or_group == "hydra.searchpath":
            self._note(f"{text}: expected --config-dir DIR for files of your own, or a package with an entry point")
            return None
        override.config_loader = self._loader  # glob() asks it for the choices of a group
        if not self._is_group(override):
            return override
        if override.is_delete() and not isinstance(override.value(), str | None):  # Hydra ends with a traceback
            alone = f"~{override.key_or_group}"
            self._note(f"{text}: expected the name of a choice, got {override.value()!r}; {alone} alone will do")
            return None
        for name in _choices(override):
            problem = self._choice_problem(override.key_or_group, name)
            if problem:
                self._note(problem)
                return None
        return override

    def _is_group(self, override: Override) -> bool:
        """Whether an override chooses a file of a group, as Hydra decides it."""
        value = None if override.is_sweep_override() else override.value()
        return not isinstance(value, dict) and self._loader.repository.group_exists(override.key_or_group)

    def _chooses_files(self, override: Override) -> bool:
        """Whether an override is part of what :meth:`_composed` needs: a group's choice, or an experiment's variant."""
        return override.key_or_group == _VARIANT or self._is_group(override)

    def _choice_problem(self, group: str, name: str) -> str:
        extra = _EXTRAS.get((group, name))
        if extra is not None and not _installed(extra[0]):
            return f"{group}={name}: expected a package that is not installed; {install_command(extra[1])}"
        if self._loader.repository.config_exists(f"{group}/{name}"):
            return ""
        known = self._loader.get_group_options(group, ObjectType.CONFIG)
        return f"{group}={name}: no such choice{near(name, known)}; choose from {', '.join(known)}"

    def _composed(self, overrides: Sequence[Override]) -> DictConfig:
        """The configuration that the chosen files make, without the values that were given.

        Choices that cannot be made are noted and left out.
        """
        chosen = [o for o in overrides if self._chooses_files(o)]
        while True:
            lines = tuple(str(override.input_line) for override in chosen)
            try:
                if lines not in self._bases:
                    base = self._loader.load_configuration(
                        self._config_name,
                        list(lines),
                        RunMode.MULTIRUN,
                        from_shell=False,
                        validate_sweep_overrides=False,
                    )
                    self._bases[lines] = pickle.dumps(base)
                copied: DictConfig = pickle.loads(self._bases[lines])  # noqa: S301 - this process's own
                return copied
            except HydraException as error:
                said = str(error)
                named = [
                    o
                    for o in chosen
                    if said.startswith(f"{o.key_or_group}=")
                    or f"'{o.key_or_group}" in said
                    or f" {o.key_or_group}." in said
                ]
                wrong = max(
                    named or [o for o in chosen if o.is_add()],
                    key=lambda o: (len(o.key_or_group), o.is_add()),
                    default=None,
                )
                self._note(self._not_chosen(wrong, chosen, said))
                if not chosen:
                    raise ConfigError(_listed(list(self._problems))) from error
                chosen = [o for o in chosen if o is not wrong] if wrong else []

    def _not_chosen(self, wrong: Override | None, chosen: Sequence[Override], said: str) -> str:
        """Why Hydra does not take a choice."""
        if wrong is None:
            return said.split("\n")[0]
        group, line = wrong.key_or_group, str(wrong.input_line)
        if group == _VARIANT and "already at" not in said:
            return said if said.startswith(f"{_VARIANT}=") else f"{line}: {_NO_VARIANTS}"
        if wrong.is_add() and ("Multiple values" in said or "already at" in said):
            return f"{line}: {group} has a choice already; write {line.lstrip('+')}"
        if "No match in the defaults list" not in said:
            return f"{line}: {said.split(chr(10))[0]}"
        if wrong.is_delete():
            return f"{line}: {group} is not chosen, so it cannot be left out"
        if wrong.is_add() or not group.startswith("model/"):
            return f"{line}: {group} is not chosen yet; write +{line.lstrip('+')}"
        firsts = [str(o.input_line) for o in chosen if o.key_or_group in ("model", "preset", "experiment")]
        parts = self._parts(firsts)
        models = self._loader.get_group_options("model", ObjectType.CONFIG)
        having = [model for model in models if group in self._parts([*firsts, f"model={model}"])]
        own = sorted(name for name in parts if name.startswith("model/") and "@" not in name)
        return f"{group} is not a part of model={parts['model']}, which has {', '.join(own) or 'none'}. " + (
            f"It is one of {' and '.join(f'model={m}' for m in having)}: add that." if having else "No model has it."
        )

    def _parts(self, choices: Sequence[str]) -> dict[str, str]:
        """The chosen model, and the choice of each of its parts."""
        cfg = self._loader.load_configuration(
            self._config_name, list(choices), RunMode.MULTIRUN, from_shell=False, validate_sweep_overrides=False
        )
        return {group: c for group, c in cfg.hydra.runtime.choices.items() if group.partition("/")[0] == "model"}

    def _grid(self, base: DictConfig, overrides: Sequence[Override]) -> list[list[Override]]:
        """The overrides of each job of a grid."""
        params = OmegaConf.to_container(base.hydra.sweeper.params or OmegaConf.create())
        lines = [f"{key!s}={value}" for key, value in params.items()]  # type: ignore[union-attr]
        own = [override for line in lines if (override := self._parsed(line)) is not None]
        of_hydra = [override for override in overrides if override.is_hydra_override()]
        try:
            combined = BasicSweeper.split_arguments([*own, *(o for o in overrides if o not in of_hydra)], None)[0]
        except HydraException:
            for override in (o for o in overrides if o.is_interval_sweep()):
                self._note(f"{override.input_line}: a range is for a search, hydra/sweeper=search (saltext[optuna])")
            return [[o for o in overrides if not o.is_sweep_override()]]
        # Hydra writes each job's values anew, and some not as it reads them.
        read = {line: self._parsed(line) for line in {line for job in combined for line in job}}
        jobs = [[override for line in job if (override := read[line]) is not None] for job in combined]
        return [[*job, *of_hydra] for job in jobs]

    def _checked(self, overrides: Sequence[Override]) -> tuple[DictConfig, list[str]]:
        """The configuration of one job, and what is wrong with it."""
        cfg = self._composed(overrides)
        values = [o for o in overrides if not self._chooses_files(o)]
        problems, new = [], []
        for override in values:
            problem, is_new = _apply(override, cfg)
            problems += [problem] if problem else []
            new += [override] if is_new else []
        HydraConfig.instance().set_config(cfg)
        found = schema.problems(cfg)
        for override in values:  # the rest of what is below hydra is Hydra's to check
            key = override.key_or_group
            if override.is_hydra_override():
                try:
                    value = OmegaConf.select(cfg, key)
                except InterpolationToMissingValueError:  # known when the run starts
                    continue
                except OmegaConfBaseException as error:
                    problems.append(f"{override.input_line}: {str(error).partition(chr(10))[0]}")
                    continue
                if expected := _unchecked_by_hydra(key, value):
                    problems.append(f"{override.input_line}: expected {expected}")
        problems += [_as_written(key, text, values) for key, text in found.items()]
        for override in new:
            key = override.key_or_group
            if not any(key == bad or key.startswith(f"{bad}.") for bad in found):
                problems.append(f"{override.input_line}: {key} is not set here yet; write +{override.input_line}")
        return cfg, problems


def _unchecked_by_hydra(key: str, value: Any) -> str:
    """What is expected of a value that Hydra takes and cannot use; empty where it can."""
    if key in ("hydra.run.dir", "hydra.sweep.dir", "hydra.sweep.subdir"):
        return "" if value else f"a folder, got {value!r}; without {key} the folder is named by the run"
    if key == "hydra.verbose":
        names = list(value) if isinstance(value, ListConfig) else [value]
        is_fit = isinstance(value, bool) or all(isinstance(name, str) for name in names)
        return "" if is_fit else f"true, false, the name of a logger or a list of such names, got {value!r}"
    return ""


def _installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # nor the package it is in
        return False


def _listed(problems: Sequence[str]) -> str:
    if len(problems) == 1:
        return problems[0]
    return f"{len(problems)} values cannot be used:\n" + "\n".join(f"  * {problem}" for problem in problems)


def _choices(override: Override) -> list[str]:
    """Names of the files of a group that an override chooses."""
    if override.is_delete() or override.is_interval_sweep():
        return []
    if override.is_sweep_override():
        return list(override.sweep_string_iterator())
    value = override.value()
    names = value if isinstance(value, list) else [value]
    return ["null" if name is None else str(name) for name in names]


def _first(override: Override) -> list[Override]:
    """A sweep's override with the first of its values; none for a range."""
    if not override.is_discrete_sweep():
        return []
    line = f"{override.get_key_element()}={next(override.sweep_string_iterator())}"
    return [OverridesParser.create().parse_override(line)]


def _joined(arguments: Sequence[str]) -> list[str]:
    """Arguments, with what a shell parted at spaces put together again: what has no = belongs to the one before."""
    found: list[str] = []
    for text in arguments:
        if found and "=" not in text and not text.startswith("~"):
            found[-1] += f" {text}"
        else:
            found.append(text)
    return found


def quoted(key: str, value: str) -> str:
    """An override as it is written on a command line whose value is this text, whatever characters it has."""
    inside = value.replace("\\", "\\\\") if value.endswith("\\") else value
    return shlex.quote(f'{key}="' + inside.replace('"', '\\"') + '"')


def _quoting(text: str) -> str:
    key, equals, value = text.partition("=")
    if not equals:
        return f"{text}: expected key=value"
    return f"{key}: a value with such characters must be quoted, for the shell and for Hydra: {quoted(key, value)}"


def _apply(override: Override, cfg: DictConfig) -> tuple[str, bool]:
    """Set a value; what is wrong with that, and whether the key is new though no + says so."""
    key, line = override.key_or_group, str(override.input_line)
    try:
        ConfigLoaderImpl._apply_overrides_to_config([override], cfg)
    except HydraException as refused:
        above, _, name = key.rpartition(".")
        try:
            group = OmegaConf.select(cfg, above) if above else cfg
        except OmegaConfBaseException:
            group = None
        known = [str(own) for own in group] if isinstance(group, DictConfig) else []
        if "/" in key:
            return f"{line}: no such group{near(key, _groups())}", False
        if override.is_hydra_override() and name in known:
            return f"{line}: {str(refused.__cause__ or refused).partition(chr(10))[0]}", False
        if override.is_delete() or override.is_hydra_override():
            return f"{line}: no such key{near(name, known)}", False
        if override.is_add() and name in known:
            return f"{line}: {key} has a value already; write {line.lstrip('+')}", False
        try:
            OmegaConf.update(cfg, key, override.value(), merge=True, force_add=True)
        except OmegaConfBaseException as error:
            return f"{line}: {str(error).partition(chr(10))[0]}", False
        except ValueError:
            return f"{line}: {_OF_LIST}", False
        return "", not override.is_add()
    except (OmegaConfBaseException, AssertionError) as error:  # the latter for a null that is given a key
        return f"{line}: {str(error).partition(chr(10))[0]}", False
    except (TypeError, ValueError):
        return f"{line}: {_OF_LIST}", False
    return "", False


def _groups() -> list[str]:
    folder = config_folder()
    own = [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if path.is_dir()]
    return [*own, "hydra/launcher", "hydra/sweeper"]


def _as_written(key: str, text: str, overrides: Sequence[Override]) -> str:
    """A problem under the argument that made it, if one did; a text that Hydra took for something else, quoted."""
    for override in reversed(overrides):
        own = override.key_or_group
        if own != key and not own.startswith(f"{key}.") and not key.startswith(f"{own}."):
            continue
        line = str(override.input_line)
        value = line.partition("=")[2]
        is_text = own == key and "expected a text" in text and not isinstance(override.value(), str | None)
        return f"{line}: {text}" + (f"; as a text: {quoted(own, value)}" if is_text else "")
    return f"{key}: {text}"
