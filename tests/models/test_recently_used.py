"""Values that are computed once and kept, up to a number of them."""

from saltext.models.recently_used import RecentlyUsed


class Lengths:
    """Computes lengths, and notes of what."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    def __call__(self, words: list[str]) -> dict[str, int]:
        self.asked.append(words)
        return {word: len(word) for word in words}


def test_missing_values_are_computed_in_one_call_each_once() -> None:
    lengths, kept = Lengths(), RecentlyUsed[str, int](10)
    assert kept.get(["a", "bb", "a"], lengths) == [1, 2, 1]
    assert kept.get(["bb", "ccc"], lengths) == [2, 3]
    assert kept.get(["a"], lengths) == [1]
    assert lengths.asked == [["a", "bb"], ["ccc"]]


def test_the_least_recently_used_value_goes_first() -> None:
    lengths, kept = Lengths(), RecentlyUsed[str, int](2)
    for word in ("a", "bb", "a", "ccc"):
        kept.get([word], lengths)
    assert len(kept) == 2
    kept.get(["a"], lengths)
    assert lengths.asked == [["a"], ["bb"], ["ccc"]]
    kept.get(["bb"], lengths)
    assert lengths.asked[-1] == ["bb"]


def test_more_values_than_are_kept_are_given_at_once() -> None:
    kept = RecentlyUsed[str, int](1)
    assert kept.get(["a", "bb", "ccc"], Lengths()) == [1, 2, 3]
    assert len(kept) == 1


def test_nothing_asked_computes_nothing_and_cleared_values_are_computed_again() -> None:
    lengths, kept = Lengths(), RecentlyUsed[str, int](2)
    assert kept.get([], lengths) == []
    kept.get(["a"], lengths)
    kept.clear()
    kept.get(["a"], lengths)
    assert lengths.asked == [["a"], ["a"]]
