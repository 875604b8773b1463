"""Any backbone of timm as an encoder."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
from torch import Tensor

from saltext.errors import CheckpointError, ConfigError
from saltext.models.checkpoints import Weights, load_state, modern_densenet_names, read_weights
from saltext.models.freezing import Layers, freeze
from saltext.models.hub import WEIGHTS, hub_folder
from saltext.models.image.base import STRIDES, Encoder, Taps


class TimmEncoder(Encoder):
    """Any timm backbone with features at strides 8, 16 and 32.

    Args:
        name: timm's name, such as ``tf_efficientnet_lite0``.
        checkpoint: Weights of the whole model under timm's names, with or without its classifier, as a file or a state
            dict. None: random.
        frozen: Whether it is frozen, see :func:`saltext.models.freezing.freeze`.
        pretrained: Whether the weights of the tag in the name are fetched from timm's hub; not together with
            ``checkpoint``.
        revision: Commit of the tag's repository there; None: the newest.

    Raises:
        ConfigError: timm does not know the name, the backbone lacks one of the strides, or two sources of weights are
            named.
        CheckpointError: A file of another backbone, or weights that cannot be fetched.
    """

    def __init__(
        self,
        name: str,
        checkpoint: str | Path | Weights | None = None,
        frozen: bool = False,
        pretrained: bool = False,
        revision: str | None = None,
    ) -> None:
        super().__init__()
        self.encoder = timm_backbone(name, checkpoint, pretrained, revision)
        self.indices = _tap_indices(name, self.encoder)
        c8, c16, c32 = (self.encoder.feature_info[index]["num_chs"] for index in self.indices)
        self.channels = (c8, c16, c32)
        self.mean, self.std = self.encoder.pretrained_cfg["mean"], self.encoder.pretrained_cfg["std"]
        # What follows the last tap would never get a gradient.
        self.encoder.prune_intermediate_layers(self.indices, prune_norm=True, prune_head=True)
        if frozen:
            freeze(self)

    def forward(self, images: Tensor) -> Taps:
        """Encode images, see :class:`Encoder`."""
        x8, x16, x32 = self.encoder.forward_intermediates(images, indices=self.indices, intermediates_only=True)
        return x8, x16, x32

    def layers(self) -> Layers:
        """The stages timm groups parameters into, the first of them being the stem, see :class:`Encoder`."""
        from timm.models import group_parameters

        stem, *rest = group_parameters(self.encoder, self.encoder.group_matcher(coarse=True)).values()
        named = dict(self.encoder.named_parameters())
        return Layers(stem=[named[key] for key in stem], layers=[[named[key] for key in stage] for stage in rest])


def timm_backbone(
    name: str,
    checkpoint: str | Path | Weights | None,
    pretrained: bool = False,
    revision: str | None = None,
    **options: Any,
) -> Any:
    """A model of timm without its classifier.

    Args:
        name: timm's name of it.
        checkpoint: Weights of the whole model, see :class:`TimmEncoder`; of a DenseNet, also under torchvision's old
            names.
        pretrained: As of :class:`TimmEncoder`.
        revision: As of :class:`TimmEncoder`.
        options: Of timm's constructor.

    Returns:
        The model, an ``nn.Module`` with timm's ``pretrained_cfg`` and ``feature_info``.

    Raises:
        ConfigError: timm does not know the name, or two sources of weights are named.
        CheckpointError: A file of another backbone, or weights that cannot be fetched.
    """
    import timm  # takes seconds, and is needed only to build a network

    if not timm.is_model(name):
        close = timm.list_models(f"*{name.split('_')[0]}*")[:5]
        raise ConfigError(f"timm has no backbone {name!r}. Close names: {', '.join(close) or 'none'}.")
    if pretrained and checkpoint is not None:
        raise ConfigError(f"{name}: expected one source of weights, got both pretrained and checkpoint")
    if pretrained and revision is not None:
        published: Any = timm.get_pretrained_cfg(name)
        if not published.hf_hub_id:
            raise ConfigError(f"{name}: expected no revision of weights that are on no hub, got {revision!r}")
        folder = hub_folder(published.hf_hub_id, revision, [])
        file = next((folder / weights for weights in WEIGHTS if (folder / weights).is_file()), folder / WEIGHTS[0])
        options["pretrained_cfg_overlay"] = {"file": str(file)}
    try:
        model: Any = timm.create_model(name, pretrained=pretrained, num_classes=0, **options)
    except (OSError, HfHubHTTPError, LocalEntryNotFoundError) as error:
        raise CheckpointError(
            f"The weights of {name!r} cannot be fetched ({error}). Fetch them where there is a connection "
            f"(hf download timm/{name}), and give the file's path as checkpoint, with pretrained=false."
        ) from error
    if checkpoint is None:
        return model
    if isinstance(checkpoint, Mapping):
        state, source = checkpoint, f"The state dict given for {name}"
    else:
        state, source = read_weights(checkpoint), str(checkpoint)
    classifier = model.pretrained_cfg["classifier"]
    heads = [classifier] if isinstance(classifier, str) else list(classifier)
    load_state(
        model,
        modern_densenet_names(state) if name.startswith("densenet") else state,
        source=source,
        ignore=[f"{head}.*" for head in heads],
    )
    return model


def _tap_indices(name: str, model: Any) -> list[int]:
    """Last feature of each stride, as an index into timm's list of features."""
    last = {info["reduction"]: index for index, info in enumerate(model.feature_info)}
    lacking = [stride for stride in STRIDES if stride not in last]
    if lacking:
        raise ConfigError(
            f"The backbone {name!r} has no features at strides {lacking}, only at {sorted(last)}. "
            "Choose one with strides 8, 16 and 32, such as resnet50 or convnext_atto. GroundedGaze takes vision "
            "transformers, too: model/backbones=vit."
        )
    return [last[stride] for stride in STRIDES]
