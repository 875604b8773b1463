import pytest
import torch

from tests.benchmarks import gpu


@pytest.mark.slow
def test_without_a_gpu_the_script_can_be_rehearsed(capsys: pytest.CaptureFixture[str]) -> None:
    assert gpu.main(["--quick", "--device", "cpu", "--only", "steps"]) == 0
    said = capsys.readouterr().out
    assert "bfloat16, channels last, batch 2: " in said
    assert "images/s at most (target: 500)" in said


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is there")
def test_a_gpu_that_is_missing_is_said_with_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        gpu.main([])
    assert "expected a GPU, found none; --quick --device cpu" in capsys.readouterr().err
