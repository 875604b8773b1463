"""Training against a discriminator: CLIP-SalGAN."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from saltext.data.splits import Part
from saltext.errors import ConfigError
from saltext.losses import GeneratorLoss, at_least_float32, gan_loss
from saltext.models.network import SaliencyNetwork
from saltext.training.supervised import (
    SAVED,
    DivergedError,
    OptimizerFactory,
    SchedulerFactory,
    SupervisedModule,
    make_scheduler,
)

_GENERATOR, _DISCRIMINATOR = 0, 1


@dataclass(frozen=True)
class _Accumulation:
    """A batch's position among the batches whose gradients are accumulated into one step.

    Attributes:
        weight: Weight of the batch in their mean.
        last: Whether it is the last of them, after which the optimizer steps.
    """

    weight: float
    last: bool


class AdversarialModule(SupervisedModule):
    r"""Adversarial training of a saliency network (the generator) and a discriminator, batch by batch.

    In each step the generator predicts; the discriminator steps on human maps and predictions; then the
    generator steps on its loss, with the logits of the updated discriminator::

        L_D = BCE(D(I, S), 1 - label_smoothing) + BCE(D(I, S^), 0)
        L_G = :class:`saltext.losses.GeneratorLoss`

    Logs once per epoch, besides what :class:`~saltext.training.scored.ScoredModule` logs: ``train/loss`` and
    ``train/TERM`` of the generator's loss (unweighted), ``train/discriminator`` and its halves
    ``train/discriminator_real`` and ``train/discriminator_generated``, the discriminator's accuracy on the two,
    ``train/accuracy_real`` and ``train/accuracy_generated``, and the learning rates ``lr`` and ``lr_discriminator``.
    During the warm start nothing of the discriminator is logged.

    Needs ``Trainer(gradient_clip_val=None, accumulate_grad_batches=1)``: clipping and accumulation are done here, for
    each network. On several processes DDP has to look for unused parameters, since each step leaves the other network
    out: ``strategy="ddp_find_unused_parameters_true"``. In lower precision, losses are float32.

    Args:
        network: The generator, see :class:`SupervisedModule`.
        normalize: See :class:`SupervisedModule`.
        discriminator: ``(maps (B,1,h,w) in 0..1, normalised images (B,3,H,W)) -> logits (B,1)``.
        loss: Loss of the generator.
        optimizer: Makes the optimizer of each network.
        scheduler: Makes the schedule of each network, stepped after each of its steps.
        discriminator_optimizer: Makes the discriminator's optimizer instead.
        warm_start: Epochs at the beginning in which the generator learns without the adversarial term.
        label_smoothing: How far the discriminator's target for human maps is below 1; 0 up to 0.5.
        accumulate: Batches whose gradients are accumulated into one step. Only the last of them gets logits of the
            updated discriminator.
        clip: Largest norm of each network's gradient; None does not limit it.
        patience: Saturated epochs in a row (the discriminator classified every map correctly) after which training
            ends; None continues.
        prompt: See :class:`SupervisedModule`.
        mirror: See :class:`SupervisedModule`.
        validation_metrics: See :class:`~saltext.training.scored.ScoredModule`.
        selection_split: See :class:`~saltext.training.scored.ScoredModule`.

    Raises:
        ValueError: A number outside its range, a warm start without a content loss, or an unknown field in ``prompt``.
        DivergedError: In training: a loss is not finite, or ``patience`` is used up; before anything is saved of that
            epoch.

    References:
        Pan et al., SalGAN, 2017, for the warm start; the CLIP-SalGAN paper for the losses.
    """

    saturated_epochs: Tensor

    def __init__(
        self,
        network: nn.Module,
        normalize: nn.Module,
        discriminator: nn.Module,
        loss: GeneratorLoss,
        optimizer: OptimizerFactory,
        scheduler: SchedulerFactory,
        discriminator_optimizer: OptimizerFactory | None = None,
        warm_start: int = 0,
        label_smoothing: float = 0.0,
        accumulate: int = 1,
        clip: float | None = None,
        patience: int | None = 1,
        prompt: str = "{text}",
        mirror: bool = False,
        validation_metrics: Sequence[str] = ("cc", "kl", "nss"),
        selection_split: Part = "val",
    ) -> None:
        super().__init__(
            network, normalize, loss, optimizer, scheduler, prompt, mirror, validation_metrics, selection_split
        )
        _check_settings(loss, warm_start, label_smoothing, accumulate, clip, patience)
        if isinstance(network, SaliencyNetwork) and network.predicts_density:
            raise ValueError(
                f"expected a generator whose maps are the sigmoid of its logits, got {type(network).__name__}, which "
                "predicts a density: train it with training=supervised"
            )
        self.automatic_optimization = False
        self.discriminator = discriminator
        self._discriminator_optimizer = discriminator_optimizer or optimizer
        self._warm_start = warm_start
        self._label_smoothing = label_smoothing
        self._accumulate = accumulate
        self._clip = clip
        self._patience = patience
        # In the state dict, so that a resumed run goes on counting.
        self.register_buffer("saturated_epochs", torch.tensor(0))

    def configure_optimizers(self) -> Any:
        """The generator's optimizer and schedule, then the discriminator's; frozen parameters are left out."""
        epochs = int(self.trainer.estimated_stepping_batches) // int(self.trainer.num_training_batches)
        steps_per_epoch = math.ceil(self.trainer.num_training_batches / self._accumulate)
        configured = []
        for module, make, trained_epochs in (
            (self.network, self._optimizer, epochs),
            (self.discriminator, self._discriminator_optimizer, max(1, epochs - self._warm_start)),
        ):
            optimizer = make([p for p in module.parameters() if p.requires_grad])
            scheduler = make_scheduler(self._scheduler, optimizer, trained_epochs * steps_per_epoch)
            configured.append({"optimizer": optimizer, "lr_scheduler": scheduler})
        return tuple(configured)

    def on_train_start(self) -> None:
        """Check that DDP looks for unused parameters; without it the processes would wait for each other forever."""
        wrapped = self.trainer.strategy.model
        if isinstance(wrapped, DistributedDataParallel) and not wrapped.find_unused_parameters:
            raise ConfigError(
                "Each step of adversarial training leaves the parameters of one player unused, which DDP refuses by "
                "default. Set trainer.strategy=ddp_find_unused_parameters_true."
            )

    def on_train_epoch_start(self) -> None:
        """Set the counts of steps to zero."""
        self._counts = torch.zeros(2, device=self.device)  # steps, saturated steps

    def training_step(self, batch: Mapping[str, Any], batch_index: int) -> None:  # type: ignore[override]
        """A step of the discriminator, then one of the generator, at ``map_size``."""
        density = batch["density"]
        images = self.pipeline.images(batch)
        logits = at_least_float32(self.pipeline.logits(images, batch))
        if logits.shape[2:] != density.shape[2:]:
            logits = F.interpolate(logits, size=density.shape[2:], mode="bilinear", align_corners=False)
        first = batch_index - batch_index % self._accumulate
        accumulated = min(self._accumulate, int(self.trainer.num_training_batches) - first)
        position = _Accumulation(weight=1 / accumulated, last=batch_index + 1 == first + accumulated)
        adversarial = self.current_epoch >= self._warm_start
        values = self._discriminator_step(images, density, logits.detach().sigmoid(), position) if adversarial else {}
        values |= self._generator_step(images, logits, batch, position, adversarial)
        self._stop_if_diverged(batch_index, {**values, "loss": values["loss"] + values.get("discriminator", 0.0)})
        self._count_saturated_step(values)
        self._log_epoch(values, batch_size=len(density))

    def _discriminator_step(
        self, images: Tensor, real: Tensor, generated: Tensor, position: _Accumulation
    ) -> dict[str, Tensor]:
        """Train the discriminator on human maps and predictions (B,1,h,w); its losses and accuracies to log."""
        with self._optimizing(_DISCRIMINATOR, position):
            real_logits = self.discriminator(real.to(generated.dtype), images)
            fake_logits = self.discriminator(generated, images)
            real_loss = gan_loss(real_logits, 1 - self._label_smoothing)
            generated_loss = gan_loss(fake_logits, 0.0)
            total = real_loss + generated_loss
            self.manual_backward(position.weight * total)
        return {
            "discriminator": total,
            "discriminator_real": real_loss,
            "discriminator_generated": generated_loss,
            "accuracy_real": (real_logits > 0).float().mean(),
            "accuracy_generated": (fake_logits < 0).float().mean(),
        }

    def _generator_step(
        self, images: Tensor, logits: Tensor, batch: Mapping[str, Any], position: _Accumulation, adversarial: bool
    ) -> dict[str, Tensor]:
        """Train the generator, whose logits are (B,1,h,w); its loss and the terms of it to log."""
        with self._optimizing(_GENERATOR, position):
            fake_logits = self.discriminator(logits.sigmoid(), images) if adversarial else None
            total, terms = self.loss(logits, batch["density"], batch["fixations"], fake_logits)
            self.manual_backward(position.weight * total)
        return {"loss": total, **terms}

    @contextmanager
    def _optimizing(self, network: int, position: _Accumulation) -> Iterator[None]:
        """Restrict gradients to one network; after the last accumulated batch its optimizer and schedule step."""
        optimizer = cast(list[LightningOptimizer], self.optimizers())[network]
        with optimizer.toggle_model(sync_grad=position.last):
            yield
        if position.last:
            optimizer.step()
            optimizer.zero_grad()
            cast(list[torch.optim.lr_scheduler.LRScheduler], self.lr_schedulers())[network].step()

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Clip the gradient; in float16 it is unscaled only here."""
        if self._clip is not None:
            self.clip_gradients(optimizer, gradient_clip_val=self._clip, gradient_clip_algorithm="norm")

    def _count_saturated_step(self, values: Mapping[str, Tensor]) -> None:
        """Count the step, and whether the discriminator classified every map of it correctly."""
        with torch.no_grad():
            accuracies = [values[name] for name in ("accuracy_real", "accuracy_generated") if name in values]
            saturated = torch.stack(accuracies).eq(1).all() if accuracies else torch.zeros_like(values["loss"]).bool()
            self._counts += torch.stack([torch.ones_like(saturated), saturated]).to(self._counts)

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """After the last batch of an epoch, before validation and saving: stop a saturated or diverged training."""
        super().on_train_batch_end(outputs, batch, batch_idx)
        if not self.trainer.is_last_batch:
            return
        steps, saturated = cast(Tensor, self.trainer.strategy.reduce(self._counts, reduce_op="sum")).tolist()
        self.saturated_epochs += 1
        self.saturated_epochs *= saturated == steps
        if self._patience is not None and self.saturated_epochs >= self._patience:
            first, last = self.current_epoch + 2 - int(self.saturated_epochs), self.current_epoch + 1
            span = str(last) if first == last else f"{first} to {last}"
            raise DivergedError(
                f"The discriminator is saturated: it classified every map of epoch {span} correctly, so the "
                "generator learns nothing more from it. Give it a lower "
                "training.discriminator_optimizer.lr or some training.label_smoothing, or the generator a "
                f"training.warm_start; training.patience=null continues regardless. {SAVED}"
            )

    def on_train_epoch_end(self) -> None:
        """Log the learning rates the epoch ended with."""
        for optimizer, name in zip(self.trainer.optimizers, ("lr", "lr_discriminator"), strict=True):
            self.log_same(name, float(optimizer.param_groups[0]["lr"]))


def _check_settings(
    loss: GeneratorLoss,
    warm_start: int,
    label_smoothing: float,
    accumulate: int,
    clip: float | None,
    patience: int | None,
) -> None:
    problems = []
    if warm_start < 0:
        problems.append(f"warm_start: expected at least 0 epochs, got {warm_start}")
    if warm_start and not loss.content:
        problems.append(
            "warm_start: the loss has the adversarial term alone, so a warm start has nothing to learn from"
        )
    if not 0 <= label_smoothing < 0.5:
        problems.append(f"label_smoothing: expected 0 up to 0.5, got {label_smoothing}")
    if accumulate < 1:
        problems.append(f"accumulate: expected at least 1 batch, got {accumulate}")
    if clip is not None and not 0 < clip < math.inf:
        problems.append(f"clip: expected a positive norm or null, got {clip}")
    if patience is not None and patience < 1:
        problems.append(f"patience: expected at least 1 epoch or null, got {patience}")
    if problems:
        raise ValueError("; ".join(problems))
