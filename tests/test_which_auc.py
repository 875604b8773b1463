"""The table of areas under ROC curves in docs/auc.md."""

import re
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from saltext.metrics import METRICS, Fixations, published, score
from tests.conftest import ROOT
from tests.reference import mit_auc
from tests.which_auc import END, START, Case, Rows, filled, rows, table

needs_pysaliency = pytest.mark.skipif(find_spec("pysaliency") is None, reason="needs pysaliency: make oracle")


@pytest.fixture(scope="module")
def case(sjtu_root: Path) -> Case:
    return Case(sjtu_root)


@pytest.fixture(scope="module")
def found(case: Case) -> Rows:
    return rows(case)


@needs_pysaliency
@pytest.mark.real_data
def test_the_table_of_the_page_is_what_its_command_writes(case: Case, found: Rows) -> None:
    text = (ROOT / "docs" / "auc.md").read_text(encoding="utf-8")
    assert filled(text, table(case, found)) == text, "write it again: python -m tests.which_auc docs/auc.md"


@needs_pysaliency
@pytest.mark.real_data
def test_one_definition_gives_one_number_whoever_computes_it(found: Rows) -> None:
    values = {(name, whose): by_map for name, whose, _, _, by_map in found}
    for ours, theirs in (
        ("`auc_judd`", "`AUC(nonfixations='uniform')`"),
        ("`auc_judd_unfixated`", "`AUC(nonfixations='unfixated')`"),
        ("`auc_judd_mit`", "`AUC_Judd(jitter=False)`"),
        ("`auc_shuffled`", "`AUC(nonfixations=others)`"),
    ):
        for own, other in zip(values[ours, "saltext"], values[theirs, "pysaliency"], strict=True):
            assert own == pytest.approx(other, abs=1e-9), ours


def test_the_page_has_every_auc_of_the_package() -> None:
    text = (ROOT / "docs" / "auc.md").read_text(encoding="utf-8")
    names = set(re.findall(r"^\| \[`(\w+)`\].*", text, re.MULTILINE)) | {"top20_sauc", "top20_sauc_sampled"}
    assert names == {name for name in METRICS if "auc" in name}
    assert START in text
    assert END in text


def test_without_ties_the_mit_code_without_noise_is_auc_judd_mit() -> None:
    rng = np.random.default_rng(0)
    image, fixated = rng.random((20, 30)), np.zeros((20, 30), bool)
    fixated.ravel()[rng.permutation(600)[:25]] = True
    fixations = Fixations.from_points([torch.from_numpy(np.argwhere(fixated))], (20, 30))
    expected = float(published.auc_judd_mit(torch.from_numpy(image)[None, None], fixations))
    assert mit_auc.auc_judd(image, fixated) == pytest.approx(expected, abs=1e-12)
    assert mit_auc.auc_judd(image, fixated, rng) == pytest.approx(expected, abs=1e-4)


def test_fine_steps_and_many_draws_approach_the_exact_area() -> None:
    rng = np.random.default_rng(1)
    image, fixated = rng.random((20, 30)), np.zeros((20, 30), bool)
    fixated.ravel()[np.argsort(image.ravel() + rng.random(600))[-40:]] = True
    fixations = Fixations.from_points([torch.from_numpy(np.argwhere(fixated))], (20, 30))
    exact = float(score(torch.from_numpy(image)[None, None], None, fixations, ["auc_judd"])["auc_judd"])
    assert mit_auc.auc_borji(image, fixated, rng, draws=2000, step=0.001) == pytest.approx(exact, abs=0.005)
    everywhere = np.ones((20, 30), bool)
    assert mit_auc.auc_shuffled(image, fixated, everywhere, rng, 2000, 0.001) == pytest.approx(exact, abs=0.005)
