"""Values that the host gives a device."""

import pytest
import torch

from saltext.models.transfer import select_rows, to_device
from tests import standin


@pytest.mark.parametrize("kind", ["cuda", "mps"])
def test_only_a_copy_to_cuda_is_not_waited_for(kind: str) -> None:
    with standin.device(kind) as device, standin.waits() as noted:
        moved = to_device(torch.tensor([1.0, 2.0]), device, torch.float16)
        assert moved.device == device
        assert moved.dtype == torch.float16
        assert bool(noted) == (kind == "mps")
        there = list(noted)
        assert to_device(moved, device) is moved
        assert noted == there


@pytest.mark.parametrize("indices", [[0, 1, 2], [2, 0], [1, 1, 1, 0]])
def test_rows_are_those_of_an_index_and_all_in_order_are_no_copy(indices: list[int]) -> None:
    values = torch.rand(3, 2)
    chosen = select_rows(values, indices)
    assert torch.equal(chosen, values[indices])
    assert (chosen is values) == (indices == [0, 1, 2])


def test_rows_of_what_lies_on_a_gpu_are_chosen_without_waiting() -> None:
    with standin.device("cuda") as device:
        values = torch.rand(3, 2).to(device)
        with standin.waits() as noted:
            chosen = select_rows(values, [2, 0])
        assert noted == []
        with standin.waits() as noted:
            assert torch.equal(chosen.cpu(), values.cpu()[[2, 0]])
        assert len(noted) == 2
