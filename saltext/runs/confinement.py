"""Configurations of runs that are not trusted: nothing in them leads out of the run's folder.

Locations, devices and loggers are replaced; where that would change the results, the configuration is refused.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from saltext.errors import ConfigError
from saltext.runs import schema
from saltext.runs.targets import OUTPUTS, packaged
from saltext.runs.untrusted_yaml import leaves, literal, mappings
from saltext.system.run_folder import RunFolder

_CHANNEL = re.compile(r"(val|test|train)/[\w/]+")  # what is logged has a slash in its name, and is no path
_LEADS_TO_A_FILE = re.compile(r"[/\\:~$\x00-\x1f]|\.\.")
_PLACED = ("model", "normalize", "loss", "optimizer", "scheduler", "training", "trainer", "callbacks")
_MOST_IMAGES = 1000

# Class -> arguments that say where its initial weights are from, which a run's checkpoint replaces -> without any.
_FIRST_WEIGHTS: Mapping[str, Mapping[str, Any]] = {
    "saltext.models.image.timm_encoder.TimmEncoder": {"checkpoint": None, "pretrained": False, "revision": None},
    "saltext.models.image.vit.VitEncoder": {"checkpoint": None, "pretrained": False, "revision": None},
    "saltext.models.image.staged.DenseNet161": {"weights": None},
    "saltext.models.image.staged.ResNet50": {"weights": None},
    "saltext.models.clip_salgan.sal_gan_vgg.SalGANVGG": {"weights": None},
}
_NAMES_OF_FILES = ("weights", "checkpoint", "vocabulary", "revision")
_TRAINER_TEXTS = ("_target_", "accelerator", "precision", "strategy", "gradient_clip_algorithm")


def confine_to_folder(values: dict[str, Any], folder: RunFolder, resumes: bool) -> dict[str, Any]:
    """Replace values of an untrusted run that lead out of its folder.

    Args:
        values: Of its configuration; changed.
        folder: The run's.
        resumes: Whether the run will be resumed.

    Returns:
        Key -> value that was replaced.

    Raises:
        ConfigError: A value cannot be replaced without changing the results.
    """
    changed: dict[str, Any] = {}
    problems: list[str] = []

    def replace(key: str, value: Any) -> None:
        *groups, name = key.split(".")
        node = values
        for group in groups:
            node = node.setdefault(group, {})
        if name in node and node[name] != value:
            changed[key] = node[name]
        node[name] = value

    replace("output_dir", OUTPUTS)
    replace("checkpoint", None)
    replace("data.cache_dir", f"{OUTPUTS}/cache")
    replace("data.root", _default_root(values["data"]))
    if values["data"].get("num_workers", 0) > 1:
        replace("data.num_workers", 1)
    if values["data"].get("description") is not None:
        replace("data.description", Path(values["data"]["description"]).name)
    if resumes and folder.split.is_file():
        split = {"_target_": schema.SPLIT_FILE, "path": literal(str(folder.split))}
        values["data"] |= {"split": split, "test_on": "test"}
    else:
        files = {key: (values["data"].get("split") or {}).get(key) for key in ("path", "rows")}
        named = {key: value for key, value in files.items() if value is not None}
        problems += [f"data.split.{key}={value!r:.80} leads to a file" for key, value in named.items() if resumes]
    if values["data"].get("images", 0) > _MOST_IMAGES:
        problems.append(f"data.images: expected at most {_MOST_IMAGES}, got {values['data']['images']}")
    for key, value in {"devices": 1, "num_nodes": 1, "strategy": "auto"}.items():
        replace(f"trainer.{key}", value)
    replace("logger", {"csv": {"_target_": "saltext.training.epoch_log.EpochLog", "name": "metrics"}})
    for node in mappings(values["model"]):
        for argument, without in _FIRST_WEIGHTS.get(node.get("_target_", ""), {}).items():
            if node.get(argument, without) != without:
                changed[f"{node['_target_'].rpartition('.')[2]}.{argument}"] = node[argument]
                node[argument] = without
    problems += [
        f"{'.'.join(location)}={value!r:.80} leads to a location or a file"
        for group in _PLACED
        for location, value in leaves(values.get(group), (group,))
        if isinstance(value, str) and _leads_away(location, value)
    ]
    problems += [
        f"{'.'.join(location)} is not a valid name here"
        for group in _PLACED
        for location in _key_locations(values.get(group), (group,))
        if _LEADS_TO_A_FILE.search(location[-1]) or location[-1].startswith("__")
    ]
    problems += [
        f"trainer.{key}: expected a number, got {value!r:.80}"
        for key, value in values["trainer"].items()
        if isinstance(value, dict | list) or (isinstance(value, str) and key not in _TRAINER_TEXTS)
    ]
    trains = [key for key in changed if key == "checkpoint" or key.startswith("trainer.") or key[0].isupper()]
    if resumes:
        problems += [f"{key}={changed[key]!r:.80} affects how the run continues" for key in trains]
    if problems:
        raise ConfigError(
            f"{folder.config} was not started here and is not trusted: {'; '.join(problems[:10])}. If you trust "
            "whoever wrote it, add --trust (in Python: trust=True)."
        )
    return changed


def _default_root(data: Mapping[str, Any]) -> str | None:
    """The default folder of a reader's data; for synthetic data it contains their number and seed."""
    target = data["_target_"]
    default: Any = OmegaConf.create({"output_dir": OUTPUTS, "root": packaged().roots.get(target)}).root
    if target != schema.SYNTHETIC:
        return default  # type: ignore[no-any-return]
    if data.get("root") in packaged().generated:
        return data["root"]  # type: ignore[no-any-return]
    return f"{default}-{data.get('images', 240)}-{data.get('data_seed', 0)}"


def _key_locations(node: Any, location: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """The location of every key in a plain value."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield (*location, key)
            yield from _key_locations(value, (*location, key))
    elif isinstance(node, list):
        for number, value in enumerate(node):
            yield from _key_locations(value, (*location, str(number)))


def _leads_away(location: Sequence[str], text: str) -> bool:
    """Whether a text could be a path or an address, or has a key that names files."""
    name = location[-1]
    if name == "_target_" or _CHANNEL.fullmatch(text):
        return False
    if name in _NAMES_OF_FILES or (len(location) > 1 and location[-2] in _NAMES_OF_FILES):
        return True
    return bool(_LEADS_TO_A_FILE.search(text)) and text not in packaged().texts
