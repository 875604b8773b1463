"""What a grounder is: where an image shows what a text names."""

from collections.abc import Sequence

from torch import Tensor, nn

from saltext.models.text.base import TextEncoder


class Grounder(nn.Module):
    """Base of the grounders.

    Attributes:
        num_maps: Grounding maps of a text.
    """

    num_maps: int

    def forward(self, x32: Tensor, texts: Sequence[str], encoder: TextEncoder) -> Tensor:
        """Ground texts.

        Args:
            x32: The image encoder's feature at stride 32, shape ``(batch, channels, rows, columns)``.
            texts: One text per image.
            encoder: Encodes texts.

        Returns:
            Grounding maps, shape ``(batch, num_maps, rows, columns)``.
        """
        raise NotImplementedError
