"""all-MiniLM-L6-v2, a sentence encoder small enough for a laptop, from packaged weights."""

from collections.abc import Sequence

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import BertConfig, BertModel

from saltext.models.checkpoints import load_state
from saltext.models.freezing import exclude_from_state_dict, freeze
from saltext.models.packaged_weights import MINILM, packaged_file
from saltext.models.text.base import TextFeatures, pad_rows
from saltext.models.text.cached import CachedTextEncoder
from saltext.models.text.wordpieces import packaged_tokenizer
from saltext.models.transfer import to_device

MAX_TOKENS = 64
"""Longer texts are cut. The longest of SJTU-TIS has 24 words."""


class MiniLM(CachedTextEncoder):
    """Sentence features of all-MiniLM-L6-v2 (6 layers, 384 features), weights from the ``embedded`` extra.

    ``tokens`` are the last hidden states, [CLS] and [SEP] included; ``pooled`` is their mean scaled to length 1, as
    sentence-transformers computes it. The empty text is [CLS] [SEP].

    Args:
        frozen: Whether the weights are frozen; then each distinct text is encoded once, and state dicts leave out
            weights of the package, since that has them. Otherwise they train, with BERT's dropout.
        cache_size: As of :class:`CachedTextEncoder`; a text takes 98 kB at most.
        from_package: Whether the weights are read from the package; otherwise they are random until a state dict is
            loaded, such as that of a self-contained export.

    Raises:
        CheckpointError: The packaged weights are not installed, or not the expected ones.

    References:
        Reimers and Gurevych, Sentence-BERT, EMNLP 2019; Wang et al., MiniLM, NeurIPS 2020.
    """

    unit_length = True

    def __init__(self, frozen: bool = True, cache_size: int = 4096, from_package: bool = True) -> None:
        super().__init__(cache_size)
        config = BertConfig(hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536)
        self.model = BertModel(config, add_pooling_layer=False)
        if from_package:
            file = packaged_file(MINILM, "model/model.safetensors")
            # The pooling layer belongs to BERT's pre-training; sentence features do not use it.
            load_state(self.model, load_file(file), str(file), ignore=["pooler.*", "embeddings.position_ids"])
        self.tokenizer = packaged_tokenizer()
        self.tokenizer.enable_truncation(MAX_TOKENS)
        self.tokenizer.no_padding()
        self.dim = int(config.hidden_size)
        if frozen:
            freeze(self)
            if from_package:
                exclude_from_state_dict(self)  # the package is their record, by digest

    @property
    def text_embeddings(self) -> nn.Module:
        """Word, position and segment embeddings with their norm."""
        return self.model.embeddings

    @property
    def text_layers(self) -> list[nn.Module]:
        """The six layers."""
        return list(self.model.encoder.layer)

    def encode(self, texts: Sequence[str]) -> TextFeatures:
        """Run the encoder on all texts as one batch."""
        device = next(self.parameters()).device
        padded = pad_rows([torch.tensor(encoding.ids) for encoding in self.tokenizer.encode_batch(list(texts))])
        ids, mask = (to_device(each, device) for each in padded)
        tokens: Tensor = self.model(input_ids=ids, attention_mask=mask.long()).last_hidden_state
        mean = (tokens * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        return TextFeatures(pooled=F.normalize(mean, dim=1), tokens=tokens, mask=mask)

    def token_counts(self, texts: Sequence[str]) -> list[int]:
        """Number of word pieces of each text, [CLS] and [SEP] included."""
        return [len(encoding.ids) for encoding in self.tokenizer.encode_batch(list(texts))]
