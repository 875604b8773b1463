"""The pretrained model on other data: one small data set in each layout, and a model that stands for it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from saltext.data.synthetic import generate
from saltext.errors import ConfigError
from saltext.results.score_table import read_scores
from saltext.results.study import studies_folder
from saltext.runs.zero_shot import METRICS, MODEL, settings, write_page, zero_shot
from tests.data.made_up_layouts import write_mit1003, write_osie


class Centred:
    """Predicts the middle of any image."""

    conditions = ("pure", "general")

    def densities(self, queries: Any) -> Iterator[np.ndarray]:
        for photo, query in queries:
            assert (query.text, query.task) == ("", "pure")
            height, width = photo.size
            y, x = np.mgrid[:height, :width]
            density = np.exp(-((y - height / 2) ** 2 + (x - width / 2) ** 2) / 400)
            yield (density / density.sum()).astype(np.float32)


@pytest.mark.parametrize(
    ("write", "halves"),
    [
        (write_osie, "split-half viewers"),
        (write_mit1003, "split-half viewers"),
        (lambda root: write_mit1003(root, gaze=False), "split-half fixations"),
    ],
    ids=["osie", "mit1003", "without viewers"],
)
def test_the_model_stands_beside_the_centre_prior_and_human_halves(
    write: Callable[[Path], object], halves: str, tmp_path: Path
) -> None:
    write(tmp_path / "data")
    page = zero_shot([f"data.root={tmp_path / 'data'}", f"output_dir={tmp_path / 'out'}"], Centred())
    scores = read_scores(page.with_name("scores.csv"))
    assert list(scores["model"].unique()) == ["uniform map", "centre prior (other images)", MODEL, halves]
    assert set(METRICS) <= set(scores)
    assert set(scores["task"]) == {"pure"}
    assert scores.groupby("model").size().to_dict()[MODEL] == 4
    text = page.with_name("results.md").read_text()
    assert MODEL in text
    assert halves in text
    assert f"| {MODEL} - centre prior (other images) | CC |" in text
    assert "CC against the centre prior of these images: " in text
    assert "<table>" in page.read_text()


def test_the_committed_page_is_what_the_scores_committed_beside_it_give(tmp_path: Path) -> None:
    folder = studies_folder() / "zero_shot"
    committed = (folder / "results.md").read_text()
    command = committed.rstrip().removesuffix("```").rstrip().rpartition("\n")[2]
    page = write_page(read_scores(folder / "scores.csv.gz"), command, tmp_path)
    assert page.with_name("results.md").read_text() == committed


def test_a_data_set_of_the_configuration_may_be_named() -> None:
    assert settings(["data=osie", "data.root=d", "data.sigma=20"])[0] == ["data=osie", "data.root=d", "data.sigma=20"]


@pytest.mark.parametrize(
    "overrides", [[], ["seed=1", "data.root=d"], ["output_dir=o"], ["data.root=d", "data.sigma=1"]]
)
def test_other_overrides_are_refused(overrides: list[str]) -> None:
    with pytest.raises(ConfigError, match="zero-shot: expected data"):
        settings(overrides)


def test_the_data_that_the_model_was_trained_on_are_refused(tmp_path: Path) -> None:
    generate(tmp_path / "data", images=4, size_range=(96, 96))
    with pytest.raises(ConfigError, match="not trained on, got SJTU-TIS"):
        zero_shot([f"data.root={tmp_path / 'data'}"], Centred())
