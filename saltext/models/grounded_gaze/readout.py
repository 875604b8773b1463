"""The trained modules of GroundedGaze: from frozen features to logits of a density."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from saltext.models.attention import MultiheadAttention, resize_positions
from saltext.models.film import FiLM
from saltext.models.grounded_gaze.backbone import BackboneFeatures
from saltext.models.text.base import TextFeatures


@dataclass(frozen=True)
class InputDims:
    """Channels of the inputs of a readout; 0 of an input that it does not get.

    Attributes:
        coarse: Channels of the image features on the token grid.
        fine: Channels of the image features on the grid twice as fine.
        grounding: Number of grounding maps, of all grounders.
        semantic: Channels of their semantic maps.
        text: Size of sentence and word embeddings.
        conditions: Number of conditions.
    """

    coarse: int
    fine: int
    grounding: int
    semantic: int
    text: int
    conditions: int


@dataclass(frozen=True)
class TransformerConfig:
    """Size of a readout's transformer.

    Attributes:
        dim: Size of a token.
        num_layers: Transformer blocks.
        num_heads: Attention heads; divides ``dim``.
        grid: Rows and columns the position embedding is learned for.
    """

    dim: int
    num_layers: int
    num_heads: int
    grid: tuple[int, int]


class Readouts(nn.Module):
    """The readouts of one backbone, which share the normalisation of its features.

    Args:
        inputs: Channels of their inputs.
        transformer: Size of each.
        count: Number of readouts.
    """

    def __init__(self, inputs: InputDims, transformer: TransformerConfig, count: int) -> None:
        super().__init__()
        self.norm = FeatureNorm(inputs)
        self.each = nn.ModuleList(Readout(inputs, transformer) for _ in range(count))

    def forward(
        self, features: BackboneFeatures, text: TextFeatures | None, condition: Tensor, size: tuple[int, int]
    ) -> Tensor:
        """Logits of each readout, shape ``(batch, readouts, *size)``; arguments as of :class:`Readout`."""
        normed = self.norm(features)
        return torch.cat([readout(normed, text, condition, size) for readout in self.each], dim=1)


class FeatureNorm(nn.Module):
    """Standardises each channel of frozen features (BatchNorm without affine parameters): their scales differ widely.

    Args:
        inputs: Channels of the features.
    """

    def __init__(self, inputs: InputDims) -> None:
        super().__init__()
        self.coarse = nn.BatchNorm2d(inputs.coarse, affine=False)
        self.fine = nn.BatchNorm2d(inputs.fine, affine=False)
        if inputs.semantic:
            self.semantic = nn.BatchNorm2d(inputs.semantic, affine=False)
        if inputs.grounding:
            self.grounding = nn.BatchNorm2d(inputs.grounding, affine=False)

    def forward(self, features: BackboneFeatures) -> BackboneFeatures:
        """The same features, standardised."""
        return BackboneFeatures(
            coarse=self.coarse(features.coarse),
            fine=self.fine(features.fine),
            semantic=None if features.semantic is None else self.semantic(features.semantic),
            grounding=None if features.grounding is None else self.grounding(features.grounding),
        )


class Readout(nn.Module):
    """A transformer over image tokens and words, and a convolutional head.

    Args:
        inputs: Channels of its inputs.
        transformer: Its size.
    """

    def __init__(self, inputs: InputDims, transformer: TransformerConfig) -> None:
        super().__init__()
        dim, (rows, columns) = transformer.dim, transformer.grid
        self.grid = transformer.grid
        self.token_embed = TokenEmbedding(inputs, dim)
        self.text_embed = TextEmbedding(inputs, dim)
        self.pos_embed = nn.Parameter(torch.empty(1, rows * columns, dim))
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        self.blocks = nn.ModuleList(TransformerBlock(dim, transformer.num_heads) for _ in range(transformer.num_layers))
        self.head = DensityHead(inputs, dim)

    def forward(
        self, features: BackboneFeatures, text: TextFeatures | None, condition: Tensor, size: tuple[int, int]
    ) -> Tensor:
        """Predict.

        Args:
            features: Standardised features of the images.
            text: Features of the texts; None without text.
            condition: Index of each condition, int64, shape ``(batch,)``.
            size: Rows and columns of the output.

        Returns:
            Logits, shape ``(batch, 1, *size)``.
        """
        x = self.token_embed(features)
        grid = (x.shape[2], x.shape[3])
        words, word_mask, text_embed = self.text_embed(condition, text)
        pos_embed = resize_positions(self.pos_embed, self.grid, grid)
        tokens = x.flatten(2).transpose(1, 2)
        for block in self.blocks:
            tokens = block(tokens, pos_embed, words, word_mask, text_embed)
        logits: Tensor = self.head(tokens.transpose(1, 2).unflatten(2, grid), features.fine, text_embed, size)
        return logits


class TokenEmbedding(nn.Module):
    """Image features and grounding to one token per grid position.

    Args:
        inputs: Channels of the features.
        dim: Size of a token.
    """

    def __init__(self, inputs: InputDims, dim: int) -> None:
        super().__init__()
        self.features = nn.Conv2d(inputs.coarse, dim, kernel_size=1)
        if inputs.semantic:
            self.semantic = nn.Conv2d(inputs.semantic, dim, kernel_size=1)
        if inputs.grounding:
            self.film = FiLM(inputs.grounding, dim)

    def forward(self, features: BackboneFeatures) -> Tensor:
        """Embed; shape ``(batch, dim, rows, columns)``."""
        x: Tensor = self.features(features.coarse)
        if features.semantic is not None:
            x = x + self.semantic(features.semantic)
        if features.grounding is not None:
            x = self.film(x.movedim(1, -1), features.grounding.movedim(1, -1)).movedim(-1, 1)
        return F.gelu(x)


class TextEmbedding(nn.Module):
    """Words as keys of the cross-attention, and one embedding of text and condition together.

    Args:
        inputs: Size of the text features, and number of conditions.
        dim: Size of the embeddings.
    """

    def __init__(self, inputs: InputDims, dim: int) -> None:
        super().__init__()
        self.condition = nn.Embedding(inputs.conditions, dim)
        nn.init.normal_(self.condition.weight, std=0.5)
        self.null_word = nn.Parameter(torch.empty(1, 1, dim))
        nn.init.trunc_normal_(self.null_word, std=0.02)
        if inputs.text:
            self.words = nn.Sequential(nn.LayerNorm(inputs.text), nn.Linear(inputs.text, dim))
            self.sentence = nn.Linear(inputs.text, dim)

    def forward(self, condition: Tensor, text: TextFeatures | None) -> tuple[Tensor, Tensor, Tensor]:
        """Embed.

        Args:
            condition: Index of each condition, int64, shape ``(batch,)``.
            text: Features of the texts; None without text.

        Returns:
            Words, shape ``(batch, words, dim)``: a learned null word first, for tokens that no word is about, then the
            condition. Their mask, True at words, shape ``(batch, words)``. The text embedding, shape ``(batch, dim)``.
        """
        condition_embed = self.condition(condition)
        first = [self.null_word.expand(len(condition), -1, -1), condition_embed[:, None]]
        mask = torch.ones(len(condition), 2, dtype=torch.bool, device=condition.device)
        if text is None:
            return torch.cat(first, dim=1), mask, condition_embed
        words = torch.cat([*first, self.words(text.tokens)], dim=1)
        return words, torch.cat([mask, text.mask], dim=1), condition_embed + self.sentence(text.pooled)


class TransformerBlock(nn.Module):
    """Pre-norm transformer block over image tokens: FiLM by the text embedding, cross-attention, self-attention, MLP.

    Output projections start at zero, so a new block is the identity.

    Args:
        dim: Size of a token.
        num_heads: Attention heads; divides ``dim``.
    """

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(3))
        self.film = FiLM(dim, dim)
        self.cross_attn = MultiheadAttention(dim, num_heads)
        self.self_attn = MultiheadAttention(dim, num_heads)
        projection = nn.Linear(2 * dim, dim)
        self.mlp = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), projection)
        for last in (self.cross_attn.out_proj, self.self_attn.out_proj, projection):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    def forward(
        self, tokens: Tensor, pos_embed: Tensor, words: Tensor, word_mask: Tensor, text_embed: Tensor
    ) -> Tensor:
        """Transform the tokens.

        Args:
            tokens: Shape ``(batch, tokens, dim)``.
            pos_embed: Position embeddings, shape ``(1, tokens, dim)``.
            words: As :class:`TextEmbedding` gives them, as are the mask and the text embedding.
            word_mask: True at words, shape ``(batch, words)``.
            text_embed: Shape ``(batch, dim)``.

        Returns:
            Shape of ``tokens``.
        """
        query = self.film(self.norms[0](tokens), text_embed[:, None]) + pos_embed
        tokens = tokens + self.cross_attn(query, words, words, word_mask)
        normed = self.norms[1](tokens)
        query = normed + pos_embed
        tokens = tokens + self.self_attn(query, query, normed)
        transformed: Tensor = tokens + self.mlp(self.norms[2](tokens))
        return transformed


class DensityHead(nn.Module):
    """Tokens and the finest image features to logits of a density.

    Args:
        inputs: Channels of the image features.
        dim: Size of a token.
    """

    def __init__(self, inputs: InputDims, dim: int) -> None:
        super().__init__()
        half = dim // 2
        self.narrow = nn.Conv2d(dim, half, kernel_size=1)
        self.fine = nn.Conv2d(inputs.fine, half, kernel_size=1)
        self.norm = nn.BatchNorm2d(half)
        self.film = FiLM(dim, half)
        convolutions: list[nn.Module] = []
        for _ in range(2):
            convolutions += [nn.Conv2d(half, half, 3, padding=1, bias=False), nn.BatchNorm2d(half), nn.ReLU()]
        self.refine = nn.Sequential(*convolutions)
        self.logits = nn.Conv2d(half, 1, kernel_size=1)
        nn.init.zeros_(self.logits.weight)

    def forward(self, x: Tensor, fine: Tensor, text_embed: Tensor, size: tuple[int, int]) -> Tensor:
        """Predict.

        Args:
            x: Tokens on their grid, shape ``(batch, dim, rows, columns)``.
            fine: Image features, shape ``(batch, channels, 2 * rows, 2 * columns)``.
            text_embed: Shape ``(batch, dim)``.
            size: Rows and columns of the output.

        Returns:
            Logits, shape ``(batch, 1, *size)``.
        """
        x = F.interpolate(self.narrow(x), size=fine.shape[2:], mode="bilinear", align_corners=False) + self.fine(fine)
        x = self.film(self.norm(x).movedim(1, -1), text_embed[:, None, None]).movedim(-1, 1)
        logits = self.logits(self.refine(F.relu(x)))
        return F.interpolate(logits, size=size, mode="bilinear", align_corners=False)


class ConditionPrior(nn.Module):
    """A centre prior and a spread of each condition, learned, which its logits are shifted and scaled by.

    For data sets together: their viewers differ in how much they look at the centre, and how far their gaze scatters
    (Kuemmerer et al. 2025, arXiv:2505.10169). At first it changes nothing.

    Args:
        conditions: Number of conditions.
        grid: Rows and columns of the prior.
    """

    def __init__(self, conditions: int, grid: tuple[int, int] = (8, 10)) -> None:
        super().__init__()
        self.log_density = nn.Parameter(torch.zeros(conditions, 1, *grid))
        self.log_scale = nn.Parameter(torch.zeros(conditions, 1, 1, 1))

    def forward(self, logits: Tensor, condition: Tensor) -> Tensor:
        """Shift and scale.

        Args:
            logits: Of all readouts, shape ``(batch, readouts, rows, columns)``.
            condition: Index of each condition, int64, shape ``(batch,)``.

        Returns:
            Shape of ``logits``.
        """
        size = logits.shape[2:]
        prior = F.interpolate(self.log_density[condition], size=size, mode="bilinear", align_corners=False)
        return logits * self.log_scale[condition].exp() + prior
