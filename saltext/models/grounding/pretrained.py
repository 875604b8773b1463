"""Models of transformers with their tokenizer and their preprocessing, from the hub or from a folder."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoTokenizer, PreTrainedModel
from transformers.utils import logging as transformers_logging

from saltext.errors import CheckpointError
from saltext.models.hub import WEIGHTS, pinned_folder, read_json

_CONFIG = "config.json"
_PREPROCESSING = ("preprocessor_config.json", "processor_config.json")  # the latter by transformers 5
_TOKENIZER = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.json", "merges.txt", "vocab.txt"
)  # fmt: skip


@dataclass(frozen=True)
class Pretrained:
    """A model as it was published.

    Attributes:
        model: The network, in evaluation mode.
        tokenizer: Its tokenizer, one of transformers' fast ones.
        preprocessing: What its file of preprocessing says of images, values of transformers' image processors.
    """

    model: Any
    tokenizer: Any
    preprocessing: Mapping[str, Any]


def load_pretrained(
    kind: type[PreTrainedModel], weights: str | Path, revision: str | None, local_files_only: bool = False
) -> Pretrained:
    """Load a model of transformers from a folder that ``save_pretrained`` wrote, or from the hub.

    Args:
        kind: Its class. No other code is run, whatever the files say.
        weights: The folder, or ``owner/name`` of a repository on the hub, downloaded once.
        revision: The repository's commit, 40 hexadecimal digits: a branch or tag may be other weights tomorrow.
        local_files_only: Whether to take only what was downloaded before.

    Raises:
        ConfigError: A repository without a commit.
        CheckpointError: The files cannot be had, are incomplete, or are of another model.
    """
    folder = pinned_folder(weights, revision, [_CONFIG, *_PREPROCESSING, *_TOKENIZER], local_files_only)
    lacking = []
    for names in ((_CONFIG,), _PREPROCESSING, WEIGHTS, ("tokenizer.json", "vocab.json", "vocab.txt")):
        lacking += [] if any((folder / name).is_file() for name in names) else [" or ".join(names)]
    if lacking:
        raise CheckpointError(
            f"{folder} is no {kind.__name__} as transformers saves one with its processor: it has no "
            f"{', no '.join(lacking)}."
        )
    chosen: Any = kind
    found, expected = read_json(folder / _CONFIG).get("model_type"), chosen.config_class.model_type
    if found != expected:
        raise CheckpointError(f"{folder}: expected a model of type {expected!r}, got {found!r}")
    progress: Any = transformers_logging
    shows_progress = progress.is_progress_bar_enabled()
    progress.disable_progress_bar()
    try:
        model, loading = chosen.from_pretrained(folder, local_files_only=True, output_loading_info=True)
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{folder} cannot be read as a {kind.__name__} ({error}).") from error
    finally:
        if shows_progress:
            progress.enable_progress_bar()
    random = sorted(map(str, [*loading["missing_keys"], *loading["mismatched_keys"]]))
    if random:
        raise CheckpointError(
            f"{folder}: {len(random)} weights of {kind.__name__} are missing or of another shape, such as "
            f"{', '.join(random[:4])}"
        )
    file = next(folder / name for name in _PREPROCESSING if (folder / name).is_file())
    preprocessing = read_json(file)
    return Pretrained(model.eval(), tokenizer, preprocessing.get("image_processor", preprocessing))


class ClipText(nn.Module):
    """The text tower of a CLIP of transformers, and what it made of the phrases that it has read.

    Args:
        clip: The CLIP, with ``text_model`` and ``text_projection``.
        tokenizer: Its tokenizer; phrases are cut at the number of tokens that the tower knows positions of.
    """

    def __init__(self, clip: Any, tokenizer: Any) -> None:
        super().__init__()
        self.model, self.projection = clip.text_model, clip.text_projection
        self.tokenizer = tokenizer
        self.max_tokens = int(clip.config.text_config.max_position_embeddings)
        self._embedded: dict[str, Tensor] = {}

    def tokens(self, phrase: str) -> tuple[Tensor, Tensor]:
        """Ids and mask of a phrase, padded to the number of tokens that the tower knows, shapes ``(1, tokens)``."""
        read = self.tokenizer(
            [phrase], padding="max_length", truncation=True, max_length=self.max_tokens, return_tensors="pt"
        )
        return read["input_ids"], read["attention_mask"]

    def forward(self, phrases: Sequence[str]) -> Tensor:
        """Text features of phrases, each computed once and alone, on the CPU, shape ``(phrases, dim)``."""
        for phrase in phrases:
            if phrase not in self._embedded:
                ids, mask = (each.to(self.projection.weight.device) for each in self.tokens(phrase))
                pooled = self.model(input_ids=ids, attention_mask=mask).pooler_output
                self._embedded[phrase] = self.projection(pooled)[0].cpu()
        return torch.stack([self._embedded[phrase] for phrase in phrases])
