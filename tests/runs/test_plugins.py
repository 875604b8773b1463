"""Configuration files of others: of installed packages, and of a folder of one's own."""

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import saltext
from saltext.errors import ConfigError
from saltext.results.score_table import read_scores
from saltext.runs import provenance, targets
from saltext.runs.composition import CommandLine, completions, config_folder
from saltext.runs.plugins import PACKAGES, plugins
from saltext.system.run_folder import RunFolder
from tests.command_line import ROOT, command
from tests.worked_example import entered, installed, written

SMALL = ("preset=smoke", "trainer.max_epochs=1", "evaluation.pictures=0", "evaluation.baselines=[uniform]")
OWN = ("model/blend=gate", "model/encoder=plain", "model/grounder=strength", "logger=lines")


@pytest.fixture
def mine(tmp_path: Path, importable: Callable[[Path], None]) -> Path:
    """The folder in which the page's package is installed."""
    importable(installed(written(tmp_path / "site")))
    return tmp_path / "site"


def refusal(*arguments: str) -> str:
    with pytest.raises(ConfigError) as refused:
        CommandLine(["preset=smoke", *arguments]).check()
    return str(refused.value)


def test_the_files_of_an_installed_package_are_found_listed_and_completed_without_importing_it(
    mine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (plugin,) = plugins()
    assert (str(plugin), plugin.package, plugin.folder) == ("mine-saliency 1.0", "mine", mine / "mine" / "conf")
    CommandLine(["--help"]).show_help()
    shown = capsys.readouterr().out
    assert {"gate,", "gates,", "lines,", "plain,", "triples"} <= {*shown.split()}
    assert completions(["model=tranblend"], "model/blend=g") == ["model/blend=gate"]
    first, second = CommandLine(["+experiment=gates", "preset=smoke", "-m"]).check()
    assert first.model.blend._target_ == "mine.gate.Gate"
    assert second.model.blend is None
    assert not [name for name in sys.modules if name.split(".")[0] == "mine"]


def test_a_package_inside_another_is_found_without_importing_that_one(
    tmp_path: Path, importable: Callable[[Path], None]
) -> None:
    (tmp_path / "lab" / "gaze" / "conf" / "loss").mkdir(parents=True)
    (tmp_path / "lab" / "__init__.py").write_text("1 / 0")
    (tmp_path / "lab" / "gaze" / "conf" / "loss" / "of_lab.yaml").write_text("_target_: lab.gaze.Loss\n")
    importable(entered(tmp_path, "lab", "3", {"x": "lab.gaze"}))
    (cfg,) = CommandLine(["preset=smoke", "loss=of_lab"]).check()
    assert cfg.loss._target_ == "lab.gaze.Loss"


def test_a_package_that_is_not_there_is_named_with_the_way_out(
    tmp_path: Path, importable: Callable[[Path], None]
) -> None:
    importable(entered(tmp_path, "gone", "2", {"x": "gone.conf_is_not_here"}))
    assert "gone 2 has the entry point saltext.conf = gone.conf_is_not_here, but there is no" in refusal()
    assert "pip uninstall gone" in refusal()
    assert completions([], "loss=") == []  # a shell gets no completions


def test_a_file_that_would_be_passed_over_or_change_our_models_is_refused(mine: Path, tmp_path: Path) -> None:
    own, theirs = tmp_path / "own", mine / "mine" / "conf"
    for file in (theirs / "loss/paper.yaml", theirs / "preset/model/smoke/baselines.yaml", own / "data/triples.yaml"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("a: 1\n")
    said = refusal("--config-dir", str(own))
    assert f"mine-saliency 1.0: {theirs}/loss/paper.yaml has the name of one of saltext's own files" in said
    assert f"{theirs}/preset/model/smoke/baselines.yaml would change how saltext's model=baselines trains" in said
    assert f"mine-saliency 1.0: {theirs}/data/triples.yaml has the name of a file of --config-dir" in said
    shutil.rmtree(own / "data")
    shutil.copytree(theirs / "loss", own / "loss")
    assert f"--config-dir: {own}/loss/paper.yaml has the name of one of saltext's own" in refusal(f"--config-dir={own}")


@pytest.mark.parametrize(
    ("file", "package"),
    [("model/blend/x", "model"), ("metric/x", "evaluation.extra_metrics"), ("experiment/x", "_global_")],
)
def test_a_file_without_the_header_of_its_group_is_named_with_the_line(file: str, package: str, tmp_path: Path) -> None:
    path = tmp_path / f"{file}.yaml"
    path.parent.mkdir(parents=True)
    path.write_text("# What it is.\nname: x\nblend: null\n")
    said = f"expected '# @package {package}', as files of {file.removesuffix('/x')} have, got"
    assert f"{path}:1: {said} none" in refusal(f"--config-dir={tmp_path}")
    path.write_text("# What it is.\n# @package other\nname: x\nblend: null\n")
    assert f"{path}:2: {said} '# @package other'" in refusal(f"--config-dir={tmp_path}")
    path.write_text(f"# What it is.\n# @package {package}\nname: x\nblend: null\n")
    CommandLine([f"--config-dir={tmp_path}", "preset=smoke"]).check()


@pytest.mark.parametrize("group", ["model/encoder", "loss", "data"])
def test_a_header_in_a_group_whose_files_have_none_is_named_with_its_line(group: str, tmp_path: Path) -> None:
    path = tmp_path / group / "x.yaml"
    path.parent.mkdir(parents=True)
    path.write_text("# What it is.\n# @package model\n_target_: mine.X\n")
    said = f"{path}:2: expected no header, as files of {group} have none, got '# @package model'"
    assert said in refusal(f"--config-dir={tmp_path}")
    for package in (group.replace("/", "."), "_group_"):
        path.write_text(f"# @package {package}\n_target_: mine.X\n")
        CommandLine([f"--config-dir={tmp_path}", "preset=smoke"]).check()


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ("blend:\n  _target_: mine.Gate\n", ":2: expected a line 'name: ${model.family}-x', got blend alone"),
        ("name: x\n", ":2: expected a line 'blend:', got name alone"),
        (
            "name: x\n_target_: mine.Gate\n_partial_: true\n",
            ":3: expected _target_, _partial_ below 'blend:', got it beside 'name:'",
        ),
    ],
)
def test_a_blend_s_file_without_a_key_it_needs_is_named_with_the_line(keys: str, expected: str, tmp_path: Path) -> None:
    path = tmp_path / "model/blend/x.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(f"# @package model\n{keys}")
    assert f"{path}{expected}" in refusal(f"--config-dir={tmp_path}")
    path.write_text("# @package model\ndefaults: [film]\nblend:\n  width: 3\n")
    CommandLine([f"--config-dir={tmp_path}", "preset=smoke"]).check()


