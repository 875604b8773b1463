import io
import re
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from rich.console import Console

from saltext.errors import ConfigError
from saltext.metrics import METRICS
from tests.benchmarks import metrics as benchmark
from tests.benchmarks import oracles

needs_pysaliency = pytest.mark.skipif(find_spec("pysaliency") is None, reason="needs pysaliency: make oracle")


@pytest.fixture
def inputs() -> benchmark.Inputs:
    return benchmark.generate((18, 24), 3, fixations=9, negatives=40)


@needs_pysaliency
def test_a_tiny_run_reports_rates_growth_and_memory_next_to_the_others(monkeypatch) -> None:
    monkeypatch.setattr(benchmark, "peak_memory", lambda size, batch, threads: (12.0, 345.0))
    plan = benchmark.Plan(
        sizes=[(8, 9), (10, 12)],
        batch=5,
        rounds=1,
        threads=2,
        growth_sizes=[(6, 7)],
        growth_fixations=[3],
        growth_batches=[4],
    )
    lines = io.StringIO()
    benchmark.report(plan, Console(file=lines, width=120))
    text = lines.getvalue()
    for part in (
        "commit",
        "pysaliency 0.",
        "scikit-learn",
        "8x9, batch 5",
        "10x12, batch 5",
        "all six",
        "6x7",
        " 345 ",
    ):
        assert part in text, part
    for name in (*benchmark.SIX, *benchmark.PAPERS):
        assert len(re.findall(rf"│ {re.escape(METRICS[name].title)} +│", text)) == 2, name


@needs_pysaliency
def test_pysaliency_computes_the_same_scores_on_the_benchmarks_inputs(inputs) -> None:
    found, oracle = inputs.score(benchmark.SIX), oracles.PySaliency()
    for i, (pred, density, fixations, others) in enumerate(inputs.images):
        expected = {
            **{name: getattr(oracle, name)(pred, density) for name in ("cc", "sim", "kl")},
            **{name: getattr(oracle, name)(pred, fixations) for name in ("nss", "auc_judd")},
            "auc_shuffled": oracle.auc_shuffled(pred, fixations, others),
        }
        for name, value in expected.items():
            assert float(found[name][i]) == pytest.approx(value, abs=1e-6), name


def test_the_loop_computes_the_papers_scores_on_the_benchmarks_inputs(inputs) -> None:
    found, loop = inputs.score(["top20_auc", "top20_sauc_sampled"]), oracles.PapersLoop()
    for i, (pred, density, *_) in enumerate(inputs.images):
        for name, scores in found.items():
            assert float(scores[i]) == pytest.approx(getattr(loop, name)(pred, density), abs=1e-12), name


def test_inputs_have_the_numbers_asked_for_and_no_ties(inputs) -> None:
    assert inputs.fixations.each.number.tolist() == [9] * 3
    assert inputs.others.each.number.tolist() == [40] * 3
    assert all(len(np.unique(pred)) == 18 * 24 for pred, *_ in inputs.images)


def test_a_ratio_is_how_many_times_the_others_rate() -> None:
    assert benchmark.Row("CC", 300.0, 600.0, 200.0).cells() == ["CC", "300", "600", "200", "1.5", "3.0"]


@pytest.mark.slow
def test_scoring_a_larger_batch_takes_no_more_memory() -> None:
    measured = [benchmark.peak_memory((144, 192), batch, 1) for batch in (4, 64)]
    if None in measured:
        pytest.skip("this system does not tell a process's highest mark")
    (few_inputs, few), (many_inputs, many) = measured
    assert many_inputs > 10 * few_inputs
    assert many < few + 4


def test_help_shows_examples_that_are_accepted(capsys) -> None:
    with pytest.raises(SystemExit, match="0"):
        benchmark._plan(["--help"])
    text = capsys.readouterr().out
    examples = [line.split("#")[0].split()[3:] for line in text.splitlines() if line.strip().startswith("python -m")]
    assert len(examples) == 3
    for example in examples:
        benchmark._plan(example)


def test_quick_leaves_things_out_and_keeps_the_rest() -> None:
    quick = benchmark._plan(["--quick", "--batch", "3", "--threads", "1", "--device", "cpu"])
    assert (quick.batch, quick.threads, len(quick.sizes)) == (3, 1, 1)
    assert quick.rounds < benchmark._plan([]).rounds


@pytest.mark.parametrize("number", ["0", "-1", "many"])
def test_numbers_that_count_nothing_are_refused(number, capsys) -> None:
    with pytest.raises(SystemExit, match="2"):
        benchmark._plan([f"--rounds={number}"])
    assert f"--rounds: {number}: expected a whole number of at least 1" in capsys.readouterr().err


def test_a_missing_oracle_says_how_to_install_it(monkeypatch, capsys) -> None:
    monkeypatch.setattr(oracles, "find_spec", lambda name: None)
    assert benchmark.main(["--quick"]) == 1
    assert "make oracle" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="make oracle"):
        oracles.PySaliency()
    with pytest.raises(ConfigError, match="extra `dev`"):
        oracles.PapersLoop()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_is_not_waited_for_by_image() -> None:
    device = torch.device("cuda")
    waits = [benchmark.synchronisations((18, 24), batch, device) for batch in (2, 16)]
    assert waits[0] == waits[1]
