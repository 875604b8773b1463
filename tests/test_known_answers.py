"""docs/known-answers.md and the file of published and reproduced values."""

import re
from collections import Counter

from saltext.results.means import published
from saltext.results.study import DATA_SET
from tests.conftest import ROOT
from tests.known_answers import CSV, PAGE, answers, csv, filled, table

AGAIN = "write it again: python -m tests.known_answers"


def test_file_and_page_are_what_the_kept_results_give() -> None:
    found, text = answers(), PAGE.read_text(encoding="utf-8")
    assert csv(found) == CSV.read_text(encoding="utf-8"), AGAIN
    assert filled(text, table(found)) == text, AGAIN


def test_published_values_are_those_of_the_published_tables() -> None:
    known = {
        f"{value:g}"
        for by_model in published(DATA_SET).values()
        for by_task in by_model.values()
        for values in by_task.values()
        for value in values.values()
    }
    found = answers()
    of_tables = found[found["study"].isin(["table2", "clip_salgan", "clip_salgan_groups"])]
    assert {f"{value:g}" for value in of_tables["published"]} <= known


def test_every_discrepancy_in_the_code_has_its_row_on_the_page() -> None:
    tagged = Counter(
        path.relative_to(ROOT).as_posix()
        for folder in ("saltext", "conf")
        for path in sorted((ROOT / folder).rglob("*"))
        if path.suffix in (".py", ".yaml")
        for _ in range(path.read_text(encoding="utf-8").count("DISCREPANCY"))
    )
    listed = Counter(re.findall(r"^\| `((?:saltext|conf)/[^`]+)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE))
    assert listed == tagged
