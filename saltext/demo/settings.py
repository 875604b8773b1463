"""What the demo is told on its command line."""

from dataclasses import dataclass
from pathlib import Path

LOCALHOST = "127.0.0.1"


@dataclass(frozen=True)
class Settings:
    """See the help of ``saltext demo``, which checks them.

    Attributes:
        run: Folder of a run; None: the pretrained model.
        stage: Which training of a run of several stages.
        device: Where to compute, as torch names it; None: an accelerator if there is one.
        examples: Folder of pictures, table of pictures and texts, or folder of SJTU-TIS; None: a photograph
            and generated images.
        host: Address to listen at.
        port: 0: any that is free.
        max_mib: Largest file that is taken, in MiB.
        max_pixels: Largest image that is taken.
        timeout: Seconds a prediction may take.
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
