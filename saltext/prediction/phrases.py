"""The phrases and words of an English sentence, and the sentence without one of them.

There is no parser here, but rules for descriptions such as "a man beside a red bus": function words (articles,
prepositions, pronouns, forms of "be") belong to the words that follow them, and open a new phrase.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, takewhile

NEUTRAL_NOUN, NEUTRAL_MODIFIER, NEUTRAL_VERB, NEUTRAL_PHRASE = "thing", "certain", "doing", "something"
"""What stands for a noun, for a word before a noun, for a verb in -ing, and for all content words of a phrase."""

_FUNCTION_WORDS = frozenset(
    """a an the this that these those some any each every all both no one's my your his her its our their
    of in on at by to from with without into onto over under above below behind beside besides between among around
    against along across inside outside near next through toward towards for off up down out about after before during
    and or but nor so as than while where when which who whose whom what because if not
    is are was were be been being am has have had having do does did can could will would may might must should
    it he she they them him we you i me us there here
    there's it's that's""".split()  # noqa: SIM905 - one word a line would fill the page
)
# They continue a phrase where others open one: "a cup of coffee", "next to the house".
_CONTINUES = frozenset({"of", "to"})
_ARTICLES = frozenset({"a", "an", "the", "some", "any", "this", "that", "these", "those", "no", "its", "his", "her"})
# Words in -ing that are things; others after a word of content are verbs and open a phrase: "a man riding a horse".
_THINGS_IN_ING = frozenset(
    """building buildings ceiling railing railings painting paintings clothing wing ring king string thing morning
    evening awning crossing landing lighting parking swing sling dressing opening drawing icing frosting pudding seating
    siding paving housing earring earrings nothing something everything anything""".split()  # noqa: SIM905
)
_IN_PREPOSITIONS = re.compile(r"\b(?<=in )front(?= of\b)|\b(?<=on )top(?= of\b)", re.IGNORECASE)
_TOKEN = re.compile(r"[^\W_]+(?:['’\-][^\W_]+)*|[^\w\s]|_")
_BEFORE_A_VOWEL = re.compile(r"\b([Aa])n (?=[^\W\d_aeiouAEIOU])")
_BEFORE_A_CONSONANT = re.compile(r"\b([Aa]) (?=(?!uni|use|one)[aeiou])", re.IGNORECASE)


@dataclass(frozen=True)
class Part:
    """A phrase of a text, or one of its words.

    Attributes:
        words: As they stand in the text.
        start: Index of its first character in the text.
        end: Index behind its last character.
        is_phrase: Whether it is a whole phrase; a single word of a longer phrase otherwise.
        without: The text without it.
        replaced: The text with a neutral word in its place.
    """

    words: str
    start: int
    end: int
    is_phrase: bool
    without: str
    replaced: str


@dataclass(frozen=True)
class _Token:
    text: str
    start: int
    end: int
    in_preposition: bool = False

    @property
    def is_word(self) -> bool:
        return self.text[0].isalnum()

    @property
    def is_content(self) -> bool:
        return self.is_word and not self.in_preposition and self.text.lower() not in _FUNCTION_WORDS

    @property
    def is_verb(self) -> bool:
        word = self.text.lower()
        return len(word) > 4 and word.endswith("ing") and word not in _THINGS_IN_ING


def parts(text: str) -> list[Part]:
    """The phrases of a text, each followed by its content words where it has several, in the order of the text.

    A phrase without a word of content ("there is") belongs to the next one, at the end of the text to the one before.

    Args:
        text: Any text; the rules are for English descriptions.

    Returns:
        None for a text without words.

    Example:
        >>> [part.words for part in parts("a man beside a red bus")]
        ['a man', 'beside a red bus', 'red', 'bus']
        >>> parts("a man beside a red bus")[1].without, parts("a man beside a red bus")[1].replaced
        ('a man', 'a man beside something')
        >>> parts("a man beside a red bus")[3].replaced
        'a man beside a red thing'
    """
    found = []
    for phrase in _phrases(text):
        found.append(_part(text, phrase[0].start, phrase[-1].end, True, _neutral_phrase(phrase)))
        of_phrase = _words(text, phrase)
        found += of_phrase if len(of_phrase) > 1 else []
    return found


def words(text: str) -> list[list[Part]]:
    """The words of content of each phrase of a text, in its order.

    Example:
        >>> [[part.words for part in phrase] for phrase in words("a man beside a red bus")]
        [['man'], ['red', 'bus']]
    """
    return [_words(text, phrase) for phrase in _phrases(text)]


def _words(text: str, phrase: Sequence["_Token"]) -> list[Part]:
    return [
        _part(text, token.start, token.end, False, _neutral_word(token, phrase)) for token in phrase if token.is_content
    ]


def _phrases(text: str) -> Iterator[list[_Token]]:
    """The words of each phrase."""
    prepositions = {match.start() for match in _IN_PREPOSITIONS.finditer(text)}
    tokens = [
        _Token(match[0], match.start(), match.end(), match.start() in prepositions) for match in _TOKEN.finditer(text)
    ]
    phrase: list[_Token] = []
    for token in tokens:
        has_content = any(word.is_content for word in phrase)
        if not token.is_word:
            if token.text in '.,;:!?()"“”' and has_content:
                yield phrase
                phrase = []
        elif has_content and _opens(token, phrase):
            yield phrase
            phrase = [token]
        else:
            phrase.append(token)
    if any(word.is_content for word in phrase):
        yield phrase


def _opens(token: _Token, phrase: Sequence[_Token]) -> bool:
    """Whether a word begins a new phrase after one that has content."""
    word = token.text.lower()
    if word in _CONTINUES:
        return False
    if token.is_content:
        # "a man riding", but "a flying kite": there the verb stands before any content.
        return token.is_verb and phrase[-1].is_content
    # "a cup of the coffee": what follows "of" still belongs to it.
    return phrase[-1].text.lower() not in _CONTINUES


def _neutral_word(token: _Token, phrase: Sequence[_Token]) -> str:
    """What stands for a word of content: a noun is the last of its phrase, or of a part of it before "of"."""
    if token.is_verb:
        return NEUTRAL_VERB
    after = dict(pairwise(phrase)).get(token)
    return NEUTRAL_NOUN if after is None or not after.is_content else NEUTRAL_MODIFIER


def _neutral_phrase(phrase: Sequence[_Token]) -> str:
    """A phrase with neutral words for its content: what stands before its articles stays."""
    content = [token for token in phrase if token.is_content]
    neutral = [NEUTRAL_VERB] if content[0].is_verb else []
    if not neutral or len(content) > 1:
        neutral.append(NEUTRAL_PHRASE)
    kept = takewhile(lambda token: not token.is_content and token.text.lower() not in _ARTICLES, phrase)
    return " ".join([*(token.text for token in kept), *neutral])


def _part(text: str, start: int, end: int, is_phrase: bool, neutral: str) -> Part:
    before, after = text[:start], text[end:]
    without, replaced = _tidied(before + after), _tidied(before + neutral + after)
    return Part(text[start:end], start, end, is_phrase, without, replaced)


def _tidied(text: str) -> str:
    """A text with single spaces, none before punctuation, "a" and "an" as the next word needs them."""
    text = re.sub(r"\s+(?=[.,;:!?])|,(?=\s*[.,;:!?])", "", " ".join(text.split())).strip(" ,;:")
    text = _BEFORE_A_VOWEL.sub(r"\1 ", text)
    return _BEFORE_A_CONSONANT.sub(r"\1n ", text)
