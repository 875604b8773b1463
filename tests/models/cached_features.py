"""A frozen module with two features, and images that a feature cache knows by their keys."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from saltext.data.keys import ImageKey, ImageSource
from saltext.models.feature_cache import FeatureCache, addressed, get_or_compute, in_chunks
from saltext.models.feature_file import Features

SOURCE = ImageSource("data", 8)
PREPROCESSING = nn.Identity()
HEAD, RECORD = 4096, 640
"""Bytes of a file before its first record, and of a record: 32 and 4 * (4 * 6 * 6 + 1) of what :class:`Two` makes of
an image, rounded up to 64."""


class Two(nn.Module):
    """Two features an image; notes how many images it was run on at once."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.runs: list[int] = []

    def forward(self, x: Tensor) -> Features:
        self.runs.append(len(x))
        return self.conv(x), x.mean((1, 2, 3))


def images(rows: Sequence[int], seed: int = 1) -> Tensor:
    """Of :data:`SOURCE`; a row from 100 on is the mirror image of that row less 100."""
    all_of_them = torch.rand(8, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
    return torch.stack([all_of_them[row - 100].flip(-1) if row >= 100 else all_of_them[row] for row in rows])


def keys(rows: Sequence[int], source: ImageSource = SOURCE) -> list[ImageKey]:
    return [ImageKey(source, row % 100, row >= 100) for row in rows]


def features(
    module: nn.Module, cache: FeatureCache, rows: Sequence[int], source: ImageSource = SOURCE, seed: int = 1
) -> Features:
    given = images(rows, seed)
    with addressed(cache, given, keys(rows, source), PREPROCESSING):
        return get_or_compute([module], given, lambda places: module(given[places]))


def check(found: Features, module: Two, rows: Sequence[int], seed: int = 1) -> None:
    """Features are those that are computed without a cache, to the last bit."""
    before, given = len(module.runs), images(rows, seed)
    expected = in_chunks(lambda places: module(given[places]), range(len(rows)), given.device)
    del module.runs[before:]
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
