"""Where classes of one's own are looked for, and what is said where they are not found."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from saltext.errors import ConfigError
from saltext.runs.instantiation import instantiated
from saltext.runs.own_classes import located


@pytest.fixture
def as_a_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, importable: Callable[[Path], None]) -> Path:
    """The current folder, into which Python does not look by itself."""
    importable(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path not in ("", str(tmp_path))])
    return tmp_path


def test_what_is_installed_comes_before_the_current_folder(as_a_script: Path) -> None:
    (as_a_script / "own_part.py").write_text("class Loss: ...\n")
    (as_a_script / "shutil.py").write_text("1 / 0\n")
    assert located("own_part.Loss").__name__ == "Loss"
    assert located("shutil.copyfile").__module__ == "shutil"
    assert sys.path[-1] == str(as_a_script)
    located("own_part.Loss")
    assert sys.path.count(str(as_a_script)) == 1


def test_what_is_not_found_is_said_with_where_it_was_looked_for(as_a_script: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"nowhere\.Loss cannot be imported: .*'nowhere'.* in PYTHONPATH and in "
    ) as no:
        located("nowhere.Loss")
    assert str(as_a_script) in str(no.value)
    (as_a_script / "half_part.py").write_text("import nothing_of_this_name\n")
    with pytest.raises(ConfigError, match=r"half_part\.Loss cannot be imported: .*'nothing_of_this_name'") as no:
        located("half_part.Loss")
    assert "PYTHONPATH" not in str(no.value)


def test_a_name_that_its_module_does_not_have_is_answered_with_those_it_has(as_a_script: Path) -> None:
    (as_a_script / "own_names.py").write_text("from pathlib import Path\n\n\nclass Gate: ...\n\n\ndef hit(): ...\n")
    with pytest.raises(ConfigError, match=r"expected a class or function of /.*/own_names\.py \(Gate, hit\), got 'X'$"):
        located("own_names.X")
    with pytest.raises(ConfigError, match=r"got 'Gat' \(did you mean 'Gate'\?\)"):
        located("own_names.Gat")


def test_all_missing_classes_of_a_trusted_folder_are_reported_at_once(as_a_script: Path) -> None:
    node = OmegaConf.create({"_target_": "nowhere.Loss", "of": {"_target_": "nowhere.Scale"}})
    with pytest.raises(ConfigError, match=r"(?s)loss: nowhere\.Loss cannot be .*loss: nowhere\.Scale cannot be"):
        instantiated(node, "loss", None, {"nowhere.Loss", "nowhere.Scale"})
