import pytest

from saltext.models.freezing import FreezeRow
from saltext.reporting import freeze


def test_the_table_says_per_part_how_many_layers_and_parameters_train(capsys: pytest.CaptureFixture[str]) -> None:
    freeze.show([FreezeRow("encoder", 7, 3, 2_000_000, 500_000), FreezeRow("blend", 0, 0, 1_000, 1_000)])
    lines = [" ".join(line.replace("│", " ").split()) for line in capsys.readouterr().out.splitlines()]
    assert "encoder 7 3 2,000,000 500,000" in lines
    assert "blend – – 1,000 1,000" in lines
    assert "all 2,001,000 501,000" in lines
