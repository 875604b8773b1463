"""Which keys a configuration may have, and which values: everything that is wrong with one, before a heavy import.

What a class takes is read from its signature (:mod:`saltext.runs.signatures`); :data:`VALUES` has the keys that no
class takes, and the ranges and choices that no annotation says. A new argument of a class needs no line here, a new key
of ours needs one. Defaults stand in ``conf/`` alone.
"""

import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from string import Formatter
from types import MappingProxyType
from typing import Annotated, Any, Literal, get_args

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from saltext.errors import ConfigError, baseline_clash, near
from saltext.runs import signatures
from saltext.runs.signatures import Built, Signature, signature

_OTHER_GROUPS = ("preset", "protocol", "experiment")  # whose files leave no key of their name
_BUILT = ("data", "loss", "optimizer", "scheduler", "training", "trainer")  # as one object each, in every run
PARTIAL = ("model.blend", "optimizer", "scheduler", "training")
"""Nodes whose class is given more arguments when its network or optimizer is there: ``_partial_: true``."""

_NAMED = ("callbacks", "logger", "evaluation.extra_metrics")  # several objects, each under a name
_RESERVED = ("_target_", "_partial_", "_convert_", "_recursive_", "_args_")  # Hydra's own keys of a node
_FOLDS = "saltext.data.splits.KFold"
SJTU_TIS = "saltext.data.sources.sjtu_tis.SjtuTis"
SYNTHETIC = "saltext.data.sources.synthetic.Synthetic"
"""What ``data`` names for generated data."""

MODEL_LABELS = ("name", "family")
"""Keys of ``model`` that are no arguments of its class."""

METRIC_LABELS = ("title", "higher_is_better")
"""Keys of a metric in ``evaluation.extra_metrics`` that are no arguments of its function."""

_DELETED = "expected a value, but it was deleted"
_LONGEST = 100  # characters of a name that becomes part of a folder's; a file system takes 255 bytes

SPLIT_FILE = "saltext.data.splits.FromFile"
"""What ``data.split`` names where a split is read from a file, ``data.split.path``."""


def _expected(expected: str) -> PydanticCustomError:
    return PydanticCustomError("unexpected", f"Input should be {expected}")


def folder_name(name: str | int) -> str | int:
    """A name that can be part of a folder's, and be named on a later command line.

    Raises:
        PydanticCustomError: It cannot.
    """
    text = str(name)
    if not text or len(text) > _LONGEST or text.startswith(".") or text != text.strip() or not text.isprintable():
        raise _expected(f"1 to {_LONGEST} printable characters, without a dot or a space at the beginning")
    if set(text) & set("/\\="):
        raise _expected("a name of a folder without / \\ =")
    return name


def _printable(text: str) -> str:
    if not text.isprintable():
        raise _expected("a text of printable characters")
    return text


def _prompt(text: str) -> str:
    plain = ("", None)  # a width could ask for gigabytes, and a dot leads into Python
    try:
        fields = [field for _, *field in Formatter().parse(text) if field[0] is not None]
        fits = all(name in ("text", "condition") and (*rest,) == plain for name, *rest in fields)
    except ValueError:  # a single brace
        fits = False
    if not fits:
        raise _expected("a text that names {text} and {condition} only (a literal brace is written twice)")
    return text


def _unique(values: list[Any]) -> list[Any]:
    if len({*map(str, values)}) < len(values):
        raise _expected("a list that names nothing twice")
    return values


def one_of(known: Callable[[], Collection[str]], of: Any = str) -> Any:
    """The type of a name, or of a list or mapping of names, that are among others; these are asked for when needed."""

    def check(value: Any) -> Any:
        for name in [value] if isinstance(value, str) else value:
            if name not in known():
                raise _expected(f"one of {', '.join(known())}{near(name, known())}")
        return value

    return Annotated[of, AfterValidator(check)]


def _devices(count: int) -> int:
    if count == 0:
        raise _expected("1 or more, or -1 for all")
    return count


def _split(value: Any) -> Any:
    """A way to divide the data is a choice of a group; earlier versions took its name, or a file, as a value."""
    if isinstance(value, dict):
        return signatures.is_built(value)
    if value in ("80/20", "70/15/15", "kfold", "published", "given"):
        raise _expected(f"a choice of a group: data/split={str(value).replace('/', '-')}")
    of_file = f", or data/split=file data.split.path={value} for a split file" if isinstance(value, str) else ""
    raise _expected(f"a choice of the group data/split, such as data/split=kfold{of_file}")


