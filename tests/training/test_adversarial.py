"""Both players, step by step and over epochs."""

import copy
import json
import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from torch import Tensor, nn
from torch.utils.data import DataLoader

from saltext.data.datamodule import SaliencyDataModule
from saltext.errors import SaltextError
from saltext.losses import GeneratorLoss
from saltext.models.blending.concat import Concat
from saltext.models.clip_salgan.discriminator import Discriminator
from saltext.models.clip_salgan.small import SmallGenerator
from saltext.models.network import SaliencyNetwork
from saltext.models.normalize import Normalize
from saltext.models.text.tiny import TinyText
from saltext.training.adversarial import AdversarialModule
from saltext.training.callbacks import EpochSeed
from saltext.training.supervised import DivergedError
from tests.models.clip_salgan.stubs import Given
from tests.reference import formula
from tests.training import quick_trainer

MAP = (16, 24)
BETAS = (0.5, 0.999)

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*smaller than the logging interval.*"),
    # A fresh folder for each trainer, reused when it resumes.
    pytest.mark.filterwarnings("ignore:.*exists and is not empty.*"),
]


class Tiny(nn.Module):
    """A generator without norms, so that nothing but its optimizer moves it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, stride=4, padding=1)
        self.out = nn.Conv2d(4, 1, 3, padding=1)

    def forward(self, images: Tensor, texts: Sequence[str], conditions: Sequence[str] | None = None) -> Tensor:
        return self.out(self.conv(images).tanh())  # type: ignore[no-any-return]


def adam(parameters: Any, lr: float = 0.01) -> torch.optim.Adam:
    return torch.optim.Adam(parameters, lr=lr, betas=BETAS)


def constant(optimizer: torch.optim.Optimizer) -> torch.optim.lr_scheduler.LRScheduler:
    return torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0)


def module(**changes: Any) -> AdversarialModule:
    torch.manual_seed(0)
    parts: dict[str, Any] = {
        "network": Tiny(),
        "normalize": Normalize(),
        "discriminator": Discriminator(MAP, channels=(4, 8)),
        "loss": GeneratorLoss(),
        "optimizer": adam,
        "scheduler": constant,
        "validation_metrics": ["cc"],
        "patience": None,
    }
    return AdversarialModule(**{**parts, **changes})


def trainer(folder: Path, **changes: Any) -> L.Trainer:
    return quick_trainer.trainer(folder, **{"limit_val_batches": 0, **changes})


@pytest.fixture
def batches(data: SaliencyDataModule) -> list[dict[str, Any]]:
    return list(data.train_dataloader())


def fit(model: AdversarialModule, batches: Sequence[Any], folder: Path, **changes: Any) -> L.Trainer:
    fitted = trainer(folder, **changes)
    fitted.fit(model, DataLoader(list(batches), batch_size=None), val_dataloaders=[])
    return fitted


def state(part: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in part.state_dict().items()}


class Reference:
    """Both players' steps by hand: plain PyTorch, cross-entropies of probabilities, one optimizer each."""

    def __init__(self, model: AdversarialModule, smoothing: float = 0.0, clip: float = math.inf) -> None:
        self.g, self.d = copy.deepcopy(model.network), copy.deepcopy(model.discriminator)
        self.normalize = model.normalize
        self.g_optimizer = torch.optim.Adam(self.g.parameters(), lr=0.01, betas=BETAS)
        self.d_optimizer = torch.optim.Adam(self.d.parameters(), lr=0.01, betas=BETAS)
        self.smoothing, self.clip = smoothing, clip
        self.bce = nn.BCELoss()

    def judge(self, maps: Tensor, images: Tensor) -> Tensor:
        return torch.sigmoid(self.d(maps, images))

    def step(self, group: Sequence[dict[str, Any]], alpha: float = 1.0) -> None:
        """One step of each player on the mean over a group of batches."""
        fakes = [(torch.sigmoid(self.g(self.normalize(b["image"]), b["text"])), b) for b in group]
        losses = []
        for fake, batch in fakes:
            images = self.normalize(batch["image"])
            of_real, of_fake = self.judge(batch["density"], images), self.judge(fake.detach(), images)
            real_target = torch.full_like(of_real, 1 - self.smoothing)
            losses.append(self.bce(of_real, real_target) + self.bce(of_fake, torch.zeros_like(of_fake)))
        before = copy.deepcopy(self.d)
        self._update(self.d, self.d_optimizer, torch.stack(losses).mean())
        losses = []
        for index, (fake, batch) in enumerate(fakes):
            judge = self.d if index + 1 == len(fakes) else before
            probability = torch.sigmoid(judge(fake, self.normalize(batch["image"])))
            losses.append(
                alpha * self.bce(fake, batch["density"]) + self.bce(probability, torch.ones_like(probability))
            )
        self._update(self.g, self.g_optimizer, torch.stack(losses).mean())

    def _update(self, part: nn.Module, optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
        optimizer.zero_grad()
        loss.backward()
        if self.clip < math.inf:
            nn.utils.clip_grad_norm_(part.parameters(), self.clip)
        optimizer.step()


def assert_same(part: nn.Module, reference: nn.Module) -> None:
    for name, value in part.state_dict().items():
        torch.testing.assert_close(value, reference.state_dict()[name], rtol=0, atol=1e-6, msg=name)


@pytest.mark.parametrize(
    ("options", "of_reference"),
    [({}, {}), ({"label_smoothing": 0.1}, {"smoothing": 0.1}), ({"clip": 0.05}, {"clip": 0.05})],
)
def test_a_step_of_each_player_equals_the_step_by_hand(
    options: dict[str, Any], of_reference: dict[str, Any], batches: list[Any], tmp_path: Path
) -> None:
    model = module(**options)
    reference = Reference(model, **of_reference)
    before = state(model)
    fit(model, batches[:2], tmp_path)
    for batch in batches[:2]:
        reference.step([batch])
    assert_same(model.network, reference.g)
    assert_same(model.discriminator, reference.d)
    assert not torch.equal(before["network.out.weight"], model.state_dict()["network.out.weight"])


def test_accumulated_batches_make_one_step_of_their_mean_and_an_epoch_s_rest_one_of_its_own(
    batches: list[Any], tmp_path: Path
) -> None:
    model = module(accumulate=2)
    reference = Reference(model)
    fitted = fit(model, batches[:3], tmp_path)
    reference.step(batches[:2])
    reference.step(batches[2:3])
    assert_same(model.network, reference.g)
    assert_same(model.discriminator, reference.d)
    assert fitted.global_step == 4  # two of each player


class Spy(Callback):
    """Which parameters have a gradient, and which moved, at each step of either player."""

    def __init__(self) -> None:
        self.with_gradient: list[set[str]] = []

    def on_before_optimizer_step(
        self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        reached = {name.split(".")[0] for name, p in pl_module.named_parameters() if p.grad is not None}
        self.with_gradient.append(reached)


def test_a_player_s_step_leaves_no_gradient_in_the_other(batches: list[Any], tmp_path: Path) -> None:
    spy = Spy()
    fit(module(), batches[:2], tmp_path, callbacks=[spy])
    assert spy.with_gradient == [{"discriminator"}, {"network"}] * 2


def still(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.0)


def test_the_discriminator_s_step_leaves_the_generator_untouched(batches: list[Any], tmp_path: Path) -> None:
    model = module(optimizer=still, discriminator_optimizer=adam)
    before = state(model)
    fit(model, batches[:2], tmp_path)
    moved = {name.split(".")[0] for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == {"discriminator"}


def test_the_generator_s_step_leaves_the_discriminator_untouched(batches: list[Any], tmp_path: Path) -> None:
    model = module(discriminator_optimizer=still)
    before = state(model)
    fit(model, batches[:2], tmp_path)
    moved = {name.split(".")[0] for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == {"network"}


def test_a_warm_start_trains_the_generator_on_the_truth_alone(batches: list[Any], tmp_path: Path) -> None:
    model = module(warm_start=1)
    reference = Reference(model)
    before = state(model.discriminator)
    fit(model, batches[:1], tmp_path)
    batch = batches[0]
    fake = torch.sigmoid(reference.g(reference.normalize(batch["image"]), batch["text"]))
    reference._update(reference.g, reference.g_optimizer, reference.bce(fake, batch["density"]))
    assert_same(model.network, reference.g)
    assert all(torch.equal(value, before[name]) for name, value in model.discriminator.state_dict().items())


def test_after_the_warm_start_the_discriminator_plays(batches: list[Any], tmp_path: Path) -> None:
    spy = Spy()
    fit(module(warm_start=1), batches[:1], tmp_path, callbacks=[spy], max_epochs=2)
    assert spy.with_gradient == [{"network"}, {"discriminator"}, {"network"}]


GENERATOR = {"train/loss", "train/bce", "lr", "lr_discriminator"}
DISCRIMINATOR = {
    "train/adversarial",
    "train/discriminator",
    "train/discriminator_real",
    "train/discriminator_generated",
    "train/accuracy_real",
    "train/accuracy_generated",
}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, GENERATOR | DISCRIMINATOR),
        ({"loss": GeneratorLoss(terms={"nss": -1})}, GENERATOR | DISCRIMINATOR | {"train/nss"}),
        ({"warm_start": 1}, GENERATOR),
    ],
)
def test_the_logged_keys_are_exactly_these(
    options: dict[str, Any], expected: set[str], data: SaliencyDataModule, tmp_path: Path
) -> None:
    fitted = trainer(tmp_path, limit_val_batches=1.0)
    fitted.fit(module(**options), datamodule=data)
    tasks = {data.pairs[i].task for i in data.indices("val")}
    assert set(fitted.callback_metrics) == expected | {"val/cc", *(f"val/cc_{task}" for task in tasks)}


class FixedLogits(nn.Module):
    """A discriminator that gives away what it was shown first and second, correctly for some."""

    def __init__(self, right_of_real: Sequence[bool], right_of_generated: Sequence[bool]) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.answers = [
            torch.tensor([[1.0 if right else -1.0] for right in right_of_real]),
            torch.tensor([[-1.0 if right else 1.0] for right in right_of_generated]),
        ]
        self.calls = 0

    def forward(self, maps: Tensor, images: Tensor) -> Tensor:
        self.calls += 1
        return self.scale * self.answers[(self.calls - 1) % 3 % 2] + 0 * maps.mean()


def test_accuracies_are_the_fractions_of_maps_classified_correctly(batches: list[Any], tmp_path: Path) -> None:
    judge = FixedLogits([True] * 6 + [False] * 2, [True] * 3 + [False] * 5)
    fitted = fit(module(discriminator=judge, discriminator_optimizer=still), batches[:1], tmp_path)
    assert float(fitted.callback_metrics["train/accuracy_real"]) == pytest.approx(6 / 8)
    assert float(fitted.callback_metrics["train/accuracy_generated"]) == pytest.approx(3 / 8)


def last_checkpoint(folder: Path) -> ModelCheckpoint:
    return ModelCheckpoint(
        folder, filename="last", monitor=None, save_on_train_epoch_end=True, enable_version_counter=False
    )


def one_cycle(optimizer: torch.optim.Optimizer, total_steps: int) -> torch.optim.lr_scheduler.LRScheduler:
    return torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.01, total_steps, cycle_momentum=False)


