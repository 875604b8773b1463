"""One training step, taken in different ways: what the benchmark of training measures, each in a process of its own.

The networks, their loss and their optimizer are those of the configuration (``conf/``), with random weights; images,
maps and fixations are generated.
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing import get_context
from typing import Literal, TypeVar

import torch
from hydra.core.global_hydra import GlobalHydra
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn
from torch._dynamo.exc import TorchDynamoException
from torch.autograd.profiler_util import FunctionEvent
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.optim import Adam
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from saltext.errors import ConfigError
from saltext.losses import PAPER_WEIGHTS, SaliencyLoss, gan_loss
from saltext.models.clip_salgan.network import Generator
from saltext.models.network import SaliencyNetwork
from saltext.models.text.base import TextEncoder, TextFeatures
from saltext.models.transalnet.fix_rates import FixRates
from saltext.models.transalnet.network import TranSalNet
from saltext.runs import build
from saltext.runs.composition import compose_run
from saltext.system.environment import KEEP_MEMORY
from tests.benchmarks import harness

Precision = Literal["float64", "float32", "bfloat16"]

TEXT_RATE = 0.9
"""Fix rate of BLIP's text layers and of its vision blocks (TranBlend paper)."""
TEXT_DIM = 768
"""Size of BLIP's text feature."""
TEXT = "the white lamp on the left of the table"

CONVOLUTION, MATMUL, NORM, OPTIMIZER, COPY, OTHER = KINDS = (
    "convolution",
    "matmul",
    "norm",
    "optimizer",
    "copies",
    "elementwise and rest",
)
"""Kinds of operations: ``matmul`` with attention, ``copies`` with changes of type and layout and concatenation."""

_KIND_OF = {
    CONVOLUTION: ("conv",),
    MATMUL: ("mm", "matmul", "linear", "scaleddotproduct"),
    NORM: ("batchnorm", "layernorm"),
    COPY: ("copy", "cat", "contiguous", "reorder"),
}


class GivenText(TextEncoder):
    """The same random feature for every text, so that what is measured is the saliency network.

    Args:
        dim: Size of the feature.
    """

    feature: Tensor

    def __init__(self, dim: int = TEXT_DIM) -> None:
        super().__init__()
        self.dim = dim
        self.register_buffer("feature", torch.randn(1, dim, generator=torch.Generator().manual_seed(0)))

    def forward(self, texts: Sequence[str], images: Tensor | None = None) -> TextFeatures:
        """Give the feature as the pooled one and as a single token."""
        pooled = self.feature.expand(len(texts), -1)
        mask = torch.ones(len(texts), 1, dtype=torch.bool, device=pooled.device)
        return TextFeatures(pooled, pooled[:, None], mask)


_GIVEN_TEXT = f"{GivenText.__module__}.{GivenText.__name__}"


@dataclass(frozen=True)
class Model:
    """A network of the configuration.

    Attributes:
        name: ``transalnet``, ``tranblend`` or ``clip_salgan``.
        preset: Its sizes.
        reads: Whether TranBlend has its own text encoder, :data:`TEXT_RATE` of it fixed, and not :class:`GivenText`.
        overrides: Further ones of the configuration.
    """

    name: str
    preset: str = "paper"
    reads: bool = False
    overrides: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """What tables call it."""
        text = (", with its text encoder" if self.reads else ", text feature given") * (self.name != "transalnet")
        return f"{self.name} ({self.preset}{text})"

    def compose(self) -> DictConfig:
        """Its configuration."""
        GlobalHydra.instance().clear()
        cfg = compose_run([f"preset={self.preset}", f"model={self.name}", *self.overrides])
        if self.name != "transalnet" and not self.reads:
            given = {"_target_": _GIVEN_TEXT}
            OmegaConf.update(cfg, "model.text_encoder", given, merge=False, force_add=True)
        for key in ("model", "training"):
            OmegaConf.resolve(cfg[key])
        return cfg

    def build(self) -> SaliencyNetwork:
        """The network, in training mode, the same weights every time.

        Raises:
            ConfigError: It is none of the three.
        """
        torch.manual_seed(0)
        network = build.network(self.compose(), own=(_GIVEN_TEXT,))
        if not isinstance(network, TranSalNet | Generator):
            raise ConfigError(f"expected transalnet, tranblend or clip_salgan, got {self.name}")
        if self.reads:
            FixRates(text=TEXT_RATE, vision=TEXT_RATE).apply(network)
        return network.train()


