from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from saltext.data.kept_results import computed_once


def check(result: Any) -> None:
    if not 0 <= result["width"] < 100:
        raise ValueError


class Width:
    """Counts the images it was computed of."""

    def __init__(self) -> None:
        self.computed: list[str] = []

    def __call__(self, path: Path) -> dict[str, int]:
        self.computed.append(path.name)
        with Image.open(path) as image:
            return {"width": image.width}


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / "images" / f"{number}.png" for number in range(3)]
    paths[0].parent.mkdir()
    for number, path in enumerate(paths):
        Image.new("RGB", (10 + number, 4)).save(path)
    return paths


def test_a_result_is_computed_again_only_for_other_content_or_a_damaged_file(
    images: list[Path], tmp_path: Path
) -> None:
    file, width = tmp_path / "kept" / "widths.json", Width()
    expected = {path: {"width": 10 + number} for number, path in enumerate(images)}
    for damage in (None, "{", '{"a": {"width": -1}}', "[]", '{"a": 3}', '{"a": {}}'):
        if damage is not None:
            file.write_text(damage)
            width.computed.clear()
        assert computed_once(images, file, width, check, "widths") == expected
        assert sorted(width.computed) == ["0.png", "1.png", "2.png"]
    width.computed.clear()
    images[1].write_bytes(images[2].read_bytes())
    assert computed_once(images, file, width, check, "widths")[images[1]] == {"width": 12}
    Image.new("RGB", (50, 4)).save(images[0])
    assert computed_once(images, file, width, check, "widths")[images[0]] == {"width": 50}
    assert width.computed == ["0.png"]


def test_images_of_equal_content_are_computed_once(images: list[Path], tmp_path: Path) -> None:
    width = Width()
    for path in images[1:]:
        path.write_bytes(images[0].read_bytes())
    found = computed_once(images, tmp_path / "kept" / "widths.json", width, check, "widths")
    assert len(width.computed) == 1
    assert found == {path: {"width": 10} for path in images}


def test_a_folder_that_cannot_be_made_costs_the_file_alone(images: list[Path], tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    found = computed_once(images, tmp_path / "taken" / "kept" / "widths.json", Width(), check, "widths")
    assert found[images[2]] == {"width": 12}
