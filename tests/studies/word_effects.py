"""Which words of a text the predicted map needs: the study ``experiments/explain``.

    python -m tests.studies.word_effects data/sjtu-tis [--pairs N] [--out DIR]
    python -m tests.studies.word_effects --from experiments/explain                the tables again, from kept words

For each pair of the pretrained model's own test images that has a text, every word of content is left out, and replaced
by a neutral word. Writes ``words.csv.gz`` (a row a word) and ``results.md`` (means with 95 % intervals over images).
"""

import argparse
import re
import time
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

import saltext
from saltext import storage
from saltext.console import progress, quiet_libraries
from saltext.data.files import read_fixations
from saltext.data.pairs import Pair
from saltext.data.sources.sjtu_tis import SjtuTis
from saltext.data.splits import Split
from saltext.data.tasks import in_order
from saltext.metrics.functional import nss
from saltext.models.grounding import coco
from saltext.models.grounding.phrases import head_phrase
from saltext.prediction.model import Density, Model
from saltext.prediction.photos import open_photo
from saltext.prediction.phrases import Part, words
from saltext.prediction.pictures import moved_fraction
from saltext.prediction.texts import TextQuery
from saltext.reporting.grid import Grid
from saltext.results.comparison import Estimate, estimate
from saltext.runs.load import pretrained_run
from saltext.runs.provenance import describe

KINDS = ("head noun", "other noun", "adjective", "verb", "other word")
"""Kinds of words, see :func:`kinds`."""

_HEAD = KINDS[0]
_WORDS = "words.csv.gz"
_PLURALS = (("ies", "y"), ("ves", "f"), ("es", ""), ("s", ""))
_ADJECTIVES = frozenset(
    """white black red green blue yellow brown orange pink purple grey gray golden silver colorful colourful dark light
    bright big large small little tiny tall short long high low old young new left right upper lower middle round square
    wooden many several few two three four five six seven eight nine ten one first second third other same different
    beautiful open empty full whole main front back male female""".split()  # noqa: SIM905
)
_OF_ADJECTIVES = re.compile(r".{2,}(?:ful|ous|ish|less|able|ible|ic|al|ive|est|ed|y)")


@cache
def nouns() -> frozenset[str]:
    """The words of the class names of COCO and ImageNet in the singular: the list of nouns that the package has."""
    from timm.data.imagenet_info import ImageNetInfo

    info: Any = ImageNetInfo()  # without types
    names = [*coco.NAMES, *(info.index_to_description(index) for index in range(info.num_classes()))]
    found = {word for name in names for word in re.findall(r"[a-z]+", name.lower()) if len(word) > 2}
    return frozenset(found | {"man", "men", "woman", "women", "boy", "girl", "child", "children", "people", "face"})


def is_noun(word: str) -> bool:
    """Whether a word, or its singular, is in the list of nouns."""
    word = word.lower()
    forms = {word, *(word.removesuffix(end) + instead for end, instead in _PLURALS if word.endswith(end))}
    return word not in _ADJECTIVES and not forms.isdisjoint(nouns())


def kinds(text: str) -> list[tuple[Part, str]]:
    """Each word of content of a text with its kind, by a word list and the word's place; there is no parser.

    ``head noun``: the last noun of the text's first noun phrase (:func:`head_phrase`), before "of" if there is one; its
    last word where none is in the list of nouns. Then, in this order: ``verb``: opens a phrase and ends in -ing, or
    closes one, is not in the list, and ends in -ed or follows a noun of the list; ``adjective``: is in a short list
    (colours, sizes, numbers, sides), or ends as adjectives do before another word of its phrase; ``other noun``: is in
    the list of nouns, is the last of its phrase, or stands before "of"; ``other word``: the rest.
    """
    by_phrase = words(text)
    head = _head_noun(text, by_phrase[0])
    return [
        (part, _HEAD if part == head else _kind(text, phrase, place))
        for phrase in by_phrase
        for place, part in enumerate(phrase)
    ]


def _head_noun(text: str, phrase: Sequence[Part]) -> Part:
    head = head_phrase(text)
    end = text.lower().find(head) + len(head) if head in text.lower() else len(text)
    inside = [part for part in phrase if part.start < end] or list(phrase)
    before_of = next((place for place, part in enumerate(inside) if _is_before_of(text, part)), len(inside) - 1)
    candidates = inside[: before_of + 1]
    return next((part for part in reversed(candidates) if is_noun(part.words)), candidates[-1])


