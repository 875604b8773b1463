"""The parts of GroundedGaze that are trained."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from saltext.models.attention import resize_positions
from saltext.models.text.base import TextFeatures


@dataclass(frozen=True)
class Sizes:
    """Channels of what a member is given; 0 of what it is not.

    Attributes:
        coarse: Of the features of :func:`saltext.models.grounded_gaze.views.coarse`.
        fine: Of those of :func:`saltext.models.grounded_gaze.views.fine`.
        evidence: Maps of evidence.
        text: Of sentences and words, and so of the places' meanings.
        conditions: How many there are.
    """

    coarse: int
    fine: int
    evidence: int
    text: int
    conditions: int


@dataclass(frozen=True)
class Shape:
    """How large a member is.

    Attributes:
        width: Channels of the transformer.
        layers: Its rounds.
        heads: Attention heads.
        grid: Rows and columns the position embedding is learned for.
    """

    width: int
    layers: int
    heads: int
    grid: tuple[int, int]


@dataclass(frozen=True)
class Seen:
    """What the frozen parts see in a batch of images, float, shapes ``(batch, channels, rows, columns)``.

    Attributes:
        coarse: Features on the grid of places.
        fine: Features twice as fine.
        meanings: What each place is called; None without a bridge.
        evidence: Where the image shows what the text names; None without a bridge.
    """

    coarse: Tensor
    fine: Tensor
    meanings: Tensor | None
    evidence: Tensor | None


class Standard(nn.Module):
    """Standardises each channel (BatchNorm without a scale of its own), since frozen parts give each a size of its own.

    Args:
        sizes: Of what is seen.
    """

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.coarse = nn.BatchNorm2d(sizes.coarse, affine=False)
        self.fine = nn.BatchNorm2d(sizes.fine, affine=False)
        if sizes.evidence:
            self.meanings = nn.BatchNorm2d(sizes.text, affine=False)
            self.evidence = nn.BatchNorm2d(sizes.evidence, affine=False)

    def forward(self, seen: Seen) -> Seen:
        """The same, standardised."""
        coarse, fine = self.coarse(seen.coarse), self.fine(seen.fine)
        if seen.meanings is None or seen.evidence is None:
            return Seen(coarse, fine, None, None)
        return Seen(coarse, fine, self.meanings(seen.meanings), self.evidence(seen.evidence))


class Members(nn.Module):
    """Those that train on what one eye sees.

    Args:
        sizes: Of what they are given.
        shape: Of each.
        count: How many there are.
    """

    def __init__(self, sizes: Sizes, shape: Shape, count: int) -> None:
        super().__init__()
        self.standard = Standard(sizes)
        self.each = nn.ModuleList(Member(sizes, shape) for _ in range(count))

    def forward(self, seen: Seen, text: TextFeatures | None, told: Tensor, size: tuple[int, int]) -> Tensor:
        """The logits of each, shape ``(batch, members, *size)``; arguments as of :class:`Member`, not standardised."""
        standard = self.standard(seen)
        return torch.cat([member(standard, text, told, size) for member in self.each], dim=1)


class Member(nn.Module):
    """From what the frozen parts see and read to logits of a density.

    Args:
        sizes: Of what it is given.
        shape: Of itself.
    """

    def __init__(self, sizes: Sizes, shape: Shape) -> None:
        super().__init__()
        self.grid = shape.grid
        grid, width, layers, heads = shape.grid, shape.width, shape.layers, shape.heads
        self.places = Places(sizes, width)
        self.reader = Reader(sizes, width)
        self.position_embeddings = nn.Parameter(torch.empty(1, grid[0] * grid[1], width))
        nn.init.trunc_normal_(self.position_embeddings, std=0.02)
        self.rounds = nn.ModuleList(Round(width, heads) for _ in range(layers))
        self.head = DensityHead(sizes, width)

    def forward(self, seen: Seen, text: TextFeatures | None, told: Tensor, size: tuple[int, int]) -> Tensor:
        """Predict.

        Args:
            seen: By the frozen parts, standardised.
            text: Features of the texts; None without text.
            told: Numbers of the conditions, int64, shape ``(batch,)``.
            size: Rows and columns that come out.

        Returns:
            Logits, shape ``(batch, 1, *size)``.
        """
        x = self.places(seen)
        grid = (x.shape[2], x.shape[3])
        words, mask, gist = self.reader(told, text)
        positions = resize_positions(self.position_embeddings, self.grid, grid)
        x = x.flatten(2).transpose(1, 2)
        for each in self.rounds:
            x = each(x, positions, words, mask, gist)
        logits: Tensor = self.head(x.transpose(1, 2).unflatten(2, grid), seen.fine, gist, size)
        return logits


class Modulation(nn.Module):
    """A scale and a shift of each channel, linear in what modulates; at first they change nothing.

    Args:
        dim: Size of what modulates.
        channels: Channels of what is modulated.

    References:
        Perez et al., FiLM: Visual reasoning with a general conditioning layer, AAAI 2018.
    """

    def __init__(self, dim: int, channels: int) -> None:
        super().__init__()
        self.affine = nn.Linear(dim, 2 * channels)
        nn.init.zeros_(self.affine.weight)
        nn.init.zeros_(self.affine.bias)

    def forward(self, x: Tensor, by: Tensor) -> Tensor:
        """Modulate.

        Args:
            x: Channels last, shape ``(batch, ..., channels)``.
            by: Shape ``(batch, ..., dim)``; its inner dimensions may be 1.
        """
        scale, shift = self.affine(by).chunk(2, dim=-1)
        modulated: Tensor = x * (1 + scale) + shift
        return modulated


class Places(nn.Module):
    """Image features, and what the class names say, to one vector a place.

    Args:
        sizes: Of what it is given.
        width: Channels that come out.
    """

    def __init__(self, sizes: Sizes, width: int) -> None:
        super().__init__()
        self.features = nn.Conv2d(sizes.coarse, width, kernel_size=1)
        if sizes.evidence:
            self.meanings = nn.Conv2d(sizes.text, width, kernel_size=1)
            self.by_evidence = Modulation(sizes.evidence, width)

    def forward(self, seen: Seen) -> Tensor:
        """Merge; shape ``(batch, width, rows, columns)``."""
        x: Tensor = self.features(seen.coarse)
        if seen.evidence is not None:
            x = x + self.meanings(seen.meanings)
            x = self.by_evidence(x.movedim(1, -1), seen.evidence.movedim(1, -1)).movedim(-1, 1)
        return F.gelu(x)


class Reader(nn.Module):
    """The words to ask, and the gist of text and condition.

    Args:
        sizes: Of what it is given.
        width: Size that comes out.
    """

    def __init__(self, sizes: Sizes, width: int) -> None:
        super().__init__()
        self.condition = nn.Embedding(sizes.conditions, width)
        nn.init.normal_(self.condition.weight, std=0.5)
        self.no_word = nn.Parameter(torch.empty(1, 1, width))
        nn.init.trunc_normal_(self.no_word, std=0.02)
        if sizes.text:
            self.words = nn.Sequential(nn.LayerNorm(sizes.text), nn.Linear(sizes.text, width))
            self.sentence = nn.Linear(sizes.text, width)

    def forward(self, condition: Tensor, text: TextFeatures | None) -> tuple[Tensor, Tensor, Tensor]:
        """Read.

        Args:
            condition: Numbers of the conditions, int64, shape ``(batch,)``.
            text: Of the texts; None without text.

        Returns:
            Words, shape ``(batch, words, width)``: the first is for places that no word is about, the second is the
            condition. Their mask, True at words, shape ``(batch, words)``. The gist, shape ``(batch, width)``.
        """
        told = self.condition(condition)
        always = [self.no_word.expand(len(told), -1, -1), told[:, None]]
        mask = torch.ones(len(told), 2, dtype=torch.bool, device=told.device)
        if text is None:
            return torch.cat(always, dim=1), mask, told
        words = torch.cat([*always, self.words(text.tokens)], dim=1)
        return words, torch.cat([mask, text.mask], dim=1), told + self.sentence(text.pooled)


class Round(nn.Module):
    """Each place takes the gist in, asks the words, looks at the other places, and thinks; at first it does nothing.

    Args:
        width: Size of a place.
        heads: Attention heads.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.by_gist = Modulation(width, width)
        self.ask = nn.MultiheadAttention(width, heads, batch_first=True)
        self.look = nn.MultiheadAttention(width, heads, batch_first=True)
        answer = nn.Linear(2 * width, width)
        self.think = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), answer)
        for last in (self.ask.out_proj, self.look.out_proj, answer):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    def forward(self, x: Tensor, places: Tensor, words: Tensor, mask: Tensor, gist: Tensor) -> Tensor:
        """Change what is known of each place.

        Args:
            x: Shape ``(batch, places, width)``.
            places: Position embeddings, shape ``(1, places, width)``.
            words: As :class:`Reader` gives them, and the mask and the gist.

        Returns:
            Shape of ``x``.
        """
        asking = self.by_gist(self.norms[0](x), gist[:, None]) + places
        x = x + self.ask(asking, words, words, key_padding_mask=~mask, need_weights=False)[0]
        normed = self.norms[1](x)
        looking = normed + places
        x = x + self.look(looking, looking, normed, need_weights=False)[0]
        changed: Tensor = x + self.think(self.norms[2](x))
        return changed


