"""What is read from sources and from the table is what the classes really take."""

import inspect
from typing import Any

import pytest
from hydra.utils import get_object

from saltext.baselines import BASELINES
from saltext.evaluation.protocols import PAPERS
from saltext.losses.saliency import _TERMS
from saltext.metrics import METRICS
from saltext.runs import signatures
from tests.runs.test_schema import CONF
from tests.third_party_signatures import FILE, written


def targets() -> list[str]:
    lines = [line for path in sorted(CONF.rglob("*.yaml")) for line in path.read_text(encoding="utf-8").splitlines()]
    named = {line.split("_target_:")[1].split("#")[0].strip() for line in lines if "_target_:" in line}
    return sorted(name for name in named if name.startswith("saltext."))


@pytest.mark.parametrize("target", targets())
def test_own_classes_take_what_their_source_says(target: str) -> None:
    found = signatures.signature(target)
    assert found is not None
    parameters = inspect.signature(get_object(target)).parameters.values()
    by_name = {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    assert by_name <= set(found.arguments)
    if not any(p.kind is p.VAR_KEYWORD for p in parameters):
        assert by_name == set(found.arguments)
        assert not found.open


def test_what_a_class_hands_on_is_known_by_name() -> None:
    own = signatures.signature("saltext.data.sources.synthetic.Synthetic")
    assert own is not None
    assert {"images", "data_seed"} <= set(own.arguments)
    assert not own.open
    decoder = signatures.signature("saltext.models.tranblend.network.TranBlend")
    assert decoder is not None
    assert {"hidden", "grid", "blend"} <= set(decoder.arguments)
    schedule = signatures.signature("saltext.training.schedules.one_cycle")
    assert schedule is not None
    assert {"pct_start", "cycle_momentum"} <= set(schedule.arguments)
    assert not schedule.open


@pytest.mark.parametrize("target", ["saltext.models.NoSuch", "torch.optim.AdmW", "somebody.elses.Net"])
def test_what_is_not_there_has_no_signature(target: str) -> None:
    assert signatures.signature(target) is None


def test_the_table_of_other_packages_is_that_of_the_installed_ones() -> None:
    assert FILE.read_text(encoding="utf-8") == written(), "run `make signatures`"


def test_names_in_sources_are_those_of_the_objects() -> None:
    assert dict(signatures.metrics()) == {name: metric.higher_is_better for name, metric in METRICS.items()}
    assert list(signatures.baselines().items()) == [(name, baseline.title) for name, baseline in BASELINES.items()]
    assert signatures.names("saltext.evaluation.protocols.PAPERS") == tuple(PAPERS)
    assert signatures.names("saltext.losses.saliency._TERMS") == tuple(_TERMS)


def test_literals_and_aliases_are_followed() -> None:
    blip = signatures.signature("saltext.models.text.blip.Blip")
    assert blip is not None
    kinds: Any = blip.arguments["start"]
    assert set(kinds.__args__) == {"enc", "cls"}
