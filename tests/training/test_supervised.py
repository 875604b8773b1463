import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from torch import Tensor, nn

from saltext.data.datamodule import SaliencyDataModule
from saltext.losses import SaliencyLoss
from saltext.losses.saliency import PAPER_WEIGHTS
from saltext.models.freezing import FrozenModulesMixin, freeze
from saltext.models.network import SaliencyNetwork
from saltext.models.normalize import Normalize
from saltext.training import SupervisedModule
from saltext.training.supervised import DivergedError
from tests.training.quick_trainer import trainer


class Tiny(FrozenModulesMixin):
    """A frozen convolution with BatchNorm, then one that trains, at a quarter of the input's size."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = freeze(nn.Sequential(nn.Conv2d(3, 8, 4, stride=4), nn.BatchNorm2d(8), nn.ReLU()))
        self.head = nn.Conv2d(8, 1, 3, padding=1)

    def forward(self, images: Tensor, texts: Sequence[str], conditions: Sequence[str] | None = None) -> Tensor:
        return self.head(self.encoder(images))  # type: ignore[no-any-return]


def module(**changes: Any) -> SupervisedModule:
    torch.manual_seed(0)
    parts: dict[str, Any] = {
        "network": Tiny(),
        "normalize": Normalize(),
        "loss": SaliencyLoss(PAPER_WEIGHTS),
        "optimizer": partial(torch.optim.Adam, lr=0.02),
        "scheduler": partial(torch.optim.lr_scheduler.OneCycleLR, max_lr=0.02),
        "validation_metrics": ["cc", "nss"],
    }
    return SupervisedModule(**{**parts, **changes})


class ConditionedReadouts(SaliencyNetwork):
    """Two readouts, each with a row of weights per condition; predicts a density."""

    conditions = ("pure", "salient")
    predicts_density = True

    def __init__(self) -> None:
        super().__init__()
        self.readouts = nn.ParameterList(torch.randn(2, 48) for _ in range(2))

    def forward(self, images: Tensor, texts: Sequence[str], conditions: Sequence[str] = ()) -> Tensor:
        rows = [self.conditions.index(name) for name in conditions]
        logits = torch.stack([readout[rows].view(-1, 6, 8) for readout in self.readouts], dim=1)
        return logits if self.training else logits.mean(1, keepdim=True)


pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers.*"),  # two dozen pairs need none
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*"),  # lightning 2.6 with torch 2.14
    pytest.mark.filterwarnings("ignore:.*module\\(s\\) in eval mode.*"),  # frozen on purpose
    pytest.mark.filterwarnings("ignore:.*smaller than the logging interval.*"),
]


def test_the_loss_falls_on_one_batch(data: SaliencyDataModule) -> None:
    model = module()
    batch = next(iter(data.train_dataloader()))
    optimizer = torch.optim.Adam(model.network.head.parameters(), lr=0.02)
    losses = []
    for _ in range(15):
        total, _ = model.loss(model.saliency(batch), batch["density"], batch["fixations"])
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        losses.append(float(total.detach()))
    assert losses[-1] < losses[0] - 0.5


def test_frozen_weights_and_statistics_do_not_move_and_the_rest_does(data: SaliencyDataModule, tmp_path: Path) -> None:
    model = module()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    trainer(tmp_path).fit(model, datamodule=data)
    moved = {key for key, value in model.state_dict().items() if not torch.equal(value, before[key])}
    assert moved == {"network.head.weight", "network.head.bias"}


def test_only_what_trains_reaches_the_optimizer(data: SaliencyDataModule, tmp_path: Path) -> None:
    model = module()
    fitted = trainer(tmp_path)
    fitted.fit(model, datamodule=data)
    (group,) = fitted.optimizers[0].param_groups
    assert {id(p) for p in group["params"]} == {id(p) for p in model.network.head.parameters()}


def test_the_logged_keys_are_exactly_these(data: SaliencyDataModule, tmp_path: Path) -> None:
    fitted = trainer(tmp_path)
    fitted.fit(module(), datamodule=data)
    tasks = {data.pairs[i].task for i in data.indices("val")}
    expected = {"train/loss", *(f"train/{term}" for term in PAPER_WEIGHTS), "lr", "val/cc", "val/nss"}
    expected |= {f"val/{name}_{task}" for name in ("cc", "nss") for task in tasks}
    assert set(fitted.callback_metrics) == expected


def test_the_overall_validation_score_weighs_tasks_not_pairs(data: SaliencyDataModule, tmp_path: Path) -> None:
    fitted = trainer(tmp_path)
    fitted.fit(module(), datamodule=data)
    logged = {k: float(v) for k, v in fitted.callback_metrics.items()}
    by_task = [value for key, value in logged.items() if key.startswith("val/cc_")]
    assert len(by_task) > 1
    assert logged["val/cc"] == pytest.approx(sum(by_task) / len(by_task))


def test_the_part_that_chooses_the_epoch_names_the_logged_scores(data: SaliencyDataModule, tmp_path: Path) -> None:
    data.selection_split = "test"
    try:
        fitted = trainer(tmp_path)
        fitted.fit(module(selection_split="test"), datamodule=data)
    finally:
        data.selection_split = "val"
    assert "test/cc" in fitted.callback_metrics
    assert not [key for key in fitted.callback_metrics if key.startswith("val/")]


def test_the_network_reads_the_condition_where_the_prompt_says_so() -> None:
    batch = {"text": ["a {red} dog", ""], "task": ["non_salient", "pure"]}
    assert module().pipeline.read(batch) == ["a {red} dog", ""]
    assert module(prompt="{condition}: {text}").pipeline.read(batch) == ["non salient: a {red} dog", "pure: "]


@pytest.mark.parametrize("prompt", ["{task}: {text}", "{}", "{text"])
def test_a_prompt_of_unknown_parts_is_refused(prompt: str) -> None:
    with pytest.raises(ValueError, match=r"\{text\} and \{condition\} only"):
        module(prompt=prompt)


def test_a_mirrored_prediction_is_symmetric_and_swaps_the_sides_of_the_text(data: SaliencyDataModule) -> None:
    seen: list[str] = []

    class Spy(Tiny):
        def forward(self, images: Tensor, texts: Sequence[str], conditions: Sequence[str] | None = None) -> Tensor:
            seen.extend(texts)
            return super().forward(images, texts)

    model = module(network=Spy(), mirror=True).eval()
    batch: dict[str, Any] = dict(next(iter(data.test_dataloader())))
    batch["text"] = ["the dog on the left"] * len(batch["text"])
    flipped = {**batch, "image": batch["image"].flip(-1), "text": ["the dog on the right"] * len(batch["text"])}
    with torch.no_grad():
        torch.testing.assert_close(model.predict_saliency(batch), model.predict_saliency(flipped).flip(-1))
    assert set(seen) == {"the dog on the left", "the dog on the right"}


def _batch_with_conditions() -> dict[str, Any]:
    return {
        "image": torch.zeros(2, 3, 48, 64, dtype=torch.uint8),
        "text": ["a dog", ""],
        "task": ["salient", "pure"],
        "density": torch.rand(2, 1, 6, 8),
        "fixations": torch.ones(2, 1, 6, 8),
    }


def test_a_network_with_conditions_gets_each_pairs_own() -> None:
    model = module(network=ConditionedReadouts()).eval()
    maps = model.saliency(_batch_with_conditions())
    mean = torch.stack(list(model.network.readouts)).mean(0)
    torch.testing.assert_close(maps.flatten(1).log(), mean[[1, 0]] - mean[[1, 0]].amax(1, keepdim=True))
    assert model.reads_condition


def test_readouts_learn_each_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    model, batch = module(network=ConditionedReadouts(), loss=SaliencyLoss({"kl": 1})).train(), _batch_with_conditions()
    monkeypatch.setattr(model, "_log_epoch", lambda *_, **__: None)
    model.training_step(batch, 0).backward()
    for readout in model.network.readouts:
        alone = readout.detach().clone().requires_grad_()
        maps = alone[[1, 0]].softmax(1).view(2, 1, 6, 8)
        total, _ = model.loss(maps, batch["density"], batch["fixations"])
        (total / 2).backward()  # one of two
        torch.testing.assert_close(readout.grad, alone.grad)


class Two(Tiny):
    """Nothing of it is frozen."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder.requires_grad_(True)


