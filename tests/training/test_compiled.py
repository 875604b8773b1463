import pytest
import torch
from torch import nn

from saltext.runs import build
from saltext.training.compiled import compile_trained
from tests.small_runs import composed

CONDITIONS = ["salient", "pure"]


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")  # dynamo looks at every tensor
@pytest.mark.parametrize("model", ["transalnet", "tranblend", "clip_salgan", "grounded_gaze"])
def test_a_compiled_network_predicts_and_trains_as_before_with_the_same_names(model: str) -> None:
    network = build.network(composed("preset=smoke", f"model={model}", "label=test")).eval()
    images, texts = torch.rand(2, 3, 64, 96), ["a red circle", ""]
    before, keys = network(images, texts, CONDITIONS), list(network.state_dict())
    compiled = compile_trained(network, backend="eager")
    assert compiled
    assert not any(name.startswith("text_encoder") for name in compiled)
    after = network(images, texts, CONDITIONS)
    torch.testing.assert_close(after, before)
    assert list(network.state_dict()) == keys
    after.sum().backward()
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


def test_frozen_modules_are_not_compiled() -> None:
    network = nn.Sequential(nn.Conv2d(3, 3, 1).requires_grad_(False), nn.Conv2d(3, 3, 1))
    assert compile_trained(network, backend="eager") == ["1"]
