"""Convolutional encoders: an image to features at strides 8, 16 and 32."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from saltext.errors import ConfigError
from saltext.models.checkpoints import Weights, load_state, modern_densenet_names, read_weights
from saltext.models.freezing import KeepsFrozenParts, Layers, freeze
from saltext.models.network import Colour

Taps = tuple[Tensor, Tensor, Tensor]
STRIDES = (8, 16, 32)
_STEM_STAGES = 4


class Encoder(KeepsFrozenParts):
    """Base of the encoders.

    Attributes:
        channels: Channels of the features at strides 8, 16 and 32.
        mean: RGB mean in [0, 1] of the images the weights were trained on.
        std: Their deviation.
    """

    channels: tuple[int, int, int]
    mean: Colour
    std: Colour

    def forward(self, images: Tensor) -> Taps:
        """Encode images.

        Args:
            images: Normalised, float, shape ``(batch, 3, height, width)``.

        Returns:
            Features at strides 8, 16 and 32, shapes ``(batch, channels[i], ~height / stride, ~width / stride)``.
        """
        raise NotImplementedError

    def layers(self) -> Layers:
        """Parameters in the order of data flow, as fix rates count them."""
        raise NotImplementedError


class StagedEncoder(Encoder):
    """A backbone as a list of stages, three of them tapped; the list makes the published parameter names.

    Args:
        stages: Run one after another. The first four (convolution, norm, ReLU, pooling) are the stem.
        taps: Indices of the stages whose outputs are the features, ascending.
        channels: Channels of these outputs.
        preprocessing: timm's description of the weights, with ``mean`` and ``std``.
    """

    def __init__(
        self,
        stages: Sequence[nn.Module],
        taps: tuple[int, int, int],
        channels: tuple[int, int, int],
        preprocessing: Mapping[str, Any],
    ) -> None:
        super().__init__()
        self.encoder = nn.ModuleList(stages)
        self.taps = taps
        self.channels = channels
        self.mean, self.std = preprocessing["mean"], preprocessing["std"]

    def forward(self, images: Tensor) -> Taps:
        """Encode images, see :class:`Encoder`."""
        x, features = images, []
        for index, stage in enumerate(self.encoder):
            x = stage(x)
            if index in self.taps:
                features.append(x)
        x8, x16, x32 = features
        return x8, x16, x32

    def layers(self) -> Layers:
        """The stages after the stem are the layers, see :class:`Encoder`."""
        stem, rest = self.encoder[:_STEM_STAGES], self.encoder[_STEM_STAGES:]
        return Layers(stem=list(stem.parameters()), layers=[list(stage.parameters()) for stage in rest])


class DenseNet161(StagedEncoder):
    """TranSalNet's larger encoder: DenseNet-161 without its last norm, tapped after dense blocks 2, 3 and 4.

    Features are the blocks' raw concatenations, before the norm of any transition.

    Args:
        weights: ImageNet weights of the whole classifier (timm's or torchvision's names, also torchvision's old
            ones), as a file or a state dict. None: random.
        frozen: Whether it stays as it is, see :func:`saltext.models.freezing.freeze`.

    Raises:
        CheckpointError: A file that is not of a DenseNet-161.
    """

    def __init__(self, weights: str | Path | Weights | None = None, frozen: bool = False) -> None:
        backbone = _backbone("densenet161", weights)
        # timm fuses norm and ReLU; the published list has them at two indices.
        backbone.features.norm0.act = nn.Identity()
        first_norm, rest = list(backbone.features)[:2], list(backbone.features)[2:-1]
        super().__init__(
            stages=[*first_norm, nn.ReLU(inplace=True), *rest],
            taps=(6, 8, 10),
            channels=(768, 2112, 2208),
            preprocessing=backbone.pretrained_cfg,
        )
        if frozen:
            freeze(self)


class ResNet50(StagedEncoder):
    """TranSalNet's smaller encoder: ResNet-50, tapped after layers 2, 3 and 4.

    Args:
        weights: ImageNet weights of the whole classifier, as a file or a state dict. None: random.
        frozen: Whether it stays as it is, see :func:`saltext.models.freezing.freeze`.

    Raises:
        CheckpointError: A file that is not of a ResNet-50.
    """

    def __init__(self, weights: str | Path | Weights | None = None, frozen: bool = False) -> None:
        net = _backbone("resnet50", weights)
        super().__init__(
            stages=[net.conv1, net.bn1, net.act1, net.maxpool, net.layer1, net.layer2, net.layer3, net.layer4],
            taps=(5, 6, 7),
            channels=(512, 1024, 2048),
            preprocessing=net.pretrained_cfg,
        )
        if frozen:
            freeze(self)


class TimmEncoder(Encoder):
    """Any timm backbone with features at strides 8, 16 and 32.

    Args:
        name: timm's name, such as ``tf_efficientnet_lite0``.
        checkpoint: Weights of the whole model under timm's names, with or without its classifier, as a file or a state
            dict. None: random.
        frozen: Whether it stays as it is, see :func:`saltext.models.freezing.freeze`.

    Raises:
        ConfigError: timm does not know the name, or the backbone lacks one of the strides.
        CheckpointError: A file of another backbone.
    """

    def __init__(self, name: str, checkpoint: str | Path | Weights | None = None, frozen: bool = False) -> None:
        super().__init__()
        self.encoder = _backbone(name, checkpoint)
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


def _backbone(name: str, checkpoint: str | Path | Weights | None) -> Any:
    import timm  # takes seconds, and is needed only to build a network

    if not timm.is_model(name):
        close = timm.list_models(f"*{name.split('_')[0]}*")[:5]
        raise ConfigError(f"timm has no backbone {name!r}. Close names: {', '.join(close) or 'none'}.")
    model: Any = timm.create_model(name, pretrained=False, num_classes=0)
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
            "Choose one with strides 8, 16 and 32, such as resnet50 or convnext_atto."
        )
    return [last[stride] for stride in STRIDES]
