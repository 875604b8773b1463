"""BLIP's tokenizer: BERT's word pieces with two more tokens at the end of the vocabulary."""

import gzip
from pathlib import Path

from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from transformers import BertTokenizer

from saltext.errors import CheckpointError
from saltext.models.packaged_weights import MINILM_TOKENIZER, packaged_file

DECODE, ENCODE = "[DEC]", "[ENC]"
"""First tokens of a text in BLIP: ``[DEC]`` where it generates the text, ``[ENC]`` where it reads text and image."""

_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")


def word_pieces(vocabulary: Path | None, size: int, max_tokens: int) -> Tokenizer:
    """Build the tokenizer: lower case, ``[CLS]`` first, ``[SEP]`` last, no padding.

    Args:
        vocabulary: ``tokenizer.json`` of a BERT or BLIP, or its ``vocab.txt``, with or without the two tokens. None:
            bert-base-uncased's 30522 pieces, which come with the package, for MiniLM has the same.
        size: Tokens of the model it is for, ``[DEC]`` and ``[ENC]`` included: 30524 for the published ones.
        max_tokens: Longer texts are cut to this many tokens, ``[CLS]`` and ``[SEP]`` included.

    Raises:
        CheckpointError: No such file, no vocabulary, or one of another size.
    """
    tokenizer = packaged_tokenizer() if vocabulary is None else _read_vocabulary(vocabulary)
    tokenizer.add_special_tokens([DECODE, ENCODE])
    missing = [token for token in _SPECIAL if tokenizer.token_to_id(token) is None]
    count = tokenizer.get_vocab_size()
    if missing or count != size:
        # For arguments that it does not know, transformers silently builds a vocabulary of special tokens alone.
        raise CheckpointError(
            f"{vocabulary or 'The packaged file'} is not this model's vocabulary: expected {size} tokens with "
            f"{DECODE} and {ENCODE}, got {count}"
            + (f", without {', '.join(missing)}" if missing else "")
            + ". Give the vocab.txt or tokenizer.json that belongs to the weights."
        )
    tokenizer.enable_truncation(max_tokens)
    tokenizer.no_padding()
    return tokenizer


def packaged_tokenizer() -> Tokenizer:
    """The tokenizer of MiniLM, which comes with the package.

    Raises:
        CheckpointError: Its file is missing, or not the expected one.
    """
    file = packaged_file(MINILM_TOKENIZER, "minilm_tokenizer.json.gz")
    return Tokenizer.from_str(gzip.decompress(file.read_bytes()).decode())


def _read_vocabulary(path: Path) -> Tokenizer:
    if not path.is_file():
        raise CheckpointError(f"There is no vocabulary {path}. Give the path of a vocab.txt or tokenizer.json.")
    try:
        if path.suffix == ".json":
            return Tokenizer.from_file(str(path))
        # As a dictionary: the file's path as `vocab_file` would be silently ignored.
        return BertTokenizer(vocab=WordPiece.read_file(str(path))).backend_tokenizer
    except Exception as error:  # tokenizers raises bare exceptions
        raise CheckpointError(f"{path} cannot be read as a vocabulary ({error}).") from error
