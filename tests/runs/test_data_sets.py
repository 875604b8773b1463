import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from saltext.data.sources.salicon import Salicon
from saltext.data.sources.synthetic import Synthetic
from saltext.errors import ConfigError, DataError
from saltext.runs.data_sets import named
from tests.command_line import here
from tests.data.made_up_layouts import write_salicon
from tests.worked_example import written


def test_a_folder_is_recognised_and_a_choice_has_its_values(tmp_path: Path) -> None:
    write_salicon(tmp_path / "salicon")
    assert named([str(tmp_path / "salicon")]) == Salicon(tmp_path / "salicon")
    assert named(["data=salicon", "data.root=elsewhere"]) == Salicon("elsewhere")
    assert named(["data=synthetic_smoke", "data.root=x", "+data.data_seed=3"]) == Synthetic("x", 24, 3)
    with pytest.raises(DataError, match=r"there is no such folder.*or data=NAME"):
        named([str(tmp_path / "nowhere")])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["a", "b"], "expected one folder, one file, or data=NAME data.KEY=VALUE ..., got a b"),
        (["data=salicon", "seed=1", "data.root=x"], r"expected values of data behind data=salicon .*, got seed=1"),
        (["data=salicom"], "no such choice .did you mean 'salicon'.*choose from"),
        (["data=salicon", "data.rot=x"], "data.rot=x: no such key of .*did you mean 'root'"),
        (["data=own"], r"data=own needs the file .*data\.description=FILE"),
    ],
)
def test_what_names_no_data_set_is_refused_in_words(arguments: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        named(arguments)


def test_a_reader_of_one_s_own_is_checked_and_scored_where_it_is_trusted(
    tmp_path: Path, importable: Callable[[Path], None], capsys: pytest.CaptureFixture[str]
) -> None:
    importable(written(tmp_path))
    data = ["data=triples", f"data.root={tmp_path / 'triples'}", "--config-dir", str(tmp_path / "mine/conf")]
    with pytest.raises(ConfigError, match=r"mine\.triples\.Triples \(at data\).*add --trust"):
        named(data[:2], tmp_path / "mine/conf")
    here("data", "check", *data, "--trust")
    assert "12 pairs of 12 images, no problems found" in capsys.readouterr().out
    here("score", "--baselines", *data, "--trust", "--metric", "cc", "--beside", "uniform")
    assert "uniform map" in capsys.readouterr().out


def test_a_value_that_neither_reader_nor_data_module_takes_is_named(
    tmp_path: Path, importable: Callable[[Path], None]
) -> None:
    importable(written(tmp_path))
    with pytest.raises(ConfigError, match=r"data\.colour: no argument of mine\.triples\.Triples"):
        named(["data=triples", "+data.colour=red"], tmp_path / "mine/conf", trusts=True)


def test_a_data_set_of_the_configuration_is_named_without_a_network() -> None:
    code = (
        "import sys\n"
        "from saltext.runs.data_sets import named\n"
        "named(['data=synthetic_smoke', 'data.root=x'])\n"
        "networks = ('saltext.models.transalnet', 'saltext.models.tranblend', 'saltext.metrics', 'lightning', 'timm')\n"
        "print([name for name in networks if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
