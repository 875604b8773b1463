"""The demo's page: an image, two or three texts, the predicted maps, and what each other text and each word changes."""

import base64
import html
import re
import shutil
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Any, TypeVar

import gradio as gr

from saltext.data.tasks import TASK_BY_NAME
from saltext.demo.answer import Change, Question, Shown, Word, answer, check_image, explain
from saltext.demo.examples import MOST, Example
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
_INTRODUCTION = """# Where do people look after reading a sentence?

Choose an image and type two texts: see where people are predicted to look after reading each, and what moves."""
_SMALLEST_SHOWN = 0.005  # fraction that is not rounded to 0 %

_WAITING = """
<p class="hint" data-while="none">The maps will appear here. Choose an image, type two texts, and press
“Predict attention”.</p>
<p class="hint" data-while="outdated">The image or a text has changed. Press “Predict attention” for the new maps.</p>
<div data-while="working"><p>Predicting where people look … <span id="seconds-of-comparison" aria-hidden="true"></span>
</p><div class="progress" aria-hidden="true"><span></span></div></div>
"""
_EXPLAINING = """
<div data-while="working"><p>Predicting without each word, about twenty predictions a text …
<span id="seconds-of-explanation" aria-hidden="true"></span></p>
<div class="progress" aria-hidden="true"><span></span></div></div>
"""


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
            gr.Markdown(_INTRODUCTION, elem_id="introduction")
            with gr.Row():
                with gr.Column(min_width=320, elem_id="question"):
                    image = gr.Image(
                        label="Image",
                        sources=["upload", "clipboard"],
                        height=280,
                        buttons=["fullscreen"],
                        elem_id="image",
                    )
                    above = gr.Column()  # of the examples, which need the texts
                    texts, tasks = [], []
                    for number in range(1, _MOST_TEXTS + 1):
                        with gr.Row(visible=number <= _TEXTS_AT_FIRST) as row:
                            texts.append(_text_box(number))
                            tasks.append(_task_choice(number, about.conditions, about.reads_condition))
                    with gr.Row(elem_id="more"):
                        third = gr.Checkbox(
                            label="Compare a third text", container=False, min_width=150, elem_id="third"
                        )
                        swap = gr.Button("Swap texts 1 and 2", size="sm", min_width=130, elem_id="swap")
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
                                examples_per_page=MOST,
                                cache_examples=False,
                                elem_id="examples",
                            )
                with gr.Column(min_width=320, elem_id="answer"):
                    with gr.Column(elem_id="status"):
                        gr.HTML(_WAITING, js_on_load=None, elem_id="waiting")
                        self._summary = gr.HTML(js_on_load=None, elem_id="said")
                    with gr.Column(elem_id="results"):
                        with gr.Row():
                            self._maps = [_Map(number) for number in range(1, _MOST_TEXTS + 1)]
                        with gr.Row():
                            self._changes = [_Change(number) for number in range(2, _MOST_TEXTS + 1)]
                        with gr.Row():
                            self._panel = gr.DownloadButton("Save all as one PNG", min_width=220, elem_id="panel")
                            explain_button = gr.Button("Which words move the map?", min_width=220, elem_id="explain")
                        gr.HTML(_EXPLAINING, js_on_load=None, elem_id="explaining")
                        self._words = gr.HTML(js_on_load=None, elem_id="words")
            gr.Markdown(_about_text(about, settings), elem_id="about")
            shown = [component for found in self._maps for component in found.components]
            shown += [component for change in self._changes for component in change.components]
            of_question = gr.Number(visible=False)
            fields: list[Any] = [image, *texts, *tasks, third]
            private: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
            in_browser: dict[str, Any] = {"fn": None, **private}
            # Without preprocessing: Gradio would decode the image, of any size.
            public: dict[str, Any] = {"preprocess": False, "show_progress": "hidden", "trigger_mode": "always_last"}
            image.upload(self._check_upload, image, preprocess=False, show_progress="hidden", api_name="check").failure(
                lambda: None, outputs=image, **private
            )
            asks = [button.click, *(text.submit for text in texts)]
            gr.on(asks, inputs=fields, js="saltext.wantComparison", **in_browser)
            gr.on(
                asks,
                self._compare_texts,
                [*fields, of_question],
                [self._summary, self._panel, *shown],
                js="saltext.sendComparison",
                api_name="compare",
                **public,
            ).failure(js="saltext.comparisonFailed", **in_browser)
            explain_button.click(inputs=fields, js="saltext.wantExplanation", **in_browser)
            explain_button.click(
                self._explain_words,
                [*fields, of_question],
                self._words,
                js="saltext.sendExplanation",
                api_name="explain",
                **public,
            ).failure(js="saltext.explanationFailed", **in_browser)
            gr.on([field.change for field in fields], inputs=fields, js="saltext.changed", **in_browser)
            swapped = [*texts[:2], *tasks[:2]]
            swap.click(inputs=swapped, outputs=swapped, js="(a, b, c, d) => [b, a, d, c]", **in_browser)
            third.change(
                inputs=third, outputs=row, js="(third) => ({__type__: 'update', visible: third})", **in_browser
            )
            # Gradio has no other way to say what is a status, and to name the examples.
            self.blocks.load(js="saltext.ready", **in_browser)

    def _check_upload(self, image: Any) -> None:
        """Refuse an uploaded file at once if it is no valid image."""
        self._call_model(partial(check_image, image=_uploaded_path(image), max_pixels=self._settings.max_pixels))

    def _compare_texts(self, *inputs: Any) -> _Updates:
        """Predict for all texts: the new values of all components that show results."""
        result = self._call_model(partial(answer, question=self._question(*inputs[:-1])))
        names = [f"text {number}" for number in range(1, len(result.maps) + 1)]
        sentences = [
            change.comparison.words(names[0], name) for name, change in zip(names[1:], result.changes, strict=True)
        ]
        # Remarks may repeat what a visitor typed.
        said = _said(sentences, [html.escape(f"Note: {remark}.") for remark in result.remarks])
        updates: _Updates = {self._summary: _answering(inputs[-1], said), self._panel: str(result.panel)}
        for one, shown in zip_longest(self._maps, result.maps):
            updates |= one.updates(shown)
        for other, change in zip_longest(self._changes, result.changes):
            updates |= other.updates(change)
        return updates

    def _explain_words(self, *inputs: Any) -> str:
        """What each phrase and word of each text adds, as HTML."""
        explained = self._call_model(partial(explain, question=self._question(*inputs[:-1])))
        return _answering(inputs[-1], words_html(explained))

    def _question(self, image: Any, *values: Any) -> Question:
        """A visitor's question: an image, the texts, their conditions, and whether the last text counts."""
        texts, tasks, has_third = values[:_MOST_TEXTS], values[_MOST_TEXTS:-1], values[-1]
        count = _MOST_TEXTS if has_third else _TEXTS_AT_FIRST
        queries = tuple(map(_text_query, texts[:count], tasks[:count]))
        return Question(_uploaded_path(image), self._settings.max_pixels, queries, self._downloads.new())

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


