"""saltext: where do people look in an image after reading a sentence about it?

import saltext
model = saltext.load()  # the pretrained model; a run of your own: saltext.load("outputs/run/FOLDER")
density = model.predict("street.jpg", "the white lamps")  # float32 (height, width), sums to 1
run = saltext.train("model=tranblend", "preset=smoke")  # run.folder, run.scores (DataFrame), run.model
saltext.results.compare(["outputs/run/A", "outputs/run/B"])  # DataFrame of differences with their intervals
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from saltext.system.home import provide_home

provide_home()
# albumentations asks the package index for a newer version at each import; it must be told before that.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

if TYPE_CHECKING:
    from saltext import metrics, results
    from saltext.runs.api import evaluate, train
    from saltext.runs.load import load

__all__ = ["__version__", "evaluate", "load", "metrics", "results", "train"]

__version__ = "0.2.0.dev0"

_FROM = {"evaluate": "saltext.runs.api", "load": "saltext.runs.load", "train": "saltext.runs.api"}


def __getattr__(name: str) -> Any:
    # Late, since they bring torch and lightning, which take seconds and which most modules do not need all of.
    if name in _FROM:
        return getattr(import_module(_FROM[name]), name)
    if name in ("metrics", "results"):
        return import_module(f"saltext.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
