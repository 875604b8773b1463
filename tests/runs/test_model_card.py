"""What the card of an export says to readers and to the hub."""

import hashlib
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from saltext.results.score_table import means, of_protocol, read_scores
from saltext.runs.export import export
from saltext.system.run_folder import RunFolder

pytestmark = pytest.mark.slow


def test_the_scores_are_those_of_the_run_in_a_table_and_for_the_hub(smoke_run: RunFolder, tmp_path: Path) -> None:
    made = export(smoke_run.root, tmp_path / "made")
    card = ModelCard.load(made.card)
    label = smoke_run.read_result()["label"]
    tested = means(of_protocol(read_scores(smoke_run.scores), "standard"))[label]
    found = {(result.dataset_config, result.metric_type): result.metric_value for result in card.data.eval_results}
    assert found == {
        (task, name): pytest.approx(value, abs=6e-5)
        for task, of_task in tested.items()
        for name, value in of_task.items()
        if value == value
    }
    assert card.data.model_name == label
    assert f"{tested['salient']['cc']:.3f} ±" in card.text


def test_it_says_what_it_is_of_and_where_it_is_from(smoke_run: RunFolder, tmp_path: Path) -> None:
    made = export(smoke_run.root, tmp_path / "made")
    card = ModelCard.load(made.card)
    assert card.data.library_name == "saltext"
    assert "saliency" in card.data.tags
    assert hashlib.sha256(made.exported.read_bytes()).hexdigest() in card.text
    assert 'saltext.load("made")' in card.text
    assert "Its author has not stated a licence." in card.text
    assert str(tmp_path) not in made.card.read_text()


def test_a_model_without_scores_has_no_results(smoke_run: RunFolder, tmp_path: Path) -> None:
    again = export(export(smoke_run.root, tmp_path / "first").root, tmp_path / "second")
    card = ModelCard.load(again.card)
    assert card.data.eval_results is None
    assert "## Scores" not in card.text
