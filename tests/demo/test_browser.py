"""The command's page in a real browser; screenshots are kept under test-output/demo (or $TEST_OUTPUT/demo)."""

import os
import re
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from saltext.system.run_folder import RunFolder
from tests.conftest import ROOT
from tests.demo.serving import Demo, started
from tests.demo.stub import photo

pytest.importorskip("gradio", reason="the extra demo is not installed")
sync_api = pytest.importorskip("playwright.sync_api", reason="playwright, of the extra dev, is not installed")

pytestmark = pytest.mark.slow

SCREENSHOTS = Path(os.environ.get("TEST_OUTPUT", ROOT / "test-output")) / "demo"
PATIENCE = 120_000  # milliseconds; other programs may keep the machine busy
PICTURES = ("overlay1", "overlay2", "change2")
TIMEOUT = 10  # seconds that a prediction may take

# As root, and so that nobody but this machine can be asked.
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync",
         "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]  # fmt: skip


def predicting(demo: Demo) -> int:
    """The process that predicts for a page."""
    for path in Path("/proc").glob("[0-9]*"):
        try:
            line = (path / "cmdline").read_text()
            parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:  # ended meanwhile
            continue
        if "spawn_main" in line and parent == demo.process.pid:
            return int(path.name)
    raise LookupError("no process predicts")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium is installed (Debian: apt-get install chromium); the page was not looked at")
    with sync_api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield found
        found.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the command is started, and where it may write."""
    found = tmp_path_factory.mktemp("demo")
    (found / "here").mkdir()
    (found / "temporary").mkdir()
    return found


@pytest.fixture(scope="module")
def demo(browser: Any, smoke_run: RunFolder, folder: Path) -> Iterator[Demo]:
    line = ["-m", "saltext", "demo", str(smoke_run.root), "--device", "cpu", "--port", "0", "--max-mib", "0.5",
            "--max-pixels", "350000", "--timeout", str(TIMEOUT)]  # fmt: skip
    running = started(line, {"TMPDIR": str(folder / "temporary")}, folder / "here", from_nothing=True)
    yield running
    if running.process.poll() is None:
        running.end()


@pytest.fixture(scope="module")
def stub(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """A page whose model predicts where its text says, and reads conditions."""
    folder = tmp_path_factory.mktemp("stub")
    running = started(["-m", "tests.demo.serving", str(folder)], {}, folder)
    yield running
    running.end()


@pytest.fixture
def page(browser: Any, demo: Demo) -> Iterator[Any]:
    with opened(browser, demo) as found:
        yield found


@contextmanager
def opened(browser: Any, demo: Demo, **settings: Any) -> Iterator[Any]:
    """A page just opened, which has asked nobody but the demo when it is closed."""
    context = browser.new_context(viewport={"width": 1280, "height": 1000}, accept_downloads=True, **settings)
    context.set_default_timeout(PATIENCE)
    asked: list[str] = []
    context.on("request", lambda request: asked.append(request.url))
    found = context.new_page()
    found.goto(demo.address)
    found.locator("#ask").wait_for()
    yield found
    context.close()
    assert not [url for url in asked if not url.startswith((demo.address, "data:", "blob:"))]


def keep(page: Any, name: str) -> None:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True, animations="disabled")


def upload(page: Any, path: Path) -> None:
    page.locator("#image input[type=file]").set_input_files(path)


def ask_slowly(page: Any, folder: Path) -> None:
    """Ask a question whose answer takes a while, until the page shows that it is being answered."""
    upload(page, photo(folder / "street.png", 120, 80))
    page.locator("#image img").wait_for()
    type_texts(page, "slowly", "right")
    show(page)
    page.locator("#waiting .progress").wait_for()


def type_texts(page: Any, first: str, second: str) -> None:
    page.locator("#text1 textarea").fill(first)
    page.locator("#text2 textarea").fill(second)


def show(page: Any) -> None:
    page.locator("#ask").click()


def shown(page: Any, first: str) -> None:
    """Wait for the result of a first text, and look at all of it."""
    page.locator("#caption1").get_by_text(first).wait_for()
    for name in PICTURES:  # fetched once they are in sight
        page.locator(f"#{name}").scroll_into_view_if_needed()
        page.locator(f"#{name} img").wait_for()
        assert page.locator(f"#{name} img").evaluate("image => image.decode().then(() => image.naturalWidth)") > 50


def error(page: Any) -> str:
    said = page.locator(".toast-body.error").first
    said.wait_for()
    page.wait_for_timeout(500)  # it fades in
    return str(said.inner_text())


def downloaded(page: Any, name: str, to: Path) -> Path:
    with page.expect_download() as download:
        page.locator(f"#{name}").click()
    path = to / download.value.suggested_filename
    download.value.save_as(path)
    return path


def test_an_example_and_two_texts_become_maps_to_look_at_and_to_keep(page: Any, tmp_path: Path) -> None:
    keep(page, "01_start")
    page.locator("#examples button").first.click()
    page.locator("#image img").wait_for()
    first = page.locator("#text1 textarea").input_value()
    assert first
    assert page.locator("#text2 textarea").input_value() not in ("", first)
    show(page)
    shown(page, first)
    assert "text" in page.locator("#said").inner_text()
    keep(page, "02_example")
    npy, png, panel = (downloaded(page, name, tmp_path) for name in ("npy1", "png2", "panel"))
    density = np.load(npy)
    assert density.sum(dtype=np.float64) == pytest.approx(1, abs=1e-5)
    with Image.open(png) as levels, Image.open(panel) as drawn:
        assert levels.size == density.shape[::-1]
        assert levels.mode.startswith("I;16")
        assert drawn.width > 800


def test_a_picture_of_ones_own_is_uploaded_and_another_text_moves_the_map(page: Any, tmp_path: Path) -> None:
    upload(page, photo(tmp_path / "street & <b>lamps<b>.png", 240, 180))
    page.locator("#image img").wait_for()
    type_texts(page, "the white lamps", "")
    show(page)
    shown(page, "the white lamps")
    before = page.locator("#overlay2 img").get_attribute("src")
    page.locator("#text2 textarea").fill("the people")
    page.locator("#text2 textarea").press("Enter")
    page.locator("#caption2").get_by_text("the people").wait_for()
    assert page.locator("#overlay2 img").get_attribute("src") != before
    keep(page, "03_upload")
    assert downloaded(page, "npy1", tmp_path).name == "street_blampsb_text1.npy"


def test_what_another_text_changes_is_shown_and_said(browser: Any, stub: Demo, tmp_path: Path) -> None:
    with opened(browser, stub) as page:
        upload(page, photo(tmp_path / "street.png", 120, 80))
        page.locator("#image img").wait_for()
        type_texts(page, "left", "<b>right</b>")
        show(page)
        shown(page, "left")
        same = "Text 1 and text 2 give the same map"
        assert same in page.locator("#said").inner_text()
        type_texts(page, "too long a text", "right")
        show(page)
        shown(page, "too long a text")
        said = page.locator("#said").inner_text()
        assert "99 % of the predicted attention moves from text 1 to text 2, mostly from the left to the right" in said
        assert "Note: only 9 characters are read of the text 'too long a text'." in said
        keep(page, "04_moved")
        page.locator("#task1 input").click()
        page.get_by_role("option", name="salient", exact=True).click()
        show(page)
        page.locator("#said").get_by_text(same).wait_for()
        keep(page, "05_condition")


def test_results_go_when_the_image_or_a_text_changes(browser: Any, stub: Demo, tmp_path: Path) -> None:
    with opened(browser, stub) as page:
        results = page.locator("#results")
        clear = page.locator("#image").get_by_role("button", name=re.compile("clear|remove", re.IGNORECASE))
        upload(page, photo(tmp_path / "street.png", 120, 80))
        page.locator("#image img").wait_for()
        changes: list[Callable[[], Any]] = [
            lambda: page.locator("#text2 textarea").press_sequentially("s"),
            page.locator("#swap").click,
            page.locator("#third input").check,
            clear.click,
        ]
        for number, change in enumerate(changes):
            type_texts(page, f"left {number}", "right")  # the answer to an earlier question would be back at once
            show(page)
            shown(page, f"left {number}")
            change()
            results.wait_for(state="hidden")
            assert "The image or a text has changed" in page.locator("#status").inner_text()


def test_a_text_that_is_typed_and_sent_at_once_is_answered_every_time(browser: Any, stub: Demo, tmp_path: Path) -> None:
    with opened(browser, stub) as page:
        upload(page, photo(tmp_path / "street.png", 120, 80))
        page.locator("#image img").wait_for()
        for number in range(5):
            page.locator("#text1 textarea").fill(f"right {number}")
            page.locator("#text1 textarea").press("Enter")
            shown(page, f"right {number}")


def test_an_answer_is_shown_only_while_the_page_has_its_question(browser: Any, stub: Demo, tmp_path: Path) -> None:
    with opened(browser, stub) as page:
        ask_slowly(page, tmp_path)
        type_texts(page, "left", "right")
        page.locator("#said").get_by_text("moves").wait_for(state="attached")  # the late answer
        assert not page.locator("#results").is_visible()
        type_texts(page, "slowly", "right")
        shown(page, "slowly")


@pytest.mark.parametrize("first", ["slowly", "slowly in vain"])
def test_what_is_asked_while_another_question_is_computed_is_answered_after_it(
    browser: Any, stub: Demo, tmp_path: Path, first: str
) -> None:
    with opened(browser, stub) as page:
        upload(page, photo(tmp_path / "street.png", 120, 80))
        page.locator("#image img").wait_for()
        for text in (first, "left"):
            type_texts(page, text, "right")
            show(page)
            page.locator("#waiting .progress").wait_for()
        shown(page, "left")
        assert (page.locator(".toast-body.error").count() > 0) == (first == "slowly in vain")


def test_texts_are_swapped_with_their_conditions_and_a_third_one_is_compared(
    browser: Any, stub: Demo, tmp_path: Path
) -> None:
    with opened(browser, stub) as page:
        page.locator("#examples button").first.click()
        page.locator("#image img").wait_for()
        page.locator("#swap").click()
        page.wait_for_function("document.querySelector('#text1 textarea').value == 'right'")
        assert page.locator("#text2 textarea").input_value() == "left"
        assert page.locator("#task2 input").input_value() == "salient"
        page.locator("#third input").check()
        page.locator("#text3 textarea").fill("left")
        show(page)
        page.locator("#caption3").get_by_text("left").wait_for()
        said = page.locator("#said").inner_text()
        assert "Text 1 and text 2 give the same map" in said  # it looks right for a salient text
        assert "from text 1 to text 3, mostly from the right to the left" in said
        page.locator("#change3 img").wait_for()
        keep(page, "11_three_texts")
        page.locator("#third input").uncheck()
        page.locator("#text3").wait_for(state="hidden")


def test_pointing_at_a_word_or_reaching_it_by_the_keyboard_shows_what_it_adds(
    browser: Any, stub: Demo, tmp_path: Path
) -> None:
    with opened(browser, stub) as page:
        upload(page, photo(tmp_path / "street.png", 120, 80))
        page.locator("#image img").wait_for()
        type_texts(page, "right by the red lamp", "")
        show(page)
        shown(page, "right by the red lamp")
        page.locator("#explain").click()
        words = page.locator("#words .word")
        words.first.wait_for()
        assert [text.split("\n")[0] for text in words.all_inner_texts()][-1].startswith("lamp")
        pictures = page.locator("#words .picture:visible")
        assert pictures.count() == 1  # of the strongest
        for word in (words.first, words.last):
            for point in (word.hover, word.focus):
                page.locator("#introduction").hover()
                point()
                assert pictures.count() == 1
                assert word.locator(".picture").is_visible()
        assert words.first.locator("img").evaluate("image => image.decode().then(() => image.naturalWidth)") > 50
        assert page.locator("#words").get_attribute("role") == "status"
        keep(page, "12_words")


def test_progress_is_shown_from_the_first_moment(browser: Any, stub: Demo, tmp_path: Path) -> None:
    with opened(browser, stub) as page:
        ask_slowly(page, tmp_path)
        page.locator("#status").get_by_text("Predicting where people look … 1 s").wait_for()
        shown(page, "slowly")
        assert not page.locator("#waiting .progress").is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_controls_have_names_and_letters_enough_contrast(browser: Any, stub: Demo, scheme: str) -> None:
    with opened(browser, stub, color_scheme=scheme) as page:
        unnamed = page.evaluate(
            """() => [...document.querySelectorAll("button, input, textarea")].filter(element =>
                element.offsetParent && !element.innerText.trim() && !element.ariaLabel && !element.title
                && !element.labels?.length && !element.placeholder && element.type != "file"
            ).map(element => element.outerHTML.slice(0, 200))"""
        )
        assert unnamed == []
        colours = page.locator("#ask").evaluate("b => [getComputedStyle(b).color, getComputedStyle(b).backgroundColor]")
        assert contrast(*colours) > 4.5
        assert page.locator("html").get_attribute("lang") == "en"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_axe_finds_nothing_critical_or_serious(
    browser: Any, stub: Demo, tmp_path: Path, width: int, scheme: str
) -> None:
    axe = Path(os.environ.get("AXE", "axe.min.js"))
    if not axe.is_file():
        pytest.skip("no axe: set AXE to axe.min.js of the npm package axe-core; accessibility was not checked with it")
    with opened(browser, stub, color_scheme=scheme) as page:
        page.set_viewport_size({"width": width, "height": 900})
        page.add_script_tag(content=axe.read_text("utf-8"))
        assert serious(page) == []
        upload(page, photo(tmp_path / "street.png", 120, 80))
        page.locator("#image img").wait_for()
        type_texts(page, "slowly by the red lamp", "right")
        show(page)
        page.locator("#waiting .progress").wait_for()
        assert serious(page) == []
        shown(page, "slowly")
        assert serious(page) == []
        page.locator("#explain").click()
        page.locator("#words .word").first.focus()
        assert serious(page) == []


def serious(page: Any) -> list[str]:
    """The critical and serious findings of axe."""
    found = page.evaluate("axe.run().then(result => result.violations)")
    return [f"{one['id']}: {one['nodes'][0]['html']}" for one in found if one["impact"] in ("critical", "serious")]


def test_it_is_used_by_the_keyboard_alone(browser: Any, stub: Demo) -> None:
    with opened(browser, stub) as page:
        reach(page, "#examples button")
        page.keyboard.press("Enter")
        page.locator("#image img").wait_for()
        reach(page, "#third input")
        page.keyboard.press("Space")
        reach(page, "#text3 textarea", backwards=True)
        page.keyboard.type("left")
        reach(page, "#ask")
        page.keyboard.press("Enter")
        page.locator("#overlay3 img").wait_for()
        reach(page, "#explain")
        page.keyboard.press("Enter")
        page.locator("#words .word").first.wait_for()
        reach(page, "#words .word")
        assert page.locator("#words .word .picture").first.is_visible()


def reach(page: Any, selector: str, backwards: bool = False) -> None:
    """Press the Tab key until an element has the focus."""
    for _ in range(40):
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            return
        page.keyboard.press("Shift+Tab" if backwards else "Tab")
    raise AssertionError(f"the Tab key does not reach {selector}")


def contrast(one: str, other: str) -> float:
    """Ratio of two colours as a browser writes them, by the Web Content Accessibility Guidelines 2.1."""
    levels = []
    for colour in (one, other):
        values = np.array([float(value) for value in re.findall(r"[\d.]+", colour)[:3]]) / 255
        linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
        levels.append(float(linear @ np.array([0.2126, 0.7152, 0.0722])))
    return (max(levels) + 0.05) / (min(levels) + 0.05)


def test_an_example_brings_the_conditions_of_its_texts(browser: Any, stub: Demo) -> None:
    with opened(browser, stub) as page:
        page.locator("#examples button").first.click()
        page.locator("#image img").wait_for()
        assert page.locator("#text1 textarea").input_value() == "left"
        assert page.locator("#task1 input").input_value() == "salient"
        assert page.locator("#task2 input").input_value() == "non salient"


def test_without_an_image_it_is_said_what_to_do(page: Any) -> None:
    type_texts(page, "the white lamps", "")
    show(page)
    assert "Choose an image first" in error(page)
    keep(page, "06_no_image")


def test_what_is_no_image_is_refused_when_it_is_uploaded(page: Any, tmp_path: Path) -> None:
    (tmp_path / "notes.png").write_text("not a picture")
    upload(page, tmp_path / "notes.png")
    assert "files that are not images" in error(page)
    page.locator("#image img").wait_for(state="detached")
    keep(page, "07_no_picture")


def test_an_image_with_too_many_pixels_is_refused(page: Any, tmp_path: Path) -> None:
    Image.new("RGB", (700, 501), "grey").save(tmp_path / "large.png")
    upload(page, tmp_path / "large.png")
    assert "more than 350000 pixels: 700x501" in error(page)


def test_a_file_that_is_too_large_is_refused(page: Any, tmp_path: Path) -> None:
    upload(page, photo(tmp_path / "heavy.png", 580, 400))
    assert "512" in error(page)
    keep(page, "08_too_large")


def test_what_takes_too_long_is_said_and_the_next_prediction_works(page: Any, demo: Demo, tmp_path: Path) -> None:
    upload(page, photo(tmp_path / "street.png", 120, 90))
    page.locator("#image img").wait_for()
    type_texts(page, "the white lamps", "the people")
    os.kill(predicting(demo), signal.SIGSTOP)
    show(page)
    assert f"longer than {TIMEOUT} s and was stopped" in error(page)
    keep(page, "09_too_long")
    show(page)
    shown(page, "the white lamps")


def test_a_narrow_window_shows_everything_below_each_other(page: Any, tmp_path: Path) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    upload(page, photo(tmp_path / "street.png", 240, 180))
    page.locator("#image img").wait_for()
    type_texts(page, "the white lamps", "the people")
    show(page)
    shown(page, "the white lamps")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    keep(page, "10_narrow")


def test_when_it_ends_nothing_is_left(demo: Demo, folder: Path) -> None:
    (own,) = (folder / "temporary").iterdir()
    assert own.name.startswith("saltext-demo-")
    said = demo.end()
    assert demo.process.returncode == 128 + signal.SIGTERM
    assert "Traceback" not in said
    assert not list((folder / "temporary").iterdir())
    assert not list((folder / "here").iterdir())
