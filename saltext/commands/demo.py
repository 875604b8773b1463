"""``saltext demo``."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from saltext.commands.options import Device, StageName, TrustRun

_LARGEST = 50_000_000  # pixels, saltext.images.MAX_PIXELS; not imported, for that brings numpy and Pillow


def _finite_positive(value: float) -> float:
    if not 0 < value < float("inf"):
        raise typer.BadParameter(f"expected a finite number above 0, got {value}")
    return value


def demo(
    run: Annotated[
        str | None, typer.Argument(metavar="[RUN]", help="folder of a trained run (default: the pretrained model)")
    ] = None,
    stage: StageName = None,
    device: Device = None,
    examples: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH", help="folder of images, CSV, or SJTU-TIS (default: two photographs and synthetic images)"
        ),
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, metavar="N", help="port of the page; 0: any free one")] = 7860,
    max_mib: Annotated[
        float, typer.Option(metavar="N", callback=_finite_positive, help="largest upload, in MiB")
    ] = 20.0,
    max_pixels: Annotated[
        int, typer.Option(min=1, max=_LARGEST, metavar="N", help="largest image, in pixels")
    ] = 16_000_000,
    timeout: Annotated[
        float, typer.Option(metavar="SECONDS", callback=_finite_positive, help="longest prediction")
    ] = 60.0,
    host: Annotated[
        str,
        typer.Option(metavar="ADDRESS", help="this machine only; any other address lets others in, without a password"),
    ] = "127.0.0.1",
    trust: TrustRun = False,
) -> None:
    """A page in your browser: choose an image, type two or three texts, compare the predicted attention.

    Needs the extra `demo`. Works offline, sends nothing anywhere, and writes only into a
    temporary folder, which is deleted when it ends (Ctrl-C).

    \b
    saltext demo                                  the pretrained model
    saltext demo outputs/run/FOLDER
    saltext demo --examples photos/               your own images to choose from
    saltext demo --examples texts.csv             ... with texts: columns image,text
    saltext demo --examples data/sjtu-tis         images of SJTU-TIS that the model has not trained on
    saltext demo --port 0 --device cpu --timeout 20
    """
    from saltext.console import quiet_libraries
    from saltext.demo.settings import Settings
    from saltext.demo.start import start
    from saltext.runs.launch import termination_raises

    quiet_libraries()
    settings = Settings(run, stage, device, examples, host, port, max_mib, max_pixels, timeout, trust)
    try:
        with (
            termination_raises(),
            tempfile.TemporaryDirectory(prefix="saltext-demo-") as folder,
            confined(Path(folder)),
        ):
            start(settings, Path(folder))
    except KeyboardInterrupt:
        pass


@contextmanager
def confined(folder: Path) -> Iterator[None]:
    """Inside, this process and its children write only into one folder, and contact only this machine.

    Enter it before Gradio and the model's libraries are imported: some create folders on import. Afterwards the
    process has its own temporary folder again, for the caller deletes this one.

    Args:
        folder: An empty folder.
    """
    environment, directory = dict(os.environ), tempfile.tempdir
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder)
    os.environ["GRADIO_TEMP_DIR"] = str(folder / "gradio")
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    # Gradio checks whether it can reach itself, which would go through a proxy named in the environment.
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "*"
    try:
        yield
    finally:
        tempfile.tempdir = directory
        for name in os.environ.keys() - environment.keys():
            del os.environ[name]
        os.environ.update(environment)