def _is_before_of(text: str, part: Part) -> bool:
    return re.match(r"\s+of\b", text[part.end :], re.IGNORECASE) is not None


def _kind(text: str, phrase: Sequence[Part], place: int) -> str:
    word, is_last = phrase[place].words.lower(), place == len(phrase) - 1
    before = phrase[place - 1]
    follows_noun = place > 0 and is_noun(before.words) and text[before.end : phrase[place].start].isspace()
    if place == 0 and word.endswith("ing") and len(word) > 4:
        return "verb"
    if is_last and not is_noun(word) and (re.fullmatch(r".{3,}ed", word) or follows_noun) and word not in _ADJECTIVES:
        return "verb"
    if word in _ADJECTIVES or (not is_last and _OF_ADJECTIVES.fullmatch(word) and not is_noun(word)):
        return "adjective"
    return "other noun" if is_noun(word) or is_last or _is_before_of(text, phrase[place]) else "other word"


def rows_of(model: Model, pair: Pair) -> Iterator[dict[str, object]]:
    """A row for each word of content of a pair's text."""
    photo = open_photo(pair.image)
    points = torch.from_numpy(np.asarray(read_fixations(Path(str(pair.fixations)), photo.size), np.int64))
    fixations = torch.zeros(1, 1, *photo.size)
    fixations[0, 0].index_put_((points[:, 0], points[:, 1]), torch.ones(len(points)), accumulate=True)

    def score(density: Density) -> float:
        return float(nss(torch.from_numpy(density)[None, None], fixations))

    found = kinds(pair.text)
    texts = [pair.text, *(text for part, _ in found for text in (part.without, part.replaced))]
    queries = [(photo, TextQuery(text, pair.task)) for text in texts]
    whole, *others = model.densities(queries, batch_size=len(queries))
    of_text = score(whole)
    for number, (part, kind) in enumerate(found):
        without, replaced = others[2 * number : 2 * number + 2]
        yield {
            "image_id": pair.image_id,
            "task": pair.task,
            "text": pair.text,
            "word": part.words,
            "start": part.start,
            "kind": kind,
            "nss": of_text,
            "drop": of_text - score(without),
            "drop_replaced": of_text - score(replaced),
            "moved": moved_fraction(whole, without),
            "moved_replaced": moved_fraction(whole, replaced),
        }