def test_parts_learn_at_their_share_of_the_rate(data: SaliencyDataModule, tmp_path: Path) -> None:
    constant = partial(torch.optim.lr_scheduler.LambdaLR, lr_lambda=lambda step: 1.0)
    model = module(network=Two(), lr_multipliers={"encoder.0": 0.1, "encoder": 0.5}, scheduler=constant)
    fitted = trainer(tmp_path)
    fitted.fit(model, datamodule=data)
    groups = fitted.optimizers[0].param_groups
    rates = {id(parameter): group["lr"] for group in groups for parameter in group["params"]}
    expected = {"head": 0.02, "encoder.0": 0.002, "encoder.1": 0.01}
    for name, parameter in model.network.named_parameters():
        part = name.rpartition(".")[0]
        assert rates[id(parameter)] == pytest.approx(expected[part]), name


@pytest.mark.parametrize("multiplier", [0.0, -0.1, float("nan"), float("inf")])
def test_a_multiplier_that_is_not_above_0_is_refused(multiplier: float) -> None:
    with pytest.raises(ValueError, match=r"head: expected a number above 0"):
        module(lr_multipliers={"head": multiplier})


def test_multipliers_of_parameters_that_do_not_train_are_refused() -> None:
    with pytest.raises(ValueError, match=r"encoder: expected .*\(in head\).*; tail: expected"):
        module(lr_multipliers={"encoder": 0.1, "head": 0.5, "tail": 1.0})


@pytest.mark.parametrize(
    ("broken", "said"), [("loss", "step 2 of epoch 1: loss nan"), ("weight", "weights are not finite")]
)
def test_training_that_diverges_ends_where_it_does_in_words(
    broken: str, said: str, data: SaliencyDataModule, tmp_path: Path
) -> None:
    model = module()

    class Breaks(L.Callback):
        def on_train_batch_start(self, trainer: L.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
            if broken == "loss" and batch_idx == 1:
                pl_module.network.head.bias.data.fill_(math.nan)

        def on_before_zero_grad(self, trainer: L.Trainer, pl_module: Any, optimizer: Any) -> None:
            if broken == "weight" and trainer.is_last_batch:
                pl_module.network.head.bias.data.fill_(math.inf)

    running = trainer(tmp_path, max_epochs=2, callbacks=[Breaks()])
    with pytest.raises(DivergedError, match=f"{said}.*Lower optimizer.lr"):
        running.fit(model, datamodule=data)
    assert running.current_epoch == 0
