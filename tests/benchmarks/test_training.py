import io
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from rich.console import Console
from torch import Tensor, nn

from saltext.errors import ConfigError
from saltext.models.image.base import Encoder, Taps
from saltext.models.transalnet.network import TranSalNet
from tests.benchmarks import frozen, steps
from tests.benchmarks import training as benchmark
from tests.benchmarks.steps import Model, Outcome, Trial, Way

CPU = torch.device("cpu")
TINY = Model("tranblend", "smoke")


def trial(way: Way = Way(), batch: int = 2, model: Model = TINY) -> Trial:  # noqa: B008
    return Trial(model, way, batch, batch, CPU, 1, alone=False)


@pytest.fixture
def plan() -> benchmark.Plan:
    return replace(
        benchmark._plan(["--quick", "--network", "tranblend", "--batches", "2", "--threads", "1"]), device=CPU
    )


@pytest.mark.slow
def test_a_quick_run_reports_every_table(plan: benchmark.Plan) -> None:
    lines = io.StringIO()
    benchmark.report(plan, Console(file=lines, width=200))
    text = lines.getvalue()
    for part in ("commit", "batch 2", "a training step", "by kind of operation", "float64", "on disk"):
        assert part in text, part
    for way in (benchmark.AUTHORS, *benchmark.EAGER):
        assert re.search(rf"│ {re.escape(way.title)} +│ +2 │ +[\d.,]+ │ +[\d.,]+ │", text), way
    assert "compiled" not in text


def test_the_authors_step_sees_one_image_at_a_time_and_steps_once(monkeypatch) -> None:
    step = steps.TrainingStep(trial(Way(authors=True), batch=3))
    seen: list[int] = []
    step.network.encoder.register_forward_hook(lambda _, images, __: seen.append(len(images[0])))
    stepped: list[int] = []
    monkeypatch.setattr(step.optimizer, "step", lambda: stepped.append(1))
    step()
    assert (seen, stepped) == ([1, 1, 1], [1])


def test_our_step_sees_the_batch_at_once_and_changes_every_part_that_trains() -> None:
    step = steps.TrainingStep(trial(batch=3))
    seen: list[int] = []
    step.network.encoder.register_forward_hook(lambda _, images, __: seen.append(len(images[0])))
    before = step.network.decoder.get_parameter("conv1.weight").clone()
    step()
    assert seen == [3]
    assert not torch.equal(step.network.decoder.get_parameter("conv1.weight"), before)


@pytest.mark.parametrize(("way", "dtype"), [(Way(), torch.float32), (Way("bfloat16"), torch.bfloat16)])
def test_a_precision_is_that_of_the_arithmetic_and_weights_stay_float32(way: Way, dtype: torch.dtype) -> None:
    step = steps.TrainingStep(trial(way))
    seen: list[torch.dtype] = []
    step.network.decoder.get_submodule("conv1").register_forward_hook(lambda *args: seen.append(args[2].dtype))
    step.gradients()
    assert seen == [dtype]
    assert {p.dtype for p in step.network.parameters()} == {torch.float32}


def test_channels_last_reaches_weights_and_features() -> None:
    step = steps.TrainingStep(trial(Way(channels_last=True)))
    weight = step.network.decoder.get_parameter("conv1.weight")
    assert weight.is_contiguous(memory_format=torch.channels_last)
    seen: list[bool] = []

    def look(*args: object) -> None:
        seen.append(all(t.is_contiguous(memory_format=torch.channels_last) for t in args[2]))  # type: ignore[attr-defined]

    step.network.encoder.register_forward_hook(look)
    step.gradients()
    assert seen == [True]


@pytest.mark.parametrize(("precision", "tolerance"), [("float64", 1e-12), ("float32", 1e-4), ("bfloat16", 0.03)])
def test_gradients_are_the_authors_to_the_precisions_tolerance(precision: steps.Precision, tolerance: float) -> None:
    off = steps.gradient_difference(trial(Way(precision)))
    assert 0 < off.whole < tolerance
    assert off.whole <= off.worst < tolerance


def test_batchnorm_in_training_mode_would_not_give_the_authors_gradients(monkeypatch) -> None:
    monkeypatch.setattr(steps, "_settle", lambda step: None)
    assert steps.gradient_difference(trial(Way("float64"))).whole > 1e-3


