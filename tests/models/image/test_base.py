import torch
from torch import Tensor, nn

from saltext.models.image.base import Encoder, Taps


class Plain(Encoder):
    channels, mean, std = (4, 4, 4), (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))
        self.first = nn.Conv2d(3, 4, kernel_size=8, stride=8)
        self.act = nn.ReLU()
        self.rest = nn.Sequential(nn.Conv2d(4, 4, kernel_size=2, stride=2), nn.Conv2d(4, 4, kernel_size=2, stride=2))

    def forward(self, images: Tensor) -> Taps:
        x8 = self.act(self.first(self.scale * images))
        x16 = self.rest[0](x8)
        return x8, x16, self.rest[1](x16)


def test_an_encoder_that_says_nothing_of_layers_has_one_for_each_child_with_parameters() -> None:
    encoder = Plain()
    layers = encoder.layers()
    assert [parameter is encoder.scale for parameter in layers.stem] == [True]
    assert [len(layer) for layer in layers.layers] == [2, 4]
    assert {*layers.parameters()} == {*encoder.parameters()}
