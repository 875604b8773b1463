"""The demo's page: an image, two or three texts, the predicted maps, and what each other text and each word changes."""

import base64
import html
import re
import shutil
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Any, TypeVar

import gradio as gr

from saltext.data.tasks import TASK_BY_NAME
from saltext.demo.answer import Change, Question, Shown, Word, answer, check_image, explain
from saltext.demo.examples import Example
from saltext.demo.gate import GuardedBlocks, refusal
from saltext.demo.predictor import About, Predictor
from saltext.demo.settings import Settings
from saltext.errors import SaltextError
from saltext.prediction.model import Model
from saltext.prediction.texts import MAX_CHARACTERS, TextQuery

_Result = TypeVar("_Result")
_Updates = dict[Any, Any]  # component -> its new value

_DELETE_EVERY, _MAX_UPLOAD_AGE = 600, 3600  # seconds
_TEXTS_AT_FIRST, _MOST_TEXTS = 2, 3
_SMALLEST_SHOWN = 0.005  # fraction that is not rounded to 0 %

_ADD = "+ Add a third text"
_HINT = "<p class='hint'>The maps will stand here: choose an image, type the texts, and press “Predict attention”.</p>"
_FOR_SCREEN_READERS = """() => {
    for (const name of ["said", "words"]) {
        const element = document.getElementById(name);
        element?.setAttribute("role", "status");
        element?.setAttribute("aria-live", "polite");
    }
    document.documentElement.lang = "en";
    const examples = document.getElementById("examples");
    const name = () => examples?.querySelectorAll("button.gallery-item").forEach(
        (button, index) => button.setAttribute("aria-label", `Example ${index + 1}`));
    name();
    if (examples) new MutationObserver(name).observe(examples, {childList: true, subtree: true});
}"""
_SHOW_ANSWER = """(...inputs) => {
    if (window.innerWidth < 700) setTimeout(() => document.getElementById("answer")?.scrollIntoView(), 100);
    return inputs;
}"""


class Downloads:
    """Folders for the files of answers; only the newest are kept.

    Args:
        root: Parent of the folders.
        kept: Number of folders to keep.
    """

    def __init__(self, root: Path, kept: int = 20) -> None:
        self._root = root
        self._kept = kept
        self._folders: deque[Path] = deque()

    def new(self) -> Path:
        """Create an empty folder, and remove the oldest one if there are too many."""
        folder = self._root / uuid.uuid4().hex
        folder.mkdir(parents=True)
        self._folders.append(folder)
        if len(self._folders) > self._kept:
            shutil.rmtree(self._folders.popleft(), ignore_errors=True)
        return folder


class _Map:
    """The prediction for a text, and its files."""

    def __init__(self, number: int) -> None:
        self._number = number
        with gr.Column(min_width=230, visible=number <= _TEXTS_AT_FIRST) as self._column:
            self._caption = gr.Markdown(elem_id=f"caption{number}", elem_classes="caption")
            self._overlay = _output_image(f"overlay{number}")
            with gr.Row():
                self._npy = gr.DownloadButton("Map (NPY)", size="sm", min_width=100, elem_id=f"npy{number}")
                self._png = gr.DownloadButton("Map (PNG)", size="sm", min_width=100, elem_id=f"png{number}")

    @property
    def components(self) -> list[Any]:
        """The components that :meth:`updates` gives new values."""
        return [self._column, self._caption, self._overlay, self._npy, self._png]

    def updates(self, shown: Shown | None) -> _Updates:
        """The new values of the components for a map; without one they are hidden."""
        if shown is None:
            return {self._column: gr.update(visible=False)}
        text = f"“{shown.text}”" if shown.text else "no text"
        return {
            self._column: gr.update(visible=True),
            self._caption: f"**Text {self._number}:** {_escaped(text)}",
            self._overlay: gr.update(value=shown.tile.pixels, alt_text=shown.tile.alt),
            self._npy: str(shown.npy),
            self._png: str(shown.png),
        }


