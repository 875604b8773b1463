"""The page: an image, two texts, and what becomes of them."""

import shutil
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import gradio as gr
from gradio.components import Component

from saltext.data.tasks import TASK_BY_NAME
from saltext.demo.answer import Answer, Question, Shown, answer, check_image
from saltext.demo.examples import Example
from saltext.demo.gate import GuardedBlocks, refusal
from saltext.demo.predictor import About, Predictor
from saltext.demo.settings import Settings
from saltext.errors import SaltextError
from saltext.prediction.model import Model
from saltext.prediction.texts import MAX_CHARACTERS, TextQuery

_Result = TypeVar("_Result")
_Updates = dict[Any, Any]  # component -> its new value

_SWEEP, _AGE = 600, 3600  # seconds: how often uploads are looked through, and how old they become


class Downloads:
    """Folders for the files of answers, of which the newest are kept.

    Args:
        root: Where they are.
        kept: How many.
    """

    def __init__(self, root: Path, kept: int = 20) -> None:
        self._root = root
        self._kept = kept
        self._folders: deque[Path] = deque()

    def new(self) -> Path:
        """An empty folder; the oldest one is removed where there are too many."""
        folder = self._root / uuid.uuid4().hex
        folder.mkdir(parents=True)
        self._folders.append(folder)
        if len(self._folders) > self._kept:
            shutil.rmtree(self._folders.popleft(), ignore_errors=True)
        return folder


class _Column:
    """The prediction for a text, and its files."""

    def __init__(self, number: int) -> None:
        self._number = number
        with gr.Column():
            self._caption = gr.Markdown(elem_id=f"caption{number}")
            self._overlay = _picture(f"overlay{number}")
            with gr.Row():
                self._npy = gr.DownloadButton("Map (NPY)", size="sm", elem_id=f"npy{number}")
                self._png = gr.DownloadButton("Map (PNG, 16 bits)", size="sm", elem_id=f"png{number}")

    @property
    def components(self) -> list[Any]:
        """What :meth:`updates` updates."""
        return [self._caption, self._overlay, self._npy, self._png]

    def updates(self, shown: Shown) -> _Updates:
        """What a map changes."""
        said = f"“{shown.text}”" if shown.text else "no text"
        return {
            self._caption: f"**Text {self._number}:** {_plain(said)}",
            self._overlay: gr.update(value=shown.tile.pixels, alt_text=shown.tile.alt),
            self._npy: str(shown.npy),
            self._png: str(shown.png),
        }


class Page:
    """The page, before it is served.

    Args:
        predictor: Is asked.
        settings: Limits.
        examples: To choose from.
        downloads: For files.

    Attributes:
        blocks: For :func:`saltext.demo.server.served`.
    """

    def __init__(
        self, predictor: Predictor, settings: Settings, examples: Sequence[Example], downloads: Downloads
    ) -> None:
        self._predictor = predictor
        self._settings = settings
        self._downloads = downloads
        with GuardedBlocks(title="saltext", analytics_enabled=False, delete_cache=(_SWEEP, _AGE)) as self.blocks:
            gr.Markdown(_introduction(predictor.about, settings))
            with gr.Row():
                image = gr.Image(
                    label="Image", sources=["upload", "clipboard"], height=330, buttons=["fullscreen"], elem_id="image"
                )
                with gr.Column():
                    with gr.Row():
                        texts = [_text_box(number) for number in (1, 2)]
                    with gr.Row(visible=predictor.about.reads_condition):
                        tasks = [_task_choice(number, predictor.about.conditions) for number in (1, 2)]
                    button = gr.Button("Show where people look", variant="primary", elem_id="ask")
                    told = tasks if _usual(predictor.about.conditions) else []
                    _offer(examples, [image, *texts, *told])
            self._said = gr.Markdown(elem_id="said")
            with gr.Row(visible=False, elem_id="results") as self._results:
                self._columns = [_Column(number) for number in (1, 2)]
                with gr.Column():
                    gr.Markdown("**What text 2 changes**")
                    self._change = _picture("change")
                    self._panel = gr.DownloadButton("All side by side (PNG)", size="sm", elem_id="panel")
            # Raw: Gradio would decode the image, of any size, to look at it.
            image.upload(self._check, image, preprocess=False, show_progress="hidden", api_name="check").failure(
                lambda: None, outputs=image, show_progress="hidden", api_visibility="private"
            )
            gr.on(
                [button.click, *(text.submit for text in texts)],
                self._compare,
                [image, *texts, *tasks],
                self._shown,
                preprocess=False,
                show_progress_on=self._said,
                api_name="compare",
            )

    @property
    def _shown(self) -> list[Any]:
        of_texts = [component for column in self._columns for component in column.components]
        return [self._said, self._results, self._change, self._panel, *of_texts]

    def _check(self, image: Any) -> None:
        """An image was uploaded: say at once if it is none."""
        self._ask(partial(check_image, image=_path(image), max_pixels=self._settings.max_pixels))

    def _compare(self, image: Any, text1: Any, text2: Any, task1: Any, task2: Any) -> _Updates:
        queries = _query(text1, task1), _query(text2, task2)
        question = Question(_path(image), self._settings.max_pixels, queries, self._downloads.new())
        found = self._ask(partial(answer, question=question))
        updates = {
            self._said: _words(found),
            self._results: gr.update(visible=True),
            self._change: gr.update(value=found.change.pixels, alt_text=found.change.alt),
            self._panel: str(found.panel),
        }
        for column, shown in zip(self._columns, (found.first, found.second), strict=True):
            updates |= column.updates(shown)
        return updates

    def _ask(self, question: Callable[[Model], _Result]) -> _Result:
        try:
            return self._predictor.ask(question)
        except (SaltextError, OSError) as error:
            raise refusal(str(error)) from error


