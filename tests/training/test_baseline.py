from pathlib import Path

import lightning as L
import pytest
import torch

from saltext.data import SyntheticDataModule
from saltext.training import BaselineModule


@pytest.mark.filterwarnings("ignore:.*does not have many workers.*")
def test_a_baseline_is_scored_like_a_network(data: SyntheticDataModule, tmp_path: Path) -> None:
    flat = BaselineModule(lambda batch: torch.full((len(batch["text"]), 1, 4, 6), 0.5), ["cc", "nss", "auc_judd"])
    tester = L.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False)
    tester.test(flat, datamodule=data, verbose=False)
    assert len(flat.test_scores) == len(data.indices("test"))
    assert (flat.test_scores["cc"] == 0).all()
    assert (flat.test_scores["nss"] == 0).all()
    assert (flat.test_scores["auc_judd"] == 0.5).all()
