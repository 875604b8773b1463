import torch

from saltext.models.blending.concat import Concat
from saltext.models.text.base import TextFeatures


def features(pooled: torch.Tensor) -> TextFeatures:
    return TextFeatures(pooled, pooled[:, None], torch.ones(len(pooled), 1, dtype=torch.bool))


def test_it_is_a_convolution_of_the_image_feature_plus_one_of_the_text() -> None:
    blend = Concat(channels=3, text_dim=2, grid=(4, 4))
    x, pooled = torch.randn(2, 3, 5, 6), torch.randn(2, 2)
    fused = blend(x, features(pooled))
    from_image = torch.nn.functional.conv2d(x, blend.weight[:, :3], blend.bias, padding=1)
    # Away from the border, a constant plane's convolution is the sum of its kernel.
    from_text = torch.einsum("oikl,bi->bo", blend.weight[:, 3:], pooled)[..., None, None]
    torch.testing.assert_close(fused[..., 1:-1, 1:-1], (from_image + from_text)[..., 1:-1, 1:-1])
