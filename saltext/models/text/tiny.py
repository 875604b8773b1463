"""A small random text encoder, for tests and first steps."""

import re
import zlib
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from saltext.models.text.base import TextEncoder, TextFeatures, pad_rows
from saltext.models.transfer import to_device

_BUCKETS = 4096


class TinyText(TextEncoder):
    """Bag of words with positions: hashed words are embedded, and the pooled feature is their mean.

    Words are runs of letters and digits, case does not count; each goes to the row ``crc32 % 4096`` of a table, so
    there is no vocabulary file and every process agrees. A start token comes first, so the empty text has one token.

    Args:
        dim: Size of the features.
        max_tokens: Tokens kept, the start token included.
    """

    def __init__(self, dim: int = 32, max_tokens: int = 32) -> None:
        super().__init__()
        self.dim = dim
        self.max_tokens = max_tokens
        self.words = nn.Embedding(1 + _BUCKETS, dim)
        self.positions = nn.Embedding(max_tokens, dim)
        self.norm = nn.LayerNorm(dim)

    @property
    def text_embeddings(self) -> nn.Module:
        """Word and position embeddings; there are no layers."""
        return nn.ModuleList([self.words, self.positions])

    def forward(self, texts: Sequence[str], images: Tensor | None = None) -> TextFeatures:
        """Encode texts, see :class:`TextEncoder`; images are not read."""
        device = self.words.weight.device
        padded = pad_rows([torch.tensor(self._token_ids(text)) for text in texts])
        ids, mask = (to_device(each, device) for each in padded)
        positions = torch.arange(ids.shape[1], device=device)
        tokens = self.norm(self.words(ids) + self.positions(positions)) * mask[..., None]
        return TextFeatures(pooled=tokens.sum(1) / mask.sum(1, keepdim=True), tokens=tokens, mask=mask)

    def _token_ids(self, text: str) -> list[int]:
        words = re.findall(r"\w+", text.lower())[: self.max_tokens - 1]
        return [0, *(1 + zlib.crc32(word.encode()) % _BUCKETS for word in words)]
