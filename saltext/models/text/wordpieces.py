"""BERT's word pieces as BLIP uses them: with two more tokens at the end of the vocabulary."""

from pathlib import Path

from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from transformers import BertTokenizer

from saltext.errors import CheckpointError
from saltext.models.packaged_weights import MINILM, packaged_file

DECODE, ENCODE = "[DEC]", "[ENC]"
"""BLIP puts the one first where it writes a text and the other where it reads one along with an image."""

_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")


def word_pieces(vocabulary: Path | None, size: int, max_tokens: int) -> Tokenizer:
    """Build the tokenizer: lower case, ``[CLS]`` first, ``[SEP]`` last, no padding.

    Args:
        vocabulary: ``tokenizer.json`` of a BERT or BLIP, or its ``vocab.txt``, with or without the two tokens. None:
            bert-base-uncased's 30522 pieces, from the package of MiniLM, which has the same.
        size: Tokens of the model it is for, ``[DEC]`` and ``[ENC]`` included: 30524 for the published ones.
        max_tokens: Longer texts are cut to this many tokens, ``[CLS]`` and ``[SEP]`` included.

    Raises:
        CheckpointError: No such file, no vocabulary, or one of another size; or the package is needed and missing.
    """
    path = packaged_file(MINILM, "model/tokenizer.json") if vocabulary is None else vocabulary
    tokenizer = _read(path)
    tokenizer.add_special_tokens([DECODE, ENCODE])
    lacking = [token for token in _SPECIAL if tokenizer.token_to_id(token) is None]
    count = tokenizer.get_vocab_size()
    if lacking or count != size:
        # transformers makes a vocabulary of nothing but special tokens, without a word, of arguments it does not know.
        raise CheckpointError(
            f"{path} is not this model's vocabulary: expected {size} tokens with {DECODE} and {ENCODE}, got {count}"
            + (f", without {', '.join(lacking)}" if lacking else "")
            + ". Give the vocab.txt or tokenizer.json that belongs to the weights."
        )
    tokenizer.enable_truncation(max_tokens)
    tokenizer.no_padding()
    return tokenizer


def _read(path: Path) -> Tokenizer:
    if not path.is_file():
        raise CheckpointError(f"There is no vocabulary {path}. Give the path of a vocab.txt or tokenizer.json.")
    try:
        if path.suffix == ".json":
            return Tokenizer.from_file(str(path))
        # As a dictionary: the file's path as `vocab_file` would be ignored without a word.
        return BertTokenizer(vocab=WordPiece.read_file(str(path))).backend_tokenizer
    except Exception as error:  # tokenizers raises bare exceptions
        raise CheckpointError(f"{path} cannot be read as a vocabulary ({error}).") from error
