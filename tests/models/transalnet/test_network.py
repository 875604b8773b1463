import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from saltext.errors import ConfigError
from saltext.models.image.base import Encoder
from saltext.models.image.staged import DenseNet161, ResNet50
from saltext.models.image.timm_encoder import TimmEncoder
from saltext.models.transalnet.network import TranSalNet
from tests.models.transalnet.training_step import gradient_norm, loss_terms
from tests.models.zero_weights import ZeroWeights
from tests.reference import formula

# Section 5 of the golden files' README.
ATOL_MAP, ATOL_LOGITS = 1e-5, 4e-5
ENCODERS: dict[str, type[Encoder]] = {"dense": DenseNet161, "res": ResNet50}
VARIANTS = pytest.mark.parametrize("variant", ["dense", "res"])


@cache
def computed(variant: str) -> dict[str, np.ndarray]:
    """Everything the golden files hold of one network, computed by ours."""
    with ZeroWeights():
        net = formula.fill(TranSalNet(ENCODERS[variant]()))
    stages: list[list[float]] = []
    parts: dict[str, list[float]] = {}
    for module in net.encoder.encoder:
        module.register_forward_hook(lambda m, i, out: stages.append(mean_std(out)))
    for name, module in net.decoder.named_children():
        if name.startswith(("conv", "Trans")):
            module.register_forward_hook(lambda m, i, out, name=name: parts.update({f"dec_{name}": mean_std(out)}))
    features: dict[str, np.ndarray] = {}
    net.encoder.register_forward_hook(lambda m, i, taps: features.update(channel_stats(taps)))
    with torch.no_grad():
        logits = net(formula.image(), [""])
    return {
        "logits": logits[0, 0].numpy(),
        "map": logits.sigmoid()[0, 0].numpy(),
        "encoder_stage_mean_std": np.array(stages),
        "decoder_stage_names": np.array(list(parts)),
        "decoder_stage_mean_std": np.array(list(parts.values())),
        **features,
    }


def mean_std(x: Tensor) -> list[float]:
    return [x.double().mean().item(), x.double().std(correction=0).item()]


def channel_stats(taps: tuple[Tensor, ...]) -> dict[str, np.ndarray]:
    names = [f"x{index}_channel_mean_std" for index in (3, 4, 5)]
    wide = [tap[0].double().flatten(1) for tap in taps]
    return {name: torch.stack([x.mean(1), x.std(1, correction=0)]).numpy() for name, x in zip(names, wide, strict=True)}


@pytest.mark.golden
@VARIANTS
def test_state_dict_has_the_published_names_and_shapes_in_order(golden: Path, variant: str) -> None:
    published = formula.published_shapes(golden / f"keys_transalnet_{variant}.json", "state_dict")
    with ZeroWeights():
        own = TranSalNet(ENCODERS[variant]()).state_dict()
    assert [(name, tuple(value.shape)) for name, value in own.items()] == list(published.items())


@pytest.mark.golden
@VARIANTS
def test_every_intermediate_and_the_map_equal_the_authors(golden: Path, variant: str) -> None:
    got = computed(variant)
    with np.load(golden / f"transalnet_{variant}.npz") as wanted:
        assert set(wanted) == set(got)
        assert wanted["decoder_stage_names"].tolist() == got["decoder_stage_names"].tolist()
        for name in set(wanted) - {"decoder_stage_names"}:
            # Stated for outputs of order 1; ResNet's raw features reach 1e3, and float32 rounding grows with them.
            scale = max(1.0, float(np.abs(wanted[name]).max()) / 100) if name.endswith("mean_std") else 1.0
            atol = scale * (ATOL_MAP if name == "map" else ATOL_LOGITS)
            np.testing.assert_allclose(got[name], wanted[name], rtol=0, atol=atol, err_msg=name)


@pytest.mark.golden
@pytest.mark.slow
def test_a_training_step_in_float64_equals_the_authors(golden: Path) -> None:
    wanted = json.loads((golden / "train_step_float64.json").read_text())["transalnet_dense_batch2"]
    with ZeroWeights():
        net = formula.fill(TranSalNet(DenseNet161())).double().train()
    optimizer = torch.optim.Adam(net.parameters(), lr=wanted["lr"])

    saliency = net(formula.image(2).double(), ["", ""]).sigmoid()
    truth = formula.uniform(formula.MAP, (2, 1, 288, 384)).double()
    fixated = formula.uniform(formula.FIXATIONS, (2, 1, 288, 384)) > 0.995
    terms = loss_terms(saliency, truth, fixated.double())
    loss = -2 * terms["cc"] - terms["sim"] + 10 * terms["kldiv"] - terms["nss"]
    loss.backward()

    assert {name: term.item() for name, term in terms.items()} == pytest.approx(
        {name: value for name, value in wanted["per_forward"][0].items() if name in terms}, rel=1e-8
    )
    assert loss.item() == pytest.approx(wanted["total"], rel=1e-8)
    norms = {name: gradient_norm(net.get_submodule(name)) for name in wanted["grad_l2"]}
    assert norms == pytest.approx(wanted["grad_l2"], rel=1e-8)
    for name, sums in wanted["bn_after_forward"].items():
        norm = net.get_submodule(name)
        assert norm.running_mean.sum().item() == pytest.approx(sums["sum_running_mean"], rel=1e-8)
        assert norm.running_var.sum().item() == pytest.approx(sums["sum_running_var"], rel=1e-8)
        assert norm.num_batches_tracked.item() == sums["num_batches_tracked"]
    optimizer.step()
    sums = {name: net.get_parameter(name).sum().item() for name in wanted["param_sums_after_step"]}
    assert sums == pytest.approx(wanted["param_sums_after_step"], rel=1e-8)


@pytest.mark.parametrize(("height", "width"), [(64, 96), (70, 101), (33, 50), (128, 64)])
def test_any_input_size_gives_logits_of_the_rounded_size(height: int, width: int) -> None:
    net = TranSalNet(
        TimmEncoder("test_efficientnet"),
        hidden=(8, 8, 8),
        heads=(2, 2, 2),
        channels=(8, 8, 8, 8),
        grid=(2, 3),
        layers=1,
    ).eval()
    out = net(torch.randn(1, 3, height, width), [""])
    assert abs(out.shape[2] * 4 - height) < 8
    assert abs(out.shape[3] * 4 - width) < 8
    assert out.isfinite().all()


def test_an_encoder_that_says_too_little_of_itself_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"got a Identity without channels, mean, std, layers"):
        TranSalNet(nn.Identity())  # type: ignore[arg-type]
