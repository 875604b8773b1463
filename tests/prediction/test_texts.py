import pytest
import torch

from saltext.errors import InvalidFileError
from saltext.models.text.base import TextFeatures
from saltext.models.text.tiny import TinyText
from saltext.prediction.texts import MAX_CHARACTERS, characters_read, checked, means_something


class Words:
    """Reads the first words of a text, by their own characters; counts how often it is asked."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.asked = 0

    def __call__(self, text: str) -> TextFeatures:
        self.asked += 1
        words = ["", *text.split()][: 1 + self.limit]
        tokens = torch.tensor([[[float(hash(word))] for word in words]])
        return TextFeatures(tokens[:, 0], tokens, torch.ones(tokens.shape[:2], dtype=torch.bool))


def test_outer_white_space_goes_and_everything_else_stays() -> None:
    assert checked("  the 🐈\nsits \t") == "the 🐈\nsits"
    assert checked("") == checked(" \n") == ""


@pytest.mark.parametrize("text", [None, 7, b"bytes", ["the lamp"], "half \ud83d of an emoji"], ids=repr)
def test_what_is_no_text_is_refused(text: object) -> None:
    with pytest.raises(InvalidFileError, match="texts that are no"):
        checked(text)


@pytest.mark.parametrize("words", [0, 1, 2, 5])
def test_a_text_within_the_limit_is_read_whole(words: int) -> None:
    text = " ".join(["lamp"] * words)
    encode = Words(limit=5)
    assert characters_read(encode, text) == len(text)
    assert encode.asked <= 2


@pytest.mark.parametrize("words", [6, 7, 60, 300])
def test_what_follows_the_limit_is_found_not_to_be_read(words: int) -> None:
    text = " ".join(f"word{number:02d}" for number in range(words))
    encode = Words(limit=5)
    assert characters_read(encode, text) == len("word00 word01 word02 word03 word04")
    assert encode.asked <= 15


def test_no_encoder_gets_more_than_the_bound() -> None:
    longest = 0

    def encode(text: str) -> TextFeatures:
        nonlocal longest
        longest = max(longest, len(text))
        return Words(limit=10**6)(text)

    assert characters_read(encode, "lamp" * 10**5) == MAX_CHARACTERS
    assert longest == MAX_CHARACTERS


def test_an_encoder_that_reads_nothing_reads_no_character() -> None:
    assert characters_read(Words(limit=0), "the lamp") == 0


@torch.no_grad()
def test_a_real_encoders_limit_is_found() -> None:
    encoder = TinyText(dim=8, max_tokens=4).eval()
    assert characters_read(lambda text: encoder([text]), "one two three four five") == len("one two three")


@pytest.mark.parametrize(("text", "means"), [(".", False), (" …”\n", False), ("", False), ("a", True), ("é", True),
                                             ("7", True), ("🐈", True), ("白", True), ("!+", True)])  # fmt: skip
def test_punctuation_alone_means_nothing(text: str, means: bool) -> None:
    assert means_something(text) is means