def _path(image: Any) -> Path:
    """The file of an image as the browser sent it, which the gate made sure was uploaded or offered here."""
    path = image.get("path") if isinstance(image, dict) else None
    if not path:
        raise refusal("Choose an image first: drop a file, paste a picture, or click an example.")
    return Path(path)


def _query(text: Any, task: Any) -> TextQuery:
    """A text as the browser sent it, which may be anything, and a choice of its condition."""
    return TextQuery("" if text is None else text, str(task) if task else None)


def _introduction(about: About, settings: Settings) -> str:
    model = "/".join(Path(about.name).parts[-2:]).replace("`", "")
    stage = f", stage `{settings.stage}`" if settings.stage else ""
    lines = [
        "# Where do people look after reading a sentence?",
        "Choose an image and type two texts: the maps show where the model expects people to look in the image after "
        "reading each of them, and what the second text changes. A text that is left empty means free viewing.",
        f"Model: `{model}`{stage} on {about.device}. Images up to {settings.max_mib:g} MiB and "
        f"{settings.max_pixels / 1e6:g} million pixels; they stay on the machine that serves this page.",
    ]
    if not about.reads_text:
        lines.append("**This model reads no text: every text gives the same map.**")
    return "\n\n".join(lines)


def _text_box(number: int) -> gr.Textbox:
    return gr.Textbox(
        label=f"Text {number}",
        placeholder=("the white lamps", "(free viewing)")[number - 1],
        lines=1,
        max_lines=4,
        max_length=MAX_CHARACTERS,
        elem_id=f"text{number}",
    )


def _task_choice(number: int, conditions: Sequence[str]) -> gr.Dropdown:
    named = [(condition.replace("_", " "), condition) for condition in conditions]
    usual = [("general; pure without a text", "")] if _usual(conditions) else []
    return gr.Dropdown(
        [*usual, *named],
        value="" if usual else conditions[0],
        label=f"Condition of text {number}",
        info="The condition the prediction is conditioned on.",
        elem_id=f"task{number}",
    )


def _usual(conditions: Sequence[str]) -> bool:
    """Whether they are the data set's, of which one is meant if none is named, and which examples name."""
    return set(TASK_BY_NAME) <= set(conditions)


def _picture(name: str) -> gr.Image:
    return gr.Image(
        show_label=False, interactive=False, format="png", buttons=["download", "fullscreen"], height=300, elem_id=name
    )


def _offer(examples: Sequence[Example], components: Sequence[Component]) -> None:
    if examples:
        gr.Examples(
            [_row(example)[: len(components)] for example in examples],
            [*components],
            visible_columns=[0],
            label="Examples",
            examples_per_page=12,
            cache_examples=False,
            elem_id="examples",
        )


def _row(example: Example) -> list[str | None]:
    if example.queries is None:
        return [str(example.image), None, None, "", ""]
    texts, tasks = zip(*((query.text, query.task or "") for query in example.queries), strict=True)
    return [str(example.image), *texts, *tasks]


def _words(found: Answer) -> str:
    # Messages may repeat what a visitor typed; as HTML entities they are neither HTML nor Markdown.
    remarks = [f"- Note: {_plain(remark)}." for remark in found.remarks]
    return "\n".join([found.comparison.words, "", *remarks])


def _plain(words: str) -> str:
    return "".join(letter if letter.isalnum() or letter == " " else f"&#{ord(letter)};" for letter in words)
