"""Text encoders that give what a test says."""

from collections.abc import Sequence

import torch
from torch import Tensor

from saltext.models.text.base import TextEncoder, TextFeatures


class Given(TextEncoder):
    """A text is a number: the row of the table it stands for."""

    def __init__(self, rows: Tensor) -> None:
        super().__init__()
        self.dim = rows.shape[1]
        self.rows = rows

    def forward(self, texts: Sequence[str], images: Tensor | None = None) -> TextFeatures:
        pooled = self.rows[[int(text) for text in texts]]
        return TextFeatures(pooled=pooled, tokens=pooled[:, None], mask=torch.ones(len(texts), 1, dtype=torch.bool))