def test_a_resumed_run_ends_with_the_very_weights_and_optimizers_of_an_uninterrupted_one(
    data: SaliencyDataModule, tmp_path: Path
) -> None:
    class StopError(Exception):
        pass

    class StopBefore(Callback):
        def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
            if trainer.current_epoch == 2:
                raise StopError

    options: dict[str, Any] = {"warm_start": 1, "accumulate": 2, "scheduler": one_cycle, "patience": 50}

    def run(folder: Path, *extra: Callback, resume: str | None = None) -> tuple[AdversarialModule, L.Trainer]:
        callbacks = [EpochSeed(0), last_checkpoint(folder), *extra]
        fitted = trainer(folder, max_epochs=4, enable_checkpointing=True, callbacks=callbacks)
        model = module(**options)
        try:
            fitted.fit(model, datamodule=data, ckpt_path=resume, weights_only=True)
        except StopError:
            assert extra
        return model, fitted

    whole, whole_trainer = run(tmp_path / "whole")
    run(tmp_path / "parts", StopBefore())
    resumed, resumed_trainer = run(tmp_path / "parts", resume=str(tmp_path / "parts" / "last.ckpt"))
    assert all(torch.equal(value, resumed.state_dict()[name]) for name, value in whole.state_dict().items())
    for one, other in zip(whole_trainer.optimizers, resumed_trainer.optimizers, strict=True):
        assert one.param_groups[0]["lr"] == other.param_groups[0]["lr"]
        for mine, theirs in zip(one.state.values(), other.state.values(), strict=True):
            assert all(torch.equal(mine[key], theirs[key]) for key in ("step", "exp_avg", "exp_avg_sq"))