class _Change:
    """What another text changes, compared with the first."""

    def __init__(self, number: int) -> None:
        with gr.Column(min_width=230, visible=number <= _TEXTS_AT_FIRST) as self._column:
            gr.Markdown(f"**What text {number} changes** (red: more, blue: less)", elem_classes="caption")
            self._tile = _output_image(f"change{number}")

    @property
    def components(self) -> list[Any]:
        """The components that :meth:`updates` gives new values."""
        return [self._column, self._tile]

    def updates(self, change: Change | None) -> _Updates:
        """The new values of the components for a change; without one they are hidden."""
        if change is None:
            return {self._column: gr.update(visible=False)}
        tile = change.tile
        return {self._column: gr.update(visible=True), self._tile: gr.update(value=tile.pixels, alt_text=tile.alt)}


class Page:
    """The page, before it is served.

    Args:
        predictor: Answers the visitors' questions.
        settings: Limits of images.
        examples: Images and texts to choose from.
        downloads: Folders for the files of answers.

    Attributes:
        blocks: The page, for :func:`saltext.demo.server.served`.
    """

    def __init__(
        self, predictor: Predictor, settings: Settings, examples: Sequence[Example], downloads: Downloads
    ) -> None:
        self._predictor = predictor
        self._settings = settings
        self._downloads = downloads
        about = predictor.about
        delete_cache = _DELETE_EVERY, _MAX_UPLOAD_AGE
        with GuardedBlocks(title="saltext", analytics_enabled=False, delete_cache=delete_cache) as self.blocks:
            gr.Markdown(_introduction_text(about, settings), elem_id="introduction")
            with gr.Row():
                with gr.Column(min_width=320):
                    image = gr.Image(
                        label="Image",
                        sources=["upload", "clipboard"],
                        height=300,
                        buttons=["fullscreen"],
                        elem_id="image",
                    )
                    above = gr.Column()  # of the examples, which need the texts
                    texts, tasks = [], []
                    for number in range(1, _MOST_TEXTS + 1):
                        with gr.Row(visible=number <= _TEXTS_AT_FIRST, elem_classes="text") as row:
                            texts.append(_text_box(number))
                            tasks.append(_task_choice(number, about.conditions, about.reads_condition))
                    has_third = gr.State(False)
                    with gr.Row():
                        swap = gr.Button("⇅ Swap texts 1 and 2", size="sm", min_width=130, elem_id="swap")
                        third = gr.Button(_ADD, size="sm", min_width=130, elem_id="third")
                    button = gr.Button("Predict attention", variant="primary", elem_id="ask")
                    with above:
                        if examples:
                            conditions = tasks[:2] if _are_sjtu_tis(about.conditions) else []
                            of_examples = [image, *texts[:2], *conditions]
                            gr.Examples(
                                [_example_row(example)[: len(of_examples)] for example in examples],
                                of_examples,
                                visible_columns=[0],
                                label="Examples",
                                examples_per_page=12,
                                cache_examples=False,
                                elem_id="examples",
                            )
                with gr.Column(min_width=320, elem_id="answer"):
                    self._summary = gr.HTML(_HINT, js_on_load=None, elem_id="said")
                    with gr.Column(visible=False, elem_id="results") as self._results:
                        with gr.Row():
                            self._maps = [_Map(number) for number in range(1, _MOST_TEXTS + 1)]
                        with gr.Row():
                            self._changes = [_Change(number) for number in range(2, _MOST_TEXTS + 1)]
                        self._panel = gr.DownloadButton("Save all side by side (PNG)", elem_id="panel")
                        explain_button = gr.Button("Which words move the map?", elem_id="explain")
                    self._words = gr.HTML("", js_on_load=None, elem_id="words")
            shown = [component for found in self._maps for component in found.components]
            shown += [component for change in self._changes for component in change.components]
            inputs = [image, *texts, *tasks, has_third]
            results = [self._summary, self._results, self._panel, self._words, *shown]
            # Without preprocessing: Gradio would decode the image, of any size.
            image.upload(self._check_upload, image, preprocess=False, show_progress="hidden", api_name="check").failure(
                lambda: None, outputs=image, show_progress="hidden", api_visibility="private"
            )
            asking = gr.on(
                [button.click, *(text.submit for text in texts)],
                self._compare_texts,
                inputs,
                results,
                preprocess=False,
                show_progress="hidden",
                api_name="compare",
                js=_SHOW_ANSWER,
            )
            explaining = explain_button.click(
                self._explain_words,
                inputs,
                self._words,
                preprocess=False,
                show_progress="hidden",
                api_name="explain",
            )
            private: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "queue": False}
            outdated = {"fn": self._clear, "outputs": [self._summary, self._results, self._words], **private}
            gr.on(
                [image.change, *(text.input for text in texts), *(task.input for task in tasks)],
                **outdated,
                cancels=[asking, explaining],
                trigger_mode="always_last",
            )
            swapped = [*texts[:2], *tasks[:2]]
            swap.click(None, swapped, swapped, js="(a, b, c, d) => [b, a, d, c]", **private).then(**outdated)
            third.click(self._toggle_third, has_third, [has_third, row, texts[-1], third], **private).then(**outdated)
            # Gradio has no other way: what is new is told, and the examples have names.
            self.blocks.load(None, js=_FOR_SCREEN_READERS, api_visibility="private")

    def _check_upload(self, image: Any) -> None:
        """Refuse an uploaded file at once if it is no valid image."""
        self._call_model(partial(check_image, image=_uploaded_path(image), max_pixels=self._settings.max_pixels))

    def _compare_texts(self, *inputs: Any) -> Iterator[_Updates]:
        """Predict for all texts: first that it has begun, then the new values of all components that show results."""
        question = self._question(*inputs)
        yield {self._summary: _working("Predicting where people look"), self._results: gr.update(visible=False)}
        try:
            result = self._call_model(partial(answer, question=question))
        except gr.Error:
            yield {self._summary: _HINT}
            raise
        names = [f"text {number}" for number in range(1, len(result.maps) + 1)]
        sentences = [
            change.comparison.words(names[0], name) for name, change in zip(names[1:], result.changes, strict=True)
        ]
        updates: _Updates = {
            # Remarks may repeat what a visitor typed.
            self._summary: _said(sentences, [html.escape(f"Note: {remark}.") for remark in result.remarks]),
            self._results: gr.update(visible=True),
            self._panel: str(result.panel),
            self._words: "",
        }
        for one, shown in zip_longest(self._maps, result.maps):
            updates |= one.updates(shown)
        for other, change in zip_longest(self._changes, result.changes):
            updates |= other.updates(change)
        yield updates

    def _explain_words(self, *inputs: Any) -> Iterator[str]:
        """What each phrase and word of each text adds, as HTML."""
        question = self._question(*inputs)
        yield _working("Predicting each text without each of its words")
        try:
            explained = self._call_model(partial(explain, question=question))
        except gr.Error:
            yield ""
            raise
        yield words_html(explained)

    def _question(self, image: Any, *values: Any) -> Question:
        """A visitor's question: an image, the texts, their conditions, and whether the last text counts."""
        texts, tasks, has_third = values[:_MOST_TEXTS], values[_MOST_TEXTS:-1], values[-1]
        count = _MOST_TEXTS if has_third else _TEXTS_AT_FIRST
        queries = tuple(map(_text_query, texts[:count], tasks[:count]))
        return Question(_uploaded_path(image), self._settings.max_pixels, queries, self._downloads.new())

    def _clear(self) -> _Updates:
        """Take away the results of an image or texts that have changed."""
        return {self._summary: _HINT, self._results: gr.update(visible=False), self._words: ""}

    @staticmethod
    def _toggle_third(has_third: bool) -> tuple[bool, Any, Any, Any]:
        """Show or hide the third text."""
        button = gr.update(value=_ADD if has_third else "− Remove the third text")
        return not has_third, gr.update(visible=not has_third), gr.update(value=""), button

    def _call_model(self, question: Callable[[Model], _Result]) -> _Result:
        try:
            return self._predictor.call(question)
        except (SaltextError, OSError) as error:
            raise refusal(str(error)) from error