def test_flop_are_those_of_one_image_whatever_the_batch() -> None:
    one = steps.count_flop(trial(batch=1))
    assert steps.count_flop(trial(batch=2)) == one > 1e8


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (["aten::mkldnn_convolution"], steps.CONVOLUTION),
        (["aten::convolution_backward"], steps.CONVOLUTION),
        (["aten::addmm"], steps.MATMUL),
        (["aten::_scaled_dot_product_flash_attention_for_cpu"], steps.MATMUL),
        (["aten::native_batch_norm"], steps.NORM),
        (["aten::native_layer_norm_backward"], steps.NORM),
        (["aten::copy_"], steps.COPY),
        (["aten::cat"], steps.COPY),
        (["aten::gelu"], steps.OTHER),
        (["Optimizer.step#Adam.step", "aten::addcmul_"], steps.OPTIMIZER),
        (["Optimizer.step#Adam.step", "aten::to", "aten::copy_"], steps.OPTIMIZER),
    ],
)
def test_operations_are_distinguished_and_the_optimizers_are_its_own(names: list[str], kind: str) -> None:
    event = None
    for name in names:
        event = SimpleNamespace(name=name, cpu_parent=event)
    assert steps.kind_of(event) == kind  # type: ignore[arg-type]


def test_shares_of_time_sum_to_one() -> None:
    shares = steps.time_by_kind(trial())
    assert sum(shares.values()) == pytest.approx(1)
    assert set(shares) == set(steps.KINDS)
    assert min(shares[kind] for kind in (steps.CONVOLUTION, steps.NORM, steps.OPTIMIZER)) > 0


def test_a_batch_that_would_not_fit_is_left_out_and_says_why(plan: benchmark.Plan, monkeypatch) -> None:
    tried: list[int] = []

    def measured(given: Trial) -> Outcome:
        tried.append(given.batch)
        return Outcome(1.0, 1000.0 * given.batch)

    monkeypatch.setattr(benchmark, "measure", measured)
    monkeypatch.setattr(benchmark, "available_memory", lambda device: 2500.0)
    said: list[int] = []
    outcomes = benchmark.try_batches(replace(plan, batches=(1, 2, 4)), TINY, Way(), lambda batch, _: said.append(batch))
    assert (tried, said) == ([1, 2], [1, 2, 4])
    assert outcomes[4].failure == "4,000 MiB expected, 2,500 MiB free"
    assert benchmark.best_batch(outcomes) == 1


def test_the_fastest_batch_is_chosen_among_those_that_worked() -> None:
    assert benchmark.best_batch({1: Outcome(1.0), 2: Outcome(3.0), 4: Outcome(2.0)}) == 2
    assert benchmark.best_batch({1: Outcome(failure="no")}) is None


def test_the_fastest_trial_is_one_that_worked() -> None:
    slow, fast, failed = trial(Way()), trial(Way(channels_last=True)), trial(Way("bfloat16"))
    measured = {slow: Outcome(2.0), fast: Outcome(3.0), failed: Outcome(failure="no")}
    assert benchmark.fastest(measured) == fast
    assert benchmark.fastest({failed: measured[failed]}) is None


def test_ways_take_turns_medians_count_and_a_failure_is_not_tried_again(monkeypatch) -> None:
    order: list[str] = []
    later = {"a": iter([Outcome(9.0, 7.0), Outcome(2.0, 6.0)])}

    def measured(name: str) -> Outcome:
        order.append(name)
        return next(later[name])

    monkeypatch.setattr(benchmark, "measure", measured)
    first = {"a": Outcome(1.0, 5.0), "b": Outcome(failure="no compiler")}
    assert benchmark.take_turns(first, rounds=3) == {  # type: ignore[arg-type, comparison-overlap]
        "a": Outcome(2.0, 7.0),
        "b": Outcome(failure="no compiler"),
    }
    assert order == ["a", "a"]