def test_a_schedule_ends_with_the_last_step_of_its_player(batches: list[Any], tmp_path: Path) -> None:
    totals: list[int] = []

    def spy(optimizer: torch.optim.Optimizer, total_steps: int) -> torch.optim.lr_scheduler.LRScheduler:
        totals.append(total_steps)
        return constant(optimizer)

    fitted = fit(module(warm_start=1, accumulate=2, scheduler=spy), batches[:3], tmp_path, max_epochs=3)
    assert totals == [6, 4]
    assert [config.scheduler.last_epoch for config in fitted.lr_scheduler_configs] == totals


class Shares(L.LightningDataModule):
    """Each process gets its share of every batch."""

    def __init__(self, batches: Sequence[dict[str, Any]]) -> None:
        super().__init__()
        self.batches = batches

    def train_dataloader(self) -> DataLoader[Any]:
        rank, count = self.trainer.global_rank, self.trainer.world_size
        mine = [{key: values[rank::count] for key, values in batch.items()} for batch in self.batches]
        return DataLoader(mine, batch_size=None)  # type: ignore[arg-type]

    def val_dataloader(self) -> list[Any]:
        return []


def test_processes_that_share_batches_step_as_one_process_does(batches: list[Any], tmp_path: Path) -> None:
    kept = ("image", "density", "fixations", "text", "task")
    whole = [{key: batch[key] for key in kept} for batch in batches[:3]]
    models = []
    for devices, strategy in ((1, "auto"), (2, "ddp_fork_find_unused_parameters_true")):
        models.append(module(accumulate=2, clip=0.5))
        fitted = trainer(tmp_path, devices=devices, strategy=strategy, max_epochs=2, enable_checkpointing=True)
        fitted.fit(models[-1], datamodule=Shares(whole))
    for name, value in models[0].state_dict().items():
        torch.testing.assert_close(models[1].state_dict()[name], value, rtol=0, atol=1e-5, msg=name)


