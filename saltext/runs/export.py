"""Export a trained model: only what is needed to predict and to be scored.

The configuration (without paths of this machine), the split (so that training images are not taken for test images),
the tested weights as safetensors, without optimizer state and logs, and a model card. The files are named as on the
Hugging Face hub. Commands accept the folder in place of a run's. The command line is ``saltext export``.
"""

import shutil
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from saltext import storage
from saltext.errors import ConfigError
from saltext.models.checkpoints import read_weights, to_8_bits
from saltext.models.freezing import is_frozen
from saltext.models.grounding.class_names import ClassNameGrounder
from saltext.models.packaged_weights import BY_TARGET
from saltext.models.text.base import TextEncoder
from saltext.runs import build, schema, targets
from saltext.runs.load import chosen_stage, pipeline_of
from saltext.runs.model_card import model_card
from saltext.runs.saved import configuration
from saltext.runs.stages import weights_of
from saltext.runs.untrusted_yaml import literal, mapping
from saltext.system.run_folder import RunFolder


def export(
    run: str | Path,
    to: str | Path,
    stage: str | None = None,
    half: bool = True,
    trust: bool = False,
    *,
    self_contained: bool = False,
    repository: str | None = None,
    licence: str | None = None,
) -> RunFolder:
    """Write a trained model to a new folder.

    Args:
        run: Folder of a run that has trained at least an epoch.
        to: New folder; it must not exist.
        stage: Which of the trainings of a run of several stages.
        half: Whether matrices and kernels are stored in half precision, which halves the file. The model still computes
            in single precision; ``saltext evaluate`` measures the effect of the rounding.
        trust: Whether the configuration may name classes that ``conf/`` does not; without ``self_contained`` none is
            built here.
        self_contained: Whether frozen weights that packages have are written, too, so that the model loads without
            these packages; with them, the features of class names, which take seconds to compute. With ``half``,
            matrices of a frozen text encoder are stored in 8 bits, see
            :func:`saltext.models.checkpoints.to_8_bits`.
        repository: ``owner/name`` on the hub that the card names as the model's place; None: the folder.
        licence: Identifier of the model's licence for the card, such as ``mit``; None: not stated.

    Returns:
        The folder: ``model.safetensors``, ``config.yaml``, ``split.json`` and ``README.md``; if it is self-contained,
        ``class_names.safetensors`` where a grounder reads them.

    Raises:
        ConfigError: No such run, a configuration that is not trusted, or ``to`` exists.
        CheckpointError: The weights are missing, damaged, or hold more than tensors; or, for a self-contained export,
            a package is not installed.
        DamagedFileError: The run's scores, which the card shows, are damaged.
    """
    source, target = RunFolder.existing(run), RunFolder(Path(to))
    if target.root.exists():
        raise ConfigError(f"{target.root} already exists; expected the name of a new folder")
    configured = configuration(source, OmegaConf.create({}), trust)
    chosen = chosen_stage(configured.cfg, source, stage)
    weights = dict(read_weights(weights_of(chosen)))
    cfg = _portable_configuration(chosen.cfg, source)
    class_names: dict[str, Tensor] = {}
    of_texts: set[str] = set()
    if self_contained:
        network = pipeline_of(chosen, source, "cpu", configured.own).network
        for _, node in targets.parts(cfg.model):
            package = BY_TARGET.get(str(node.get("_target_")))
            if package is not None and package.extra:
                node.from_package = False
        tensors = {**dict(network.named_parameters(remove_duplicate=False)), **dict(network.named_buffers())}
        weights = {name: tensors[name].detach() for name in build.network(cfg, configured.own).state_dict()}
        encoder = getattr(network, "text_encoder", None)
        if isinstance(encoder, TextEncoder):
            modules = network.named_modules()
            lists = {module.names: name for name, module in modules if isinstance(module, ClassNameGrounder)}
            class_names = {name: encoder.pooled_list(names) for names, name in lists.items()}
            if is_frozen(encoder):
                of_texts = {f"text_encoder.{name}" for name, value in encoder.named_parameters() if value.ndim == 2}
    if half:
        # Vectors, such as statistics of BatchNorm, stay: they are small, and may exceed the range of half precision.
        matrices = {name: value for name, value in weights.items() if value.is_floating_point() and value.ndim > 1}
        weights |= {name: value.half() for name, value in matrices.items()}
        weights |= to_8_bits({name: matrices[name] for name in of_texts & matrices.keys()})
    split = storage.read_text(source.split, storage.MAX_JSON)
    config = OmegaConf.to_yaml(cfg)
    try:
        target.root.mkdir(parents=True)
        storage.write_text(target.config, config)
        storage.write_text(target.split, split)
        with storage.replacing(target.exported, durable=True) as part:
            # Tensors that share memory are refused: each is written by itself.
            save_file({name: value.clone().contiguous() for name, value in weights.items()}, part, {"format": "pt"})
        if class_names:
            with storage.replacing(target.class_names, durable=True) as part:
                save_file({name: value.clone() for name, value in class_names.items()}, part)
        storage.write_text(target.card, model_card(target, chosen, repository or target.root.name, licence))
    except BaseException as error:
        shutil.rmtree(target.root, ignore_errors=True)  # it did not exist before
        if isinstance(error, OSError | SafetensorError):
            raise ConfigError(f"{target.root} cannot be written: {error}. Nothing was left there.") from error
        raise
    return target


def _portable_configuration(cfg: DictConfig, run: RunFolder) -> DictConfig:
    """A single training's configuration with default paths and without values of the environment."""
    values: Any = OmegaConf.to_container(cfg, resolve=True)
    unresolved: Any = OmegaConf.to_container(
        OmegaConf.create(mapping(storage.read_text(run.config), run.config)), resolve=False
    )
    portable: dict[str, Any] = _portable_value(values, unresolved)
    portable |= {"output_dir": "outputs", "checkpoint": None, "stages": {"sequence": {}}}
    portable["logger"] = {"csv": {"_target_": "saltext.training.epoch_log.EpochLog", "name": "metrics"}}
    data = portable["data"]
    paths = {key: data[key] for key in ("root", "description") if data.get(key) is not None}
    data |= {key: f"data/{Path(path).name}" for key, path in paths.items()}
    data |= {"cache_dir": "outputs/cache", "split": {"_target_": schema.SPLIT_FILE, "path": "split.json"}}
    cfg_without_paths: DictConfig = OmegaConf.create(literal(portable))
    return cfg_without_paths


def _portable_value(node: Any, unresolved: Any) -> Any:
    """A plain value with None for values of the environment, and file names for absolute paths.

    Args:
        node: Resolved.
        unresolved: The same value as recorded, in which interpolations of the environment are left.
    """
    if isinstance(node, dict):
        recorded = unresolved if isinstance(unresolved, dict) else {}
        return {key: _portable_value(value, recorded.get(key)) for key, value in node.items()}
    if isinstance(node, list):
        fits = isinstance(unresolved, list) and len(unresolved) == len(node)
        return [_portable_value(value, unresolved[index] if fits else None) for index, value in enumerate(node)]
    if isinstance(unresolved, str) and "${" in unresolved:
        return None
    if isinstance(node, str) and (Path(node).is_absolute() or node.startswith("~")):
        return Path(node).name
    return node
