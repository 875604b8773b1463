"""Base of frozen text encoders, which encode each distinct text once."""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from saltext.models.freezing import is_frozen
from saltext.models.text.base import TextEncoder, TextFeatures, pad_rows

_LIST_BATCH_SIZE = 64  # texts of a long list


class CachedTextEncoder(TextEncoder):
    """A text encoder whose features depend on the text alone; they are cached while none of its weights trains.

    A cached text has the same features to the last bit whatever batch it is in, however many threads run, and with or
    without autocast. Loading weights, or a forward pass with weights that train, clears the cache.

    Args:
        cache_size: Maximum number of cached texts; the least recently used is dropped first. A text takes 4 bytes per
            feature and token.
    """

    def __init__(self, cache_size: int = 4096) -> None:
        super().__init__()
        self.cache_size = cache_size
        self._cache: OrderedDict[str, tuple[Tensor, Tensor]] = OrderedDict()
        self._cached_list: tuple[tuple[str, ...], Tensor] | None = None
        self.register_load_state_dict_post_hook(_clear_cache)  # type: ignore[no-untyped-call]

    def encode(self, texts: Sequence[str]) -> TextFeatures:
        """Run the encoder on all texts as one batch."""
        raise NotImplementedError

    def forward(self, texts: Sequence[str], images: Tensor | None = None) -> TextFeatures:
        """Encode texts, see :class:`TextEncoder`; images are not read."""
        if not is_frozen(self):
            self._cache.clear()
            return self.encode(texts)
        parameter = next(self.parameters())
        dtype = torch.promote_types(parameter.dtype, torch.float32)
        pooled, rows = zip(*self._cached_features(texts), strict=True)
        tokens, mask = pad_rows(rows)
        return TextFeatures(
            pooled=torch.stack(pooled).to(parameter.device, dtype),
            tokens=tokens.to(parameter.device, dtype),
            mask=mask.to(parameter.device),
        )

    def pooled_list(self, texts: Sequence[str]) -> Tensor:
        """As :meth:`saltext.models.text.base.TextEncoder.pooled_list`, with the last list cached.

        Texts of similar length are encoded in batches. The same list has the same features to the last bit on any
        number of threads.
        """
        if not is_frozen(self):
            return super().pooled_list(texts)
        parameter = next(self.parameters())
        dtype = torch.promote_types(parameter.dtype, torch.float32)
        if self._cached_list is None or self._cached_list[0] != tuple(texts):
            self._cached_list = tuple(texts), self._encode_list(texts)
        names, pooled = self._cached_list
        self._cached_list = names, pooled.to(parameter.device, dtype)  # stays on the device
        return self._cached_list[1]

    def cache_list(self, texts: Sequence[str], pooled: Tensor) -> None:
        """Set the result of :meth:`pooled_list` for texts, float32 ``(texts, dim)``; valid until weights are loaded.

        Raises:
            ValueError: Another shape.
        """
        if pooled.shape != (len(texts), self.dim):
            raise ValueError(f"expected features of shape {(len(texts), self.dim)}, got {tuple(pooled.shape)}")
        self._cached_list = tuple(texts), pooled

    def _encode_list(self, texts: Sequence[str]) -> Tensor:
        rows: dict[int, Tensor] = {}
        device = next(self.parameters()).device.type
        by_length = sorted(range(len(texts)), key=lambda index: len(texts[index]))
        with torch.no_grad(), torch.autocast(device, enabled=False), _one_thread():
            for start in range(0, len(texts), _LIST_BATCH_SIZE):
                indices = by_length[start : start + _LIST_BATCH_SIZE]
                rows |= dict(zip(indices, self.encode([texts[index] for index in indices]).pooled, strict=True))
        return torch.stack([rows[index] for index in range(len(texts))]).to("cpu", torch.float32)

    def _cached_features(self, texts: Sequence[str]) -> list[tuple[Tensor, Tensor]]:
        """Pooled and token features of each text, float32 on the CPU, shapes ``(dim,)`` and ``(its tokens, dim)``."""
        features: dict[str, tuple[Tensor, Tensor]] = {}
        for text in dict.fromkeys(texts):
            if text in self._cache:
                self._cache.move_to_end(text)
            else:
                self._cache[text] = self._encode_alone(text)
            features[text] = self._cache[text]
            while len(self._cache) > self.cache_size:
                self._cache.popitem(last=False)
        return [features[text] for text in texts]

    def _encode_alone(self, text: str) -> tuple[Tensor, Tensor]:
        device = next(self.parameters()).device.type
        # One at a time, on one thread: otherwise the last bits of a text's features would depend on its batch-mates
        # and on the machine, and a resumed run would differ from an uninterrupted one.
        with torch.no_grad(), torch.autocast(device, enabled=False), _one_thread():
            features = self.encode([text])
        return features.pooled[0].to("cpu", torch.float32), features.tokens[0].to("cpu", torch.float32)


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
        module._cached_list = None
