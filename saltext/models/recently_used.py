"""Values that are computed once and kept, up to a number of them."""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Generic, TypeVar

_Key = TypeVar("_Key", bound=Hashable)
_Value = TypeVar("_Value")


class RecentlyUsed(Generic[_Key, _Value]):
    """Values by key; beyond ``most`` the least recently used is dropped.

    Unlike :func:`functools.lru_cache` it computes all missing values of a batch in one call.

    Args:
        most: Maximum number of values that are kept.

    Example:
        >>> kept = RecentlyUsed[str, int](most=2)
        >>> kept.get(["a", "bb", "a"], lambda missing: {word: len(word) for word in missing})
        [1, 2, 1]
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._values: OrderedDict[_Key, _Value] = OrderedDict()

    def __len__(self) -> int:
        return len(self._values)

    def get(self, keys: Sequence[_Key], compute: Callable[[list[_Key]], Mapping[_Key, _Value]]) -> list[_Value]:
        """The value of each key.

        Args:
            keys: Any number of them, also more than are kept.
            compute: Keys that are not kept, each once -> their values.
        """
        distinct = dict.fromkeys(keys)
        missing = [key for key in distinct if key not in self._values]
        self._values |= compute(missing) if missing else {}
        for key in distinct:
            self._values.move_to_end(key)
        values = [self._values[key] for key in keys]
        while len(self._values) > self.most:
            self._values.popitem(last=False)
        return values

    def clear(self) -> None:
        """Drop all values."""
        self._values.clear()
