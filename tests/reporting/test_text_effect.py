import pandas as pd
import pytest

from saltext.reporting import text_effect


def table(cc: list[float], task: str = "salient", **more: str) -> pd.DataFrame:
    return pd.DataFrame({"image_id": ["1", "2", "3"], "task": task, "cc": cc, **more})


@pytest.fixture
def effects() -> dict[str, list]:
    own = pd.concat([table([0.8, 0.7, 0.6]), table([0.9, 0.9, 0.9], task="pure")])
    variants = pd.concat(
        [table([0.5, 0.4, 0.3], variant="empty"), table([0.9, 0.6, 0.6], variant="opposite")], ignore_index=True
    )
    return text_effect.text_effects(own, variants)


def test_the_effect_is_own_text_minus_other_text_on_the_same_pairs(effects: dict[str, list]) -> None:
    (empty,) = effects["empty"]
    assert (empty.task, empty.metric, empty.images) == ("salient", "cc", 3)
    assert empty.mean == pytest.approx(0.3)
    assert empty.excludes_zero
    (opposite,) = effects["opposite"]
    assert opposite.mean == pytest.approx(0.0)
    assert not opposite.excludes_zero


def test_the_document_says_what_was_read_instead(effects: dict[str, list]) -> None:
    text = text_effect.document(effects)
    assert "own text minus no text" in text
    assert "**+0.300 (+0.300..+0.300)**" in text


def test_the_printed_table_marks_what_excludes_zero(
    effects: dict[str, list], capsys: pytest.CaptureFixture[str]
) -> None:
    text_effect.show(effects)
    said = capsys.readouterr().out
    assert "+0.300*" in said
    assert "+0.000 " in said or "-0.000 " in said