def test_ddp_that_does_not_look_for_unused_parameters_is_refused_in_words(batches: list[Any], tmp_path: Path) -> None:
    whole = [{key: batch[key] for key in ("image", "density", "fixations", "text", "task")} for batch in batches[:1]]
    fitted = trainer(tmp_path, devices=2, strategy="ddp_fork")
    with pytest.raises(Exception, match="strategy=ddp_find_unused_parameters_true"):
        fitted.fit(module(), datamodule=Shares(whole))


@pytest.mark.parametrize("precision", ["bf16-mixed"])
def test_mixed_precision_trains_both_players_on_float32_losses(
    precision: Any, batches: list[Any], tmp_path: Path
) -> None:
    model = module(network=SmallGenerator(TinyText(), Concat, width=4), clip=1.0)
    before = state(model)
    fitted = fit(model, batches[:2], tmp_path, precision=precision)
    assert not torch.equal(before["network.sigmoid.0.weight"], model.state_dict()["network.sigmoid.0.weight"])
    assert not torch.equal(before["discriminator.fc.1.weight"], model.state_dict()["discriminator.fc.1.weight"])
    assert all(value.isfinite() for value in fitted.callback_metrics.values())


def test_a_loss_that_is_not_finite_ends_training_in_words_and_keeps_the_checkpoint_before(
    batches: list[Any], tmp_path: Path
) -> None:
    class Breaks(Callback):
        def on_train_batch_start(self, trainer: L.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
            if trainer.current_epoch == 1 and batch_idx == 1:
                pl_module.network.out.bias.data.fill_(math.nan)

    with pytest.raises(DivergedError, match=r"diverged at step 2 of epoch 2: .*loss nan.*Lower optimizer.lr"):
        fit(
            module(),
            batches[:2],
            tmp_path,
            max_epochs=3,
            enable_checkpointing=True,
            callbacks=[last_checkpoint(tmp_path), Breaks()],
        )
    saved = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert saved["epoch"] == 0
    assert all(value.isfinite().all() for value in saved["state_dict"].values())


def all_right(patience: int | None) -> AdversarialModule:
    judge = FixedLogits([True] * 8, [True] * 8)
    return module(discriminator=judge, discriminator_optimizer=still, patience=patience)


def test_a_discriminator_that_is_never_wrong_in_an_epoch_ends_training_in_words(
    batches: list[Any], tmp_path: Path
) -> None:
    with pytest.raises(
        DivergedError,
        match=r"discriminator is saturated.*every map of epoch 1 correctly.*label_smoothing.*Nothing was saved",
    ):
        fit(all_right(1), batches[:2], tmp_path)
    assert issubclass(DivergedError, SaltextError)


def test_it_may_win_as_many_epochs_as_patience_allows(batches: list[Any], tmp_path: Path) -> None:
    with pytest.raises(DivergedError, match="every map of epoch 1 to 2 correctly"):
        fit(all_right(2), batches[:2], tmp_path, max_epochs=3)
    assert fit(all_right(None), batches[:2], tmp_path, max_epochs=3).current_epoch == 3


def test_one_misclassified_map_restarts_the_count(batches: list[Any], tmp_path: Path) -> None:
    judge = FixedLogits([True] * 8, [True] * 7 + [False])
    model = module(discriminator=judge, discriminator_optimizer=still, patience=1)
    model.saturated_epochs += 5
    fit(model, batches[:2], tmp_path)
    assert int(model.saturated_epochs) == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"label_smoothing": 0.5, "accumulate": 0, "warm_start": -1}, r"warm_start.*label_smoothing.*accumulate"),
        ({"clip": 0.0, "patience": 0}, r"clip.*patience"),
        ({"warm_start": 1, "loss": GeneratorLoss(alpha=0)}, "warm_start.*adversarial term"),
    ],
)
def test_every_wrong_number_is_named_at_once(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        module(**options)


GOLDEN_NAMES = {
    "d_real": "train/discriminator_real",
    "d_fake": "train/discriminator_generated",
    "d_total": "train/discriminator",
    "g_loss": "train/adversarial",
}


@pytest.mark.golden
@pytest.mark.slow
@pytest.mark.usefixtures("kept_memory")
def test_three_steps_in_float64_equal_the_authors(golden: Path, tmp_path: Path) -> None:
    wanted = json.loads((golden / "train_step_float64.json").read_text())["clipsalgan_3_steps_batch2"]
    generator = SmallGenerator(Given(formula.normal(formula.TEXT, (2, 512)).double()), Concat)
    discriminator = Discriminator(sees_image=False)
    for player in (generator, discriminator):
        formula.fill(player)
        player.double().train()
    batch = {
        "image": formula.normal(1, (2, 3, 256, 256)).double(),
        "density": formula.uniform(7, (2, 1, 256, 256)).double(),
        "fixations": torch.zeros(2, 1, 256, 256),
        "text": ["0", "1"],
        "task": ["pure", "pure"],
    }
    steps: list[dict[str, float]] = []

    class Record(Callback):
        def on_before_optimizer_step(self, trainer: L.Trainer, pl_module: Any, optimizer: Any) -> None:
            if optimizer is trainer.optimizers[0]:
                grads = [p.grad.square().sum() for p in pl_module.network.parameters()]
                steps.append({"generator_grad_l2": float(torch.stack(grads).sum().sqrt())})

        def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
            logged = {name: float(value) for name, value in trainer.callback_metrics.items()}
            steps[-1] |= {ours: logged[theirs] for ours, theirs in GOLDEN_NAMES.items()}

    model = module(
        network=generator,
        normalize=nn.Identity(),
        discriminator=discriminator,
        loss=GeneratorLoss(alpha=0),
        optimizer=partial(adam, lr=wanted["lr"]),
    )
    model.double()
    # Three epochs of one batch each, so that what is logged of an epoch is of one step.
    fit(model, [batch], tmp_path, max_epochs=3, callbacks=[Record()], precision="64-true")
    for step, expected in zip(steps, wanted["steps"], strict=True):
        assert step == pytest.approx({name: expected[name] for name in step}, rel=1e-8)
    # A name both players have stands for the discriminator's.
    own = {**generator.state_dict(), **discriminator.state_dict()}
    norm = generator.conv_vgg1[1]
    assert int(norm.num_batches_tracked) == 3
    assert float(norm.running_mean.sum()) == pytest.approx(wanted["bn_conv_vgg1.1"]["sum_running_mean"], rel=1e-8)
    assert float(norm.running_var.sum()) == pytest.approx(wanted["bn_conv_vgg1.1"]["sum_running_var"], rel=1e-8)
    sums = {name: float(own[name].sum()) for name in wanted["param_sums_after"]}
    assert sums == pytest.approx(wanted["param_sums_after"], rel=1e-8)


def test_a_network_that_predicts_a_density_is_refused_as_a_generator() -> None:
    class Density(SaliencyNetwork):
        predicts_density = True

    with pytest.raises(ValueError, match="sigmoid of its logits, got Density"):
        module(network=Density())
