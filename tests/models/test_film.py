import pytest
import torch

from saltext.models.film import FiLM


@pytest.fixture
def film() -> FiLM:
    torch.manual_seed(0)
    return FiLM(condition_dim=3, channels=4)


def test_a_fresh_module_is_the_identity_whatever_the_condition(film: FiLM) -> None:
    x = torch.randn(2, 5, 4)
    assert torch.equal(film(x, 100 * torch.randn(2, 1, 3)), x)


def test_each_channel_is_scaled_and_shifted_by_its_own_row_of_the_affine_map(film: FiLM) -> None:
    with torch.no_grad():
        film.affine.weight.zero_()
        film.affine.weight[1, 0] = 2.0  # scale of channel 1
        film.affine.weight[4 + 3, 2] = 5.0  # shift of channel 3
    x, condition = torch.ones(1, 1, 4), torch.tensor([[[10.0, 0.0, 1.0]]])
    assert film(x, condition).tolist() == [[[1.0, 1 + 20.0, 1.0, 1 + 5.0]]]


def test_one_condition_holds_for_all_positions_and_one_each_for_its_own(film: FiLM) -> None:
    with torch.no_grad():
        film.affine.weight.normal_()
    x, condition = torch.randn(2, 6, 5, 4), torch.randn(2, 6, 5, 3)
    assert torch.equal(film(x, condition[:, :1, :1]), film(x, condition[:, :1, :1].expand(-1, 6, 5, -1)))
    each = film(x, condition)
    torch.testing.assert_close(each[1, 2, 3], film(x[1, 2, 3], condition[1, 2, 3]))


def test_a_fresh_module_learns_from_its_condition(film: FiLM) -> None:
    film(torch.randn(2, 5, 4), torch.randn(2, 1, 3)).square().sum().backward()
    assert film.affine.weight.grad is not None
    assert (film.affine.weight.grad != 0).all()
