"""The discriminator, which classifies saliency maps as human or generated."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from saltext.errors import ConfigError


class Discriminator(nn.Module):
    """Two convolutions, max pooling and one linear layer over everything: is this a human map or a generated one?

    With ``sees_image=False`` and the other arguments at their defaults, the state dict has the published keys and
    shapes, and the logits are those of the authors' code.

    # DISCREPANCY: the paper writes D(I, S), conditioned on the image; the authors' script shows it the map alone. The
    # default is the paper's, the image beside the map as three more channels; `sees_image=False` is the script's.

    The linear layer fixes the size. Maps and images of another size are resized (bilinear), so that what it has learned
    of positions stays true.

    Args:
        size: Height and width of the maps it is built for: those of training.
        sees_image: Whether it sees the image too.
        channels: Channels of the two convolutions.

    Raises:
        ConfigError: Sizes below 2 pixels, or not two numbers each.
    """

    def __init__(
        self, size: Sequence[int] = (256, 256), sees_image: bool = True, channels: Sequence[int] = (64, 128)
    ) -> None:
        super().__init__()
        if len(size) != 2 or len(channels) != 2 or min(size) < 2 or min(channels) < 1:
            raise ConfigError(
                "discriminator: expected two numbers of at least 2 for size, and two of at least 1 for channels; "
                f"got {list(size)} and {list(channels)}"
            )
        self.size = (int(size[0]), int(size[1]))
        self.sees_image = sees_image
        first, second = channels
        # The published list has an activation after each convolution, then the pooling; their indices are its names.
        self.conv_scratch = nn.Sequential(
            nn.Conv2d(4 if sees_image else 1, first, kernel_size=3, padding=1),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(first, second, kernel_size=3, padding=1),
            nn.LeakyReLU(0.2, inplace=True),
            nn.MaxPool2d(kernel_size=2),
        )
        positions = (self.size[0] // 2) * (self.size[1] // 2)
        self.fc = nn.Sequential(nn.Flatten(), nn.Linear(second * positions, 1))

    def forward(self, maps: Tensor, images: Tensor) -> Tensor:
        """Classify maps as human or predicted.

        Args:
            maps: Saliency in [0, 1], float, shape ``(batch, 1, height, width)``.
            images: The image of each, normalised, shape ``(batch, 3, any, any)``; not read without ``sees_image``.

        Returns:
            Logits, shape ``(batch, 1)``. Their sigmoid is the probability that a map is a human map.

        Raises:
            ValueError: Another number of channels, or not as many images as maps.
        """
        problems = []
        if maps.ndim != 4 or maps.shape[1] != 1:
            problems.append(f"expected maps of shape (batch, 1, height, width), got {tuple(maps.shape)}")
        if self.sees_image and (images.ndim != 4 or images.shape[1] != 3 or len(images) != len(maps)):
            problems.append(f"expected one image per map, shape (batch, 3, height, width); got {tuple(images.shape)}")
        if problems:
            raise ValueError("; ".join(problems))
        inputs = [
            x
            if x.shape[2:] == self.size
            else F.interpolate(x, size=self.size, mode="bilinear", align_corners=False, antialias=True)
            for x in ([maps, images] if self.sees_image else [maps])
        ]
        logits: Tensor = self.fc(self.conv_scratch(torch.cat(inputs, dim=1)))
        return logits