def test_each_ratio_is_said_as_soon_as_it_is_measured(plan: benchmark.Plan, monkeypatch) -> None:
    rates = iter([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    said: list[str] = []

    def measured(given: Trial) -> Outcome:
        said.append("measured")
        return Outcome(next(rates))

    monkeypatch.setattr(benchmark, "measure", measured)
    _, outcomes = benchmark._rates(plan, TINY, said.append)
    benchmark._measure_compiled(TINY, outcomes, said.append)
    assert said[::2] == ["measured"] * 6
    assert [line.rpartition(", ")[2] for line in said[1::2]] == [f"{n}.00 times the authors'" for n in range(1, 7)]
    assert "bfloat16, channels last, batch 2" in said[3]
    assert "compiled" in said[-1]


def test_the_adversarial_step_trains_both_networks_and_each_by_its_own_loss() -> None:
    step = steps.training_step(trial(batch=3, model=Model("clip_salgan", "smoke")))
    assert isinstance(step, steps.AdversarialStep)
    networks = (step.network, step.discriminator)
    before = [[parameter.detach().clone() for parameter in network.parameters()] for network in networks]
    step()
    for network, old in zip(networks, before, strict=True):
        moved = [not torch.equal(new, was) for new, was in zip(network.parameters(), old, strict=True)]
        assert any(moved)
    at_its_step: list[Tensor] = []

    def record() -> None:
        at_its_step.extend(p.grad.clone() for p in step.discriminator.parameters() if p.grad is not None)

    step.discriminator_optimizer.step = record  # type: ignore[method-assign, assignment]
    step.gradients()
    after = [parameter.grad for parameter in step.discriminator.parameters()]
    assert len(at_its_step) == len(after)
    assert all(
        torch.equal(one, other) for one, other in zip(at_its_step, after, strict=True)
    )  # none of the generator's


class Shallow(Encoder):
    """Three convolutions: a network's own encoder takes the compiler half a minute."""

    channels, mean, std = (4, 4, 4), (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)

    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.ModuleList(nn.Conv2d(width, 4, stride, stride) for width, stride in ((3, 8), (4, 2), (4, 2)))

    def forward(self, images: Tensor) -> Taps:
        x8 = self.stages[0](images)
        x16 = self.stages[1](x8)
        return x8, x16, self.stages[2](x16)


class ShallowModel(Model):
    def build(self) -> TranSalNet:
        return TranSalNet(Shallow(), hidden=(8, 8, 8), heads=(2, 2, 2), channels=(8, 8, 8, 8), grid=(2, 3), layers=1)


@pytest.mark.slow
def test_without_a_compiler_the_reason_is_given(monkeypatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setenv("TORCHINDUCTOR_FORCE_DISABLE_CACHES", "1")
    outcome = steps.measure(replace(trial(Way(compiled=True), model=ShallowModel("transalnet", "smoke")), alone=True))
    assert "ompiler" in outcome.failure


def test_an_environment_is_for_the_processes_started_meanwhile(monkeypatch) -> None:
    monkeypatch.setenv("SALTEXT_A", "mine")
    with steps._environment({"SALTEXT_A": "other", "SALTEXT_B": "new"}):
        assert (steps.os.environ["SALTEXT_A"], steps.os.environ["SALTEXT_B"]) == ("mine", "new")
    assert "SALTEXT_B" not in steps.os.environ


def test_cached_features_train_the_same_as_computed_ones(tmp_path: Path) -> None:
    model = replace(TINY, reads=True)
    step = frozen.FrozenStep(model, 2, CPU, tmp_path)
    batch = step.batches[0]
    for computed, cached in zip(step.encode(batch), step.encode_cached(batch), strict=True):
        torch.testing.assert_close(cached, computed)
    seen: list[int] = []
    step.network.encoder.register_forward_hook(lambda _, images, __: seen.append(len(images[0])))
    step.encode_cached(batch)
    assert seen == []
    other = frozen.FrozenStep(model, 2, CPU, tmp_path / "other")
    for _ in range(2):
        cached = step.learn(batch, step.encode_cached(batch), step.read_cached(batch))
        computed = other.learn(batch, other.encode(batch), other.read(batch))
        torch.testing.assert_close(cached, computed)


def test_each_way_and_each_part_of_a_frozen_step_is_measured(tmp_path: Path) -> None:
    cost = frozen.frozen_cost(replace(TINY, reads=True), 2, 1, CPU, tmp_path)
    assert (len(cost.steps), len(cost.parts)) == (3, 5)
    assert not set(cost.steps) & set(cost.parts)
    assert min(cost.steps.values()) > cost.parts["of which text features cached"]
    assert cost.disk > 1000


def test_a_model_without_a_text_encoder_of_its_own_has_no_frozen_step(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="text encoder"):
        frozen.FrozenStep(Model("transalnet", "smoke"), 2, CPU, tmp_path)


def test_help_shows_examples_that_are_accepted(capsys) -> None:
    with pytest.raises(SystemExit, match="0"):
        benchmark._plan(["--help"])
    text = capsys.readouterr().out
    examples = [line.split("#")[0].split()[3:] for line in text.splitlines() if line.strip().startswith("python -m")]
    assert len(examples) == 4
    for example in examples:
        benchmark._plan(example)


def test_blip_is_read_by_tranblend_alone() -> None:
    assert [(m.name, m.reads) for m in benchmark._plan(["--blip"]).models] == [
        ("transalnet", False),
        ("tranblend", True),
        ("clip_salgan", False),
    ]
