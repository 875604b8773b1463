import numpy as np
from matplotlib import colormaps

from saltext.prediction.colours import inferno


def test_the_table_of_colours_is_matplotlibs() -> None:
    expected = (colormaps["inferno"](np.arange(256))[:, :3] * 255).round()
    assert np.array_equal(inferno(), expected)
