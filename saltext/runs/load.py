"""Load the model of a run from its folder, or of an export on the Hugging Face hub."""

import logging
import re
from collections.abc import Collection
from pathlib import Path

import torch
from omegaconf import DictConfig, OmegaConf

from saltext.errors import CheckpointError, ConfigError
from saltext.models.checkpoints import load_weights, read_weights
from saltext.models.feature_cache import FeatureCache
from saltext.models.grounding.class_names import ClassNameGrounder
from saltext.models.hub import checked_digest, hub_folder, is_commit
from saltext.models.inference import Inference
from saltext.models.network import SaliencyNetwork
from saltext.models.packaged_weights import NAMED, PRETRAINED, packaged_file
from saltext.models.pipeline import Pipeline
from saltext.models.text.cached import CachedTextEncoder
from saltext.prediction.model import Model
from saltext.runs import build
from saltext.runs.saved import configuration
from saltext.runs.stages import Stage, stages, weights_of
from saltext.system.run_folder import RunFolder

_CONFIG, _SPLIT, _CLASS_NAMES = "config.yaml", "split.json", "class_names.safetensors"
_REPOSITORY = re.compile(r"[\w][\w.-]*/[\w][\w.-]*")
_log = logging.getLogger(__name__)


def load(
    run: str | Path | None = None,
    *,
    stage: str | None = None,
    device: str | torch.device | None = None,
    inference: Inference | None = None,
    trust: bool = False,
    revision: str | None = None,
    token: str | bool | None = None,
) -> Model:
    """Rebuild the model of a run, with the weights the run tested.

    No code from the run's files is executed: weights are read as tensors alone, and its configuration may only name
    classes that the files in ``conf/`` name, unless the folder is trusted.

    Args:
        run: Folder of a run that has trained at least an epoch, or of an export; or ``owner/name`` of an export on the
            Hugging Face hub, of which weights, configuration and split are downloaded once. None: the pretrained model;
            ``"full"``: a larger and more accurate one, which needs the extras ``embedded`` and ``vit``. A folder of
            that name comes first.
        stage: Which of the trainings of a run of several stages; needed where several of them are tested.
        device: As torch names it; None: an accelerator if there is one, otherwise the CPU.
        inference: How frozen modules compute on a CPU, see :data:`saltext.models.inference.Inference`; None: as the
            run says.
        trust: Whether the folder is trusted, so that classes that its configuration names and ``conf/`` does not are
            imported and built.
        revision: Of a repository on the hub: a commit, 40 hexadecimal digits, which never changes, or a tag or branch;
            None: its newest. The log says which commit was loaded, and the SHA-256 of its weights.
        token: Of the hub, for private repositories; None: the one that ``hf auth login`` stored, or of ``HF_TOKEN``.

    Returns:
        The model; see :meth:`saltext.prediction.model.Model.predict`.

    Raises:
        ConfigError: No folder of a run, no model in it, a configuration of another version or with classes that are not
            trusted, several stages to choose from, an unavailable device, or a revision of a folder.
        CheckpointError: The weights are missing, damaged, of another network, or hold more than tensors; no such
            repository or revision on the hub, or it cannot be reached.

    Example::

        model = saltext.load("org/model", revision="<commit>")
    """
    folder = run_folder(run, revision, token)
    # No on-disk feature cache: loading a model writes nothing.
    configured = configuration(folder, OmegaConf.create({"cache_features": False}), trust)
    chosen = chosen_stage(configured.cfg, folder, stage)
    pipeline = pipeline_of(chosen, folder, device, configured.own)
    pipeline.network.requires_grad_(False)
    if isinstance(pipeline.network, SaliencyNetwork):
        if inference is not None:
            pipeline.network.set_inference(inference)
        pipeline.network.feature_cache = FeatureCache()
    encoder = getattr(pipeline.network, "text_encoder", None)
    if folder.class_names.is_file() and isinstance(encoder, CachedTextEncoder):
        # Encoding a thousand class names would take longer than a prediction.
        features = read_weights(folder.class_names)
        for name, part in pipeline.network.named_modules():
            if isinstance(part, ClassNameGrounder) and name in features:
                try:
                    encoder.cache_list(part.names, features[name].float())
                except ValueError as error:
                    raise CheckpointError(f"{folder.class_names}: {name}: {error}") from error
    return Model(pipeline, build.cache_settings(chosen.cfg), str(folder.root if run is None else run))