@dataclass(frozen=True)
class Batch:
    """Generated pairs: normalised images, texts, maps in 0..1 and fixations at the size of the network's map."""

    images: Tensor
    texts: Sequence[str]
    density: Tensor
    fixations: Tensor

    def rows(self) -> Iterator["Batch"]:
        """Its pairs, one by one."""
        for i in range(len(self.texts)):
            own = slice(i, i + 1)
            yield Batch(self.images[own], self.texts[own], self.density[own], self.fixations[own])


def generate(
    size: Sequence[int],
    number: int,
    stride: int,
    device: torch.device,
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
) -> Batch:
    """Pairs for a training step.

    Args:
        size: Height and width of the images.
        number: Of pairs.
        stride: Pixels of the images for each cell of the maps, along a side.
        device: Of all tensors.
        dtype: Of all tensors.
        seed: Of the generator.
    """
    random = torch.Generator().manual_seed(seed)
    map_size = [side // stride for side in size]
    hills = torch.rand(number, 1, 4, 5, generator=random)
    tensors = (
        torch.randn(number, 3, *size, generator=random),
        F.interpolate(hills, size=map_size, mode="bilinear"),
        (torch.rand(number, 1, *map_size, generator=random) > 0.99).float(),
    )
    images, density, fixations = (tensor.to(device, dtype) for tensor in tensors)
    return Batch(images, [TEXT] * number, density, fixations)


@dataclass(frozen=True)
class Way:
    """A way to take a training step.

    Attributes:
        precision: bfloat16 is that of autocast: weights stay float32.
        channels_last: Memory format of weights and images.
        compiled: Whether encoder and decoder are compiled.
        graphs: Whether what is compiled is replayed as CUDA graphs.
        authors: Adam as PyTorch has it, in a process whose memory is handled as the system does by default; TranBlend's
            also take one image at a time, and one backward pass from the sum of the images' losses.
    """

    precision: Precision = "float32"
    channels_last: bool = False
    compiled: bool = False
    graphs: bool = False
    authors: bool = False

    @property
    def title(self) -> str:
        """What tables call it."""
        if self.authors:
            return "the authors'"
        words = [self.precision, "channels last" if self.channels_last else "channels first"]
        return ", ".join(words + ["compiled"] * self.compiled + ["CUDA graphs"] * self.graphs)


@dataclass(frozen=True)
class Trial:
    """What to measure.

    Attributes:
        model: The network.
        way: How its step is taken.
        batch: Images of a step.
        images: Images to be timed, at least a step's.
        device: Where.
        threads: Of PyTorch.
        alone: Whether in a process of its own; otherwise memory is that of all that came before, too.
    """

    model: Model
    way: Way
    batch: int
    images: int
    device: torch.device
    threads: int
    alone: bool = True


@dataclass(frozen=True)
class Outcome:
    """What came of a trial.

    Attributes:
        rate: Images per second.
        memory: Most memory the process held, on a GPU the tensors' there, in MiB; None where the system does not tell.
        failure: Why there is neither, or the empty string.
    """

    rate: float = float("nan")
    memory: float | None = None
    failure: str = ""


class TrainingStep:
    """A network with its loss and its optimizer, and a batch: call it to take a step.

    Args:
        trial: What to build.
        network: Instead of the trial's own.
    """

    def __init__(self, trial: Trial, network: SaliencyNetwork | None = None) -> None:
        self.way, self.device = trial.way, trial.device
        cfg = trial.model.compose()
        self.network = (network or trial.model.build()).to(trial.device)
        self.loss = SaliencyLoss(PAPER_WEIGHTS)
        dtype = torch.float64 if self.way.precision == "float64" else torch.float32
        self.network.to(dtype)
        self.batch = generate(cfg.data.image_size, trial.batch, self.network.output_stride, trial.device, dtype)
        if self.way.channels_last:
            self.network.to(memory_format=torch.channels_last)
        if self.way.compiled:
            for part in (
                (self.network.encoder, self.network.decoder) if isinstance(self.network, TranSalNet) else [self.network]
            ):
                part.compile(dynamic=False, mode="reduce-overhead" if self.way.graphs else None)
        parameters = [p for p in self.network.parameters() if p.requires_grad]
        self.optimizer = (Adam if self.way.authors else instantiate(cfg.optimizer))(parameters)

    def __call__(self) -> None:
        """Forward, backward, and the optimizer."""
        self.gradients()
        self.optimizer.step()

    def gradients(self) -> None:
        """Forward and backward; gradients of the batch's summed losses (the authors' way) or of their mean."""
        self.optimizer.zero_grad()
        if self.way.authors:
            total = torch.stack([self._loss(row) for row in self.batch.rows()]).sum()
        else:
            total = self._loss(self.batch)
        total.backward()  # type: ignore[no-untyped-call]

    def _loss(self, batch: Batch) -> Tensor:
        images = batch.images
        if self.way.channels_last:
            images = images.contiguous(memory_format=torch.channels_last)
        with self._autocast():
            logits = self.network(images, batch.texts)
        saliency = torch.sigmoid(logits.to(batch.density.dtype))
        total: Tensor = self.loss(saliency, batch.density, batch.fixations)[0]
        return total

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.way.precision == "bfloat16")

    def wait(self) -> None:
        """Wait for the GPU, where there is one."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


class AdversarialStep(TrainingStep):
    """A generator, its discriminator and a batch: call it to take a step of the discriminator, then of the generator.

    The authors also train with batches, so their way differs from the others in the optimizer alone.

    Args:
        trial: What to build.
    """

    def __init__(self, trial: Trial) -> None:
        super().__init__(trial)
        cfg = trial.model.compose()
        self.discriminator: nn.Module = instantiate(cfg.training.discriminator).to(trial.device)
        if self.way.channels_last:
            self.discriminator.to(memory_format=torch.channels_last)
        if self.way.compiled:
            self.discriminator.compile(dynamic=False)
        make = Adam if self.way.authors else instantiate(cfg.training.discriminator_optimizer)
        self.discriminator_optimizer = make(self.discriminator.parameters())

    def gradients(self) -> None:
        """Train the discriminator; forward and backward of the generator, whose optimizer has not stepped yet."""
        self.optimizer.zero_grad()
        self.discriminator_optimizer.zero_grad()
        images, real = self.batch.images, self.batch.density
        if self.way.channels_last:
            images = images.contiguous(memory_format=torch.channels_last)
        with self._autocast():
            generated = torch.sigmoid(self.network(images, self.batch.texts).float())
            on_real, on_generated = (self.discriminator(maps, images) for maps in (real, generated.detach()))
        (gan_loss(on_real.float(), 1.0) + gan_loss(on_generated.float(), 0.0)).backward()  # type: ignore[no-untyped-call]
        self.discriminator_optimizer.step()
        self.discriminator.requires_grad_(False)
        with self._autocast():
            judged = self.discriminator(generated, images)
        loss = gan_loss(judged.float(), 1.0) + F.binary_cross_entropy(generated, real)
        loss.backward()  # type: ignore[no-untyped-call]
        self.discriminator.requires_grad_(True)


def training_step(trial: Trial) -> TrainingStep:
    """The step of a trial's network."""
    return (AdversarialStep if trial.model.name == "clip_salgan" else TrainingStep)(trial)


