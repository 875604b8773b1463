"""Access control of the demo: only requests of the page itself pass, and only for files that were uploaded to it."""

import html
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import gradio as gr
from gradio.block_function import BlockFunction
from gradio.state_holder import SessionState
from gradio.utils import get_upload_folder
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Gradio's page is self-contained, but parts of it link to other hosts: the browser loads nothing from them.
_POLICY = "; ".join(
    [
        "default-src 'self'",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:",  # the page runs scripts that it holds or makes
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "font-src 'self' data:",
        "worker-src 'self' blob:",
        "frame-ancestors 'none'",
        "form-action 'self'",
        "base-uri 'self'",
    ]
)

_API = "/gradio_api"
# The routes of Gradio that the page and Gradio's clients use. Others fetch URLs that a client names, run a video
# encoder, store state, or are for developers.
_PAGES = frozenset(
    (
        "/",
        "/config",
        "/theme.css",
        "/robots.txt",
        "/favicon.ico",
        "/manifest.json",
        *(
            f"{_API}/{name}"
            for name in (
                "info",
                "startup-events",
                "theme.css",
                "app_id",
                "upload",
                "upload_progress",
                "queue/join",
                "queue/data",
                "cancel",
                "reset",
            )
        ),
    )
)
_FOLDERS = ("/assets/", "/static/", "/svelte/", *(f"{_API}/{name}/" for name in ("call", "heartbeat", "run", "file=")))
_SAFE = ("GET", "HEAD")
_FILE_KEYS = ("path", "url")  # of a file, as a browser sends it


class Gate:
    """Middleware that passes only the page's own requests, and tells browsers to load nothing from other hosts.

    A page of another origin that is open in the same browser can send requests to this machine, uploads among them,
    without being able to read the answers. Browsers send the origin of a request.

    Args:
        app: The application behind it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request, see the ASGI specification."""

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                policy = (b"content-security-policy", _POLICY.encode())
                message["headers"] = [*message.get("headers", []), policy]
            await send(message)

        if scope["type"] == "http":
            path = scope["path"]
            if (path.rstrip("/") or "/") not in _PAGES and not path.startswith(_FOLDERS):
                await PlainTextResponse("Not found", 404)(scope, receive, sent)
                return
            if not _is_own(scope["method"], path, Headers(scope=scope)):
                await PlainTextResponse("Requests from other pages are refused", 403)(scope, receive, sent)
                return
        elif scope["type"] != "lifespan":  # the page opens no socket
            return
        await self._app(scope, receive, sent)


def _is_own(method: str, path: str, headers: Headers) -> bool:
    """Whether a request comes from the page itself, from a program, or from a visitor who opens the page."""
    host = headers.get("host", "")
    sites = headers.getlist("sec-fetch-site")
    if any(urlsplit(origin).netloc != host for origin in headers.getlist("origin")):
        return False
    if any(site not in ("same-origin", "none") for site in sites):
        opened = headers.get("sec-fetch-mode") == "navigate" and method in _SAFE
        return opened and path == "/"  # a link
    if sites or "origin" in headers or method in _SAFE:
        return True
    return all(urlsplit(page).netloc == host for page in headers.getlist("referer"))


class GuardedBlocks(gr.Blocks):
    """Blocks that check every file that a request names, in any input, before Gradio uses it.

    Gradio opens any path of the machine that comes without ``meta``, and fetches any URL that comes with it.
    """

    async def preprocess_data(
        self, block_fn: BlockFunction, inputs: list[Any], state: SessionState | None, explicit_call: bool = False
    ) -> Any:
        """Preprocess as Gradio does, but only files below its upload folder, which has the uploads and the examples.

        Raises:
            gradio.Error: A file is elsewhere or does not exist; the message is the same for both, so that it does not
                reveal which files exist.
        """
        folder = Path(get_upload_folder()).resolve()
        self.validate_inputs(block_fn, inputs)  # their number
        checked = [
            _uploaded_file(value, folder)
            if isinstance(block, gr.Image) and value is not None
            else _with_checked_files(value, folder)
            for block, value in zip(block_fn.inputs, inputs, strict=False)
        ]
        return await super().preprocess_data(block_fn, checked, state, explicit_call)


def _with_checked_files(value: Any, folder: Path) -> Any:
    """An input from a client, with every file in it replaced by :func:`_uploaded_file`."""
    if isinstance(value, dict):
        if any(key in value for key in _FILE_KEYS):
            return _uploaded_file(value, folder)
        return {key: _with_checked_files(inner, folder) for key, inner in value.items()}
    return [_with_checked_files(inner, folder) for inner in value] if isinstance(value, list) else value


def _uploaded_file(value: Any, folder: Path) -> dict[str, Any]:
    """A file below the upload folder; of what the client sent, only the path is kept."""
    path = value.get("path") if isinstance(value, dict) else None
    try:
        file = Path(path).resolve(strict=True) if isinstance(path, str) else None
    except (OSError, ValueError, RuntimeError):  # no such file, a zero byte, links in a circle
        file = None
    if file is None or not file.is_relative_to(folder) or not file.is_file():
        raise refusal("This image was not uploaded here and is no example. Upload it, or choose an example.")
    return {"path": str(file), "meta": {"_type": "gradio.FileData"}}


def refusal(words: str) -> gr.Error:
    """An error to show to the visitor. It is shown as HTML, and a message may repeat what a visitor typed."""
    safe = html.escape(words).replace("\n", "<br>")
    return gr.Error(safe, duration=None, print_exception=False)
