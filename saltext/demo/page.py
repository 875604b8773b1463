"""The demo's page: an image, two texts, the predicted maps, and what the second text changes."""

import shutil
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import gradio as gr

from saltext.data.tasks import TASK_BY_NAME
from saltext.demo.answer import Question, Shown, answer, check_image
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


class _Column:
    """The prediction for a text, and its files."""

    def __init__(self, number: int) -> None:
        self._number = number
        with gr.Column():
            self._caption = gr.Markdown(elem_id=f"caption{number}")
            self._overlay = _output_image(f"overlay{number}")
            with gr.Row():
                self._npy = gr.DownloadButton("Map (NPY)", size="sm", elem_id=f"npy{number}")
                self._png = gr.DownloadButton("Map (PNG, 16 bits)", size="sm", elem_id=f"png{number}")

    @property
    def components(self) -> list[Any]:
        """The components that :meth:`updates` gives new values."""
        return [self._caption, self._overlay, self._npy, self._png]

    def updates(self, shown: Shown) -> _Updates:
        """The new values of the components for a map."""
        text = f"“{shown.text}”" if shown.text else "no text"
        return {
            self._caption: f"**Text {self._number}:** {_escaped(text)}",
            self._overlay: gr.update(value=shown.tile.pixels, alt_text=shown.tile.alt),
            self._npy: str(shown.npy),
            self._png: str(shown.png),
        }


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
        delete_cache = _DELETE_EVERY, _MAX_UPLOAD_AGE
        with GuardedBlocks(title="saltext", analytics_enabled=False, delete_cache=delete_cache) as self.blocks:
            gr.Markdown(_introduction_text(predictor.about, settings))
            with gr.Row():
                image = gr.Image(
                    label="Image", sources=["upload", "clipboard"], height=330, buttons=["fullscreen"], elem_id="image"
                )
                with gr.Column():
                    with gr.Row():
                        texts = [_text_box(number) for number in (1, 2)]
                    with gr.Row(visible=predictor.about.reads_condition):
                        tasks = [_task_choice(number, predictor.about.conditions) for number in (1, 2)]
                    button = gr.Button("Predict attention", variant="primary", elem_id="ask")
                    example_inputs = [image, *texts, *(tasks if _are_sjtu_tis(predictor.about.conditions) else [])]
                    if examples:
                        gr.Examples(
                            [_example_row(example)[: len(example_inputs)] for example in examples],
                            example_inputs,
                            visible_columns=[0],
                            label="Examples",
                            examples_per_page=12,
                            cache_examples=False,
                            elem_id="examples",
                        )
            self._summary = gr.Markdown(elem_id="said")
            with gr.Row(visible=False, elem_id="results") as self._results:
                self._columns = [_Column(number) for number in (1, 2)]
                with gr.Column():
                    gr.Markdown("**What text 2 changes**")
                    self._change = _output_image("change")
                    self._panel = gr.DownloadButton("All side by side (PNG)", size="sm", elem_id="panel")
            columns = [component for column in self._columns for component in column.components]
            # Without preprocessing: Gradio would decode the image, of any size.
            image.upload(self._check_upload, image, preprocess=False, show_progress="hidden", api_name="check").failure(
                lambda: None, outputs=image, show_progress="hidden", api_visibility="private"
            )
            gr.on(
                [button.click, *(text.submit for text in texts)],
                self._compare_texts,
                [image, *texts, *tasks],
                [self._summary, self._results, self._change, self._panel, *columns],
                preprocess=False,
                show_progress_on=self._summary,
                api_name="compare",
            )

    def _check_upload(self, image: Any) -> None:
        """Refuse an uploaded file at once if it is no valid image."""
        self._call_model(partial(check_image, image=_uploaded_path(image), max_pixels=self._settings.max_pixels))

    def _compare_texts(self, image: Any, text1: Any, text2: Any, task1: Any, task2: Any) -> _Updates:
        """Predict for both texts; the new values of all components that show results."""
        queries = _text_query(text1, task1), _text_query(text2, task2)
        question = Question(_uploaded_path(image), self._settings.max_pixels, queries, self._downloads.new())
        result = self._call_model(partial(answer, question=question))
        # Remarks may repeat what a visitor typed; as HTML entities they are neither HTML nor Markdown.
        remarks = [f"- Note: {_escaped(remark)}." for remark in result.remarks]
        updates = {
            self._summary: "\n".join([result.comparison.words, "", *remarks]),
            self._results: gr.update(visible=True),
            self._change: gr.update(value=result.change.pixels, alt_text=result.change.alt),
            self._panel: str(result.panel),
        }
        for column, shown in zip(self._columns, (result.first, result.second), strict=True):
            updates |= column.updates(shown)
        return updates

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
    automatic = [("general; pure without a text", "")] if _are_sjtu_tis(conditions) else []
    return gr.Dropdown(
        [*automatic, *named],
        value="" if automatic else conditions[0],
        label=f"Condition of text {number}",
        info="The condition the prediction is conditioned on.",
        elem_id=f"task{number}",
    )


def _are_sjtu_tis(conditions: Sequence[str]) -> bool:
    """Whether SJTU-TIS's conditions are among a model's: these have a default, and the examples name them."""
    return set(TASK_BY_NAME) <= set(conditions)


def _output_image(name: str) -> gr.Image:
    return gr.Image(
        show_label=False, interactive=False, format="png", buttons=["download", "fullscreen"], height=300, elem_id=name
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