class DensityHead(nn.Module):
    """Places to logits of a density, with the finest image features.

    Args:
        sizes: Of what it is given.
        width: Channels of a place.
    """

    def __init__(self, sizes: Sizes, width: int) -> None:
        super().__init__()
        half = width // 2
        self.narrow = nn.Conv2d(width, half, kernel_size=1)
        self.fine = nn.Conv2d(sizes.fine, half, kernel_size=1)
        self.norm = nn.BatchNorm2d(half)
        self.by_gist = Modulation(width, half)
        self.refine = nn.Sequential(*(layer for _ in range(2) for layer in _refining(half)))
        self.logits = nn.Conv2d(half, 1, kernel_size=1)
        nn.init.zeros_(self.logits.weight)

    def forward(self, x: Tensor, fine: Tensor, gist: Tensor, size: tuple[int, int]) -> Tensor:
        """Logits of shape ``(batch, 1, *size)``, from a grid and one twice as fine."""
        x = F.interpolate(self.narrow(x), size=fine.shape[2:], mode="bilinear", align_corners=False) + self.fine(fine)
        x = self.by_gist(self.norm(x).movedim(1, -1), gist[:, None, None]).movedim(-1, 1)
        logits = self.logits(self.refine(F.relu(x)))
        return F.interpolate(logits, size=size, mode="bilinear", align_corners=False)


def _refining(channels: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels), nn.ReLU()
