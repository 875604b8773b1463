from pathlib import Path

import pytest
import torch

from saltext.data.pairs import Pair
from saltext.evaluation.text_variants import TextVariant, text_variants


def pair(image_id: str, task: str) -> Pair:
    text = "" if task == "pure" else f"{task} of {image_id}"
    return Pair(image_id, task, text, Path("i"), Path("d"), Path("f"), f"{image_id} {task}")


PAIRS = [pair(i, t) for i in ("1", "2", "3") for t in ("pure", "general", "non_salient", "salient")]
PAIRS += [pair("4", "pure"), pair("4", "whole"), pair("5", "pure"), pair("5", "whole")]
TESTED = [n for n, p in enumerate(PAIRS) if p.image_id != "3"]


@pytest.fixture
def variants() -> dict[str, TextVariant]:
    return {v.name: v for v in text_variants(PAIRS, TESTED, reads_condition=True)}


def test_free_viewing_has_no_text_to_take_away(variants: dict[str, TextVariant]) -> None:
    for variant in variants.values():
        assert all(PAIRS[number].task != "pure" for number in variant.substitutes)
    assert {PAIRS[n].task for n in variants["empty"].substitutes} == {"whole", "general", "salient", "non_salient"}
    assert {reading.text for reading in variants["empty"].substitutes.values()} == {""}


def test_another_image_s_text_is_of_the_same_condition_and_of_a_test_image(variants: dict[str, TextVariant]) -> None:
    substitutes = variants["other_image"].substitutes
    assert set(substitutes) == {n for n in TESTED if PAIRS[n].task != "pure"}
    for number, reading in substitutes.items():
        task, _, image = reading.text.partition(" of ")
        assert task == PAIRS[number].task == reading.task
        assert image != PAIRS[number].image_id
        assert image != "3"
    assert len({reading.text for reading in substitutes.values()}) == len(substitutes)


def test_the_opposite_text_is_of_the_same_image(variants: dict[str, TextVariant]) -> None:
    substitutes = {(PAIRS[n].image_id, PAIRS[n].task): r for n, r in variants["opposite"].substitutes.items()}
    assert substitutes["1", "salient"].text == "non_salient of 1"
    assert substitutes["2", "non_salient"].text == "salient of 2"
    assert set(substitutes) == {(i, t) for i in ("1", "2") for t in ("salient", "non_salient")}
    assert substitutes["1", "salient"].task == "salient"


def test_the_condition_is_swapped_only_for_models_conditioned_on_it(variants: dict[str, TextVariant]) -> None:
    salient = next(n for n in TESTED if PAIRS[n].task == "salient")
    assert variants["opposite_condition"].substitutes[salient].task == "non_salient"
    untold = text_variants(PAIRS, TESTED, reads_condition=False)
    assert "opposite_condition" not in [v.name for v in untold]


def test_what_covers_no_pair_is_left_out() -> None:
    pure = [n for n, p in enumerate(PAIRS) if p.task == "pure"]
    assert text_variants(PAIRS, pure, reads_condition=True) == []


def test_a_view_holds_the_covered_samples_alone_with_the_other_texts(variants: dict[str, TextVariant]) -> None:
    numbers = [0, 3, 1, 2]  # pure, salient, general, non_salient of image 1
    batch = {
        "index": torch.tensor(numbers),
        "image": torch.arange(4.0)[:, None],
        "text": [PAIRS[n].text for n in numbers],
        "task": [PAIRS[n].task for n in numbers],
    }
    view = variants["opposite"].view(batch)
    assert view["index"].tolist() == [3, 2]
    assert view["image"].flatten().tolist() == [1.0, 3.0]
    assert view["text"] == ["non_salient of 1", "salient of 1"]
    assert batch["text"][1] == "salient of 1"
