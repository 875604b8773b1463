import math

import numpy as np
import pytest
import torch
from torch import Tensor

from saltext.losses import GeneratorLoss, SaliencyLoss, gan_loss


def cross_entropy(logits: Tensor, targets: Tensor) -> float:
    """By its definition, in float64 numpy."""
    p, t = 1 / (1 + np.exp(-logits.double().numpy())), targets.double().numpy()
    return float(-(t * np.log(p) + (1 - t) * np.log(1 - p)).mean())


@pytest.fixture
def batch() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    draw = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 1, 5, 7, generator=draw)
    density = torch.rand(3, 1, 5, 7, generator=draw)
    fixations = (torch.rand(3, 1, 5, 7, generator=draw) > 0.7).float()
    return logits, density, fixations, torch.randn(3, 1, generator=draw)


def test_a_probability_of_one_half_costs_log_two_whatever_the_target() -> None:
    for target in (0.0, 0.9, 1.0):
        assert float(gan_loss(torch.zeros(4, 1), target)) == pytest.approx(math.log(2))


@pytest.mark.parametrize("target", [0.0, 0.9, 1.0])
def test_the_loss_of_the_discriminator_s_logits_is_the_cross_entropy(target: float) -> None:
    fake_logits = torch.tensor([[-2.0], [0.5], [3.0]])
    expected = cross_entropy(fake_logits, torch.full_like(fake_logits, target))
    assert float(gan_loss(fake_logits, target)) == pytest.approx(expected, rel=1e-6)


def test_the_total_is_the_weighted_sum_of_the_parts(batch: tuple[Tensor, ...]) -> None:
    logits, density, fixations, fake_logits = batch
    total, parts = GeneratorLoss(alpha=0.3, adversarial=2.0, terms={"nss": -1.5, "mse": 4})(*batch)
    _, terms = SaliencyLoss({"nss": 1, "mse": 1})(logits.sigmoid(), density, fixations)
    assert set(parts) == {"bce", "adversarial", "nss", "mse"}
    assert float(parts["bce"]) == pytest.approx(cross_entropy(logits, density), rel=1e-6)
    assert float(parts["adversarial"]) == pytest.approx(cross_entropy(fake_logits, torch.ones(3, 1)), rel=1e-6)
    expected = 0.3 * parts["bce"] + 2 * parts["adversarial"] - 1.5 * terms["nss"] + 4 * terms["mse"]
    assert float(total) == pytest.approx(float(expected), rel=1e-6)


def test_without_the_discriminator_s_logits_the_content_alone_is_left(batch: tuple[Tensor, ...]) -> None:
    logits, density, fixations, _ = batch
    total, parts = GeneratorLoss(alpha=0.3)(logits, density, fixations, None)
    assert set(parts) == {"bce"}
    assert float(total) == pytest.approx(0.3 * float(parts["bce"]))


def test_terms_of_weight_0_are_not_there(batch: tuple[Tensor, ...]) -> None:
    loss = GeneratorLoss(alpha=0, terms={"mse": 0, "nss": 0})
    assert set(loss(*batch)[1]) == {"bce", "adversarial"}
    assert not loss.content
    assert GeneratorLoss(alpha=0, terms={"mse": 4, "nss": 0}).content


def test_the_script_s_loss_does_not_move_a_map_towards_the_truth(batch: tuple[Tensor, ...]) -> None:
    logits, density, fixations, fake_logits = batch
    logits = logits.clone().requires_grad_()
    fake_logits = fake_logits.clone().requires_grad_()
    GeneratorLoss(alpha=0)(logits, density, fixations, fake_logits)[0].backward()
    assert logits.grad is not None
    assert not logits.grad.any()
    assert fake_logits.grad is not None
    assert fake_logits.grad.all()


def test_sixteen_bit_inputs_are_widened(batch: tuple[Tensor, ...]) -> None:
    logits, density, fixations, fake_logits = batch
    total, _ = GeneratorLoss()(logits.bfloat16(), density, fixations, fake_logits.bfloat16())
    exact, _ = GeneratorLoss()(logits.bfloat16().float(), density, fixations, fake_logits.bfloat16().float())
    assert total.dtype == torch.float32
    assert torch.equal(total, exact)


def test_a_certain_mistake_has_a_finite_loss_and_gradient() -> None:
    logits = torch.full((1, 1, 2, 2), 200.0, requires_grad=True)
    total, _ = GeneratorLoss()(logits, torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 2), torch.tensor([[-200.0]]))
    total.backward()
    assert float(total.detach()) == pytest.approx(400)
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_maps_of_different_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="one shape"):
        GeneratorLoss()(torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 4), None)


def test_every_wrong_weight_is_named_at_once() -> None:
    with pytest.raises(ValueError, match=r"alpha.*-1.*adversarial.*nan"):
        GeneratorLoss(alpha=-1, adversarial=math.nan)
    with pytest.raises(ValueError, match="nothing to learn"):
        GeneratorLoss(alpha=0, adversarial=0)
    with pytest.raises(ValueError, match="did you mean 'nss'"):
        GeneratorLoss(terms={"ns": -1})