def tested_pairs(root: Path, most: int | None) -> list[Pair]:
    """Pairs with a text of the pretrained model's own test images, the first ``most`` images' if not all."""
    tested = sorted(Split.load(pretrained_run().split).parts["test"])
    chosen = set(tested if most is None else tested[: -(-most // 2)])
    known = [pair for pair in SjtuTis(root).read().pairs if isinstance(pair, Pair)]
    pairs = [pair for pair in known if pair.image_id in chosen and pair.text]
    return [pair for pair in pairs if any(words(pair.text))]


def by_kind(table: pd.DataFrame, column: str) -> list[tuple[str, int, Estimate]]:
    """Kind, number of words, mean of a column over them with its interval over images."""
    return [
        (kind, len(part), estimate(part, column)) for kind in KINDS if len(part := table[table["kind"] == kind]) > 0
    ]


def head_against(table: pd.DataFrame, kind: str, column: str) -> Estimate:
    """Head noun minus the mean of a text's words of another kind, over the texts that have both."""
    keys = ["image_id", "task"]
    head = table[table["kind"] == _HEAD].set_index(keys)[column]
    other = table[table["kind"] == kind].groupby(keys)[column].mean()
    gaps = (head - other).dropna().rename("gap").reset_index()
    return estimate(gaps, "gap")


def strongest_is_head(table: pd.DataFrame) -> tuple[Estimate, Estimate]:
    """Share of texts of several words in which leaving out the head noun moves most, and what chance would give."""
    several = table.groupby(["image_id", "task"]).filter(lambda words: len(words) > 1)
    strongest = several.loc[several.groupby(["image_id", "task"])["moved"].idxmax()]
    chance = several.groupby(["image_id", "task"]).size().rdiv(1).rename("chance").reset_index()
    is_head = strongest.assign(is_head=(strongest["kind"] == _HEAD).astype(float))
    return estimate(is_head, "is_head"), estimate(chance, "chance")


def grids(table: pd.DataFrame) -> list[Grid]:
    """The study's tables."""
    columns = {
        "drop": "drop in NSS, left out",
        "drop_replaced": "drop in NSS, neutral word",
        "moved": "attention moved, left out",
        "moved_replaced": "attention moved, neutral word",
    }
    per_kind = [
        [kind, str(count), *(cells[name] for name in columns)]
        for kind, count, _ in by_kind(table, "drop")
        for cells in [
            {
                name: estimate(table[table["kind"] == kind], name).signed()
                if "drop" in name
                else str(estimate(table[table["kind"] == kind], name))
                for name in columns
            }
        ]
    ]
    grid = Grid(["word", "words", *columns.values()], per_kind, frozenset(range(1, 6)), title="All texts")
    against = [
        [kind, head_against(table, kind, "drop").signed(), head_against(table, kind, "drop_replaced").signed(),
         str(head_against(table, kind, "drop").images)]
        for kind in KINDS[1:]
    ]  # fmt: skip
    heads = ["head noun minus", "left out", "neutral word", "images"]
    paired = Grid(heads, against, frozenset({1, 2, 3}), title="Drop in NSS, paired within a text")
    of_tasks = [
        [task, kind, str(count), mean.signed()]
        for task in in_order(table["task"])
        for kind, count, mean in by_kind(table[table["task"] == task], "drop")
        if kind in KINDS[:3]
    ]
    heads = ["condition", "word", "words", "drop in NSS, left out"]
    return [grid, paired, Grid(heads, of_tasks, frozenset({2, 3}), keys=2, grouped=True, title="By condition")]


def report(table: pd.DataFrame) -> str:
    """The tables as Markdown."""
    share, chance = strongest_is_head(table)
    pairs = len(table[["image_id", "task"]].drop_duplicates())
    ranks = float(table["drop"].rank().corr(table["moved"].rank()))
    lines = [
        f"# Words that move the map: {pairs} texts of {table['image_id'].nunique()} images",
        "",
        "Means over words with 95 % intervals (bootstrap over images). Written by `python -m "
        "tests.studies.word_effects`.",
        "",
        *(f"{grid.markdown().strip()}\n" for grid in grids(table)),
        f"The word that moves the map most is the head noun in {share} of the texts of several words; a word taken at "
        f"random is it in {chance}. Over words, the rank correlation of the attention moved and the drop in NSS (left "
        f"out) is {ranks:.2f}.",
        "",
    ]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="?", default=Path("data/sjtu-tis"))
    parser.add_argument("--from", type=Path, dest="kept", help="folder with words.csv.gz: nothing is predicted")
    parser.add_argument("--pairs", type=int, help="of the first images alone, about so many")
    parser.add_argument("--out", type=Path, default=Path("experiments/explain"))
    given = parser.parse_args(arguments)
    given.out.mkdir(parents=True, exist_ok=True)
    if given.kept is None:
        table = measured(given.data, given.pairs)
        with storage.replacing(given.out / _WORDS) as part:
            compression = {"method": "gzip", "mtime": 0}
            table.to_csv(part, index=False, float_format="%.5f", compression=compression)
    kept = (given.kept or given.out) / _WORDS
    table = pd.read_csv(kept, dtype={"image_id": str, "word": str}, keep_default_na=False)
    storage.write_text(given.out / "results.md", report(table))
    print(f"Wrote {given.out}/results.md: {len(table)} words")


def measured(root: Path, most: int | None) -> pd.DataFrame:
    """The words of all texts, see :func:`tested_pairs`, with what the map loses without each."""
    quiet_libraries()
    start = time.process_time()
    model = saltext.load(device="cpu")
    pairs = tested_pairs(root, most)
    rows = [row for pair in progress(pairs, "explaining", len(pairs)) for row in rows_of(model, pair)]
    about = describe()
    print(f"{(time.process_time() - start) / 60:.0f} min of CPU time, {about['cpu']}, commit {about['commit']}")
    return pd.DataFrame(rows)


if __name__ == "__main__":
    main()
