"""The transformer TranSalNet runs on each feature map. Names of parameters are the published ones."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from saltext.models.attention import join_heads, resize_positions, split_heads

LAYER_NORM_EPS = 1e-6
"""Value of the published code; PyTorch's default is 1e-5."""


class Attention(nn.Module):
    """Multi-head self-attention with biases, on tokens of shape ``(batch, tokens, hidden)``."""

    def __init__(self, hidden: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(hidden, hidden)
        self.key = nn.Linear(hidden, hidden)
        self.value = nn.Linear(hidden, hidden)
        self.out = nn.Linear(hidden, hidden)

    def forward(self, tokens: Tensor) -> Tensor:
        """Mix tokens; the shape stays."""
        query, key, value = (split_heads(layer(tokens), self.heads) for layer in (self.query, self.key, self.value))
        mixed: Tensor = self.out(join_heads(F.scaled_dot_product_attention(query, key, value)))
        return mixed


class FeedForward(nn.Module):
    """Two linear layers with an exact (erf) GELU between them."""

    def __init__(self, hidden: int, inner: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(hidden, inner)
        self.fc2 = nn.Linear(inner, hidden)

    def forward(self, tokens: Tensor) -> Tensor:
        """Change each token by itself; the shape stays."""
        changed: Tensor = self.fc2(F.gelu(self.fc1(tokens)))
        return changed


class TransformerLayer(nn.Module):
    """A pre-norm transformer layer on tokens of shape ``(batch, tokens, hidden)``."""

    def __init__(self, hidden: int, heads: int, mlp_ratio: int) -> None:
        super().__init__()
        self.ffn_norm = nn.LayerNorm(hidden, eps=LAYER_NORM_EPS)
        self.ffn = FeedForward(hidden, mlp_ratio * hidden)
        self.attn = Attention(hidden, heads)
        self.attention_norm = nn.LayerNorm(hidden, eps=LAYER_NORM_EPS)

    def forward(self, tokens: Tensor) -> Tensor:
        """Add attention, then the feed-forward part; the shape stays."""
        tokens = tokens + self.attn(self.attention_norm(tokens))
        changed: Tensor = tokens + self.ffn(self.ffn_norm(tokens))
        return changed


class TransformerStack(nn.Module):
    """Layers and a final norm."""

    def __init__(self, hidden: int, heads: int, layers: int, mlp_ratio: int) -> None:
        super().__init__()
        self.layer = nn.ModuleList(TransformerLayer(hidden, heads, mlp_ratio) for _ in range(layers))
        self.encoder_norm = nn.LayerNorm(hidden, eps=LAYER_NORM_EPS)

    def forward(self, tokens: Tensor) -> Tensor:
        """Run the layers; the shape stays."""
        for layer in self.layer:
            tokens = layer(tokens)
        normed: Tensor = self.encoder_norm(tokens)
        return normed


class TransEncoder(nn.Module):
    """A feature map to another of the same size, through a transformer over its positions.

    Args:
        in_channels: Channels of the feature map.
        hidden: Channels that come out, a multiple of ``heads``.
        heads: Attention heads.
        grid: Rows and columns the position embedding is learned for.
        layers: Transformer layers.
        mlp_ratio: Width of the feed-forward part over ``hidden``.

    References:
        Lou et al., TranSalNet: Towards perceptually relevant visual saliency prediction, Neurocomputing 494, 2022.
    """

    def __init__(
        self, in_channels: int, hidden: int, heads: int, grid: tuple[int, int], layers: int = 2, mlp_ratio: int = 4
    ) -> None:
        super().__init__()
        self.grid = grid
        self.position_embeddings = nn.Parameter(torch.empty(1, grid[0] * grid[1], hidden))
        self.patch_embeddings = nn.Conv2d(in_channels, hidden, kernel_size=1)
        self.transformer_encoder = TransformerStack(hidden, heads, layers, mlp_ratio)
        nn.init.trunc_normal_(self.position_embeddings, std=0.02)

    def forward(self, feature: Tensor) -> Tensor:
        """Transform ``(batch, in_channels, height, width)`` into ``(batch, hidden, height, width)``, any size."""
        size = (feature.shape[2], feature.shape[3])
        patches = self.patch_embeddings(feature).flatten(2).transpose(1, 2)
        tokens: Tensor = self.transformer_encoder(patches + resize_positions(self.position_embeddings, self.grid, size))
        return tokens.transpose(1, 2).reshape(len(feature), -1, *size)
