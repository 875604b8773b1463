from pathlib import Path

import pandas as pd
import pytest
from omegaconf import DictConfig, OmegaConf

from saltext.errors import ConfigError
from saltext.runs import trust
from saltext.runs.evaluate import largest_difference
from saltext.runs.saved import configuration
from saltext.system.run_folder import RunFolder
from tests.small_runs import composed


def table(cc: list[float], ids: tuple[str, str] = ("1", "2")) -> pd.DataFrame:
    return pd.DataFrame(
        {"image_id": ids, "task": "pure", "model": "m", "protocol": "standard", "cc": cc, "nss": [0.0, 0.0]}
    )


def test_the_largest_difference_is_found_pair_by_pair() -> None:
    swapped = table([0.4, 0.2], ids=("2", "1"))
    assert largest_difference(table([0.2, 0.4]), swapped) == 0
    assert largest_difference(table([0.2, 0.4]), table([0.2, 0.1])) == pytest.approx(0.3)


def test_tables_of_different_pairs_are_not_compared() -> None:
    with pytest.raises(ConfigError, match="different pairs"):
        largest_difference(table([0.2, 0.4]), table([0.2, 0.4], ids=("1", "3")))


def test_one_machine_scores_what_several_trained(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    trust.write(composed("preset=smoke", "trainer.num_nodes=4", "trainer.devices=2"), folder)

    def trainer(**changes: int) -> DictConfig:
        return configuration(folder, OmegaConf.create({"trainer": changes})).cfg.trainer

    assert (trainer().num_nodes, trainer().devices) == (1, 2)
    assert trainer(num_nodes=2).num_nodes == 2


def test_a_run_whose_split_took_arguments_is_scored_with_its_split_file(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    trust.write(composed("preset=smoke", "data.split._target_=mine.Halves", "+data.split.share=0.5"), folder)
    split = configuration(folder, OmegaConf.create(), trust=True).cfg.data.split
    assert split == {"_target_": "saltext.data.splits.FromFile", "path": str(folder.split)}
