"""TranSalNet's encoders, under the names of the published weights: DenseNet-161 and ResNet-50."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from saltext.models.checkpoints import Weights
from saltext.models.freezing import Layers, freeze
from saltext.models.image.base import Encoder, Taps
from saltext.models.image.timm_encoder import timm_backbone

_STEM_STAGES = 4


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
        frozen: Whether it is frozen, see :func:`saltext.models.freezing.freeze`.

    Raises:
        CheckpointError: A file that is not of a DenseNet-161.
    """

    def __init__(self, weights: str | Path | Weights | None = None, frozen: bool = False) -> None:
        backbone = timm_backbone("densenet161", weights)
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
        frozen: Whether it is frozen, see :func:`saltext.models.freezing.freeze`.

    Raises:
        CheckpointError: A file that is not of a ResNet-50.
    """

    def __init__(self, weights: str | Path | Weights | None = None, frozen: bool = False) -> None:
        net = timm_backbone("resnet50", weights)
        super().__init__(
            stages=[net.conv1, net.bn1, net.act1, net.maxpool, net.layer1, net.layer2, net.layer3, net.layer4],
            taps=(5, 6, 7),
            channels=(512, 1024, 2048),
            preprocessing=net.pretrained_cfg,
        )
        if frozen:
            freeze(self)
