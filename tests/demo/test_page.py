"""The page as a program sees it: what it takes, what it refuses, and what it says then."""

import html
import io
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.demo.serving import KEPT, SETTINGS, Demo, started
from tests.demo.stub import photo

pytest.importorskip("gradio", reason="the extra demo is not installed")
import httpx

API = "/gradio_api"


class Visitor:
    """Asks over HTTP, as Gradio's clients do."""

    def __init__(self, http: httpx.Client) -> None:
        self.http = http

    def upload(self, file: Path, name: str | None = None) -> httpx.Response:
        with file.open("rb") as stream:
            return self.http.post(f"{API}/upload", files={"files": (name or file.name, stream)})

    def call(self, name: str, *values: Any) -> tuple[str, Any]:
        """How it ended, ``complete`` or ``error``, and what came."""
        asked = self.http.post(f"{API}/call/{name}", json={"data": list(values)})
        assert asked.status_code == 200, asked.text
        lines = self.http.get(f"{API}/call/{name}/{asked.json()['event_id']}").text.splitlines()
        event, data = next(pair for pair in itertools.pairwise(lines) if pair[0] in ENDS)
        return event.removeprefix("event: "), json.loads(data.removeprefix("data: "))

    def compare(self, image: Any, *texts: str, tasks: tuple[str, str] = ("", "")) -> tuple[str, Any]:
        return self.call("compare", image, *(texts or ("left", "right")), "", *tasks, "", False, 7)

    def get(self, file: dict[str, Any]) -> bytes:
        return self.http.get(f"{API}/file={file['path']}").raise_for_status().content


ENDS = ("event: complete", "event: error")


