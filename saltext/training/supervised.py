"""Training against the ground-truth map: TranSalNet and TranBlend."""

import inspect
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from saltext.data.datamodule import SaliencyDataModule
from saltext.data.splits import Part
from saltext.errors import SaltextError
from saltext.models.pipeline import Pipeline
from saltext.training.scored import ScoredModule

OptimizerFactory = Callable[[Iterable[nn.Parameter] | Iterable[dict[str, Any]]], torch.optim.Optimizer]
SchedulerFactory = Callable[..., torch.optim.lr_scheduler.LRScheduler]


def make_scheduler(
    factory: SchedulerFactory, optimizer: torch.optim.Optimizer, total_steps: int
) -> torch.optim.lr_scheduler.LRScheduler:
    """A schedule, given ``total_steps`` and ``max_lr`` (the optimizer's rates) where it takes them."""
    available = {"total_steps": total_steps, "max_lr": [group["lr"] for group in optimizer.param_groups]}
    accepted = set(inspect.signature(factory).parameters) - set(getattr(factory, "keywords", {}))
    return factory(optimizer, **{name: value for name, value in available.items() if name in accepted})


class DivergedError(SaltextError):
    """Training diverged, and more epochs do not repair it; the checkpoints of earlier epochs are good."""


_STEPS_BETWEEN_CHECKS = 50
"""Of the loss on a device that the host would have to wait for."""

SAVED = "Nothing was saved of this epoch; the checkpoints are of the epochs before it."