def measure(trial: Trial) -> Outcome:
    """Time a trial's step after one that does not count, in a process of its own."""
    try:
        return _alone(_measure, trial)
    except BrokenProcessPool:
        return Outcome(failure="ended by the system, presumably for lack of memory")


def _measure(trial: Trial) -> Outcome:
    step = training_step(trial)
    steps = trial.images // trial.batch
    try:
        step()
        step.wait()
        start = time.perf_counter()
        for _ in range(steps):
            step()
        step.wait()
        seconds = time.perf_counter() - start
    except TorchDynamoException as error:
        return Outcome(failure=_first_line(error))
    except torch.OutOfMemoryError:
        return Outcome(failure="the GPU's memory is too small")
    return Outcome(steps * trial.batch / seconds, _peak_memory(trial.device))


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"


def _peak_memory(device: torch.device) -> float | None:
    return torch.cuda.max_memory_allocated(device) / 2**20 if device.type == "cuda" else harness.peak_memory()


def available_memory(device: torch.device) -> float:
    """Memory that a process could still take, in MiB; infinite where the system does not tell."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] / 2**20
    return harness.available_memory()


def time_by_kind(trial: Trial) -> dict[str, float]:
    """Share of each of :data:`KINDS` in the time of a trial's step, summing to 1; in a process of its own."""
    return _alone(_time_by_kind, trial)


def _time_by_kind(trial: Trial) -> dict[str, float]:
    step = training_step(trial)
    step()
    step.wait()
    with profile(activities=[ProfilerActivity.CPU, *[ProfilerActivity.CUDA] * (trial.device.type == "cuda")]) as record:
        step()
        step.wait()
    times = dict.fromkeys(KINDS, 0.0)
    for event in record.events():
        spent = event.self_device_time_total if trial.device.type == "cuda" else event.self_cpu_time_total
        times[kind_of(event)] += spent
    return {kind: spent / sum(times.values()) for kind, spent in times.items()}