def set_by(where: str) -> Any:
    """The type of an argument that a run gives itself, which would silently win over a value given here."""

    def reject(value: Any) -> Any:
        raise _expected(f"nothing, for a run sets it itself ({where})")

    return Annotated[Any, AfterValidator(reject)]


Name = Annotated[str | int, AfterValidator(folder_name)]
Text = Annotated[str, Field(min_length=1), AfterValidator(_printable)]
StageName = Annotated[str, Field(pattern=r"\A[A-Za-z0-9_-]+\z")]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Whole = Annotated[int, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
BelowOne = Annotated[float, Field(ge=0, lt=1)]
ImageSize = tuple[Annotated[int, Field(ge=32, le=8192)], Annotated[int, Field(ge=32, le=8192)]]
MapSize = tuple[Annotated[int, Field(ge=1, le=8192)], Annotated[int, Field(ge=1, le=8192)]]
Grid = tuple[Count, Count]
Counts = Annotated[list[Count], Field(min_length=1)]
Metrics = Annotated[list[str], Field(min_length=1), AfterValidator(_unique)]  # which there are, the whole says
Names = Annotated[list[Text], Field(min_length=1), AfterValidator(_unique)]
Held = Literal["val", "test"]
Colours = tuple[float, float, float]
Devices = Annotated[int, Field(ge=-1), AfterValidator(_devices)]


def _terms() -> Collection[str]:
    return signatures.names("saltext.losses.saliency._TERMS")


VALUES: Mapping[str, Any] = MappingProxyType(
    {
        "name": Name,
        "label": Name,
        "variant": Name,
        "seed": Seed,
        "prompt": Annotated[str, AfterValidator(_prompt)],
        "cache_features": bool,
        "inference": Literal["auto", "reference", "fp32", "bf16"],
        "compile": bool,
        "checkpoint": Text | None,
        "output_dir": Text,
        "rerun": bool,
        "ddp_strategy": Text,
        "evaluation.selection_split": Held,
        "evaluation.validation_metrics": Metrics,
        "evaluation.monitor": Text,
        "evaluation.mode": Literal["max", "min"],
        "evaluation.test_metrics": Metrics,
        "evaluation.extra_metrics.*": Built,
        "evaluation.extra_metrics.*.title": Text,
        "evaluation.extra_metrics.*.higher_is_better": bool,
        "evaluation.paper": one_of(lambda: signatures.names("saltext.evaluation.protocols.PAPERS")) | None,
        "evaluation.baselines": one_of(signatures.baselines, Annotated[list[str], AfterValidator(_unique)]),
        "evaluation.text_ablation": bool,
        "evaluation.mirror": bool,
        "evaluation.pictures": Annotated[int, Field(ge=0, le=1000)],
        "normalize.mean": Colours | None,
        "normalize.std": tuple[Positive, Positive, Positive] | None,
        "normalize.order": Literal["rgb", "bgr"],
        "stages.warmup_epochs": Count,
        "stages.finetune_epochs": Count,
        "stages.finetune_lr": Positive | None,
        "stages.sequence": dict[StageName, dict[str, Any]],
        "stages.sequence.*.tasks": Names | None,
        "stages.sequence.*.epochs": Count | None,
        "stages.sequence.*.lr": Positive | None,
        "stages.sequence.*.start": Text | None,
        "stages.sequence.*.test": bool,
        "callbacks.*": Built,
        "logger.*": Built,
        "model.name": Name,
        "model.family": Name,
        # Ranges and choices of what classes take.
        "data.root": Text | None,
        "data.tasks": Names | Text | None,
        "data.test_tasks": Names | Text | None,
        "data.split": Annotated[Any, AfterValidator(_split)],
        "data.split.path": Text,
        "data.split.rotation": Annotated[int, Field(ge=0, le=4)],
        "data.selection_split": Held,
        "data.epoch_splits": Annotated[list[Held], Field(min_length=1)] | None,
        "data.test_on": Held,
        "data.folds": Annotated[int, Field(ge=2)],
        "data.fold": Whole,
        "data.val_fraction": BelowOne,
        "data.split_seed": Whole,
        "data.seed": Seed,
        "data.data_seed": Whole,
        "data.image_size": ImageSize,
        "data.map_size": MapSize | None,
        "data.resize": Literal["stretch", "letterbox"],
        "data.*batch_size": Count,
        "data.num_workers": Whole,
        "data.cache_dir": Text,
        "data.max_pixels": Count,
        "data.images": Annotated[int, Field(ge=4)],
        "data.description": Text | None,
        "data.augment": dict[str, Any] | None,
        "data.pseudo": Built | None,
        "data.free_viewing": Built | None,
        "data.augment.hue": Annotated[float, Field(ge=0, le=180)],
        "data.augment.saturation": Annotated[float, Field(ge=0, le=255)],
        "data.augment.blur": Annotated[float, Field(ge=0, le=10)],
        "data.augment.*": Fraction,
        "optimizer.lr": Positive,
        "**.lr": Positive,
        "**.betas": tuple[BelowOne, BelowOne],
        "**.eps": NotNegative,
        "**.weight_decay": NotNegative,
        "scheduler.pct_start": Fraction,
        "scheduler.phases": Count,
        "scheduler.gamma": Positive,
        "scheduler.factor": Fraction,
        "scheduler.total_iters": Whole,
        "loss.weights": one_of(_terms, dict[str, Any]),
        "loss.terms": one_of(_terms, dict[str, Any]),
        "loss.weights.*": float,
        "loss.terms.*": float,
        "loss.alpha": NotNegative,
        "loss.adversarial": NotNegative,
        "trainer.max_epochs": Count,
        "trainer.min_epochs": Count | None,
        "trainer.devices": Devices | Literal["auto"] | Annotated[list[Whole], Field(min_length=1)],
        "trainer.num_nodes": Count,
        "trainer.gradient_clip_val": NotNegative | None,
        "trainer.gradient_clip_algorithm": Literal["norm", "value"] | None,
        "trainer.log_every_n_steps": Whole,
        "trainer.num_sanity_val_steps": Annotated[int, Field(ge=-1)],
        "trainer.accumulate_grad_batches": Count,
        "trainer.limit_*": Annotated[int, Field(ge=0)] | Fraction | None,
        "trainer.overfit_batches": Annotated[int, Field(ge=0)] | Fraction,
        "trainer.check_val_every_n_epoch": Count | None,
        "trainer.callbacks": set_by("+callbacks.NAME={_target_: ...}"),
        "trainer.logger": set_by("logger"),
        "trainer.default_root_dir": set_by("output_dir"),
        "trainer.enable_checkpointing": set_by("callbacks"),
        "trainer.enable_progress_bar": set_by("a bar is for a terminal"),
        "callbacks.*.dirpath": set_by("output_dir"),
        "logger.*.save_dir": set_by("output_dir"),
        "**.params": set_by("the network's"),
        "scheduler.optimizer": set_by("optimizer"),
        "scheduler.max_lr": set_by("optimizer.lr"),
        "scheduler.total_steps": set_by("trainer.max_epochs"),
        "training.network": set_by("model"),
        "training.normalize": set_by("normalize"),
        "training.loss": set_by("loss"),
        "training.optimizer": set_by("optimizer"),
        "training.scheduler": set_by("scheduler"),
        "training.prompt": set_by("prompt"),
        "training.mirror": set_by("evaluation.mirror"),
        "training.validation_metrics": set_by("evaluation.validation_metrics"),
        "training.selection_split": set_by("evaluation.selection_split"),
        "training.lr_multipliers": dict[str, Positive],
        "training.warm_start": Whole,
        "training.label_smoothing": BelowOne,
        "training.accumulate": Count,
        "training.clip": Positive | None,
        "training.patience": Count | None,
        "callbacks.*.filename": Text | None,
        "callbacks.*.mode": Literal["max", "min"],
        "callbacks.*.decay": Fraction,
        "callbacks.*.seed": Seed,
        "logger.*.name": Text,
        "logger.*.project": Text,
        "logger.*.entity": Text | None,
        "logger.*.mode": Literal["online", "offline", "disabled"] | None,
        "model.conditions": Names,
        "model.text_encoder.mean": Colours,
        "model.text_encoder.std": tuple[Positive, Positive, Positive],
        "**.grid": Grid,
        "**.size": Grid,
        "**.width": Count,
        "**.layers": Count,
        "**.readouts_per_backbone": Count,
        "model.heads": Count | Counts,
        "model.hidden": Counts,
        "**.channels": Counts,
        "**.text_channels": Count,
        "**.mlp_ratio": Count,
        "**.smoothing": Fraction | dict[str, Fraction],
        "**.sharpness": Positive | None,
        "**.image_size": Annotated[int, Field(ge=32, le=8192)] | None,
        "**.shorter_side": Annotated[int, Field(ge=32, le=8192)] | None,
        "**.max_tokens": Annotated[int, Field(ge=3)],
        "**.dim": Count,
        "**.cache_size": Whole,
        "**.dropout": BelowOne,
        "**.drop_path": BelowOne,
        "model.freeze.encoder": Fraction,
        "model.freeze.decoder": Fraction,
        "model.freeze.text": Fraction,
        "model.freeze.vision": Fraction,
        "**._partial_": bool,
    }
)
"""Key -> type. In a key, ``*`` stands for any text without a dot, a leading ``**`` for any groups; the first that fits
counts, and comes before the annotation of the class."""

NEEDED = (
    *("data", "model", "normalize", "loss", "optimizer", "scheduler", "training", "trainer", "prompt", "evaluation"),
    *("stages", "label", "seed", "cache_features", "checkpoint", "callbacks", "logger"),
    *(
        f"evaluation.{key}"
        for key in ("selection_split", "validation_metrics", "monitor", "mode", "test_metrics", "paper")
    ),
    *(f"evaluation.{key}" for key in ("baselines", "text_ablation", "mirror", "pictures")),
    *("data._target_", "data.cache_dir", "data.tasks", "data.selection_split", "data.image_size", "data.augment"),
    *("normalize.mean", "normalize.std", "normalize.order", "stages.sequence", "model.name"),
    *("trainer.accelerator", "trainer.devices", "trainer.max_epochs"),
)
"""Keys without which a saved configuration is not one of a run."""

_NEEDED_TO_START = (*NEEDED, "name", "output_dir", "rerun", "ddp_strategy")


def problems(cfg: DictConfig) -> dict[str, str]:
    """What is wrong with a composed configuration.

    Args:
        cfg: Not resolved: a value that interpolation copies is named once, where it comes from. What is below ``hydra``
            is Hydra's to check.

    Returns:
        Key -> what was expected and what it has; empty if nothing is wrong.
    """
    found: dict[str, str] = {}
    for key, text in (*_of_node(cfg, "", cfg), *_missing(cfg)):
        found.setdefault(key, text)
    try:
        for key, text in _together(cfg, found):
            found.setdefault(key, text)
    except OmegaConfBaseException:  # a value that refers to nothing has been named
        if not found:
            raise
    # What a wrong group would hold is not wrong besides.
    return {key: text for key, text in found.items() if not any(key.startswith(f"{other}.") for other in found)}


def check(cfg: DictConfig) -> None:
    """Raise a ConfigError that says everything :func:`problems` finds."""
    found = problems(cfg)
    if found:
        raise ConfigError("; ".join(f"{key}: {text}" for key, text in found.items()))


def unfit(values: Mapping[str, Any]) -> dict[str, str]:
    """Which plain values of a saved configuration are not of the types and ranges of :data:`VALUES`.

    Names are not checked, for another version may have had others; neither is what only classes say.

    Returns:
        As :func:`problems`.
    """
    found: dict[str, str] = {}
    for pattern, kind in VALUES.items():
        for key, value, expected in _at(values, pattern.split("."), kind) if not pattern.startswith("**") else ():
            if key not in found:
                found[key] = mismatch(expected, value)
    return {key: text for key, text in found.items() if text}


def _at(node: Any, pattern: list[str], kind: Any, above: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Place, value and type of what a pattern fits; of a value in a group's location, that. A part may be null."""
    if not isinstance(node, Mapping):
        if node is not None or "." not in above:
            yield above, node, dict
        return
    for name in (name for name in node if fnmatchcase(name, pattern[0]) and name not in _RESERVED):
        location = f"{above}.{name}".lstrip(".")
        if len(pattern) > 1:
            yield from _at(node[name], pattern[1:], kind, location)
        else:
            yield location, node[name], kind


def _of_node(node: DictConfig, key: str, cfg: DictConfig) -> Iterator[tuple[str, str]]:
    """Problems of a group: its keys, and their values."""
    declared = _DELETED if key in _BUILT and "_target_" not in node else _signature_of(node)
    if isinstance(declared, str):
        yield f"{key}._target_".lstrip("."), f"{declared}{named_in(cfg, key)}"
        return
    if key == "data" and declared is not None:
        declared = Signature({**data_settings(), **declared.arguments}, declared.open)
    if key in _NAMED and "_target_" in node:
        yield (
            f"{key}._target_",
            f"expected a name above it, as in `NAME:` and below that `  _target_: {node['_target_']}`",
        )
        return
    is_partial = OmegaConf.select(node, "_partial_", throw_on_resolution_failure=False)
    if key in PARTIAL and "_target_" in node and is_partial is not True:
        yield (
            f"{key}._partial_",
            f"expected true below _target_{named_in(cfg, key)}, since a network gives more arguments",
        )
    if key.startswith("model.") and key not in PARTIAL and "_target_" in node and is_partial:
        yield f"{key}._partial_", "expected none, since a network is given the object itself"
    is_own = declared is None and "_target_" in node
    known = None if is_own else _known(key, declared)
    for name in map(str, node):
        location = f"{key}.{name}".lstrip(".")
        if location == "hydra" or name in ("_target_", "_convert_", "_recursive_", "_args_"):
            continue
        if known is not None and name not in known and "*" not in known:
            of = f" of {node['_target_']!s}" if declared else ""
            elsewhere = [other for other in VALUES if "*" not in other and other != location]
            hint = near(name, known if key else (*known, *_OTHER_GROUPS)) or near(location, elsewhere, ending=True)
            named = [other for other in known if other not in _RESERVED]
            listed = f"; known: {', '.join(named)}" if 0 < len(named) < 9 else ""
            yield location, f"no such key{of}{hint}{listed}"
            continue
        kind = _kind(location)
        if kind is None and declared is not None:
            kind = declared.arguments.get(name)
        yield from _of_value(node, name, location, kind, cfg)


def _signature_of(node: DictConfig) -> Signature | str | None:
    """What the class of a node takes; None without a class of the package; what is wrong with its name."""
    if "_target_" not in node:
        return None
    try:
        target = node["_target_"]
    except OmegaConfBaseException as error:
        return _first_line(error)
    if not isinstance(target, str):
        return f"expected the dotted name of a class or function, got {target!r}"
    declared = signature(target)
    if declared is not None:
        return declared
    alike = signatures.third_party(target) or signatures.siblings(target)
    if alike or target.split(".")[0] == "saltext":
        listed = ", ".join(name.rpartition(".")[2] for name in alike)
        hint = near(target, alike) or (f"; {target.rpartition('.')[0]} has {listed}" if 0 < len(alike) < 9 else "")
        return f"there is no {target}{hint}"
    return None


def named_in(cfg: DictConfig, key: str) -> str:
    """The file and line in which a node names its class, `` in FILE:LINE``; empty where no chosen file does."""
    group = key.replace(".", "/")
    choice = OmegaConf.select(cfg, "hydra.runtime.choices", default={}).get(group)
    target = OmegaConf.select(cfg, f"{key}._target_", throw_on_missing=False, throw_on_resolution_failure=False)
    for folder in configuration_folders(cfg) if choice and target else ():
        file = folder / f"{group}/{choice}.yaml"
        lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
        for number, line in enumerate(lines, start=1):
            if re.match(rf"\s*_target_:\s*['\"]?{re.escape(str(target))}\b", line):
                return f" in {file}:{number}"
    return ""


def configuration_folders(cfg: DictConfig) -> list[Path]:
    """The folders that a configuration was composed of; none for one that was read from a run's folder."""
    sources = OmegaConf.select(cfg, "hydra.runtime.config_sources", default=())
    return [Path(source.path) for source in sources if source.schema == "file"]


def data_settings() -> Mapping[str, Any]:
    """Names and types of the data module's settings, which ``data`` has beside the arguments of its reader."""
    module = signature("saltext.data.datamodule.SaliencyDataModule")
    return {} if module is None else {name: kind for name, kind in module.arguments.items() if name != "source"}


def labels(key: str) -> tuple[str, ...]:
    """Keys that a node which names a class or function may have and that are no arguments of it."""
    if key == "model":
        return MODEL_LABELS
    if key == "data":
        return tuple(data_settings())
    return METRIC_LABELS if key.rpartition(".")[0] == "evaluation.extra_metrics" else ()


def _known(key: str, declared: Signature | None) -> tuple[str, ...] | None:
    """Keys that a group may have; None where it may have any."""
    if declared is not None:
        return None if declared.open else (*declared.arguments, *labels(key), *_RESERVED)
    if not key:
        return tuple(dict.fromkeys((*(k.split(".")[0] for k in VALUES if not k.startswith("*")), "hydra")))
    return _children(key) or None


@cache
def _children(group: str) -> tuple[str, ...]:
    """Keys that :data:`VALUES` has directly below a group; ``*`` among them where any name can be."""
    above = group.split(".")
    keys = [key.split(".") for key in VALUES if not key.startswith("**")]
    below = [key for key in keys if len(key) > len(above) and all(map(fnmatchcase, above, key))]
    return tuple(dict.fromkeys(key[len(above)] for key in below))


@cache
def _kind(key: str) -> Any:
    for pattern, kind in VALUES.items():
        location = re.escape(pattern).replace(r"\*\*\.", r"(?:.+\.)").replace(r"\*", r"[^.]*")
        if re.fullmatch(location, key):
            return kind
    return None


def _of_value(node: DictConfig, name: str, key: str, kind: Any, cfg: DictConfig) -> Iterator[tuple[str, str]]:
    origin = _origin(cfg, key)
    try:
        value = node[name]
        if isinstance(value, DictConfig) and "_target_" in value:
            plain: Any = {"_target_": ""}
        elif isinstance(value, DictConfig) and kind is None:
            plain = {}
        else:
            plain = OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
    except OmegaConfBaseException as error:
        yield origin, _first_line(error)
        return
    if isinstance(value, DictConfig):
        yield from _of_node(value, key, cfg)
    elif kind is None and _children(key):
        yield origin, f"expected a group with keys {', '.join(_children(key))}, got {_as_text(plain)}"
    text = "" if kind is None else mismatch(kind, plain)
    if text:
        yield origin, text


def _origin(cfg: DictConfig, key: str) -> str:
    """The key whose value another one copies, where it does."""
    while True:
        above, _, name = key.rpartition(".")
        node = OmegaConf.select(cfg, above) if above else cfg
        if not _has(cfg, key) or not OmegaConf.is_interpolation(node, name):
            return key
        child: Any = node._get_node(name)
        copied = re.fullmatch(r"\$\{(\w[\w.]*)\}", str(child._value()))
        if copied is None:
            return key
        if not _has(cfg, copied[1]):  # of a group that was replaced, or of none
            return copied[1] if copied[1].split(".")[0] in cfg else key
        key = copied[1]


def _has(cfg: DictConfig, key: str) -> bool:
    """Whether there is a key, whatever its value."""
    above, _, _ = key.rpartition(".")
    try:
        node = OmegaConf.select(cfg, above) if above else cfg
    except OmegaConfBaseException:
        return False
    return isinstance(node, DictConfig) and key.rpartition(".")[2] in set(node)


def mismatch(kind: Any, value: Any) -> str:
    """What is expected of a value of a type, and what was given instead; empty if it fits."""
    try:
        _adapter(kind).validate_json(json.dumps(value))
    except ValidationError as error:
        said = [expected(one) for one in error.errors()]
        if type(None) in get_args(kind):
            said.append("null")
        return f"expected {' or '.join(dict.fromkeys(said))}, got {_as_text(value)}"
    return ""


def expected(error: ErrorDetails) -> str:
    """What should have come, in a user's words."""
    if error["type"] in _WORDS:
        return _WORDS[error["type"]].format(**error.get("ctx", {}))
    return error["msg"].removeprefix("Input should be ")


# Pydantic's messages that are not in a user's words, by their kind.
_WORDS: Mapping[str, str] = MappingProxyType(
    {
        "int_type": "an integer",
        "int_from_float": "an integer",
        "int_parsing": "an integer",
        "float_type": "a number",
        "float_parsing": "a number",
        "string_type": "a text",
        "string_pattern_mismatch": "names of letters, digits, _ and -",
        "string_too_short": "a text that is not empty",
        "bool_type": "true or false",
        "list_type": "a list",
        "tuple_type": "a list",
        "dict_type": "a group of keys",
        "finite_number": "a finite number",
        "too_short": "at least {min_length} of them",
        "too_long": "at most {max_length} of them",
        "missing": "a value for each key",
        "greater_than": "more than {gt}",
        "greater_than_equal": "{ge} or more",
        "less_than": "less than {lt}",
        "less_than_equal": "{le} or less",
    }
)
_ADAPTERS: dict[str, TypeAdapter[Any]] = {}


def _adapter(kind: Any) -> "TypeAdapter[Any]":
    found = _ADAPTERS.get(repr(kind))
    if found is None:
        strict = ConfigDict(strict=True, allow_inf_nan=False)
        found = _ADAPTERS[repr(kind)] = TypeAdapter(kind, config=strict)
    return found


def _as_text(value: Any) -> str:
    text = (
        "null"
        if value is None
        else json.dumps(value, ensure_ascii=False)
        if not isinstance(value, str)
        else repr(value)
    )
    return text if len(text) <= 60 else f"{text[:57]}..."


def _first_line(error: Exception) -> str:
    return str(error).split("\n")[0]


def _missing(cfg: DictConfig) -> Iterator[tuple[str, str]]:
    """Keys without which nothing runs, and that a command line deleted."""
    for key in _NEEDED_TO_START:
        group, _, name = key.rpartition(".")
        node = OmegaConf.select(cfg, group, throw_on_resolution_failure=False) if group else cfg
        if isinstance(node, DictConfig) and name not in node:
            is_own = group == "data" and signature(str(node.get("_target_"))) is None
            yield key, _DELETED + (", or `defaults: [sjtu_tis, _self_]` is missing in its file" if is_own else "")


def _extra_metrics(cfg: DictConfig) -> dict[str, DictConfig]:
    """The metrics that a configuration brings along, as far as they are nodes."""
    evaluation = cfg.get("evaluation")
    extra = evaluation.get("extra_metrics") if isinstance(evaluation, DictConfig) else None
    nodes = {str(name): extra[name] for name in extra} if isinstance(extra, DictConfig) else {}
    return {name: node for name, node in nodes.items() if isinstance(node, DictConfig)}


def metrics(cfg: DictConfig) -> dict[str, bool]:
    """Names of the metrics that a configuration may ask for, and whether higher is better: ours, and its own."""
    own = {name: bool(node.get("higher_is_better")) for name, node in _extra_metrics(cfg).items()}
    return {**own, **signatures.metrics()}


def direction(monitor: object, cfg: DictConfig) -> str:
    """Which way a monitored value is better, as the metric in its name says; ``max`` for what names none."""
    name, known = str(monitor).partition("/")[2], metrics(cfg)
    fitting = [metric for metric in known if name == metric or name.startswith(f"{metric}_")]
    falling = monitor == "train/loss" or (fitting and not known[max(fitting, key=len)])
    return "min" if falling else "max"


def file_problems(cfg: DictConfig) -> Iterator[tuple[str, str]]:
    """What is wrong with a configuration that holds ``evaluation.extra_metrics`` alone."""
    named = OmegaConf.to_container(cfg.evaluation).get("extra_metrics")  # type: ignore[union-attr]
    if not isinstance(named, dict):
        yield "evaluation.extra_metrics", f"expected names of metrics, got {_as_text(named)}"
        return
    yield from _of_node(cfg, "", cfg)
    yield from metric_problems(cfg)


def metric_problems(cfg: DictConfig) -> Iterator[tuple[str, str]]:
    """What is wrong with the metrics that a configuration brings along, and with the names of those it asks for."""
    known = metrics(cfg)
    for name, node in _extra_metrics(cfg).items():
        key = f"evaluation.extra_metrics.{name}"
        if name in signatures.metrics() or not re.fullmatch(r"[A-Za-z]\w*", name, re.ASCII):
            yield key, "expected a new name of letters, digits and _ for a metric"
        if not isinstance(node.get("higher_is_better"), bool):
            yield f"{key}.higher_is_better", f"expected true or false, got {_as_text(node.get('higher_is_better'))}"
    for key in ("validation_metrics", "test_metrics"):
        asked = cfg.evaluation.get(key) or ()
        for name in (name for name in asked if name not in known):
            said = f"expected one of {', '.join(known)}{near(name, known)}, got {_as_text(list(asked))}"
            for file in _files_with_metric(cfg, name):
                said += f"; {name} is described in {file}: add +metric={file.stem}"
            yield _origin(cfg, f"evaluation.{key}"), said


def _files_with_metric(cfg: DictConfig, name: str) -> Iterator[Path]:
    """Files of the group ``metric`` that describe a metric, whether they were chosen or not."""
    for folder in configuration_folders(cfg):
        for file in sorted((folder / "metric").glob("*.yaml")):
            if re.search(rf"^{re.escape(name)}:", file.read_text(encoding="utf-8"), re.MULTILINE):
                yield file


def _unused_metrics(cfg: DictConfig) -> Iterator[tuple[str, str]]:
    """Metrics that a configuration brings along and that nothing computes."""
    asked = [*cfg.evaluation.validation_metrics, *cfg.evaluation.test_metrics]
    for name in (name for name in _extra_metrics(cfg) if name not in asked):
        listed = ",".join([*cfg.evaluation.test_metrics, name])
        yield f"evaluation.extra_metrics.{name}", f"nothing computes it; add evaluation.test_metrics=[{listed}]"


def _together(cfg: DictConfig, found: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """What is wrong with values that are right by themselves."""

    def right(*keys: str) -> bool:
        return not any(
            bad == key or bad.startswith(f"{key}.") or key.startswith(f"{bad}.") for bad in found for key in keys
        )

    if right("label") and (clash := baseline_clash(str(cfg.label), signatures.baselines())):
        yield _origin(cfg, "label"), clash
    if right("evaluation"):
        wrong = list(metric_problems(cfg))
        yield from wrong or list(_monitored(cfg)) or _unused_metrics(cfg)
    if right("data") and cfg.data.get("_target_") in (SJTU_TIS, SYNTHETIC):  # with tasks of fixed names
        tasks = signatures.names("saltext.data.tasks.TASKS")
        auxiliary = (cfg.data.get("pseudo"), cfg.data.get("free_viewing"))
        tasks += tuple(str(pairs.get("condition")) for pairs in auxiliary if isinstance(pairs, DictConfig))
        for key, node in (("data.tasks", cfg.data), ("data.test_tasks", cfg.data), *_stages(cfg)):
            named = node.get(key.rpartition(".")[2])
            for task in [named] if isinstance(named, str) else named or ():
                if task not in tasks:
                    yield _origin(cfg, key), f"expected tasks of {', '.join(tasks)}, got {task!r}{near(task, tasks)}"
    split = cfg.data.get("split") if right("data.split", "data._target_") else None
    named = split.get("_target_") if isinstance(split, DictConfig) else None
    path = OmegaConf.select(cfg, "data.split.path") if named == SPLIT_FILE and right("data.split.path") else None
    if path is not None and not _is_file(path):
        yield _origin(cfg, "data.split.path"), f"expected an existing split file, got {_as_text(path)}"
    rows = split.get("rows") if isinstance(split, DictConfig) and right("data.split.rows") else None
    gone = [str(file) for file in rows.values() if not _is_file(str(file))] if isinstance(rows, DictConfig) else []
    if gone:
        yield _origin(cfg, "data.split.rows"), f"expected existing CSV files, got {', '.join(gone)}"
    if named == _FOLDS and right("data.fold", "data.folds") and cfg.data.fold >= cfg.data.folds:
        yield (
            _origin(cfg, "data.fold"),
            f"expected 0 to {cfg.data.folds - 1} with data.folds={cfg.data.folds}, got {cfg.data.fold}",
        )


def _is_file(name: str) -> bool:
    try:
        return Path(name).is_file()
    except OSError:  # longer than a name can be
        return False


def _stages(cfg: DictConfig) -> Iterator[tuple[str, DictConfig]]:
    stages = OmegaConf.select(cfg, "stages.sequence")
    for name in map(str, stages) if isinstance(stages, DictConfig) else ():
        if isinstance(stages[name], DictConfig):
            yield f"stages.sequence.{name}.tasks", stages[name]


def _monitored(cfg: DictConfig) -> Iterator[tuple[str, str]]:
    """Values that choose an epoch are logged, and better the way they are taken to be."""
    own = cfg.evaluation
    logged = ["train/loss", *(f"{own.selection_split}/{metric}" for metric in own.validation_metrics)]
    tasks = OmegaConf.select(cfg, "data.tasks")
    named = [tasks] if isinstance(tasks, str) else tasks if isinstance(tasks, ListConfig) else []
    of_tasks = [f"{value}_{task}" for value in logged[1:] for task in named]
    if own.monitor not in (*logged, *of_tasks):
        yield (
            _origin(cfg, "evaluation.monitor"),
            f"expected one of {', '.join(logged)} (evaluation.validation_metrics says which), or of a task as in "
            f"{logged[1]}_salient, got {own.monitor!r}{near(own.monitor, [*logged, *of_tasks])}",
        )
        return
    if own.mode != direction(own.monitor, cfg):
        yield (
            "evaluation.mode",
            f"expected {direction(own.monitor, cfg)}, which is better of {own.monitor}, got {own.mode}; leave it out",
        )
    callbacks = cfg.get("callbacks")
    for name in map(str, callbacks) if isinstance(callbacks, DictConfig) else ():
        callback = callbacks[name]
        monitor = callback.get("monitor") if isinstance(callback, DictConfig) else None
        if monitor not in (*logged, *of_tasks):
            continue
        # Lightning's callbacks take min where nothing is said.
        if (
            callback.get("mode", "min") != direction(monitor, cfg)
            and _origin(cfg, f"callbacks.{name}.mode") != "evaluation.mode"
        ):
            yield (
                f"callbacks.{name}.mode",
                f"expected {direction(monitor, cfg)}, which is better of {monitor}, got {callback.get('mode', 'min')}",
            )


def warnings(cfg: DictConfig) -> list[str]:
    """What a run does that is hardly meant, though it can be done: parts that are fixed at random weights."""
    rates = OmegaConf.select(cfg, "model.freeze")
    begun = [OmegaConf.select(cfg, f"{key.rpartition('.')[0]}.start") for key, _ in _stages(cfg)]
    if cfg.checkpoint is not None or not isinstance(rates, DictConfig) or (begun and any(begun)):
        return []
    encoder = cfg.model.get("encoder", {})
    is_random = encoder.get("weights", encoder.get("checkpoint", "")) is None
    parts = [part for part in ("encoder", "decoder") if rates.get(part) and (part == "decoder" or is_random)]
    if not parts:
        return []
    fixed = " and ".join(f"model.freeze.{part}={rates[part]}" for part in parts)
    return [
        f"{fixed} with checkpoint=null fixes random weights. Give those of a warm-up, "
        "checkpoint=RUN/stages/warmup/checkpoints/best.ckpt with RUN a folder of +experiment=table2_tranblend."
    ]
