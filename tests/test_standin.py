"""The stand-in device refuses what a GPU refuses, and computes what the CPU does."""

import copy
import io
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.testing._internal.distributed.fake_pg import FakeStore

from tests import standin

GPU = "cuda"


@pytest.fixture
def gpu() -> Iterator[torch.device]:
    with standin.device(GPU) as device:
        yield device


@pytest.fixture
def two_processes() -> Iterator[None]:
    """The other one always says what this one says. Gloo reads no address from such a store, and crashes."""
    torch.distributed.init_process_group("fake", store=FakeStore(), rank=0, world_size=2)
    yield
    torch.distributed.destroy_process_group()


def maps() -> torch.Tensor:
    return torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 1, 1))


def test_numpy_is_refused_as_on_a_gpu(gpu: torch.device) -> None:
    there = maps().to(gpu)
    for call in (there.numpy, lambda: np.asarray(there), lambda: np.array(there), lambda: there.detach().numpy()):
        with pytest.raises(TypeError, match=r"can't convert cuda:0 device type tensor to numpy\. Use Tensor\.cpu\(\)"):
            call()
    np.testing.assert_array_equal(there.cpu().numpy(), maps().numpy())


@pytest.mark.parametrize(
    "call",
    [
        lambda here, there: there + here,
        lambda here, there: F.conv2d(there, torch.ones(1, 3, 1, 1)),
        lambda here, there: torch.cat([there, here]),
        lambda here, there: torch.stack([there.sum(), here.sum()]),
        lambda here, there: torch.where(here > 0, there, there),
        lambda here, there: here[there[:, 0, 0, 0] > 0],
        lambda here, there: here.add_(there),
        lambda here, there: here.sum().add_(there.sum()),
        lambda here, there: torch.add(there, there, out=torch.empty_like(here)),
        lambda here, there: there.index_put_((torch.tensor([0]),), here[0]),
        lambda here, there: torch.ones(8, 8) @ there,
    ],
)
def test_tensors_of_two_devices_are_refused_in_one_operation(
    gpu: torch.device, call: Callable[[torch.Tensor, torch.Tensor], Any]
) -> None:
    with pytest.raises(RuntimeError, match="Expected all tensors to be on the same device"):
        call(maps(), maps().to(gpu))


def test_numbers_indices_and_copies_cross_over_as_on_a_gpu(gpu: torch.device) -> None:
    here, there = maps(), maps().to(gpu)
    assert (there * torch.tensor(2.0)).device == gpu
    assert there[torch.tensor([1])].device == there[here > 0.5].device == gpu
    here.copy_(there * 0)
    assert not here.any()
    there.copy_(here)
    assert not there.cpu().any()
    assert isinstance(there.sum().item(), float)
    assert there[0, 0, 0].tolist() == [0.0] * 8


def test_a_list_chooses_rows_as_on_the_cpu(gpu: torch.device) -> None:
    there = maps().to(gpu)
    assert torch.equal(there[[1, 0, 1]].cpu(), maps()[[1, 0, 1]])
    assert torch.equal(there[:, [2]].cpu(), maps()[:, [2]])
    assert there[[]].shape == maps()[[]].shape
    there[[0]] = 0.0
    assert not there[0].any()


def test_random_numbers_of_the_cpu_s_generator_are_refused(gpu: torch.device) -> None:
    with pytest.raises(RuntimeError, match="Expected a 'cuda' device type for generator"):
        torch.rand(3, device=gpu, generator=torch.Generator())
    assert torch.rand(3, device=gpu).device == gpu


def test_float64_is_refused_on_mps_alone() -> None:
    calls: list[Callable[[torch.Tensor], Any]] = [
        lambda there: there.double(),
        lambda there: there.sum(dtype=torch.float64),
        lambda there: torch.zeros(3, dtype=torch.float64, device=there.device),
        lambda there: torch.from_numpy(np.ones(3)).to(there.device),
        lambda there: torch.tensor(np.ones(3), device=there.device),
    ]
    with standin.device("mps") as mps:
        for call in calls:
            with pytest.raises(TypeError, match="MPS framework doesn't support float64"):
                call(maps().to(mps))
    with standin.device(GPU) as gpu:
        assert all(call(maps().to(gpu)).dtype == torch.float64 for call in calls)