def test_the_headers_that_are_asked_for_are_those_of_our_files() -> None:
    for group, package in PACKAGES.items():
        for path in (config_folder() / group).glob("*.yaml"):
            if package is None:
                assert "# @package" not in path.read_text(), path
            else:
                assert path.read_text().startswith(f"# @package {package}\n"), path


def test_a_start_names_the_packages_that_bring_files(mine: Path) -> None:
    assert provenance.describe()["packages"]["mine-saliency"] == "1.0"


def test_being_installed_is_no_licence(mine: Path) -> None:
    values = {"model": {"blend": {"_target_": "mine.gate.Gate"}}}
    with pytest.raises(ConfigError, match=r"mine-saliency 1\.0 is installed here, which is no reason to trust it"):
        targets.check_targets(values, "", ())
    targets.check_targets(values, "", {"mine.gate.Gate"})


def test_the_page_s_test_of_its_blending_module_passes(mine: Path) -> None:
    known: dict[str, Callable[[], None]] = {}
    exec(compile((mine / "test_gate.py").read_text(), "test_gate.py", "exec"), known)
    known["test_a_closed_gate_lets_nothing_through"]()


@pytest.mark.slow
def test_the_parts_of_an_installed_package_are_trained_scored_predicted_with_reported_and_exported(
    mine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = tmp_path / "work"
    shutil.copytree(mine / "triples", work / "triples")
    monkeypatch.chdir(work)

    def ran(*words: str, status: int = 0) -> str:
        done = command(*words, module="saltext", environment={"PYTHONPATH": f"{ROOT}{os.pathsep}{mine}"})
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout + done.stderr

    trained = saltext.train(*SMALL, "+experiment=gates", *OWN, "hydra.mode=RUN", "hydra.run.dir=run")
    assert trained.model.predict("triples/1.jpg", "a lamp").shape == (72, 96)
    run = RunFolder(Path("run"))
    assert (run.root / "lines.txt").read_text().count("val/cc'") == 1
    assert {*read_scores(run.scores)["task"]} == {"search"}
    (start,) = json.loads(run.provenance.read_text())
    assert start["packages"]["mine-saliency"] == "1.0"

    photo = ("predict", "triples/1.jpg", "--text", "a lamp", "--device", "cpu")
    for words in (("evaluate", "run"), ("export", "run", "model"), (*photo, "--model", "run")):
        assert "mine-saliency 1.0 is installed here, which is no reason to trust it" in ran(*words, status=2)
    assert "maximum difference from the original scores: 0" in ran("evaluate", "run", "--trust")
    ran("report", "run", "--trust")
    assert (run.root / "report.html").stat().st_size > 0
    ran("export", "run", "model", "--trust")
    ran(*photo, "--model", "model", "--trust")
    stored = np.load("predictions/density/1.npy")
    expected = saltext.load("model", trust=True, device="cpu").predict("triples/1.jpg", "a lamp")
    np.testing.assert_allclose(stored, expected, atol=1e-6)


@pytest.mark.slow
def test_the_same_parts_in_a_folder_of_one_s_own_are_found_by_every_command_and_by_the_jobs_of_a_study(
    tmp_path: Path,
) -> None:
    written(tmp_path)

    def ran(*words: str, **variables: str) -> None:
        done = command(*words, module="saltext", cwd=tmp_path, environment={"PYTHONPATH": str(ROOT), **variables})
        assert done.returncode == 0, done.stdout + done.stderr

    # As the script ``saltext`` is started: Python does not look into the current folder by itself.
    script = {"PYTHONSAFEPATH": "1"}
    ran("train", "--config-dir", "mine/conf", "+experiment=gates", *SMALL, *OWN, "evaluation.text_ablation=false", "-m",
        **script)  # fmt: skip
    (folder,) = (tmp_path / "outputs" / "gates").glob("tranblend-gate_*")
    for words in (("evaluate", folder, "--trust"), ("report", folder), ("export", folder, "model", "--trust")):
        ran(*map(str, words))
    ran("predict", "triples/1.jpg", "--text", "a lamp", "--model", "model", "--trust", "--device", "cpu", **script)
    assert (tmp_path / "predictions" / "density" / "1.npy").is_file()
    assert {"report.html", "evaluation", "lines.txt"} <= {path.name for path in folder.iterdir()}
