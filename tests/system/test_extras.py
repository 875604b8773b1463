"""The command that installs an extra."""

import json
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from saltext.system.extras import install_command


def installed(monkeypatch: pytest.MonkeyPatch, record: str | None) -> None:
    distribution = SimpleNamespace(read_text=lambda name: record if name == "direct_url.json" else None)
    monkeypatch.setattr(metadata, "distribution", lambda name: distribution)


@pytest.mark.parametrize(
    ("editable", "option"),
    [({"dir_info": {"editable": True}}, "-e "), ({"dir_info": {}}, ""), ({"archive_info": {}}, "")],
)
def test_an_extra_comes_from_where_the_package_came_from(
    editable: dict[str, Any], option: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    place = tmp_path / "my checkout"
    place.mkdir()
    installed(monkeypatch, json.dumps({"url": place.as_uri(), **editable}))
    assert install_command("demo") == f"pip install {option}'{place}[demo]'"


@pytest.mark.parametrize(
    "record",
    [None, "", "{", "[]", "{}", '{"url": "https://example.org/saltext.whl"}', '{"url": "file:///no/such/place"}'],
)
def test_without_such_a_place_it_comes_from_the_index(record: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, record)
    assert install_command("demo") == "pip install 'saltext[demo]'"


def test_a_package_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", missing)
    assert install_command("vit") == "pip install 'saltext[vit]'"