def test_a_network_gives_trains_and_steps_as_on_the_cpu(gpu: torch.device) -> None:
    results = []
    for device in ("cpu", gpu):
        model = network().to(device)
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
        for _ in range(2):
            optimizer.zero_grad()
            loss = model(maps().to(device)).sigmoid().mean()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.1)
            optimizer.step()
        kind = device if isinstance(device, str) else device.type  # not by torch, which gets another name
        assert all(value.device.type == kind for value in model.state_dict().values())
        with torch.inference_mode():
            results.append(model.eval()(maps().to(device)).cpu())
    torch.testing.assert_close(*results)


def test_a_module_goes_there_and_back_with_its_values(gpu: torch.device) -> None:
    model, expected = network(), {name: value.clone() for name, value in network().state_dict().items()}
    for device in (gpu, torch.device("cpu")):
        with torch.inference_mode(device == gpu):
            model.to(device)
        assert {value.device for value in model.state_dict().values()} == {device}
        assert all(torch.equal(value.cpu(), expected[name]) for name, value in model.state_dict().items())


def test_a_copy_and_a_file_keep_the_values(gpu: torch.device) -> None:
    model, file = network().to(gpu), io.BytesIO()
    copied = copy.deepcopy(model)
    assert copied[0].weight.device == gpu
    assert torch.equal(copied[0].weight.cpu(), model[0].weight.cpu())
    torch.save(model.state_dict(), file)
    file.seek(0)
    read = torch.load(file, weights_only=True)
    assert all(value.device.type == "cpu" for value in read.values())
    model.load_state_dict(read)
    assert torch.equal(model[0].weight.cpu(), read["0.weight"])


def test_a_collective_on_the_cpu_is_refused_as_nccl_does(gpu: torch.device, two_processes: None) -> None:
    here = torch.ones(3)
    for tensors in ((here.to(gpu), [here, here]), (here, [here.to(gpu)] * 2), (here, [here, here])):
        with pytest.raises(RuntimeError, match="No backend type associated with device type cpu"):
            torch.distributed.all_gather(tensors[1], tensors[0])
    with pytest.raises(RuntimeError, match="No backend type associated with device type cpu"):
        torch.distributed.all_reduce(here)
    gathered = [torch.zeros(3).to(gpu) for _ in range(2)]
    torch.distributed.all_gather(gathered, here.to(gpu))
    assert [part.tolist() for part in gathered] == [[1.0] * 3] * 2


def test_what_is_left_over_of_it_says_so() -> None:
    with standin.device(GPU) as gpu:
        there = maps().to(gpu)
    with pytest.raises(RuntimeError, match="stand-in device after its `with` had ended"):
        there + 1


@pytest.mark.parametrize(
    "call",
    [
        lambda there: there.sum().item(),
        lambda there: bool(there.any()),
        lambda there: there.tolist(),
        lambda there: there.cpu(),
        lambda there: there.nonzero(),
        lambda there: there[there > 0.5],
        lambda there: there[[0, 1]],
        lambda there: there.add_(torch.ones(2, 3, 8, 8).to(GPU)),
        lambda there: torch.zeros(2, 3, 8, 8).copy_(there),
        lambda there: torch.tensor([1.0], device=GPU),
    ],
)
def test_what_the_host_waits_for_is_noted_with_its_line(gpu: torch.device, call: Callable[[torch.Tensor], Any]) -> None:
    there = maps().to(gpu)
    with standin.waits() as noted:
        call(there)
    assert len(noted) == 1
    assert f" at {__file__}:" in noted[0]


@pytest.mark.parametrize(
    "call",
    [
        lambda there: there * 2 + there.mean(),
        lambda there: there.to(torch.float16),
        lambda there: there[0:1],
        lambda there: there.index_select(0, torch.tensor([1]).to(GPU, non_blocking=True)),
        lambda there: torch.where(there > 0.5, there, 0.0),
        lambda there: torch.zeros(2, 3, 8, 8).to(GPU, non_blocking=True) + there,
    ],
)
def test_what_is_queued_is_no_wait(gpu: torch.device, call: Callable[[torch.Tensor], Any]) -> None:
    there = maps().to(gpu)
    with standin.waits() as noted:
        call(there)
    assert noted == []
