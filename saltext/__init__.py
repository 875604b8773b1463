"""saltext: where do people look in an image after reading a sentence about it?

import saltext
model = saltext.load()  # the shipped model; a run of your own: saltext.load("outputs/run/FOLDER")
density = model.predict("street.jpg", "the white lamps")  # float32 (height, width), sums to 1
"""

import os
from typing import TYPE_CHECKING, Any

from saltext.places import provide_home

provide_home()
# albumentations asks the package index for a newer version at each import; it must be told before that.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

if TYPE_CHECKING:
    from saltext.prediction.loading import load

__all__ = ["__version__", "load"]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # Late, since it brings torch and lightning, which take seconds and which most modules do not need all of.
    if name == "load":
        from saltext.prediction.loading import load

        return load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
