from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from omegaconf import OmegaConf
from torch import Tensor

from saltext.data.datamodule import SyntheticDataModule
from saltext.data.pairs import Pair
from saltext.reporting import run_report
from saltext.reporting.pictures import Swap
from saltext.reporting.run_report import chosen_pairs, write_picture, write_swap_picture, write_tables
from saltext.reporting.scores import RunScores
from saltext.system.run_folder import RunFolder
from saltext.training import ScoredModule
from tests.reporting.test_curves import log


def pair(image_id: str, task: str) -> Pair:
    return Pair(image_id, task, "text", Path("i"), Path("d"), Path("f"), f"{image_id} {task}")


def test_the_picture_shows_the_first_images_by_id_under_both_texts() -> None:
    pairs = [pair(i, t) for i in ("3", "1", "2") for t in ("pure", "salient", "non_salient")] + [pair("0", "whole")]
    shown = [(pairs[i].image_id, pairs[i].task) for i in chosen_pairs(pairs, 2)]
    assert shown == [("1", "salient"), ("1", "non_salient"), ("2", "salient"), ("2", "non_salient"), ("0", "whole")]


def test_without_opposite_texts_the_first_pairs_are_shown() -> None:
    pairs = [pair(i, "pure") for i in ("1", "2", "3")]
    assert chosen_pairs(pairs, 2) == [0, 1]


class Reader(ScoredModule):
    """A ramp that is steeper the longer the text: what it read can be seen in its maps."""

    def __init__(self) -> None:
        super().__init__(["cc"])

    def saliency(self, batch: Mapping[str, Any]) -> Tensor:
        ramp = torch.linspace(0, 1, 16 * 24).reshape(1, 16, 24)
        return torch.stack([ramp ** len(text) for text in batch["text"]])


def scores(data: SyntheticDataModule, conditions: Sequence[str] = ()) -> RunScores:
    """Made-up scores of the test pairs, no two of them alike."""
    pairs = [data.pairs[i] for i in data.indices("test")]
    table = pd.DataFrame({"image_id": [p.image_id for p in pairs], "task": [p.task for p in pairs]})
    table = table.assign(text=[p.text for p in pairs], model="m", protocol="standard", split="test", seed=0)
    own = table.assign(cc=np.linspace(0.5, 0.9, len(table)))
    swapped = table[table["task"].isin(["salient", "non_salient"])]
    variants = [
        swapped.assign(variant=name, cc=np.linspace(0.1, 0.4, len(swapped)) ** (2 + place))
        for place, name in enumerate(["opposite", *conditions])
    ]
    return RunScores(own, pd.concat(variants))


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Swap]:
    seen: list[Swap] = []
    monkeypatch.setattr(run_report, "draw_swaps", lambda swaps, path, rule: seen.extend(swaps))
    return seen


def value(table: pd.DataFrame, image_id: str, task: str) -> float:
    return float(table[(table["image_id"] == image_id) & (table["task"] == task)]["cc"].item())


@pytest.mark.parametrize("conditions", [(), ("opposite_condition",)])
def test_exchanged_texts_are_shown_with_the_scores_of_the_maps_shown(
    data: SyntheticDataModule, tmp_path: Path, drawn: list[Swap], conditions: Sequence[str]
) -> None:
    known = scores(data, conditions)
    write_swap_picture(RunFolder(tmp_path), Reader(), data, known)
    assert drawn
    texts = known.pairs.set_index(["image_id", "task"])["text"]
    # A model told the condition shows the maps of the image's two pairs, which differ in the condition as well.
    variants = known.text_effect
    exchanged = variants[variants["variant"] == (conditions[-1] if conditions else "opposite")]
    for swap in drawn:
        image_id = swap.title.splitlines()[0]
        sides = ((swap.salient, "salient", "non_salient"), (swap.non_salient, "non_salient", "salient"))
        for reading, task, other in sides:
            assert reading.text == texts[image_id, task]
            assert reading.cc == value(known.pairs, image_id, task)
            assert reading.cc_other == value(exchanged, image_id, other)


def test_each_prediction_is_under_its_own_text_and_beside_its_own_truth(
    data: SyntheticDataModule, tmp_path: Path, drawn: list[Swap]
) -> None:
    write_swap_picture(RunFolder(tmp_path), Reader(), data, scores(data))
    numbers = {(p.image_id, p.task): n for n, p in enumerate(data.pairs)}
    for swap in drawn:
        image_id = swap.title.splitlines()[0]
        for reading, task in ((swap.salient, "salient"), (swap.non_salient, "non_salient")):
            assert reading.prediction.shape == reading.truth.shape == swap.image.shape[:2]
            ramp = np.linspace(0, 1, 16 * 24) ** len(reading.text)
            assert reading.prediction.mean() == pytest.approx(ramp.mean(), rel=0.05)
            truth = data.cache.native_density(numbers[image_id, task]) / 255
            np.testing.assert_allclose(reading.truth, truth, atol=1e-6)


def test_no_picture_is_drawn_where_none_is_asked_for(data: SyntheticDataModule, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    cfg = OmegaConf.create({"label": "ours", "evaluation": {"pictures": 0}})
    write_picture(cfg, folder, Reader(), data, scores(data).pairs)
    assert not folder.picture.exists()


def test_without_exchanged_texts_or_without_cc_there_is_no_such_picture(
    data: SyntheticDataModule, tmp_path: Path
) -> None:
    known = scores(data)
    write_swap_picture(RunFolder(tmp_path), Reader(), data, RunScores(known.pairs, pd.DataFrame()))
    as_nss = RunScores(*(t.rename(columns={"cc": "nss"}) for t in (known.pairs, known.text_effect)))
    write_swap_picture(RunFolder(tmp_path), Reader(), data, as_nss)
    assert not list(tmp_path.iterdir())
    write_swap_picture(RunFolder(tmp_path), Reader(), data, known)
    assert (tmp_path / "text_swap.png").is_file()


def test_a_run_leaves_its_tables_its_curves_and_how_its_maps_follow_the_text(
    data: SyntheticDataModule, tmp_path: Path
) -> None:
    log(tmp_path, 0, [{"epoch": 0, "step": 1, "train/loss": 1.0}, {"epoch": 1, "step": 2, "train/loss": 0.5}])
    write_tables(RunFolder(tmp_path), scores(data), "By hand.", None)
    written = {path.name for path in tmp_path.iterdir() if path.is_file()}
    assert written == {
        "table.md", "text_effect.md", "text_swap.csv", "text_swap.md", "curves.csv", "curves.png", "rows.json",
    }  # fmt: skip


def test_a_run_without_epochs_and_without_texts_leaves_its_tables_alone(
    data: SyntheticDataModule, tmp_path: Path
) -> None:
    write_tables(RunFolder(tmp_path), RunScores(scores(data).pairs, pd.DataFrame()), "By hand.", None)
    assert {path.name for path in tmp_path.iterdir()} == {"table.md"}
