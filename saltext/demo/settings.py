"""Settings of the demo, as given on its command line."""

from dataclasses import dataclass
from pathlib import Path

LOCALHOST = "127.0.0.1"


@dataclass(frozen=True)
class Settings:
    """See the help of ``saltext demo``, which checks them.

    Attributes:
        run: Folder of a run; None: the pretrained model.
        stage: Stage of a run that has several.
        device: Name of the torch device; None: an accelerator if there is one.
        examples: Folder of images, table of images and texts, or folder of SJTU-TIS; None: photographs and generated
            images.
        host: Address to listen at.
        port: Port to listen at; 0: any free one.
        max_mib: Maximum size of an uploaded file, in MiB.
        max_pixels: Maximum number of pixels of an image.
        timeout: Maximum time of a prediction, in seconds.
        trust: Whether the run's folder is trusted, see :mod:`saltext.runs.trust`.
    """

    run: str | None = None
    stage: str | None = None
    device: str | None = None
    examples: Path | None = None
    host: str = LOCALHOST
    port: int = 7860
    max_mib: float = 20.0
    max_pixels: int = 16_000_000
    timeout: float = 60.0
    trust: bool = False
