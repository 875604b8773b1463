import pytest

from saltext.models.grounding.phrases import head_and_context, head_phrase, names_something


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ("There is a white pot on the table", "a white pot"),
        ("a baseball bat on the ground", "a baseball bat"),
        ("The man in pink pants", "the man"),
        ("A cup of coffee, and a plate", "a cup of coffee"),
        ("There are two dogs.", "two dogs"),
        ("the woman who holds an umbrella", "the woman"),
        ("lamps", "lamps"),
        ("an island in the sea", "an island"),
        ("On the left", "on the left"),
        ("", ""),
    ],
)
def test_a_text_is_about_its_first_noun_phrase(text: str, phrase: str) -> None:
    assert head_phrase(text) == phrase


@pytest.mark.parametrize(
    ("text", "phrases"),
    [
        ("There is a white pot on the table.", ("a white pot", "on the table")),
        ("A cup of coffee, and a plate", ("a cup of coffee", "and a plate")),
        ("The man in pink pants", ("the man", "in pink pants")),
        ("There are two dogs.", ("two dogs", "")),
        ("lamps", ("lamps", "")),
        ("On the left", ("on the left", "")),
        ("...", ("...", "")),
        ("", ("", "")),
    ],
)
def test_what_follows_the_first_noun_phrase_is_the_context(text: str, phrases: tuple[str, str]) -> None:
    assert head_and_context(text) == phrases


def test_texts_without_a_word_name_nothing() -> None:
    assert names_something(["", "  ", "a dog"]).flatten().tolist() == [0, 0, 1]
