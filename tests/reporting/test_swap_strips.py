import numpy as np
import pandas as pd
import pytest

from saltext.reporting.predicted import NO_TEXT, SwapMaps
from saltext.reporting.swap_strips import chosen, strip
from saltext.reporting.text_swap import RULE
from tests.reporting.test_text_swap import table

ZEROS = [0.0] * 11


def test_images_are_chosen_by_how_much_the_text_matters() -> None:
    effect = np.linspace(-0.5, 0.5, 11).tolist()
    found, rule = chosen(table(effect, effect), table(ZEROS, ZEROS, variant="opposite"))
    assert rule == RULE
    assert list(found) == ["001", "005", "009"]
    assert found["009"] == "90th percentile: text effect +0.40 CC"


def test_without_scores_under_other_texts_the_first_images_are_taken() -> None:
    own = pd.concat([table(ZEROS, ZEROS), pd.DataFrame({"image_id": ["!"], "task": ["salient"], "cc": [0.0]})])
    found, rule = chosen(own, pd.DataFrame())
    assert list(found) == ["000", "001", "002"]  # "!" would be the first, but has one text only
    assert "first test images by id" in rule
    assert chosen(own[own["task"] == "salient"], pd.DataFrame())[0] == {}


@pytest.fixture
def maps() -> SwapMaps:
    left, right = np.zeros((4, 8), np.float32), np.zeros((4, 8), np.float32)
    left[:, 0], right[:, 7] = 0.25, 0.25
    half = (left + right) / 2
    predictions = {NO_TEXT: right, "salient": left, "non_salient": half}
    scores = {(name, task): 0.1 for name in predictions for task in ("salient", "non_salient")}
    texts = {"salient": "the red circle", "non_salient": "the <grey> wall"}
    truths = {"salient": left, "non_salient": right}
    return SwapMaps("007", "", texts, np.full((4, 8, 3), 99, np.uint8), truths, predictions, scores)


def test_a_panel_shows_image_truths_predictions_and_what_moves(maps: SwapMaps) -> None:
    found = strip(maps, "by rule", "")
    assert found.title == "image 007, by rule"
    assert found.text == "salient: “the red circle” / non_salient: “the <grey> wall”"
    assert [shot.caption for shot in found.shots] == [
        "image",
        "where people looked, salient",
        "where people looked, non_salient",
        "50% of the density moves from the salient to the non_salient text: red more, blue less",
        "predicted, no text: CC 0.10 with salient, 0.10 with non_salient",
        "predicted, salient: CC 0.10 with salient, 0.10 with non_salient",
        "predicted, non_salient: CC 0.10 with salient, 0.10 with non_salient",
    ]
    assert all("007" in shot.alt for shot in found.shots)


def test_the_model_is_named_where_there_are_several(maps: SwapMaps) -> None:
    assert strip(maps, "", "net").title == "image 007, net"
