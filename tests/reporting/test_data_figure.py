from pathlib import Path

import numpy as np
import pytest

from saltext.console import progress
from saltext.data.sources.sjtu_tis import SjtuTis
from saltext.data.synthetic import generate
from saltext.evaluation.folders import open_data
from saltext.reporting.data_figure import data_figure, pairs_to_show


def test_the_pairs_are_spread_over_the_data_set_and_those_without_images_are_left_out(tmp_path: Path) -> None:
    generate(tmp_path / "data", images=4, size_range=(96, 128))
    pairs = SjtuTis(tmp_path / "data").read().pairs
    assert pairs_to_show(pairs, 3) == [0, round((len(pairs) - 1) / 2), len(pairs) - 1]
    assert pairs_to_show(pairs, 99) == list(range(len(pairs)))
    assert pairs_to_show([object(), *pairs], 1) == [1]


def test_fixations_are_drawn_where_the_density_map_has_its_mass(tmp_path: Path) -> None:
    generate(tmp_path / "data", images=4, size_range=(96, 128))
    data = open_data(SjtuTis(tmp_path / "data"), progress).ground_truth
    figure = data_figure(data, [0])
    image, density, fixations = figure.axes
    points = np.asarray(fixations.collections[0].get_offsets())
    height, width = data.native_size(0)
    drawn = np.asarray(fixations.images[0].get_array()).shape
    expected = (data.points(0)[:, ::-1] + 0.5) * (drawn[1] / width, drawn[0] / height) - 0.5
    assert points == pytest.approx(expected)
    assert fixations.get_title() == f"{len(points)} fixations"
    assert density.get_title() == "density map"
    assert data.pairs[0].name in image.get_title()
