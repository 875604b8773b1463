"""The demo's web server, which by default is reachable from this machine only."""

import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import gradio as gr
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware

from saltext.data.sources.sjtu_tis import is_published_layout
from saltext.data.splits import Split
from saltext.demo import examples
from saltext.demo.answer import load_model
from saltext.demo.examples import Example
from saltext.demo.gate import Gate
from saltext.demo.page import Downloads, Page
from saltext.demo.predictor import Predictor
from saltext.demo.settings import LOCALHOST, Settings
from saltext.errors import ConfigError, printable
from saltext.runs.load import pretrained_run
from saltext.system.run_folder import RunFolder

_MAX_QUEUE = 8  # waiting questions; further ones are refused
_MIB = 2**20
_BUTTON, _BUTTON_HOVERED = "#c2410c", "#9a3412"

_CSS = """
#results .image-container img, #results .image-frame img {width: 100%; height: 100%; object-fit: contain}
#introduction p {max-width: 75ch}
#examples .gallery {flex-wrap: nowrap; overflow-x: auto}
#examples .gallery-item {flex: none}
.caption {overflow-wrap: anywhere}
#said p {font-size: var(--text-lg); margin: 0 0 .5em}
.working {height: 6px; overflow: hidden; border-radius: 3px; background: var(--border-color-primary)}
.working span {display: block; width: 30%; height: 100%; background: var(--color-accent);
  animation: working 1.2s ease-in-out infinite alternate}
@keyframes working {from {transform: translateX(0)} to {transform: translateX(235%)}}
@media (prefers-reduced-motion: reduce) {.working span {animation: none; width: 100%}}
#words h2 {font-size: var(--text-lg); margin: .8em 0 .4em}
.explained {container-type: inline-size}
.words {--height: min(420px, 100cqw * var(--ratio)); position: relative; display: flex; flex-wrap: wrap; gap: 6px;
  align-items: start; padding-bottom: calc(var(--height) + 4em)}
.words .word {padding: 6px 10px; border: 1px solid var(--border-color-primary); border-radius: 6px; cursor: pointer;
  background: var(--button-secondary-background-fill); color: var(--button-secondary-text-color); font-weight: 600}
.words .part {font-weight: 400; border-style: dashed}
.words .word:hover, .words .word:focus {outline: 2px solid var(--color-accent)}
.words .share {font-variant-numeric: tabular-nums; font-weight: 400}
.words .picture {display: none; position: absolute; left: 0; bottom: 0; width: 100%;
  height: calc(var(--height) + 3.5em); text-align: left; font-weight: 400; pointer-events: none;
  color: var(--body-text-color); background: var(--body-background-fill)}
.words .picture img {display: block; width: 100%; height: var(--height); object-fit: contain; object-position: left}
.words .strongest .picture {display: block; z-index: 1}
.words .word:focus .picture {display: block; z-index: 2}
.words .word:hover .picture {display: block; z-index: 3}
"""


def serve(settings: Settings, folder: Path) -> None:
    """Serve the page until the process is stopped.

    Args:
        settings: The demo's settings.
        folder: For everything that is written; see :func:`saltext.commands.demo.confined`.

    Raises:
        SaltextError: The model or an example is invalid, or the address or the port cannot be used.
    """
    if settings.run is not None:
        RunFolder.existing(settings.run)  # a repository on the hub would be downloaded, and nothing leaves the machine
    offered = _offered_examples(settings, folder / "examples")
    load = partial(load_model, settings.run, settings.stage, settings.device, settings.trust)
    with Predictor(load, settings.timeout) as predictor:
        page = Page(predictor, settings, offered, Downloads(folder / "gradio" / "answers"))
        with served(page.blocks, settings) as address:
            if settings.host != LOCALHOST:
                print(f"warning: whoever reaches {settings.host} can use the page; it has no password", file=sys.stderr)
            print(
                f"{printable(predictor.about.name)} on {predictor.about.device}: {address} (Ctrl-C ends it)", flush=True
            )
            threading.Event().wait()


def _offered_examples(settings: Settings, folder: Path) -> list[Example]:
    """The examples that the settings name; generated ones are written to ``folder``."""
    if settings.examples is None:
        return [*examples.photographs(), *examples.generated(folder)]
    if not is_published_layout(settings.examples):
        return examples.own(settings.examples)
    run = pretrained_run() if settings.run is None else RunFolder.existing(settings.run)
    return examples.of_data_set(settings.examples, Split.load(run.split) if run.split.is_file() else None)


@contextmanager
def served(page: gr.Blocks, settings: Settings) -> Iterator[str]:
    """Serve a page.

    Yields:
        Its address.

    Raises:
        ConfigError: The port is taken, or the address is not one of this machine's.
    """
    port = settings.port or _free_port()
    middleware = [Middleware(Gate)]
    if settings.host == LOCALHOST:  # otherwise a page elsewhere could reach this one under a name of its own
        middleware.append(Middleware(TrustedHostMiddleware, allowed_hosts=[LOCALHOST, "localhost"]))
    try:
        _, address, _ = page.queue(max_size=_MAX_QUEUE, default_concurrency_limit=1).launch(
            server_name=settings.host,
            server_port=port,
            max_file_size=int(settings.max_mib * _MIB),
            app_kwargs={"middleware": middleware},
            theme=_theme(),
            css=_CSS,
            footer_links=[],
            run_history=False,
            share=False,
            enable_monitoring=False,
            ssr_mode=False,
            pwa=False,
            mcp_server=False,
            inline=False,
            prevent_thread_lock=True,
            quiet=True,
        )
    except OSError as error:
        raise ConfigError(
            f"The page cannot be served at {settings.host}:{port}: the port may be taken. Choose another with port=N "
            "(0: any that is free)."
        ) from error
    try:
        yield address
    finally:
        page.close(verbose=False)


def _theme() -> gr.themes.Base:
    """Fonts of the system, and white letters on a button that is dark enough for them (contrast 5.2)."""
    theme = gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])
    colours = {f"button_primary_background_fill{ending}": _BUTTON for ending in ("", "_dark")}
    hovered = {f"button_primary_background_fill_hover{ending}": _BUTTON_HOVERED for ending in ("", "_dark")}
    found: gr.themes.Base = theme.set(**colours, **hovered)
    return found


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOCALHOST, 0))
        return int(probe.getsockname()[1])
