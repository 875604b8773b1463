"""How the study of explanations sorts words, and what it computes from them."""

import pandas as pd
import pytest

from tests.studies.word_effects import head_against, kinds, report, strongest_is_head

COLUMNS = ["image_id", "task", "text", "word", "start", "kind", "nss", "drop", "drop_replaced", "moved",
           "moved_replaced"]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "A little girl is eating a donut",
            {"little": "adjective", "girl": "head noun", "eating": "verb", "donut": "other noun"},
        ),
        ("One boy caught the ball", {"One": "adjective", "boy": "head noun", "caught": "verb", "ball": "other noun"}),
        ("A crowd of people on the grass", {"crowd": "head noun", "people": "other noun", "grass": "other noun"}),
        ("There are three flags on the street", {"three": "adjective", "flags": "head noun", "street": "other noun"}),
        ("the side of the road", {"side": "head noun", "road": "other noun"}),
    ],
)
def test_words_are_sorted_by_lists_and_their_place(text: str, expected: dict[str, str]) -> None:
    assert {part.words: kind for part, kind in kinds(text)} == expected


@pytest.fixture
def table() -> pd.DataFrame:
    """Two images; the head noun costs 1 more than the mean of the other nouns in one, 3 more in the other."""
    rows = [
        ("1", "salient", "a dog and a cat", "dog", 2, "head noun", 2.0, 2.0, 1.0, 0.3, 0.2),
        ("1", "salient", "a dog and a cat", "cat", 12, "other noun", 2.0, 1.0, 0.5, 0.1, 0.1),
        ("2", "salient", "a hat on a red box", "hat", 2, "head noun", 2.0, 4.0, 2.0, 0.1, 0.1),
        ("2", "salient", "a hat on a red box", "red", 11, "adjective", 2.0, 0.0, 0.0, 0.0, 0.0),
        ("2", "salient", "a hat on a red box", "box", 15, "other noun", 2.0, 1.0, 0.5, 0.2, 0.1),
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def test_the_head_noun_is_compared_with_the_other_words_of_its_own_text(table: pd.DataFrame) -> None:
    assert head_against(table, "other noun", "drop").mean == pytest.approx((1 + 3) / 2)
    assert head_against(table, "adjective", "drop").mean == pytest.approx(4)
    assert head_against(table, "adjective", "drop").images == 1


def test_chance_is_a_word_taken_at_random(table: pd.DataFrame) -> None:
    share, chance = strongest_is_head(table)
    assert share.mean == pytest.approx(1 / 2)
    assert chance.mean == pytest.approx((1 / 2 + 1 / 3) / 2)


def test_the_report_has_all_tables(table: pd.DataFrame) -> None:
    said = report(table)
    assert "2 texts of 2 images" in said
    for title in ("All texts", "Drop in NSS, paired within a text", "By condition"):
        assert f"**{title}**" in said
    assert "python -m tests.studies.word_effects" in said
