"""Feature-wise linear modulation."""

from torch import Tensor, nn


class FiLM(nn.Module):
    """Scale and shift each channel, both linear in a conditioning vector; starts as the identity.

    Args:
        condition_dim: Size of the conditioning vector.
        channels: Channels of the modulated feature.

    References:
        Perez et al., FiLM: Visual reasoning with a general conditioning layer, AAAI 2018.

    Example:
        >>> import torch
        >>> film = FiLM(condition_dim=3, channels=8)
        >>> x = torch.randn(2, 5, 8)
        >>> film(x, torch.randn(2, 1, 3)).equal(x)
        True
    """

    def __init__(self, condition_dim: int, channels: int) -> None:
        super().__init__()
        self.affine = nn.Linear(condition_dim, 2 * channels)
        nn.init.zeros_(self.affine.weight)
        nn.init.zeros_(self.affine.bias)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Modulate.

        Args:
            x: Feature, channels last, shape ``(batch, ..., channels)``.
            condition: Shape ``(batch, ..., condition_dim)``; its inner dimensions may be 1.

        Returns:
            Shape of ``x``.
        """
        scale, shift = self.affine(condition).chunk(2, dim=-1)
        modulated: Tensor = x * (1 + scale) + shift
        return modulated
