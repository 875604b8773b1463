"""A page in your browser: choose an image, type two texts, see where people look and how that moves.

    python -m saltext.demo run=outputs/run/FOLDER
    python -m saltext.demo                                        the shipped model
    python -m saltext.demo run=DIR examples=photos/               your own pictures to choose from
    python -m saltext.demo run=DIR examples=texts.csv             ... with texts: columns image,text
    python -m saltext.demo examples=data/sjtu-tis                 images of SJTU-TIS that the model has not trained on
    python -m saltext.demo run=DIR port=0 device=cpu timeout=20   any free port

Arguments:
    run=DIR          folder of a trained run (default: the shipped model)
    stage=NAME       which training of a run with a schedule
    device=NAME      cpu, cuda, cuda:1 ... (default: an accelerator if there is one)
    examples=PATH    folder of pictures, CSV, or SJTU-TIS (default: generated pictures)
    port=N           where the page is (default: 7860); 0: any that is free
    max_mib=N        largest file that can be uploaded, in MiB (default: 20)
    max_pixels=N     largest image, in pixels (default: 16000000)
    timeout=SECONDS  longest prediction (default: 60)
    --trust          build classes that the run names and conf/ does not: it is yours, or of somebody you trust
    host=ADDRESS     default 127.0.0.1: this machine alone. Anything else lets others in, without a password

Needs the extra `demo`: pip install "saltext[demo]". Works without a network, sends nothing anywhere, and writes into a
temporary folder alone, which is gone when it ends (Ctrl-C).
"""

import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from saltext.console import quiet_libraries, set_up_streams
from saltext.demo.settings import Settings, parse
from saltext.errors import ConfigError, SaltextError
from saltext.launch import termination_raises


def confine(folder: Path) -> None:
    """Have this process and those it starts write into a folder alone, and ask nobody but this machine.

    Before Gradio and the model's libraries are imported: some make folders then.

    Args:
        folder: An empty one.
    """
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder)
    os.environ["GRADIO_TEMP_DIR"] = str(folder / "gradio")
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    # Gradio looks whether it can reach itself; a proxy in the environment would be asked for that.
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "*"


def _serve(settings: Settings, folder: Path) -> None:
    confine(folder)
    try:
        from saltext.demo.server import serve
    except ModuleNotFoundError as error:
        raise ConfigError(f'The demo needs the extra `demo`: pip install "saltext[demo]" ({error}).') from error
    serve(settings, folder)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point; see the module's help."""
    set_up_streams()
    given = sys.argv[1:] if arguments is None else arguments
    if {"-h", "--help"} & set(given):
        print(__doc__)
        return
    quiet_libraries()
    try:
        settings = parse(given)
        with termination_raises(), tempfile.TemporaryDirectory(prefix="saltext-demo-") as folder:
            _serve(settings, Path(folder))
    except KeyboardInterrupt:
        pass
    except (SaltextError, OSError) as error:  # OSError: a full disk
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
