"""all-MiniLM-L6-v2, a sentence encoder small enough for a laptop, from packaged weights."""

import json
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import BertConfig, BertModel

from saltext.models.checkpoints import load_state
from saltext.models.freezing import freeze, is_frozen, leave_out_of_state_dict
from saltext.models.packaged import MINILM, packaged_file
from saltext.models.text.base import TextEncoder, TextFeatures

MAX_TOKENS = 64
"""Longer texts are cut. The longest of SJTU-TIS has 24 words."""


class MiniLM(TextEncoder):
    """Sentence features of all-MiniLM-L6-v2 (6 layers, 384 features), weights from the ``embedded`` extra.

    ``tokens`` are the last hidden states, [CLS] and [SEP] included; ``pooled`` is their mean scaled to length 1, as
    sentence-transformers computes it. The empty text is [CLS] [SEP].

    While all its weights are frozen, each distinct text is encoded once and remembered.

    Args:
        frozen: Whether the weights stay as they are; then state dicts leave them out, since the package has them.
            Otherwise they train, with BERT's dropout.
        remember: Distinct texts remembered at most, the least recently used forgotten first. A text takes 1.5 kB a
            token, 98 kB at most.

    Raises:
        CheckpointError: The packaged weights are not installed, or not the expected ones.

    References:
        Reimers and Gurevych, Sentence-BERT, EMNLP 2019; Wang et al., MiniLM, NeurIPS 2020.
    """

    def __init__(self, frozen: bool = True, remember: int = 4096) -> None:
        super().__init__()
        config = BertConfig(**json.loads(packaged_file(MINILM, "model/config.json").read_text(encoding="utf-8")))
        self.model = BertModel(config, add_pooling_layer=False)
        weights = packaged_file(MINILM, "model/model.safetensors")
        # The pooling layer belongs to BERT's pre-training; sentence features do not use it.
        load_state(self.model, load_file(weights), str(weights), ignore=["pooler.*", "embeddings.position_ids"])
        self.tokenizer = Tokenizer.from_file(str(packaged_file(MINILM, "model/tokenizer.json")))
        self.tokenizer.enable_truncation(MAX_TOKENS)
        self.tokenizer.no_padding()
        self.dim = int(config.hidden_size)
        self.remember = remember
        self._memo: OrderedDict[str, Tensor] = OrderedDict()
        self.register_load_state_dict_post_hook(_forget)  # type: ignore[no-untyped-call]
        if frozen:
            leave_out_of_state_dict(freeze(self))  # the package is their record, by digest

    def forward(self, texts: Sequence[str], images: Tensor | None = None) -> TextFeatures:
        """Encode texts, see :class:`TextEncoder`; images are not read."""
        parameter = next(self.parameters())
        if is_frozen(self):
            rows = self._recall(texts)
            mask = _mask([len(row) for row in rows])
            tokens = nn.utils.rnn.pad_sequence(rows, batch_first=True).to(parameter)
            mask = mask.to(parameter.device)
        else:
            tokens, mask = self._encode(texts)
        mean = (tokens * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        return TextFeatures(pooled=F.normalize(mean, dim=1), tokens=tokens, mask=mask)

    def _recall(self, texts: Sequence[str]) -> list[Tensor]:
        """Give the token features of each text, CPU float32, shape ``(its tokens, dim)``."""
        found: dict[str, Tensor] = {}
        for text in dict.fromkeys(texts):
            if text in self._memo:
                self._memo.move_to_end(text)
            else:
                # One at a time, on one thread: otherwise the last bits of a text's features would depend on its
                # batch-mates and on the machine, and a resumed run would differ from an uninterrupted one.
                with torch.no_grad(), _one_thread():
                    self._memo[text] = self._encode([text])[0][0].to("cpu", torch.float32)
            found[text] = self._memo[text]
            while len(self._memo) > self.remember:
                self._memo.popitem(last=False)
        return [found[text] for text in texts]

    def _encode(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        device = next(self.parameters()).device
        rows = [torch.tensor(encoding.ids) for encoding in self.tokenizer.encode_batch(list(texts))]
        mask = _mask([len(row) for row in rows]).to(device)
        ids = nn.utils.rnn.pad_sequence(rows, batch_first=True).to(device)
        states: Tensor = self.model(input_ids=ids, attention_mask=mask.long()).last_hidden_state
        return states, mask


@contextmanager
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _forget(module: nn.Module, incompatible_keys: object) -> None:
    if isinstance(module, MiniLM):
        module._memo.clear()


def _mask(lengths: Sequence[int]) -> Tensor:
    return torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
