import timm
import torch

from saltext.models.image.staged import DenseNet161, ResNet50
from saltext.models.image.timm_encoder import TimmEncoder

IMAGES = torch.randn(1, 3, 64, 96)


def test_normalisation_is_that_of_the_weights() -> None:
    assert TimmEncoder("tf_efficientnet_lite0").mean == (0.5, 0.5, 0.5)
    assert ResNet50().mean == (0.485, 0.456, 0.406)


def test_imagenet_weights_under_torchvisions_old_names_fill_densenet() -> None:
    model = timm.create_model("densenet161", pretrained=False)
    old = {
        key.replace("norm1.", "norm.1.")
        .replace("conv1.", "conv.1.")
        .replace("norm2.", "norm.2.")
        .replace("conv2.", "conv.2.")
        if ".denselayer" in key
        else key: value
        for key, value in model.state_dict().items()
        if not key.endswith("num_batches_tracked")
    }
    assert "features.denseblock1.denselayer1.norm.1.weight" in old
    encoder = DenseNet161(old)
    assert torch.equal(encoder.encoder[4].denselayer1.conv1.weight, model.features.denseblock1.denselayer1.conv1.weight)
    assert torch.equal(
        encoder.encoder[10].denselayer24.conv2.weight, old["features.denseblock4.denselayer24.conv.2.weight"]
    )
