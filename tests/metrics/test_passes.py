import numpy as np
import pytest
import torch

from saltext.metrics import passes

EPS = 2.2204e-16


@pytest.fixture(params=[torch.float32, torch.float64], ids=str)
def maps(request):
    random = torch.Generator().manual_seed(3)
    return [torch.rand(5, 41, generator=random, dtype=torch.float64).to(request.param) for _ in range(2)]


@pytest.fixture(params=[7, 41, 100, 2**18])
def small_pieces(request, monkeypatch):
    """Pieces of a part of a row, of one row, of some, and of all."""
    monkeypatch.setattr(passes, "PIECE", request.param)
    monkeypatch.setattr(passes, "_arrays", passes._Arrays())


def test_sums_are_those_of_float64_wherever_the_pieces_end(maps, small_pieces) -> None:
    p, g = (m.double() for m in maps)
    (total, squares), (other_total, other_squares), products = passes.joint_sums(*maps)
    for found, expected in (
        (total, p.sum(1)),
        (squares, p.square().sum(1)),
        (other_total, g.sum(1)),
        (other_squares, g.square().sum(1)),
        (products, (p * g).sum(1)),
        (passes.totals(maps[0]), p.sum(1)),
        (passes.sums(maps[1])[1], g.square().sum(1)),
    ):
        torch.testing.assert_close(found, expected, rtol=1e-14, atol=0)


def test_mass_and_divergence_are_those_of_the_formulas_wherever_the_pieces_end(maps, small_pieces) -> None:
    factors = [1 / m.double().sum(1) for m in maps]
    p, g = (m.double() * f[:, None] for m, f in zip(maps, factors, strict=True))
    arguments = (maps[0], factors[0], maps[1], factors[1])
    tolerance = 1e-6 if maps[0].dtype == torch.float32 else 1e-13
    torch.testing.assert_close(passes.shared_mass(*arguments), torch.minimum(p, g).sum(1), rtol=tolerance, atol=0)
    divergence = (g * torch.log(EPS + g / (p + EPS))).sum(1)
    torch.testing.assert_close(passes.divergence(*arguments, EPS), divergence, rtol=tolerance, atol=0)


def test_maps_that_float32_products_cannot_hold_are_widened() -> None:
    faint = torch.full((1, 6), 1e-30)
    factors = 1 / faint.double().sum(1)
    assert passes.shared_mass(faint, factors, faint, factors).item() == pytest.approx(1, rel=1e-12)


def test_maps_are_not_changed(maps) -> None:
    before = [m.numpy().copy() for m in maps]
    ones = torch.ones(5, dtype=torch.float64)
    passes.joint_sums(*maps)
    passes.shared_mass(maps[0], ones, maps[1], ones)
    passes.divergence(maps[0], ones, maps[1], ones, EPS)
    for m, copy in zip(maps, before, strict=True):
        assert np.array_equal(m.numpy(), copy)


def test_a_batch_of_none_sums_to_none() -> None:
    assert passes.totals(torch.zeros(0, 12)).shape == (0,)
