"""Readers of data sets are built from the values of ``data``."""

import pytest
from omegaconf import OmegaConf

from saltext.errors import ConfigError
from saltext.runs.instantiation import reader


class Half:
    """A reader that lacks what the data module asks for."""

    def __init__(self, root: str) -> None:
        self.root = root

    def read(self) -> None:
        """Nothing."""


def test_a_reader_that_lacks_what_is_asked_of_it_is_refused_in_words() -> None:
    name = f"{__name__}.Half"
    cfg = OmegaConf.create({"data": {"_target_": name, "root": "here"}})
    with pytest.raises(ConfigError, match="got a Half without conditions, published; "):
        reader(cfg, [name])
