import pytest

from saltext.prediction.phrases import parts


def phrases(text: str) -> list[str]:
    return [part.words for part in parts(text) if part.is_phrase]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a man beside a red bus", ["a man", "beside a red bus"]),
        ("There is a white pot on the table.", ["There is a white pot", "on the table"]),
        ("A cup of coffee, and a plate", ["A cup of coffee", "and a plate"]),
        ("a man riding a horse next to an old building", ["a man", "riding", "a horse", "next to an old building"]),
        ("people in front of a large clock tower", ["people", "in front of a large clock tower"]),
        ("the woman who holds an umbrella", ["the woman", "who holds", "an umbrella"]),
        ("a flying kite in the sky", ["a flying kite", "in the sky"]),
        ("the man's hat", ["the man's hat"]),
        ("lamps", ["lamps"]),
    ],
)
def test_function_words_belong_to_the_words_that_follow_them(text: str, expected: list[str]) -> None:
    assert phrases(text) == expected


def test_words_of_content_follow_the_phrase_they_are_in() -> None:
    assert [part.words for part in parts("a man beside a red bus")] == ["a man", "beside a red bus", "red", "bus"]


@pytest.mark.parametrize(
    ("words", "without", "replaced"),
    [
        ("a man", "beside an old red bus", "something beside an old red bus"),
        ("beside an old red bus", "a man", "a man beside something"),
        ("old", "a man beside a red bus", "a man beside a certain red bus"),
        ("red", "a man beside an old bus", "a man beside an old certain bus"),
        ("bus", "a man beside an old red", "a man beside an old red thing"),
    ],
)
def test_a_part_is_left_out_or_replaced_by_a_neutral_word(words: str, without: str, replaced: str) -> None:
    (part,) = (part for part in parts("a man beside an old red bus") if part.words == words)
    assert (part.without, part.replaced) == (without, replaced)


def test_the_place_in_the_text_is_known_and_the_rest_of_the_text_stays() -> None:
    text = "  Two  dogs ,  the lamp!"
    for part in parts(text):
        assert text[part.start : part.end] == part.words
    assert [part.without for part in parts(text) if part.is_phrase] == ["the lamp!", "Two dogs!"]


@pytest.mark.parametrize("text", ["", "  ", "...", "there is the", "of a"])
def test_a_text_without_words_of_content_has_no_parts(text: str) -> None:
    assert parts(text) == []


def test_other_scripts_are_kept_whole() -> None:
    assert phrases("一只狗在草地上") == ["一只狗在草地上"]
    assert phrases("die große Straße") == ["die große Straße"]
