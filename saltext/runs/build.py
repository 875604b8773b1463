"""Build networks, pipelines and protocols from a resolved configuration.

:mod:`saltext.runs.build_training` builds the rest that training needs, and imports Lightning.
"""

import logging
from collections.abc import Collection
from pathlib import Path

from omegaconf import DictConfig, OmegaConf
from torch import nn

from saltext import storage
from saltext.baselines import BASELINES
from saltext.data.cache import CacheSettings
from saltext.errors import ConfigError
from saltext.evaluation.protocols import PAPERS, Protocol, standard
from saltext.metrics import Metric, check_names, register_metric
from saltext.models.checkpoints import load_weights
from saltext.models.feature_cache import FeatureCache
from saltext.models.inference import has_fast_bfloat16
from saltext.models.network import SaliencyNetwork
from saltext.models.normalize import Normalize
from saltext.models.pipeline import Pipeline
from saltext.models.tranblend.network import load_published
from saltext.models.transalnet.network import TranSalNet
from saltext.runs import preflight, schema, targets, untrusted_yaml
from saltext.runs.instantiation import instantiated

_log = logging.getLogger(__name__)


def network(cfg: DictConfig, own: Collection[str] = ()) -> SaliencyNetwork:
    """The network, with the weights of ``checkpoint`` if one is named."""
    parts = OmegaConf.masked_copy(cfg.model, [str(key) for key in cfg.model if key not in schema.MODEL_LABELS])
    built: SaliencyNetwork = instantiated(parts, "model", nn.Module, own)
    if cfg.checkpoint is None:
        return built
    if isinstance(built, TranSalNet):
        load_published(built, cfg.checkpoint)
    else:
        load_weights(built, cfg.checkpoint, keep=["text_encoder.*"])
    return built


def baselines(cfg: DictConfig) -> list[str]:
    """Names of the baselines beside the model.

    Raises:
        ConfigError: Unknown names, all at once.
    """
    unknown = [name for name in cfg.evaluation.baselines if name not in BASELINES]
    if unknown:
        raise ConfigError(f"evaluation.baselines: unknown {', '.join(unknown)}; choose from {', '.join(BASELINES)}")
    return list(cfg.evaluation.baselines)


def protocols(cfg: DictConfig) -> list[Protocol]:
    """The protocols of the test: the standard one, then a paper's if ``evaluation.paper`` names one.

    Raises:
        ConfigError: Unknown metrics, or an unknown paper.
    """
    paper = cfg.evaluation.paper
    try:
        chosen = [standard(list(cfg.evaluation.test_metrics))]
    except ValueError as error:
        raise ConfigError(f"evaluation.test_metrics: {error}") from error
    if paper is not None and paper not in PAPERS:
        raise ConfigError(f"evaluation.paper: expected {', '.join(PAPERS)} or null, got {paper!r}")
    return chosen if paper is None else [*chosen, PAPERS[paper]]


def register_metrics(cfg: DictConfig, own: Collection[str] = ()) -> None:
    """Register a configuration's metrics from outside the package, ``evaluation.extra_metrics``.

    Args:
        cfg: A run's configuration, or one with these metrics alone.
        own: Names that may be built besides those in ``conf/``, see :mod:`saltext.runs.trust`.

    Raises:
        ConfigError: A function may not or cannot be imported, or does not take a metric's arguments.
    """
    for name, node in (cfg.evaluation.get("extra_metrics") or {}).items():
        location = f"evaluation.extra_metrics.{name}"
        arguments = {key: node[key] for key in node if key not in schema.METRIC_LABELS}
        function = instantiated({**arguments, "_partial_": True}, location, None, own)
        try:
            metric = Metric.of(function, higher_is_better=node.higher_is_better, title=node.get("title") or str(name))
            register_metric(str(name), metric)
        except ValueError as error:
            raise ConfigError(f"{location}: {error}") from error


def register_metrics_of(file: Path) -> list[str]:
    """Register the metrics that a file names, for commands without a configuration.

    Args:
        file: YAML with the content of ``evaluation.extra_metrics``.

    Returns:
        Names of the metrics.

    Raises:
        ConfigError: The file has other content, or as :func:`register_metrics`.
        DamagedFileError: The file cannot be read, or is no YAML.
    """
    extra = untrusted_yaml.parsed(storage.read_text(file), file)
    cfg = OmegaConf.create({"evaluation": {"extra_metrics": extra}})
    preflight.check_metrics(cfg, file)
    register_metrics(cfg, targets.own_targets(extra))
    return [str(name) for name in extra]


def check_evaluation(cfg: DictConfig, own: Collection[str] = ()) -> None:
    """Raise a ConfigError before training for what would otherwise fail only when the test pairs are scored.

    Registers the configuration's own metrics, see :func:`register_metrics`.
    """
    register_metrics(cfg, own)
    try:
        check_names(list(cfg.evaluation.validation_metrics))
    except ValueError as error:
        raise ConfigError(f"evaluation.validation_metrics: {error}") from error
    protocols(cfg)
    baselines(cfg)


def check_conditions(cfg: DictConfig, tasks: Collection[str]) -> None:
    """Raise a ConfigError where a network conditioned on the condition index lacks some of the data's tasks."""
    conditions = cfg.model.get("conditions")
    unknown = [] if conditions is None else [task for task in tasks if task not in conditions]
    if unknown:
        raise ConfigError(
            f"The data have tasks {unknown}, but {cfg.model.name} can be conditioned on {list(conditions)} alone. Set "
            f"the data's own: model.conditions=[{','.join(tasks)}]"
        )


def feature_cache(cfg: DictConfig) -> FeatureCache | None:
    """The on-disk cache for features of frozen modules; None with ``cache_features=false``."""
    return FeatureCache(Path(cfg.data.cache_dir) / "features") if cfg.cache_features else None


def pipeline(cfg: DictConfig, own: Collection[str] = ()) -> Pipeline | None:
    """The network with the normalisation of its images and the prompt of its texts; None for ``model=baselines``.

    Raises:
        ConfigError: Something may not be built, or refuses its arguments.
    """
    if "_target_" not in cfg.model:
        return None
    built = network(cfg, own)
    normalize = Normalize(
        mean=cfg.normalize.mean or built.mean, std=cfg.normalize.std or built.std, order=cfg.normalize.order
    )
    built.set_input_normalization(normalize)
    built.feature_cache = feature_cache(cfg)
    inference = cfg.get("inference", "reference")
    if inference == "bf16" and not has_fast_bfloat16():
        _log.info("this CPU has neither AVX512-BF16 nor AMX: frozen modules compute in float32 instead of bfloat16")
        inference = "fp32"
    built.set_inference("fp32" if inference == "auto" else inference)
    try:
        return Pipeline(built, normalize, cfg.prompt, cfg.evaluation.mirror)
    except ValueError as error:
        raise ConfigError(f"prompt: {error}") from error


def cache_settings(cfg: DictConfig) -> CacheSettings:
    """How images are decoded and resized before they enter the network."""
    data = cfg.data
    return CacheSettings.checked(data.image_size, data.get("map_size"), data.get("resize", "stretch"), data.max_pixels)
