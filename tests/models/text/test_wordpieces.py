from pathlib import Path

import pytest
from tokenizers import Tokenizer

from saltext.errors import CheckpointError
from saltext.models.text.wordpieces import DECODE, ENCODE, word_pieces


def test_the_packaged_vocabulary_has_bert_s_and_blip_s_tokens_at_their_published_ids() -> None:
    tokenizer = word_pieces(None, 30524, 35)
    ids = {token: tokenizer.token_to_id(token) for token in ("[PAD]", "[UNK]", "[CLS]", "[SEP]", DECODE, ENCODE)}
    assert ids == {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, DECODE: 30522, ENCODE: 30523}
    # bert-base-uncased, as published: "a" 1037, "puppy" 17022.
    assert tokenizer.encode("A puppy").ids == [101, 1037, 17022, 102]


def test_a_vocabulary_file_is_read_and_not_ignored(vocabulary: Path, words: list[str]) -> None:
    tokenizer = word_pieces(vocabulary, len(words) + 2, 35)
    assert tokenizer.encode("A dog running").tokens == ["[CLS]", "a", "dog", "[UNK]", "[SEP]"]
    assert tokenizer.encode("A RED dog runs").ids == [
        words.index(w) for w in ("[CLS]", "a", "red", "dog", "runs", "[SEP]")
    ]
    assert tokenizer.encode("dogning").tokens == ["[CLS]", "dog", "##ning", "[SEP]"]
    assert (tokenizer.token_to_id(DECODE), tokenizer.token_to_id(ENCODE)) == (len(words), len(words) + 1)


def test_a_tokenizer_file_gives_the_same(vocabulary: Path, words: list[str], tmp_path: Path) -> None:
    first = word_pieces(vocabulary, len(words) + 2, 35)
    first.save(str(tmp_path / "tokenizer.json"))
    second = word_pieces(tmp_path / "tokenizer.json", len(words) + 2, 35)
    for text in ("", "A red dog 😀", "word " * 99):
        assert second.encode(text).ids == first.encode(text).ids


def test_long_texts_are_cut_and_keep_their_end(vocabulary: Path, words: list[str]) -> None:
    tokens = word_pieces(vocabulary, len(words) + 2, 5).encode("a red dog runs on").tokens
    assert tokens == ["[CLS]", "a", "red", "dog", "[SEP]"]


def test_padding_of_a_saved_tokenizer_does_not_stay(vocabulary: Path, words: list[str], tmp_path: Path) -> None:
    saved: Tokenizer = word_pieces(vocabulary, len(words) + 2, 35)
    saved.enable_padding(length=20)
    saved.save(str(tmp_path / "tokenizer.json"))
    assert len(word_pieces(tmp_path / "tokenizer.json", len(words) + 2, 35).encode("a").ids) == 3


def test_a_vocabulary_of_another_size_is_refused(vocabulary: Path, words: list[str]) -> None:
    with pytest.raises(CheckpointError, match=rf"expected 30524 tokens.*, got {len(words) + 2}.*vocab\.txt"):
        word_pieces(vocabulary, 30524, 35)


def test_a_vocabulary_without_bert_s_marks_is_refused(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("a\nb\n[UNK]\n")
    with pytest.raises(CheckpointError, match="expected"):
        word_pieces(tmp_path / "vocab.txt", 5, 35)


def test_what_is_no_vocabulary_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no vocabulary .*vocab\.txt"):
        word_pieces(tmp_path / "vocab.txt", 5, 35)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(CheckpointError, match="cannot be read as a vocabulary"):
        word_pieces(tmp_path / "tokenizer.json", 5, 35)
