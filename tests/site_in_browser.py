"""The documentation as a browser shows it: what a build cannot see.

    python -m tests.site_in_browser build/docs [--pictures DIR]

Opens main pages of a built site in Chromium, light and dark, on a wide screen and on a phone, without a network. Says
which print errors to the console, are wider than the screen, are heavy, or have text of low contrast, and whether the
search for "own data" has the page on own data first. With ``--pictures`` every page is drawn to a PNG as well.
"""

import argparse
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import unquote, urlsplit

from playwright.sync_api import Browser, sync_playwright

from saltext.console import set_up_streams

PAGES = (
    "index", "gallery", "tutorials/5_fine_tune_on_your_own_images", "metrics/index", "metrics/auc_judd", "results",
    "own-data", "commands", "glossary",
)  # fmt: skip
"""The pages that are opened; the others are made of the same parts."""

WIDTHS = (1280, 390)
"""Of a screen and of a phone, in pixels."""

SEARCHES: Mapping[str, str] = MappingProxyType({"own data": "own-data.html"})
"""What is searched for, and the page that has to come first."""

_HEIGHT = 900
_MOST_BYTES = 1_500_000  # of a page with all that it loads
_LOWEST_CONTRAST = 4.5  # of text, WCAG 2 level AA; large text is allowed 3

# Text nodes whose colour and background are too close: [text, contrast]. Backgrounds are the nearest opaque ones.
_LOW_CONTRAST = """lowest => {
  const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const rgba = colour => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const luminance = ([r, g, b]) => [r, g, b].map(v => v / 255).map(
    v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4
  ).reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const behind = element => {
    for (let e = element; e; e = e.parentElement) {
      const colour = rgba(getComputedStyle(e).backgroundColor);
      if (colour[3] > 250) return colour;
    }
    return [255, 255, 255];
  };
  const found = [], walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode.textContent.trim(), element = walker.currentNode.parentElement;
    if (!text || !element.checkVisibility({opacityProperty: true, visibilityProperty: true})) continue;
    const style = getComputedStyle(element);
    const [a, b] = [luminance(rgba(style.color)), luminance(behind(element))].sort((x, y) => y - x);
    const contrast = (a + .05) / (b + .05), large = parseFloat(style.fontSize) >= 24;
    if (contrast < (large ? 3 : lowest)) found.push(`${text.slice(0, 40)} (${contrast.toFixed(1)})`);
  }
  return [...new Set(found)];
}"""


def problems(
    browser: Browser, folder: Path, names: Sequence[str] = PAGES, pictures: Path | None = None
) -> Iterator[str]:
    """Everything that is wrong with some pages of a site, a sentence each; draws them below ``pictures`` if given."""
    for scheme in ("light", "dark"):
        for width in WIDTHS:
            screen = {"width": width, "height": _HEIGHT}
            context = browser.new_context(viewport=screen, color_scheme=scheme, offline=True)
            for name in names:
                yield from _of_page(context.new_page(), folder, name, f"{name}, {scheme}, {width} px", pictures)
            context.close()


def _of_page(page: Any, folder: Path, name: str, title: str, pictures: Path | None) -> Iterator[str]:
    said: list[str] = []
    loaded: set[str] = set()
    page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: loaded.add(unquote(urlsplit(request.url).path)))
    page.goto((folder / f"{name}.html").resolve().as_uri(), wait_until="load")
    yield from (f"{title}: console: {text}" for text in said)
    size = sum(Path(file).stat().st_size for file in loaded if Path(file).is_file())
    if size > _MOST_BYTES:
        yield f"{title}: expected at most {_MOST_BYTES:,} bytes, got {size:,}"
    width, shown = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    if width > shown:
        yield f"{title}: {width} px wide on a screen of {shown} px"
    for text in page.evaluate(_LOW_CONTRAST, _LOWEST_CONTRAST):
        yield f"{title}: low contrast: {text}"
    if pictures:
        pictures.mkdir(parents=True, exist_ok=True)
        file = "-".join(title.replace("/", "_").replace(" px", "").split(", "))
        page.screenshot(path=pictures / f"{file}.png", full_page=True)
    page.close()


def found_first(browser: Browser, folder: Path, words: str) -> str:
    """The page that the search of the site has first."""
    page = browser.new_page()
    page.goto((folder / "search.html").resolve().as_uri() + f"?q={words.replace(' ', '+')}")
    link = page.locator("#search-results li a").first
    link.wait_for()
    address = urlsplit(str(link.get_attribute("href"))).path
    page.close()
    return address


def main() -> None:
    """Entry point; see the module's help."""
    set_up_streams()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="a built site")
    parser.add_argument("--pictures", type=Path, metavar="DIR")
    given = parser.parse_args()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        found = list(problems(browser, given.folder, pictures=given.pictures))
        for words, expected in SEARCHES.items():
            if (first := found_first(browser, given.folder, words)) != expected:
                found.append(f"search for {words!r}: expected {expected} first, got {first}")
        browser.close()
    print("\n".join(found) or f"{len(PAGES)} pages, light and dark, at {' and '.join(map(str, WIDTHS))} px: no problem")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