def kind_of(event: FunctionEvent | None) -> str:
    """Kind of an operation the profiler saw: the optimizer's are all its own, whatever they do."""
    name = _plain(event)
    while event is not None:
        if event.name.startswith("Optimizer."):
            return OPTIMIZER
        event = event.cpu_parent
    return next((kind for kind, parts in _KIND_OF.items() if any(part in name for part in parts)), OTHER)


def _plain(event: FunctionEvent | None) -> str:
    return "" if event is None else event.name.lower().replace("_", "")


@dataclass(frozen=True)
class Difference:
    """How far the gradients of a batch are from the authors', as ratios of Euclidean norms.

    Attributes:
        whole: Of all gradients as one vector.
        worst: Largest of a parameter tensor. Biases of attention's keys are left out: softmax does not see them, so
            that their gradients are 0 but for rounding.
    """

    whole: float
    worst: float


def gradient_difference(trial: Trial) -> Difference:
    """Compare the batched gradients of a trial with the authors' way in the same precision; in a process of its own.

    BatchNorm is in evaluation mode, with the statistics of the batch: in training mode the authors' one normalises
    each image by itself, which is another function.
    """
    return _alone(_gradient_difference, trial)


def _gradient_difference(trial: Trial) -> Difference:
    ours = TrainingStep(trial)
    theirs = TrainingStep(replace(trial, way=Way(trial.way.precision, authors=True)), ours.network)
    _settle(ours)
    wanted = _gradients(theirs)
    off = {name: gradient * trial.batch - wanted[name] for name, gradient in _gradients(ours).items()}
    ratios = [
        float(off[name].norm() / wanted[name].norm())
        for name in off
        if not name.endswith("key.bias") and bool(wanted[name].any())
    ]
    return Difference(whole=_norm(off.values()) / _norm(wanted.values()), worst=max(ratios))


def _settle(step: TrainingStep) -> None:
    """Put a network in evaluation mode with the statistics of the batch, so that signals keep their size."""
    for module in step.network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        step.network(step.batch.images, step.batch.texts)
    step.network.eval()


def _gradients(step: TrainingStep) -> dict[str, Tensor]:
    step.gradients()
    named = {name: p.grad for name, p in step.network.named_parameters()}
    return {name: gradient.double() for name, gradient in named.items() if gradient is not None}


def _norm(tensors: Iterable[Tensor]) -> float:
    return float(torch.stack([tensor.square().sum() for tensor in tensors]).sum().sqrt())


def count_flop(trial: Trial) -> float:
    """Floating-point operations that a step needs for one image, a multiplication and an addition being two.

    Those of convolutions and matrix products, forward and backward, in a process of its own; others are not counted,
    nor is the optimizer.
    """
    return _alone(_count_flop, replace(trial, batch=1, way=Way()))


def _count_flop(trial: Trial) -> float:
    step = training_step(trial)
    # The fused attention of CPUs is unknown to the counter.
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        step.gradients()
    return float(counter.get_total_flops())


def matmul_peak(precision: Precision, size: int, device: torch.device, rounds: int = 5) -> float:
    """Floating-point operations a second of the fastest of several products of square matrices.

    Args:
        precision: Of the matrices.
        size: Their side.
        device: Where.
        rounds: Products tried, after one that does not count.
    """
    a, b = (torch.randn(size, size, device=device).to(getattr(torch, precision)) for _ in range(2))
    seconds = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        a @ b
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - start)
    return 2 * size**3 / min(seconds[1:])


T = TypeVar("T")


def _alone(function: Callable[[Trial], T], trial: Trial) -> T:
    """Call in a fresh process: its memory is the trial's alone, and leaves with it."""
    if not trial.alone:
        return _on_threads(function, trial)
    environment = {} if trial.way.authors else KEEP_MEMORY
    with _environment(environment), ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(_on_threads, function, trial).result()


def _on_threads(function: Callable[[Trial], T], trial: Trial) -> T:
    torch.set_num_threads(trial.threads)
    return function(trial)


@contextmanager
def _environment(extra: Mapping[str, str]) -> Iterator[None]:
    """Variables for the processes that are started meanwhile; what is set already stays."""
    before = dict(os.environ)
    os.environ.update({**extra, **before})
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
