import torch
from torch import nn

from saltext.models.freezing import FrozenModulesMixin, freeze, is_frozen, parameters_and_buffers


class Net(FrozenModulesMixin):
    def __init__(self) -> None:
        super().__init__()
        self.frozen = freeze(nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Dropout(0.5)))
        self.live = nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.live(self.frozen(x))


def test_frozen_batchnorm_statistics_do_not_move_in_training() -> None:
    net = Net().train()
    before = net.frozen[1].running_mean.clone()
    net(torch.randn(8, 3, 4, 4) + 5)
    assert torch.equal(net.frozen[1].running_mean, before)
    assert not torch.equal(net.live[1].running_mean, torch.zeros(4))


def test_training_mode_reaches_all_but_the_frozen_parts_through_an_outer_module() -> None:
    outer = nn.Sequential(Net())
    outer.eval().train()
    assert outer[0].live.training
    assert not any(module.training for module in outer[0].frozen.modules())


def test_the_authors_moving_statistics_can_be_had() -> None:
    net = Net()
    net.hold_statistics = False
    assert net.train().frozen[1].training


def test_unfreezing_lets_a_part_train_again() -> None:
    net = Net()
    net.frozen.requires_grad_(True)
    assert net.train().frozen[2].training


def test_a_frozen_part_inside_a_live_one_is_held() -> None:
    net = Net()
    freeze(net.live[1])
    net.train()
    assert net.live.training
    assert not net.live[1].training


def test_a_module_without_parameters_is_not_frozen() -> None:
    assert not is_frozen(nn.Dropout(0.5))
    assert is_frozen(Net().frozen)


def test_one_walk_finds_the_parameters_and_buffers_that_torch_finds_also_of_shared_and_missing_submodules() -> None:
    shared = nn.BatchNorm2d(4)
    module = nn.ModuleDict({"net": Net(), "first": shared, "second": nn.Sequential(shared)})
    module["net"].register_module("absent", None)
    module["net"].register_parameter("no_weight", None)
    module["net"].register_buffer("table", torch.zeros(2), persistent=False)
    parameters, buffers = parameters_and_buffers(module)
    assert {id(each) for each in parameters} == {id(each) for each in module.parameters()}
    assert {id(each) for each in buffers} == {id(each) for each in module.buffers()}
    assert len(parameters) == len(list(module.parameters()))
    assert len(buffers) == len(list(module.buffers()))
