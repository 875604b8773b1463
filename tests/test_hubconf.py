"""torch.hub finds the model in a checkout."""

from typing import Any

import numpy as np
import pytest
import torch

import saltext
from saltext.system.run_folder import RunFolder
from tests.conftest import ROOT


@pytest.mark.slow
def test_torch_hub_loads_a_model_from_a_checkout(smoke_run: RunFolder) -> None:
    photo = np.full((20, 30, 3), 128, np.uint8)
    load_from: Any = torch.hub.load  # without types
    model = load_from(str(ROOT), "load", source="local", run=smoke_run.root)
    assert np.array_equal(model.predict(photo, "a lamp"), saltext.load(smoke_run.root).predict(photo, "a lamp"))
