"""What a run says at its end, on made-up scores."""

import numpy as np
import pandas as pd

from saltext.reporting.conclusion import conclusion


def scores(model: str, cc: float, **columns: str) -> pd.DataFrame:
    rows = [(f"{n}", task, cc + n / 100) for n in range(20) for task in ("salient", "non_salient")]
    found = pd.DataFrame(rows, columns=["image_id", "task", "cc"])
    return found.assign(text="x", split="test", seed=0, protocol="standard", model=model, **columns)


def test_it_says_the_score_the_gap_to_a_baseline_what_the_text_is_worth_and_whether_the_map_follows() -> None:
    pairs = pd.concat([scores("mine", 0.5), scores("uniform map", 0.0), scores("centre prior (other images)", 0.3)])
    other = scores("mine", 0.4, variant="opposite")
    assert conclusion(pairs, other, "mine") == (
        "CC 0.595 on non_salient (20 pairs), +0.200 (+0.200 to +0.200) over the centre prior (other images), "
        "+0.100 (+0.100 to +0.100) over itself with the text about the image's other objects; "
        "the map follows the text on 100 % (100 to 100) of 20 images."
    )


def test_without_texts_or_baselines_it_says_what_there_is() -> None:
    assert conclusion(scores("mine", 0.5), pd.DataFrame(), "mine") == "CC 0.595 on non_salient (20 pairs)."
    assert conclusion(scores("uniform map", 0.0), pd.DataFrame(), "baselines") == ""


def test_an_undefined_score_is_left_out_of_the_mean() -> None:
    pairs = scores("mine", 0.5)
    pairs.loc[1, "cc"] = np.nan
    assert conclusion(pairs, pd.DataFrame(), "mine").startswith("CC 0.600 on non_salient")
