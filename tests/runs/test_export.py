"""A trained model in a folder to pass on."""

from pathlib import Path

import numpy as np
import pytest

import saltext
from saltext.errors import ConfigError
from saltext.models.checkpoints import read_weights
from saltext.runs.export import export
from saltext.runs.load import pretrained_run
from saltext.system.run_folder import RunFolder
from tests.command_line import here, refused

pytestmark = pytest.mark.slow

PHOTO = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)


def test_it_predicts_as_the_run_does(smoke_run: RunFolder, tmp_path: Path) -> None:
    wanted = saltext.load(smoke_run.root).predict(PHOTO, "a lamp")
    exact = export(smoke_run.root, tmp_path / "single", half=False)
    assert np.array_equal(saltext.load(exact.root).predict(PHOTO, "a lamp"), wanted)
    rounded = saltext.load(export(smoke_run.root, tmp_path / "half").root).predict(PHOTO, "a lamp")
    np.testing.assert_allclose(rounded, wanted, rtol=0.02)
    assert not np.array_equal(rounded, wanted)


def test_it_holds_weights_configuration_split_and_card_alone(smoke_run: RunFolder, tmp_path: Path) -> None:
    made = export(smoke_run.root, tmp_path / "model")
    files = {str(path.relative_to(made.root)) for path in made.root.rglob("*") if path.is_file()}
    assert files == {"config.yaml", "split.json", "model.safetensors", "README.md"}
    assert made.split.read_bytes() == smoke_run.split.read_bytes()
    assert read_weights(made.exported).keys() == read_weights(smoke_run.chosen).keys()


def test_a_self_contained_one_predicts_without_packages_of_weights(
    tmp_path: Path, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    exact = export(pretrained_run().root, tmp_path / "exact", half=False, self_contained=True)
    here("export", exact.root, tmp_path / "small", "--self-contained")
    assert "class_names.safetensors" in capsys.readouterr().out
    request.getfixturevalue("without_weight_packages")
    maps = [saltext.load(folder).predict(PHOTO, "a lamp") for folder in (exact.root, tmp_path / "small")]
    np.testing.assert_allclose(*maps, rtol=0, atol=1e-6 * maps[0].max())


def test_no_place_of_this_machine_is_in_it(smoke_run: RunFolder, tmp_path: Path) -> None:
    made = export(smoke_run.root, tmp_path / "model")
    assert str(smoke_run.root.parent) in smoke_run.config.read_text()
    assert str(smoke_run.root.parent) not in made.config.read_text()
    assert not [line for line in made.config.read_text().splitlines() if ": /" in line]


def test_a_folder_that_is_there_is_left_alone(
    smoke_run: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "model").mkdir()
    with pytest.raises(ConfigError, match="already exists"):
        export(smoke_run.root, tmp_path / "model")
    assert "already exists" in refused(capsys, "export", smoke_run.root, tmp_path / "model")
    assert list((tmp_path / "model").iterdir()) == []


def test_the_command_prints_the_digests(
    smoke_run: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here("export", smoke_run.root, tmp_path / "model")
    lines = capsys.readouterr().out.splitlines()
    assert [Path(line.split()[1]).name for line in lines] == [
        "config.yaml",
        "split.json",
        "model.safetensors",
        "README.md",
    ]
    assert all(len(line.split()[0]) == 64 for line in lines)


def test_what_fails_half_way_leaves_nothing(
    smoke_run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("saltext.runs.export.save_file", full)
    with pytest.raises(ConfigError, match=r"No space left.*Nothing was left there"):
        export(smoke_run.root, tmp_path / "made")
    assert not (tmp_path / "made").exists()