def _uploaded_path(image: Any) -> Path:
    """The file of an image as the browser sent it; the gate has checked that it was uploaded or is an example."""
    path = image.get("path") if isinstance(image, dict) else None
    if not path:
        raise refusal("Choose an image first: drop a file, paste a picture, or click an example.")
    return Path(path)


def _text_query(text: Any, task: Any) -> TextQuery:
    """A text and its condition as the browser sent them, unchecked."""
    return TextQuery("" if text is None else text, str(task) if task else None)


def _introduction_text(about: About, settings: Settings) -> str:
    model = "/".join(Path(about.name).parts[-2:]).replace("`", "")
    stage = f", stage `{settings.stage}`" if settings.stage else ""
    lines = [
        "# Where do people look after reading a sentence?",
        "Choose an image and type two texts: see where people are expected to look after reading each, and what the "
        "second text changes. An empty text means free viewing.",
        f"Model: `{model}`{stage} on {about.device}. Images up to {settings.max_mib:g} MiB and "
        f"{settings.max_pixels / 1e6:g} million pixels; they stay on the machine that serves this page.",
    ]
    if not about.reads_text:
        lines.append("**This model reads no text: every text gives the same map.**")
    return "\n\n".join(lines)


def _said(sentences: Sequence[str], notes: Sequence[str]) -> str:
    """The sentences about an answer as HTML; ``**`` in them is bold."""
    bold = [re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", html.escape(text)) for text in sentences]
    listed = "".join(f"<li>{note}</li>" for note in notes)
    return "".join(f"<p>{text}</p>" for text in bold) + (f"<ul>{listed}</ul>" if listed else "")


def _working(what: str) -> str:
    """What is shown from the first moment on while something is computed."""
    return f'<p>{what} …</p><div class="working" aria-hidden="true"><span></span></div>'


def words_html(explained: Sequence[Sequence[Word]]) -> str:
    """The phrases and words of texts as buttons; the picture of the one that is pointed at, or focused, is shown.

    Args:
        explained: Of each text.

    Returns:
        HTML without scripts.
    """
    blocks = []
    for number, found in enumerate(explained, start=1):
        if not found:
            blocks.append(f"<h2>Text {number} has no words</h2>")
            continue
        strongest = max(found, key=lambda word: word.moved)
        buttons = []
        for word in found:
            data = base64.b64encode(word.jpeg).decode()
            kind = ["word", *["part"] * (not word.is_phrase), *["strongest"] * (word is strongest)]
            buttons.append(
                f'<button type="button" class="{" ".join(kind)}" aria-label="{html.escape(word.caption)}">'
                f'{html.escape(word.words)} <span class="share">{_percent(word.moved)}</span>'
                f'<span class="picture"><img src="data:image/jpeg;base64,{data}" alt="{html.escape(word.alt)}">'
                f"<span>{html.escape(word.caption)}</span></span></button>"
            )
        blocks.append(
            f'<h2>Text {number}: what each part adds</h2><div class="explained" style="--ratio: {found[0].ratio:.3f}">'
            f'<div class="words">{"".join(buttons)}</div></div>'
        )
    how = "Point at a part of a text, or tap it. Red: more attention with it, blue: less."
    return f'<p class="hint">{how}</p>{"".join(blocks)}'


def _percent(fraction: float) -> str:
    return "&lt; 1 %" if fraction < _SMALLEST_SHOWN else f"{100 * fraction:.0f} %"


def _text_box(number: int) -> gr.Textbox:
    return gr.Textbox(
        label=f"Text {number}",
        placeholder=("the white lamps", "(free viewing)", "(free viewing)")[number - 1],
        lines=1,
        max_lines=4,
        max_length=MAX_CHARACTERS,
        scale=2,
        min_width=240,
        elem_id=f"text{number}",
    )


def _task_choice(number: int, conditions: Sequence[str], visible: bool) -> gr.Dropdown:
    named = [(condition.replace("_", " "), condition) for condition in conditions]
    automatic = [("Automatic", "")] if _are_sjtu_tis(conditions) else []
    return gr.Dropdown(
        [*automatic, *named],
        value="" if automatic else conditions[0],
        label=f"Condition of text {number}",
        visible=visible,
        scale=1,
        min_width=150,
        elem_id=f"task{number}",
    )


def _are_sjtu_tis(conditions: Sequence[str]) -> bool:
    """Whether SJTU-TIS's conditions are among a model's: these have a default, and the examples name them."""
    return set(TASK_BY_NAME) <= set(conditions)


def _output_image(name: str) -> gr.Image:
    return gr.Image(
        show_label=False, interactive=False, format="png", buttons=["download", "fullscreen"], height=260, elem_id=name
    )


def _example_row(example: Example) -> list[str | None]:
    """An example as values of the image, the two texts and their conditions."""
    if example.queries is None:
        return [str(example.image), None, None, "", ""]
    texts, tasks = zip(*((query.text, query.task or "") for query in example.queries), strict=True)
    return [str(example.image), *texts, *tasks]


def _escaped(text: str) -> str:
    """The text with HTML entities for everything but letters, digits and spaces."""
    return "".join(letter if letter.isalnum() or letter == " " else f"&#{ord(letter)};" for letter in text)
