from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from saltext.data.datamodule import SaliencyDataModule
from saltext.evaluation.evaluator import Evaluator
from saltext.evaluation.model_predictor import ModelPredictor
from saltext.evaluation.protocols import standard
from saltext.training import EvaluatorModule, ScoredModule
from saltext.training.out_of_memory import OutOfMemoryError, explain_out_of_memory, is_out_of_memory
from tests.training.quick_trainer import trainer

pytestmark = pytest.mark.filterwarnings("ignore:.*smaller than the logging interval.*")


class Full(ScoredModule):
    """Runs out of memory in one kind of step."""

    def __init__(self, where: str, error: Exception) -> None:
        super().__init__(["cc"])
        self.layer = nn.Conv2d(3, 1, 1)
        self.where, self.error = where, error

    def saliency(self, batch: Mapping[str, Any]) -> Tensor:
        if self.where != "training":
            raise self.error
        return batch["density"]

    def training_step(self, batch: Mapping[str, Any], batch_index: int) -> Tensor:
        if self.where == "training":
            raise self.error
        return self.layer(batch["image"].float()).mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


CUDA = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nmore")


def said(data: SaliencyDataModule, folder: Path, where: str, error: Exception = CUDA) -> str:
    model, used = Full(where, error), trainer(folder)
    evaluator = Evaluator()
    evaluator.add("model", ModelPredictor(model.predict_saliency), standard(["cc"]))
    tested = EvaluatorModule(evaluator, data.pairs, model)
    run = partial(used.test, tested) if where == "test" else partial(used.fit, model)
    with pytest.raises(OutOfMemoryError) as raised, explain_out_of_memory(used):
        run(datamodule=data)
    assert raised.value.__cause__ is error
    return str(raised.value)


@pytest.mark.parametrize(("where", "key"), [("training", "data.batch_size"), ("validation", "data.eval_batch_size"),
                                            ("test", "data.eval_batch_size")])  # fmt: skip
def test_the_batch_that_does_not_fit_is_named_with_what_to_set(
    data: SaliencyDataModule, tmp_path: Path, where: str, key: str
) -> None:
    words = said(data, tmp_path, where)
    assert words.startswith(f"A {where} batch of ")
    assert "at 64x96 does not fit into the memory of cpu. " in words
    assert key in words
    assert "trainer.precision=bf16-mixed" in words
    assert ("accumulate_grad_batches" in words) == (where == "training")
    assert words.endswith("(CUDA out of memory. Tried to allocate 2.00 GiB.)")


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:1] DefaultCPUAllocator: can't allocate memory: you tried 9 bytes"),
        MemoryError("Unable to allocate 9 GiB"),
    ],
)
def test_every_library_s_way_of_saying_it_is_known(error: Exception) -> None:
    assert is_out_of_memory(error)


def test_other_errors_are_left_as_they_are(data: SaliencyDataModule, tmp_path: Path) -> None:
    used = trainer(tmp_path)
    with pytest.raises(RuntimeError, match="mat1 and mat2") as raised, explain_out_of_memory(used):
        used.fit(Full("training", RuntimeError("mat1 and mat2 cannot be multiplied")), datamodule=data)
    assert not isinstance(raised.value, OutOfMemoryError)