def uploaded(path: str) -> dict[str, Any]:
    return {"path": path, "meta": {"_type": "gradio.FileData"}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def demo(folder: Path) -> Iterator[Demo]:
    running = started(["-m", "tests.demo.serving", str(folder)], {}, folder)
    yield running
    running.end()


@pytest.fixture(scope="module")
def visitor(demo: Demo) -> Iterator[Visitor]:
    with httpx.Client(base_url=demo.address, timeout=120, trust_env=False) as http:
        yield Visitor(http)


@pytest.fixture
def image(visitor: Visitor, tmp_path: Path) -> dict[str, Any]:
    """An uploaded picture."""
    return uploaded(visitor.upload(photo(tmp_path / "street.png")).json()[0])


def refusal(ended: tuple[str, Any]) -> str:
    event, data = ended
    assert event == "error", data
    return str(data["error"])


def test_a_comparison_says_shows_and_offers_everything(visitor: Visitor, image: dict[str, Any]) -> None:
    event, data = visitor.compare(image)
    assert event == "complete"
    words, panel, *columns = data
    (first, second, third), changes = (columns[place : place + 5] for place in (0, 5, 10)), columns[15:]
    assert "<strong>99 % of the predicted attention moves</strong> from text 1 to text 2" in words
    assert third[0]["visible"] is False
    for shown in (changes[1], first[2], second[2]):
        with Image.open(io.BytesIO(visitor.get(shown["value"]))) as picture:
            assert picture.width == 480
            assert picture.format == "PNG"  # without loss
    assert [html.unescape(shown[1]) for shown in (first, second)] == ["**Text 1:** “left”", "**Text 2:** “right”"]
    assert panel["orig_name"] == "street_panel.png"
    left, right = (np.load(io.BytesIO(visitor.get(shown[3]))) for shown in (first, second))
    assert left[:, :20].sum() > 0.99
    assert right[:, 40:].sum() > 0.99
    assert first[4]["orig_name"] == "street_text1.png"


def test_an_answer_carries_the_number_of_its_question_and_nothing_else_of_it(
    visitor: Visitor, image: dict[str, Any]
) -> None:
    values = image, "left", "right", "", "", "", "", False
    for number, start in ((7, '<div data-question="7"><p>'), ('"><b>', "<p>"), (None, "<p>")):
        assert visitor.call("compare", *values, number)[1][0].startswith(start)


def test_the_words_of_a_text_are_buttons_without_markup_of_its_own(visitor: Visitor, image: dict[str, Any]) -> None:
    event, data = visitor.call("explain", image, "left <b>by</b> the ${1+1} {{tree}}", *[""] * 5, False, 8)
    assert event == "complete"
    assert data[0].startswith('<div data-question="8">')
    assert data[0].count("<button") == data[0].count("</button>") > 1
    assert "<b>" not in data[0]
    assert 'src="data:image/jpeg;base64,' in data[0]
    assert "<h2>Text 2 has no words</h2>" in data[0]


def test_no_text_is_free_viewing_and_a_condition_reaches_the_model(visitor: Visitor, image: dict[str, Any]) -> None:
    _, data = visitor.compare(image, "", "right", tasks=("salient", ""))
    assert data[3] == "**Text 1:** no text"
    assert np.load(io.BytesIO(visitor.get(data[5])))[:, 40:].sum() > 0.99


def dropdowns(visitor: Visitor) -> list[dict[str, Any]]:
    components = visitor.http.get("/config").raise_for_status().json()["components"]
    return [component["props"] for component in components if component["type"] == "dropdown"]


def test_the_conditions_are_those_of_the_model(visitor: Visitor, tmp_path: Path) -> None:
    for choice in dropdowns(visitor):
        assert [value for _, value in choice["choices"]] == ["", "pure", "whole", "general", "salient", "non_salient"]
        assert choice["value"] == ""
    running = started(["-m", "tests.demo.serving", str(tmp_path), "0", "free", "guided"], {}, tmp_path)
    with httpx.Client(base_url=running.address, timeout=120, trust_env=False) as http:
        own = dropdowns(Visitor(http))
    running.end()
    assert len(own) == 3
    for choice in own:
        assert [value for _, value in choice["choices"]] == ["free", "guided"]
        assert choice["value"] == "free"


def test_texts_are_repeated_without_markup(visitor: Visitor, image: dict[str, Any]) -> None:
    _, data = visitor.compare(image, "<b>a</b> [b](http://c) *d* 🐈", "right")
    assert html.unescape(data[3]) == "**Text 1:** “<b>a</b> [b](http://c) *d* 🐈”"
    assert not set("<[(") & set(data[3])


def test_what_should_be_known_is_said_without_markup(visitor: Visitor, image: dict[str, Any]) -> None:
    _, data = visitor.compare(image, "too long a text", "right")
    note = "<li>Note: only 9 characters are read of the text 'too long a text'.</li>"
    assert html.unescape(data[0]).endswith(f"<ul>{note}</ul></div>")
    assert "'" not in data[0]


def test_only_the_files_of_the_newest_answers_are_kept(visitor: Visitor, image: dict[str, Any]) -> None:
    files = [visitor.compare(image)[1][1] for _ in range(KEPT + 1)]
    there = [visitor.http.get(f"{API}/file={file['path']}").status_code for file in files]
    assert there == [403, *[200] * KEPT]


def test_an_image_is_asked_for_where_there_is_none(visitor: Visitor) -> None:
    assert "Choose an image first" in refusal(visitor.compare(None))


def test_what_is_no_picture_is_refused_at_once_and_when_it_is_asked_about(visitor: Visitor, tmp_path: Path) -> None:
    (tmp_path / "notes.png").write_text("not a picture")
    image = uploaded(visitor.upload(tmp_path / "notes.png").json()[0])
    assert visitor.call("check", image)[0] == "error"
    assert "files that are not images" in refusal(visitor.call("check", image))
    assert "files that are not images" in refusal(visitor.compare(image))


def test_a_picture_that_can_be_used_is_not_commented(visitor: Visitor, image: dict[str, Any]) -> None:
    assert visitor.call("check", image)[0] == "complete"


def test_a_picture_with_too_many_pixels_is_refused_before_it_is_decoded(visitor: Visitor, tmp_path: Path) -> None:
    Image.new("1", (20_000, 20_000)).save(tmp_path / "bomb.png")
    said = refusal(visitor.compare(uploaded(visitor.upload(tmp_path / "bomb.png").json()[0])))
    assert f"more than {SETTINGS.max_pixels} pixels" in said


def test_a_file_that_is_too_large_is_refused_while_it_comes(visitor: Visitor, tmp_path: Path) -> None:
    answer = visitor.upload(photo(tmp_path / "heavy.png", 400, 400))
    assert answer.status_code == 413
    assert "maximum allowed size of 262144 bytes" in answer.text


def test_a_text_without_end_is_refused(visitor: Visitor, image: dict[str, Any]) -> None:
    assert "Text 2 has 2001 characters; up to 2000 are taken" in refusal(visitor.compare(image, "", "x" * 2001))


def test_what_is_no_text_is_refused(visitor: Visitor, image: dict[str, Any]) -> None:
    said = html.unescape(refusal(visitor.call("compare", image, 5, ["left"], *[None] * 6)))
    assert "Text 1 cannot be used (texts that are not strings: 5)" in said
    assert "Text 2 cannot be used (texts that are not strings: ['left'])" in said
    assert visitor.call("compare", image, *[None] * 8)[0] == "complete"


def test_an_error_is_said_without_markup(visitor: Visitor, image: dict[str, Any]) -> None:
    said = refusal(visitor.compare(image, "<b>slow</b>", ""))
    assert said == "The text &lt;b&gt;slow&lt;/b&gt; took too long.<br>Try another."


META = {"_type": "gradio.FileData"}


@pytest.mark.parametrize(
    "forged",
    [
        uploaded("/etc/hostname"),
        uploaded("{folder}/example.png"),
        {"path": "{folder}/example.png"},
        {"path": "{folder}/example.png", "meta": {"_type": "another"}},
        {"path": "{folder}/example.png", "meta": META, "is_stream": True},
        {"path": "{folder}/not-there.png"},
        uploaded("{folder}/gradio/../example.png"),
        uploaded("{folder}/gradio/link.png"),
        uploaded("{folder}/gradio"),
        uploaded("example.png"),
        uploaded("{folder}/gradio/\0.png"),
        uploaded("file://{folder}/example.png"),
        uploaded("http://127.0.0.1:9/picture.png"),
        {"path": "http://127.0.0.1:9/picture.png"},
        {"path": None, "url": "http://127.0.0.1:9/picture.png", "meta": META},
        {"path": None, "url": "data:image/png;base64,iVBORw0KGgo=", "meta": META},
        {"path": "data:image/png;base64,iVBORw0KGgo=", "meta": META},
        {"url": "file:///etc/hostname", "meta": META},
        "/etc/hostname",
        ["/etc/hostname"],
        [uploaded("{folder}/example.png")],
        {"image": {"path": "{folder}/example.png"}},
        5,
    ],
)
def test_only_what_was_uploaded_is_opened_and_all_else_is_refused_alike(
    visitor: Visitor, folder: Path, forged: Any
) -> None:
    link = folder / "gradio" / "link.png"
    if not link.is_symlink():
        link.symlink_to(folder / "example.png")
    given = json.loads(json.dumps(forged).replace("{folder}", str(folder)))
    for ended in (visitor.compare(given), visitor.call("check", given)):
        assert refusal(ended) == NOT_HERE


NOT_HERE = "This image was not uploaded here and is no example. Upload it, or choose an example."


@pytest.mark.parametrize("place", [1, 4, 7, 8])
def test_a_file_in_place_of_anything_else_is_looked_at_as_well(
    visitor: Visitor, image: dict[str, Any], place: int
) -> None:
    values: list[Any] = [image, "left", "right", "", "", "", "", False, 0]
    values[place] = uploaded("http://127.0.0.1:9/picture.png")
    assert refusal(visitor.call("compare", *values)) == NOT_HERE


def test_an_example_is_predicted_where_the_page_keeps_it(visitor: Visitor) -> None:
    components = visitor.http.get("/config").raise_for_status().json()["components"]
    (examples,) = (component["props"]["samples"] for component in components if component["type"] == "dataset")
    assert visitor.compare({"path": examples[0][0]["path"], "meta": META})[0] == "complete"


@pytest.mark.parametrize(
    "address",
    [
        f"{API}/file=http://127.0.0.1:9/picture.png",
        f"{API}/file/http://127.0.0.1:9/picture.png",
        f"{API}/proxy=http://127.0.0.1:9/picture.png",
        f"{API}/deep_link?session_hash=a",
        f"{API}/component_server",
        f"{API}/process_recording",
        f"{API}/vibe-code/",
    ],
)
def test_addresses_that_the_page_does_not_need_are_not_there(visitor: Visitor, address: str) -> None:
    assert visitor.http.get(address).status_code == 404
    assert visitor.http.post(address, json={}).status_code == 404


ELSEWHERE = [
    {"origin": "http://elsewhere.example"},
    {"origin": "null"},
    {"origin": "http://127.0.0.1:1"},  # another program's page on this machine
    {"origin": "http://localhost"},
    {"referer": "http://elsewhere.example/page"},
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site"},
    {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"},  # a form that sends itself
]


@pytest.mark.parametrize("headers", ELSEWHERE)
def test_what_a_page_elsewhere_sends_is_refused(visitor: Visitor, tmp_path: Path, headers: dict[str, str]) -> None:
    content = photo(tmp_path / "street.png").read_bytes()
    upload = visitor.http.post(f"{API}/upload", files={"files": ("street.png", content)}, headers=headers)
    asked = visitor.http.post(f"{API}/call/compare", json={"data": [None, *[""] * 6, False, 0]}, headers=headers)
    assert (upload.status_code, asked.status_code) == (403, 403)


@pytest.mark.parametrize("site", ["same-origin", "none"])
def test_what_the_page_itself_sends_is_taken(visitor: Visitor, tmp_path: Path, site: str) -> None:
    own = str(visitor.http.base_url).rstrip("/")
    headers = {"origin": own, "referer": f"{own}/", "sec-fetch-site": site}
    content = photo(tmp_path / "street.png").read_bytes()
    answer = visitor.http.post(f"{API}/upload", files={"files": ("street.png", content)}, headers=headers)
    assert answer.status_code == 200


def test_a_link_elsewhere_opens_the_page_and_nothing_else(visitor: Visitor) -> None:
    headers = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    assert visitor.http.get("/", headers=headers).status_code == 200
    assert visitor.http.get("/config", headers=headers).status_code == 403


def test_files_outside_are_not_served(visitor: Visitor, folder: Path) -> None:
    assert visitor.http.get(f"{API}/file={folder / 'example.png'}").status_code == 403
    assert visitor.http.get(f"{API}/file=/etc/hostname").status_code == 403


def test_browsers_may_load_nothing_from_elsewhere(visitor: Visitor) -> None:
    for path in ("/", "/theme.css", f"{API}/file=/etc/hostname"):
        policy = visitor.http.get(path).headers["content-security-policy"]
        assert "default-src 'self'" in policy
        assert "http" not in policy
    assert "googleapis" not in visitor.http.get("/").text
    assert "@import" not in visitor.http.get("/theme.css").text


def test_a_page_elsewhere_cannot_reach_it_under_a_name_of_its_own(visitor: Visitor) -> None:
    assert visitor.http.get("/", headers={"host": "elsewhere.example"}).status_code == 400
    stranger = visitor.http.get("/config", headers={"origin": "http://elsewhere.example"})
    assert "access-control-allow-origin" not in stranger.headers


def test_nothing_is_counted_or_shared(visitor: Visitor) -> None:
    config = visitor.http.get("/config").json()
    assert config["analytics_enabled"] is False
    assert visitor.http.get("/monitoring").status_code in (403, 404)


def test_a_port_that_is_taken_is_said(demo: Demo, tmp_path: Path) -> None:
    port = demo.address.rpartition(":")[2]
    with pytest.raises(AssertionError, match=f"cannot be served at 127.0.0.1:{port}: the port may be taken"):
        started(["-m", "tests.demo.serving", str(tmp_path), port], {}, tmp_path)
