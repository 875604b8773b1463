"""Base of frozen text encoders, which encode each distinct text once."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from saltext.models.freezing import is_frozen
from saltext.models.inference import Inference
from saltext.models.recently_used import RecentlyUsed
from saltext.models.text.base import TextEncoder, TextFeatures, pad_rows
from saltext.models.transfer import to_device

_LIST_BATCH_SIZE = 64  # texts of a long list
_BATCH_SIZE = 8  # of texts of one length; the bits of a result may depend on it, so batches are always full


class CachedTextEncoder(TextEncoder):
    """A text encoder whose features depend on the text alone; they are cached while none of its weights trains.

    A cached text has the same features to the last bit whatever batch it is in, however many threads run, and with or
    without autocast. Loading weights, or a forward pass with weights that train, clears the cache.

    Args:
        cache_size: Maximum number of cached texts; the least recently used is dropped first. A text takes 4 bytes per
            feature and token.

    Attributes:
        inference: ``reference`` encodes each text alone; the others, texts of the same number of tokens together, which
            takes a third of the time. See :data:`saltext.models.inference.Inference`; weights stay in their precision.
    """

    inference: Inference = "reference"

    def __init__(self, cache_size: int = 4096) -> None:
        super().__init__()
        self.cache_size = cache_size
        self._cache = RecentlyUsed[str, tuple[Tensor, Tensor]](cache_size)
        self._cached_lists: dict[tuple[str, ...], Tensor] = {}
        self.register_load_state_dict_post_hook(_clear_cache)  # type: ignore[no-untyped-call]

    def encode(self, texts: Sequence[str]) -> TextFeatures:
        """Run the encoder on all texts as one batch."""
        raise NotImplementedError

    def token_counts(self, texts: Sequence[str]) -> list[int]:
        """Number of tokens of each text, as :meth:`encode` reads it."""
        raise NotImplementedError

    def forward(self, texts: Sequence[str], images: Tensor | None = None) -> TextFeatures:
        """Encode texts, see :class:`TextEncoder`; images are not read."""
        if not is_frozen(self):
            self._cache.clear()
            return self.encode(texts)
        parameter = next(self.parameters())
        dtype = torch.promote_types(parameter.dtype, torch.float32)
        pooled, rows = zip(*self._cache.get(texts, self._encode_missing), strict=True)
        tokens, mask = pad_rows(rows)
        return TextFeatures(
            pooled=to_device(torch.stack(pooled), parameter.device, dtype),
            tokens=to_device(tokens, parameter.device, dtype),
            mask=to_device(mask, parameter.device),
        )

    def encode_ahead(self, texts: Sequence[str]) -> None:
        """Encode texts that will be read, as many as are cached; in batches, see ``inference``."""
        if is_frozen(self):
            self._cache.get(list(dict.fromkeys(texts))[: self.cache_size], self._encode_missing)

    def pooled_list(self, texts: Sequence[str]) -> Tensor:
        """As :meth:`saltext.models.text.base.TextEncoder.pooled_list`, with each list cached.

        Texts of similar length are encoded in batches. The same list has the same features to the last bit on any
        number of threads.
        """
        if not is_frozen(self):
            return super().pooled_list(texts)
        parameter = next(self.parameters())
        dtype = torch.promote_types(parameter.dtype, torch.float32)
        names = tuple(texts)
        if names not in self._cached_lists:
            self._cached_lists[names] = self._encode_list(texts)
        self._cached_lists[names] = self._cached_lists[names].to(parameter.device, dtype)  # stays on the device
        return self._cached_lists[names]

    def cache_list(self, texts: Sequence[str], pooled: Tensor) -> None:
        """Set the result of :meth:`pooled_list` for texts, float32 ``(texts, dim)``; valid until weights are loaded.

        Raises:
            ValueError: Another shape.
        """
        if pooled.shape != (len(texts), self.dim):
            raise ValueError(f"expected features of shape {(len(texts), self.dim)}, got {tuple(pooled.shape)}")
        self._cached_lists[tuple(texts)] = pooled

    def _encode_list(self, texts: Sequence[str]) -> Tensor:
        rows: dict[int, Tensor] = {}
        device = next(self.parameters()).device.type
        by_length = sorted(range(len(texts)), key=lambda index: len(texts[index]))
        with torch.no_grad(), torch.autocast(device, enabled=False), _one_thread():
            for start in range(0, len(texts), _LIST_BATCH_SIZE):
                indices = by_length[start : start + _LIST_BATCH_SIZE]
                rows |= dict(zip(indices, self.encode([texts[index] for index in indices]).pooled, strict=True))
        return torch.stack([rows[index] for index in range(len(texts))]).to("cpu", torch.float32)

    def _encode_missing(self, texts: Sequence[str]) -> dict[str, tuple[Tensor, Tensor]]:
        """Pooled and token features of each text, float32 on the CPU, shapes ``(dim,)`` and ``(its tokens, dim)``.

        A text's features do not depend on the other texts.
        """
        batches = [[text] for text in texts]
        if self.inference != "reference":
            by_length: dict[int, list[str]] = {}
            for text, count in zip(texts, self.token_counts(texts), strict=True):
                by_length.setdefault(count, []).append(text)
            starts = [(alike, start) for alike in by_length.values() for start in range(0, len(alike), _BATCH_SIZE)]
            batches = [alike[start : start + _BATCH_SIZE] for alike, start in starts]
            batches = [batch + batch[-1:] * (_BATCH_SIZE - len(batch)) for batch in batches]
        device = next(self.parameters()).device.type
        features: dict[str, tuple[Tensor, Tensor]] = {}
        # On one thread, and never padded to the length of others: otherwise the last bits of a text's features would
        # depend on its batch-mates and on the machine, and a resumed run would differ from an uninterrupted one.
        with torch.no_grad(), torch.autocast(device, enabled=False), _one_thread():
            for batch in batches:
                encoded = self.encode(batch)
                pooled, tokens = (values.to("cpu", torch.float32) for values in (encoded.pooled, encoded.tokens))
                features |= {text: (pooled[row].clone(), tokens[row].clone()) for row, text in enumerate(batch)}
        return features


@contextmanager
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _clear_cache(module: nn.Module, incompatible_keys: object) -> None:
    if isinstance(module, CachedTextEncoder):
        module._cache.clear()
        module._cached_lists.clear()
