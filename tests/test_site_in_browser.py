"""What only a browser sees of a site."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright, of the extra dev, is not installed")

from tests.site_in_browser import problems  # noqa: E402

pytestmark = pytest.mark.slow

_PAGE = "<!doctype html><html lang=en><head><title>A</title><meta name=viewport content='width=device-width'></head>"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no Chromium is installed (Debian: apt-get install chromium)")
    with sync_api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield found
        found.close()


def test_a_page_without_mistakes_has_none_and_is_drawn(browser: Any, tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text(f"{_PAGE}<body>text</body>")
    assert list(problems(browser, tmp_path, ["a"], tmp_path / "drawn")) == []
    assert len(list((tmp_path / "drawn").iterdir())) == 4


def test_errors_wide_pages_and_low_contrast_are_found(browser: Any, tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text(
        f"{_PAGE}<body><p style='color:#ddd;background:#fff'>pale</p><div style='width:2000px'>wide</div>"
        "<script>console.error('broken')</script></body>"
    )
    found = list(problems(browser, tmp_path, ["a"]))
    assert len(found) == 12
    for said in ("console: broken", "px wide on a screen of 390 px", "low contrast: pale (1.4)"):
        assert any(problem.endswith(said) for problem in found), said
