"""The demo's web server, which by default is reachable from this machine only."""

import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import gradio as gr
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware

from saltext.data.sources.sjtu_tis import is_published_layout
from saltext.data.splits import Split
from saltext.demo import examples
from saltext.demo.examples import Example
from saltext.demo.gate import Gate
from saltext.demo.page import Downloads, Page
from saltext.demo.predictor import Predictor
from saltext.demo.settings import LOCALHOST, Settings
from saltext.errors import ConfigError, printable
from saltext.runs.load import local_run

_MAX_QUEUE = 8  # waiting questions; further ones are refused
_MIB = 2**20
_BUTTON, _BUTTON_HOVERED = "#c2410c", "#9a3412"
_STYLE, _SCRIPT = (Path(__file__).with_name(name) for name in ("page.css", "page.js"))


def serve(predictor: Predictor, settings: Settings, folder: Path) -> None:
    """Serve the page until the process is stopped.

    Args:
        predictor: Answers the visitors' questions; its model may still be loading.
        settings: The demo's settings.
        folder: For everything that is written; see :func:`saltext.commands.demo.confined`.

    Raises:
        SaltextError: The model or an example is invalid, or the address or the port cannot be used.
    """
    offered = _offered_examples(settings, folder / "examples")
    page = Page(predictor, settings, offered, Downloads(folder / "gradio" / "answers"))
    with served(page.blocks, settings) as address:
        if settings.host != LOCALHOST:
            print(f"warning: whoever reaches {settings.host} can use the page; it has no password", file=sys.stderr)
        print(f"{printable(predictor.about.name)} on {predictor.about.device}: {address} (Ctrl-C ends it)", flush=True)
        threading.Event().wait()


def _offered_examples(settings: Settings, folder: Path) -> list[Example]:
    """The examples that the settings name; generated ones are written to ``folder``."""
    if settings.examples is None:
        return [*examples.photographs(), *examples.generated(folder)]
    if not is_published_layout(settings.examples):
        return examples.own(settings.examples)
    run = local_run(settings.run)
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
            css=_STYLE.read_text("utf-8"),
            head=f"<script>{_SCRIPT.read_text('utf-8')}</script>",
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
    """Fonts of the system, and enough contrast: 4.5 for white letters on the button and for hints, 3 for a box."""
    theme = gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])
    colours = {f"button_primary_background_fill{ending}": _BUTTON for ending in ("", "_dark")}
    colours |= {f"button_primary_background_fill_hover{ending}": _BUTTON_HOVERED for ending in ("", "_dark")}
    colours |= {"input_placeholder_color": "*neutral_500", "input_placeholder_color_dark": "*neutral_400"}
    colours |= {f"checkbox_border_color{ending}": "*neutral_500" for ending in ("", "_dark")}
    found: gr.themes.Base = theme.set(**colours)
    return found


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOCALHOST, 0))
        return int(probe.getsockname()[1])