def run_folder(run: str | Path | None, revision: str | None = None, token: str | bool | None = None) -> RunFolder:
    """The folder of a run or an export that is here, or of an export that is downloaded from the Hugging Face hub.

    Args:
        run: As for :func:`load`, as are the others.
        revision: As above.
        token: As above.

    Raises:
        ConfigError: No folder and no name of a repository, or a revision of something that is not on the hub.
        CheckpointError: As of :func:`load`.
    """
    is_here = run is None or Path(run).is_dir()
    if run in NAMED and not is_here and revision is None:
        return pretrained_run(str(run))
    may_be_on_hub = isinstance(run, str) and _REPOSITORY.fullmatch(run) is not None
    if revision is not None and (is_here or not may_be_on_hub):
        raise ConfigError(
            f"revision={revision}: expected owner/name of a repository on the hub, got "
            f"{'the pretrained model' if run is None else f'the folder {run}, which has no revisions'}. Leave the "
            "revision out, or start where no folder has that name."
        )
    if run is None:
        return pretrained_run()
    if is_here and (may_be_on_hub or run in NAMED) and Path(run, "model.safetensors").is_file():
        other = "the pretrained model" if run in NAMED else "a repository on the hub"
        _log.info("%s is a local folder, which takes precedence over %s of that name", run, other)
    if is_here or not may_be_on_hub:
        return RunFolder.existing(run)
    name = str(run)
    folder = RunFolder(
        hub_folder(name, revision, [_CONFIG, _SPLIT, _CLASS_NAMES], weights=["model.safetensors"], token=token)
    )
    missing = [file.name for file in (folder.config, folder.exported) if not file.is_file()]
    if missing:
        raise ConfigError(
            f"{name} on the hub: expected an export of saltext, got a repository without {' and '.join(missing)}. "
            "saltext export RUN DIR --push OWNER/NAME makes one."
        )
    commit = folder.root.name
    pin = "" if is_commit(revision) else f'; revision="{commit}" pins it'
    _log.info("%s at commit %s: weights SHA-256 %s%s", name, commit, checked_digest(folder.exported), pin)
    return folder


def pipeline_of(
    stage: Stage, run: RunFolder, device: str | torch.device | None = None, own: Collection[str] = ()
) -> Pipeline:
    """The model of a stage, with the weights it tested, in evaluation mode.

    Args:
        stage: Of the run.
        run: The run's folder, for messages.
        device: As for :func:`load`.
        own: Names that may be built besides those in ``conf/``, see :mod:`saltext.runs.trust`.

    Raises:
        ConfigError: The run has no network, or the device is unavailable.
        CheckpointError: The weights are missing, damaged, of another network, or hold more than tensors.
    """
    pipeline = build.pipeline(stage.cfg, own)
    if pipeline is None:
        raise ConfigError(
            f"Expected the run of a trained model, got {run.root} of model=baselines, which has no network."
        )
    load_weights(pipeline.network, weights_of(stage))
    pipeline.network.eval()
    try:
        if device is None:
            device = torch.accelerator.current_accelerator(check_available=True) or "cpu"
        for module in (pipeline.network, pipeline.normalize):
            module.to(torch.device(device))
    except (RuntimeError, AssertionError) as error:  # torch built without the device's support asserts
        raise ConfigError(f"device={device} cannot be used here: {str(error).splitlines()[0]}") from error
    return pipeline


def local_run(run: str | None) -> RunFolder:
    """The folder of a run or an export that is here, or of a pretrained model: None, or its name.

    Raises:
        ConfigError: No such folder.
        CheckpointError: As of :func:`pretrained_run`.
    """
    if run is None or (run in NAMED and not Path(run).is_dir()):
        return pretrained_run(run)
    return RunFolder.existing(run)


def pretrained_run(name: str | None = None) -> RunFolder:
    """The folder of a pretrained model, after checking the SHA-256 of its files.

    Args:
        name: A key of :data:`saltext.models.packaged_weights.NAMED`; None: the default model.

    Raises:
        CheckpointError: A file is missing, or is not the expected one.
    """
    model = PRETRAINED if name is None else NAMED[name]
    files = [packaged_file(model, path) for path in model.digests]
    return RunFolder(next(file.parent for file in files if file.name == _CONFIG))


def chosen_stage(cfg: DictConfig, folder: RunFolder, name: str | None) -> Stage:
    """The named stage of a run, or its only tested one.

    Raises:
        ConfigError: There is no stage of that name, or several are tested and none is named.
    """
    all_stages = stages(cfg, folder)
    matching = [stage for stage in all_stages if (stage.tests if name is None else stage.name == name)]
    if len(matching) == 1:
        return matching[0]
    names = ", ".join(stage.name for stage in all_stages)
    if name is None:
        raise ConfigError(
            f"{folder.root} trained in stages, each with weights of its own: {names}. Choose one: --stage NAME "
            "(predict, export, demo), or saltext.load(..., stage=NAME)."
        )
    raise ConfigError(f"{folder.root} has no stage {name!r}; it has {names or 'no stages: leave it out'}.")