def _about_text(about: About, settings: Settings) -> str:
    model = "/".join(Path(about.name).parts[-2:]).replace("`", "")
    stage = f", stage `{settings.stage}`" if settings.stage else ""
    line = (
        f"Model: `{model}`{stage} on {about.device}. Images up to {settings.max_mib:g} MiB and "
        f"{settings.max_pixels / 1e6:g} million pixels; they stay on the machine that serves this page."
    )
    if not about.reads_text:
        line = f"**This model reads no text: every text gives the same map.** {line}"
    return line


def _answering(number: Any, content: str) -> str:
    """HTML that carries the number of its question, by which the page knows whether to show it."""
    return f'<div data-question="{number:d}">{content}</div>' if isinstance(number, int) else content


def _said(sentences: Sequence[str], notes: Sequence[str]) -> str:
    """The sentences about an answer as HTML; ``**`` in them is bold."""
    bold = [re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", html.escape(text)) for text in sentences]
    listed = "".join(f"<li>{note}</li>" for note in notes)
    return "".join(f"<p>{text}</p>" for text in bold) + (f"<ul>{listed}</ul>" if listed else "")


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
            share = _percent(word.moved)
            label = html.escape(f"{word.words} ") + share + html.escape(f": {word.caption}")
            kind = ["word", *["part"] * (not word.is_phrase), *["strongest"] * (word is strongest)]
            buttons.append(
                f'<button type="button" class="{" ".join(kind)}" aria-label="{label}">'
                f'{html.escape(word.words)} <span class="share">{share}</span>'
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
        scale=3,
        min_width=150,
        elem_id=f"text{number}",
    )


def _task_choice(number: int, conditions: Sequence[str], visible: bool) -> gr.Dropdown:
    named = [(condition.replace("_", " "), condition) for condition in conditions]
    automatic = [("Automatic", "")] if _are_sjtu_tis(conditions) else []
    return gr.Dropdown(
        [*automatic, *named],
        value="" if automatic else conditions[0],
        label=f"Condition {number}",
        visible=visible,
        scale=2,
        min_width=120,
        elem_id=f"task{number}",
    )


def _are_sjtu_tis(conditions: Sequence[str]) -> bool:
    """Whether SJTU-TIS's conditions are among a model's: these have a default, and the examples name them."""
    return set(TASK_BY_NAME) <= set(conditions)


def _output_image(name: str) -> gr.Image:
    return gr.Image(show_label=False, interactive=False, format="png", buttons=["fullscreen"], height=260, elem_id=name)


def _example_row(example: Example) -> list[str | None]:
    """An example as values of the image, the two texts and their conditions."""
    if example.queries is None:
        return [str(example.image), None, None, "", ""]
    texts, tasks = zip(*((query.text, query.task or "") for query in example.queries), strict=True)
    return [str(example.image), *texts, *tasks]


def _escaped(text: str) -> str:
    """The text with HTML entities for everything but letters, digits and spaces."""
    return "".join(letter if letter.isalnum() or letter == " " else f"&#{ord(letter)};" for letter in text)