class SupervisedModule(ScoredModule):
    """Supervised training of a network of image and text on ground-truth maps.

    Logs ``train/loss``, ``train/TERM`` of each term of the loss (unweighted) and ``lr`` once per epoch, besides what
    :class:`ScoredModule` logs.

    Args:
        network: ``(normalised images (B,3,H,W), texts) -> logits (B,1,h,w)``.
        normalize: ``uint8 images (B,3,H,W) -> float32`` of the same shape.
        loss: ``(saliency, density, fixations) -> (total, terms)``.
        optimizer: Makes the optimizer of the trainable parameters.
        scheduler: Makes the schedule, stepped after each batch; given ``total_steps`` and ``max_lr`` (the
            optimizer's) where it takes them.
        prompt: What the network reads for a pair: ``{text}`` is its text, ``{condition}`` the name of its task.
        mirror: Whether predictions to score are averaged with those for the mirrored image, with left and right
            exchanged in its text.
        validation_metrics: See :class:`ScoredModule`.
        selection_split: See :class:`ScoredModule`.
        lr_multipliers: Multipliers of the learning rate for parameter groups, by the beginning of the parameters'
            names; of several that match, the first.

    Raises:
        DivergedError: In training: a loss or a weight is not finite, before anything is saved of that epoch.
        ValueError: ``prompt`` names something else, or ``lr_multipliers`` has a number that is not above 0 or a name
            that no trainable parameter begins with.
    """

    def __init__(
        self,
        network: nn.Module,
        normalize: nn.Module,
        loss: nn.Module,
        optimizer: OptimizerFactory,
        scheduler: SchedulerFactory,
        prompt: str = "{text}",
        mirror: bool = False,
        validation_metrics: Sequence[str] = ("cc", "kl", "nss"),
        selection_split: Part = "val",
        lr_multipliers: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__(validation_metrics, selection_split)
        self.network = network
        self.normalize = normalize
        self.loss = loss
        self._optimizer = optimizer
        self._scheduler = scheduler
        self._lr_multipliers = dict(lr_multipliers or {})
        self._parameter_groups()  # checks lr_multipliers
        self._unchecked_losses: list[tuple[int, dict[str, Tensor]]] = []  # number of the step, losses by name
        self.pipeline = Pipeline(network, normalize, prompt, mirror)
        self.reads_text = self.pipeline.reads_text
        self.reads_condition = self.pipeline.reads_condition

    def saliency(self, batch: Mapping[str, Any]) -> Tensor:
        """The network's maps, float32 whatever its precision."""
        return self.pipeline.saliency(batch)

    def predict_saliency(self, batch: Mapping[str, Any]) -> Tensor:
        """Maps to score: with ``mirror``, the mean of the prediction and that for the mirrored image and text."""
        return self.pipeline.predict(batch)

    def encode_ahead(self, data: SaliencyDataModule, indices: Sequence[int]) -> None:
        """Encode the texts of pairs that will be read, in batches."""
        pairs = [data.pairs[index] for index in indices]
        keys = [data.cache.image_key(index) for index in indices]
        self.pipeline.encode_ahead([pair.text for pair in pairs], [pair.task for pair in pairs], keys)

    def on_fit_start(self) -> None:
        """Encode all texts in batches, on the device that trains."""
        data = getattr(self.trainer, "datamodule", None)
        if isinstance(data, SaliencyDataModule):
            self.encode_ahead(data, range(len(data.pairs)))

    def training_step(self, batch: Mapping[str, Any], batch_index: int) -> Tensor:
        """The loss of a batch, at ``map_size``."""
        saliency = self.saliency(batch)
        readouts = saliency.shape[1]  # each with a loss of its own
        saliency = saliency.flatten(0, 1)[:, None]
        density, fixations = (batch[name].repeat_interleave(readouts, 0) for name in ("density", "fixations"))
        if saliency.shape != density.shape:
            saliency = F.interpolate(saliency, size=density.shape[-2:], mode="bilinear", align_corners=False)
        total, terms = self.loss(saliency, density, fixations)
        self._stop_if_diverged(batch_index, {"loss": total, **terms})
        self._log_epoch({"loss": total, **terms}, batch_size=len(batch["density"]))
        return total  # type: ignore[no-any-return]

    def _stop_if_diverged(self, batch_index: int, losses: Mapping[str, Tensor]) -> None:
        """Stop training at a step whose loss is not finite: at once, or, where looking at it means waiting, soon."""
        self._unchecked_losses.append((batch_index + 1, {name: value.detach() for name, value in losses.items()}))
        if losses["loss"].device.type == "cpu" or len(self._unchecked_losses) >= _STEPS_BETWEEN_CHECKS:
            self._check_losses()

    def _check_losses(self) -> None:
        """Look at the steps since the last time, on a GPU with one wait for all of them."""
        steps, self._unchecked_losses = self._unchecked_losses, []
        finite = [] if not steps else torch.stack([of_step["loss"].isfinite().all() for _, of_step in steps]).tolist()
        if all(finite):
            return
        step, losses = steps[finite.index(False)]
        not_finite = {name: float(value) for name, value in losses.items() if not value.isfinite().all()}
        values = ", ".join(f"{name} {value:g}" for name, value in not_finite.items())
        raise DivergedError(
            f"Training diverged at step {step} of epoch {self.current_epoch + 1}: {values}. Lower optimizer.lr, or "
            f"limit gradients (trainer.gradient_clip_val; training.clip with a discriminator). {SAVED}"
        )

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """After the last batch of an epoch, before validation and saving: stop if a loss or weight is not finite."""
        if not self.trainer.is_last_batch:
            return
        self._check_losses()
        trained = [p.detach().isfinite().all() for p in self.network.parameters() if p.requires_grad]
        if trained and not torch.stack(trained).all():
            raise DivergedError(
                f"Training diverged at step {batch_idx + 1} of epoch {self.current_epoch + 1}: weights are not finite. "
                f"Lower optimizer.lr, or limit gradients. {SAVED}"
            )

    def _log_epoch(self, values: Mapping[str, Tensor], batch_size: int) -> None:
        named = {f"train/{name}": value.detach() for name, value in values.items()}
        self.log_dict(named, on_step=False, on_epoch=True, batch_size=batch_size, sync_dist=True)

    def on_train_epoch_end(self) -> None:
        """Log the learning rate the epoch ended with."""
        optimizer = self.optimizers()
        self.log_same("lr", float(optimizer.param_groups[0]["lr"]))  # type: ignore[union-attr]

    def _parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Trainable parameters by the prefix in ``lr_multipliers`` that their names begin with; the others under ""."""
        groups: dict[str, list[nn.Parameter]] = {prefix: [] for prefix in ("", *self._lr_multipliers)}
        trainable = [(name, p) for name, p in self.network.named_parameters() if p.requires_grad]
        for name, parameter in trainable:
            groups[next((prefix for prefix in self._lr_multipliers if name.startswith(prefix)), "")].append(parameter)
        problems = [
            f"{prefix}: expected a number above 0, got {multiplier!r} (freeze what shall not train)"
            for prefix, multiplier in self._lr_multipliers.items()
            if not 0 < multiplier < math.inf
        ]
        modules = ", ".join(dict.fromkeys(name.split(".")[0] for name, _ in trainable))
        problems += [
            f"{prefix}: expected the beginning of a trainable parameter's name (in {modules}), got none that has it"
            for prefix in self._lr_multipliers
            if not groups[prefix]
        ]
        if problems:
            raise ValueError(f"training.lr_multipliers: {'; '.join(problems)}")
        return {prefix: parameters for prefix, parameters in groups.items() if parameters}

    def configure_optimizers(self) -> Any:
        """Trainable parameters, in groups of their learning rates; and the scheduler."""
        groups = self._parameter_groups()
        optimizer = self._optimizer([{"params": parameters} for parameters in groups.values()])
        for prefix, group in zip(groups, optimizer.param_groups, strict=True):
            group["lr"] *= self._lr_multipliers.get(prefix, 1.0)
        scheduler = make_scheduler(self._scheduler, optimizer, int(self.trainer.estimated_stepping_batches))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}
