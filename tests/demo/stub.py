"""A model that predicts where its text says, and questions to a process that holds it; neither needs a run or torch."""

import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from saltext.errors import ConfigError

if TYPE_CHECKING:
    from saltext.images import Photo
    from saltext.prediction.explanation import Explanation
    from saltext.prediction.model import Density, Model
    from saltext.prediction.texts import TextQuery


class Stub:
    """Stands in for :class:`saltext.prediction.model.Model`."""

    name = "stub"
    device = "cpu"
    reads_text = True
    reads_condition = True
    conditions = ("pure", "whole", "general", "salient", "non_salient")

    def densities(self, wanted: Iterable[tuple["Photo", "TextQuery"]]) -> Iterator["Density"]:
        for photo, query in wanted:
            yield self._density(photo, query)

    def explanation(self, photo: "Photo", query: "TextQuery") -> "Explanation":
        from saltext.prediction.explanation import Explanation, effects_of
        from saltext.prediction.phrases import parts

        found = parts(query.text)
        texts = [text for part in found for text in (part.without, part.replaced)]
        others = [self._density(photo, replace(query, text=text)) for text in texts]
        whole = self._density(photo, query)
        return Explanation(query.text, photo.pixels, whole, effects_of(found, whole, others))

    def remarks(self, query: "TextQuery") -> list[str]:
        return ["only 9 characters are read of the text 'too long a text'"] if query.text == "too long a text" else []

    def _density(self, photo: "Photo", query: "TextQuery") -> "Density":
        density = np.full(photo.size, 1e-3, np.float32)
        height, width = photo.size
        side = "right" if query.task == "salient" else query.text
        density[height // 3 : -height // 3, slice(2 * width // 3, None) if side == "right" else slice(width // 3)] = 1
        return density / density.sum()


def load() -> Stub:
    return Stub()


def load_nothing() -> Stub:
    raise ConfigError("there is no such run")


def name(model: "Model") -> str:
    return model.name


def process(model: "Model") -> int:
    return os.getpid()


def refuse(model: "Model", error: Exception) -> None:
    raise error


def sleep(model: "Model") -> None:
    time.sleep(600)


def crash(model: "Model") -> None:
    os._exit(3)


class SlowToArrive:
    """A question whose modules take seconds to import."""

    def __reduce__(self) -> tuple[type["SlowToArrive"], tuple[bool]]:
        return SlowToArrive, (True,)

    def __init__(self, arrives: bool = False) -> None:
        if arrives:
            time.sleep(3)

    def __call__(self, model: "Model") -> str:
        return model.name


def call_and_sleep(path: str) -> None:
    """Have a process busy, and say in a file which one."""
    from saltext.demo.predictor import Predictor

    with Predictor(load, timeout=600) as running:
        part = Path(f"{path}.part")
        part.write_text(str(running.call(process)))
        part.rename(path)
        running.call(sleep)


def photo(path: Path, width: int = 60, height: int = 40) -> Path:
    """A picture of noise."""
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    return path
