"""The pictures of a run's test pairs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from omegaconf import OmegaConf
from torch import Tensor

from saltext.data.datamodule import SaliencyDataModule
from saltext.prediction.pictures import ImageRecord
from saltext.results.score_table import RunScores
from saltext.runs import pictures
from saltext.runs.pictures import write_pairs, write_swaps
from saltext.system.run_folder import RunFolder
from saltext.training import ScoredModule


class Reader(ScoredModule):
    """A ramp that is steeper the longer the text: what it read can be seen in its maps."""

    def __init__(self) -> None:
        super().__init__(["cc"])

    def saliency(self, batch: Mapping[str, Any]) -> Tensor:
        ramp = torch.linspace(0, 1, 16 * 24).reshape(1, 16, 24)
        return torch.stack([ramp ** len(text) for text in batch["text"]])


def scores(data: SaliencyDataModule, conditions: Sequence[str] = ()) -> RunScores:
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
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[ImageRecord]:
    seen: list[ImageRecord] = []
    monkeypatch.setattr(pictures.pictures, "write_picture", lambda records, *_: seen.extend(records))
    return seen


def value(table: pd.DataFrame, image_id: str, task: str) -> float:
    return float(table[(table["image_id"] == image_id) & (table["task"] == task)]["cc"].item())


def test_the_texts_of_an_image_stand_together_with_their_scores(
    data: SaliencyDataModule, tmp_path: Path, drawn: list[ImageRecord]
) -> None:
    known = scores(data).pairs
    cfg = OmegaConf.create({"label": "m", "evaluation": {"pictures": 2}})
    write_pairs(cfg, RunFolder(tmp_path), Reader(), data, known)
    assert [[of.name for of in record.texts] for record in drawn] == [["salient", "non_salient"]] * 2 + [["whole"]]
    for record in drawn:
        for of in record.texts:
            assert of.scores == {"CC": value(known, record.image_id, of.name)}


@pytest.mark.parametrize("conditions", [(), ("opposite_condition",)])
def test_exchanged_texts_are_shown_with_the_scores_of_the_maps_shown(
    data: SaliencyDataModule, tmp_path: Path, drawn: list[ImageRecord], conditions: Sequence[str]
) -> None:
    known = scores(data, conditions)
    write_swaps(RunFolder(tmp_path), Reader(), data, known)
    assert drawn
    texts = known.pairs.set_index(["image_id", "task"])["text"]
    # A model conditioned on the condition's name shows the maps of the two pairs, which differ in it as well.
    variants = known.text_ablation
    exchanged = variants[variants["variant"] == (conditions[-1] if conditions else "opposite")]
    for record in drawn:
        assert [of.name for of in record.texts] == ["salient", "non_salient"]
        assert f"image {record.image_id}, " in record.title
        for of, other in zip(record.texts, ("non_salient", "salient"), strict=True):
            assert of.text == texts[record.image_id, of.name]
            assert of.scores == {
                "CC": value(known.pairs, record.image_id, of.name),
                f"CC with the human map of {other}": value(exchanged, record.image_id, other),
            }


def test_each_prediction_is_under_its_own_text_and_beside_its_own_truth(
    data: SaliencyDataModule, tmp_path: Path, drawn: list[ImageRecord]
) -> None:
    write_swaps(RunFolder(tmp_path), Reader(), data, scores(data))
    numbers = {(p.image_id, p.task): n for n, p in enumerate(data.pairs)}
    for record in drawn:
        for of in record.texts:
            assert of.human_map is not None
            ramp = np.linspace(0, 1, 16 * 24) ** len(of.text)
            assert of.prediction.max() * of.prediction.size == pytest.approx(ramp.max() / ramp.mean(), rel=0.05)
            truth = data.cache.native_density(numbers[record.image_id, of.name]).astype(np.float64)
            np.testing.assert_allclose(of.human_map, truth / truth.sum(), atol=1e-7)


def test_no_picture_is_drawn_where_none_is_asked_for(data: SaliencyDataModule, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    cfg = OmegaConf.create({"label": "ours", "evaluation": {"pictures": 0}})
    write_pairs(cfg, folder, Reader(), data, scores(data).pairs)
    assert not folder.picture.exists()


def test_without_exchanged_texts_or_without_cc_there_is_no_such_picture(
    data: SaliencyDataModule, tmp_path: Path
) -> None:
    known = scores(data)
    write_swaps(RunFolder(tmp_path), Reader(), data, RunScores(known.pairs, pd.DataFrame()))
    as_nss = RunScores(*(t.rename(columns={"cc": "nss"}) for t in (known.pairs, known.text_ablation)))
    write_swaps(RunFolder(tmp_path), Reader(), data, as_nss)
    assert not list(tmp_path.iterdir())
    write_swaps(RunFolder(tmp_path), Reader(), data, known)
    assert (tmp_path / "text_swap.png").is_file()
