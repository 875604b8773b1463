from collections import Counter
from pathlib import Path

import pytest

from saltext.data.sources.sjtu_tis import SjtuTis
from saltext.models.grounding.coco import NAMES, named_things


def named(text: str) -> list[str]:
    return ["/".join(NAMES[number] for number in numbers) for numbers in named_things(text)]


def test_there_are_coco_s_80_names_in_its_order() -> None:
    assert len(set(NAMES)) == 80
    assert (NAMES[0], NAMES[15], NAMES[60], NAMES[79]) == ("person", "cat", "dining table", "toothbrush")


@pytest.mark.parametrize("name", NAMES)
def test_every_name_means_itself_alone_also_in_the_plural(name: str) -> None:
    assert named(f"There is a {name}.") == [name]
    plural = {"sheep": "sheep", "knife": "knives", "skis": "skis", "scissors": "scissors", "mouse": "mice"}
    if name not in ("broccoli", "person"):
        ending = "es" if name.endswith(("s", "sh", "ch", "x")) else "s"
        assert named(f"Two {plural.get(name, name + ending)}") == [name]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("The lady on the sofa with her bike", ["person", "couch", "bicycle"]),
        ("A guy, two kids and some people", ["person", "person", "person"]),
        ("Policemen, ladies and a fisherman", ["person", "person", "person"]),
        ("a hot dog and a dog", ["hot dog", "dog"]),
        ("a baseball player swings a bat at a baseball", ["person", "baseball bat", "sports ball"]),
        ("the bus driver at a bus stop", ["person"]),
        ("an orange on an orange plate", ["orange"]),
        ("A WOMAN WITH T-SHIRTS", ["person"]),
        ("two glasses", ["wine glass/cup"]),
        ("the man stands next to his dog's bed", ["person", "dog", "bed"]),
        ("some buses stop here", ["bus"]),
    ],
)
def test_other_words_plurals_and_compounds_reach_their_thing(text: str, wanted: list[str]) -> None:
    assert named(text) == wanted


@pytest.mark.parametrize(
    "text", ["", "   ", "a red sky over the hills", "ein Mann mit Hund", "一个人和一条狗", "🐕", "1 2 3", "Romans"]
)
def test_texts_that_name_nothing_or_are_not_english_name_no_thing(text: str) -> None:
    assert named_things(text) == []


@pytest.mark.real_data
def test_most_texts_of_the_data_set_name_a_thing(sjtu_root: Path) -> None:
    pairs = [pair for pair in SjtuTis(sjtu_root).read().pairs if pair.text]
    texts, found = Counter(pair.task for pair in pairs), Counter(pair.task for pair in pairs if named_things(pair.text))
    assert texts == {"whole": 300, "general": 300, "salient": 300, "non_salient": 300}
    assert found == {"whole": 294, "general": 295, "salient": 259, "non_salient": 255}
