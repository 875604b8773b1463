"""Tiny models of the classes that the hub has weights of, made once."""

from pathlib import Path

import pytest
import torch

from tests.models import tiny_pretrained


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Their folders, by the name of the grounder."""
    root = tmp_path_factory.mktemp("tiny")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return {name: getattr(tiny_pretrained, name)(root / name) for name in ("clipseg", "owlv2", "grounding_dino")}
