import random
import re
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

import openpyxl
import pytest
from openpyxl.chart import BarChart
from PIL import Image

from saltext.data.pairs import Pair
from saltext.data.sources.sjtu_tis import SjtuTis, image_sets
from saltext.errors import DataError

WORKBOOK = "text最终版本.xlsx"
Edit = Callable[[Callable[[openpyxl.Workbook], None]], None]


def test_pairs_are_sorted_by_image_and_task(small_pairs: list[Pair]) -> None:
    order = {"pure": 0, "whole": 1, "general": 2, "salient": 3, "non_salient": 4}
    keys = [(pair.image_id, order[pair.task]) for pair in small_pairs]
    assert keys == sorted(keys)
    assert Counter(pair.task for pair in small_pairs) == {
        "pure": 20, "whole": 10, "general": 10, "salient": 10, "non_salient": 10,
    }  # fmt: skip


def test_leading_zeros_are_kept_and_texts_found_by_number(small_pairs: list[Pair]) -> None:
    assert any(pair.image_id.startswith("000000") for pair in small_pairs)
    assert {len(pair.image_id) for pair in small_pairs} == {9, 10, 12}
    assert all(bool(pair.text) == (pair.task != "pure") for pair in small_pairs)


def test_the_pairs_name_is_its_file_name(small_pairs: list[Pair]) -> None:
    assert all(pair.name == pair.image.stem == pair.density.stem == pair.fixations.stem for pair in small_pairs)


def test_both_folder_namings_give_the_same_pairs(copied_root: Path, small_pairs: list[Pair]) -> None:
    for kind in ("image", "map", "fixation"):
        (copied_root / f"{kind}_1800").rename(copied_root / kind)
    pairs = SjtuTis(copied_root).read().pairs
    assert [(p.name, p.text) for p in pairs] == [(p.name, p.text) for p in small_pairs]
    assert pairs[0].image.parent.name == "image"


def test_the_order_of_directory_listing_does_not_matter(
    small_root: Path, small_pairs: list[Pair], monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = Path.iterdir
    monkeypatch.setattr(
        Path, "iterdir", lambda self: iter(random.Random(1).sample(list(listed(self)), k=len(list(listed(self)))))
    )
    assert SjtuTis(small_root).read().pairs == small_pairs


def test_image_sets_follow_from_the_tasks(small_pairs: list[Pair]) -> None:
    sets = image_sets(small_pairs)
    assert Counter(sets.values()) == {"A": 10, "B": 10}
    assert all(sets[pair.image_id] == "A" for pair in small_pairs if pair.task == "whole")
    assert all(sets[pair.image_id] == "B" for pair in small_pairs if pair.task == "salient")


def test_a_workbook_by_another_name_is_found_by_its_sheets(copied_root: Path, small_pairs: list[Pair]) -> None:
    (copied_root / WORKBOOK).rename(copied_root / "texts.xlsx")
    openpyxl.Workbook().save(copied_root / "notes.xlsx")
    (copied_root / "~$texts.xlsx").write_bytes(b"lock")
    assert [pair.text for pair in SjtuTis(copied_root).read().pairs] == [pair.text for pair in small_pairs]


def test_litter_of_file_browsers_is_ignored(copied_root: Path, small_pairs: list[Pair]) -> None:
    (copied_root / "map_1800" / ".DS_Store").touch()
    (copied_root / "map_1800" / "Thumbs.db").touch()
    assert len(SjtuTis(copied_root).read().pairs) == len(small_pairs)


def test_a_root_that_does_not_exist_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no such folder.*published archive.*SALTEXT_DATA.*data=synthetic"):
        SjtuTis(tmp_path / "nowhere").read()


def test_an_incomplete_root_lists_what_is_there_and_what_is_not(copied_root: Path) -> None:
    shutil.rmtree(copied_root / "fixation_1800")
    with pytest.raises(DataError) as caught:
        SjtuTis(copied_root).read()
    message = str(caught.value)
    assert "found image_1800/ (60 files) and map_1800/ (60 files)" in message
    assert "missing fixation_1800/" in message
    assert "data.root (or SALTEXT_DATA)" in message


def test_an_archive_unpacked_one_level_down_is_pointed_at(small_root: Path) -> None:
    with pytest.raises(DataError, match=f"{small_root} looks like it: set data.root to that"):
        SjtuTis(small_root.parent).read()


def test_a_missing_workbook_is_named_with_its_sheets(copied_root: Path) -> None:
    (copied_root / WORKBOOK).unlink()
    with pytest.raises(
        DataError, match=r"missing the workbook of texts .*整体.*部分-实验设置.*Put the published archive"
    ):
        SjtuTis(copied_root).read()


def test_an_unreadable_workbook_is_distinguished_from_a_missing_one(copied_root: Path) -> None:
    (copied_root / WORKBOOK).write_bytes(b"not a workbook")
    with pytest.raises(DataError, match="cannot be read"):
        SjtuTis(copied_root).read()


@pytest.mark.parametrize(
    "part", ["[Content_Types].xml", "xl/workbook.xml", "xl/worksheets/sheet1.xml", "xl/worksheets/sheet2.xml"]
)
@pytest.mark.parametrize("cut", [b"", b"<worksheet><sheetData><row"], ids=["empty", "cut"])
def test_a_workbook_with_broken_xml_is_named_in_a_line(copied_root: Path, part: str, cut: bytes) -> None:
    parts = _unpacked(copied_root / WORKBOOK)
    assert part in parts
    _pack(copied_root / WORKBOOK, parts | {part: cut})
    with pytest.raises(DataError) as caught:
        SjtuTis(copied_root).read()
    assert re.search(rf"{WORKBOOK}.* cannot be read|cannot be read as a workbook.*{WORKBOOK}", str(caught.value))
    assert not [line for line in str(caught.value).splitlines() if "Traceback" in line or len(line) > 1000]


def test_a_chart_in_place_of_a_sheet_of_cells_is_not_the_sheet(copied_root: Path, edit_workbook: Edit) -> None:
    def change(book: openpyxl.Workbook) -> None:
        del book["整体"]
        book.create_chartsheet("整体").add_chart(BarChart())

    edit_workbook(change)
    with pytest.raises(DataError, match=rf"{WORKBOOK} has the sheets 部分-实验设置[.)]") as caught:
        SjtuTis(copied_root).read()
    assert "\n" not in str(caught.value)


def test_a_workbook_that_unpacks_to_more_than_its_bound_is_not_unpacked(
    copied_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _pack(copied_root / WORKBOOK, _unpacked(copied_root / WORKBOOK) | {"xl/media/image1.png": bytes(100 * 2**20)})
    assert (copied_root / WORKBOOK).stat().st_size < 2**20
    monkeypatch.setattr(openpyxl, "load_workbook", lambda *_, **__: pytest.fail("it was unpacked"))
    with pytest.raises(DataError, match=rf"{WORKBOOK} cannot be read: .*more than 64 MiB") as caught:
        SjtuTis(copied_root).read()
    assert "\n" not in str(caught.value)


def _unpacked(workbook: Path) -> dict[str, bytes]:
    with ZipFile(workbook) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _pack(workbook: Path, parts: dict[str, bytes]) -> None:
    with ZipFile(workbook, "w", ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)


def test_two_workbooks_of_texts_are_refused(copied_root: Path) -> None:
    shutil.copy(copied_root / WORKBOOK, copied_root / "second.xlsx")
    with pytest.raises(DataError, match=r"several workbooks.*Keep only the published one"):
        SjtuTis(copied_root).read()


def test_all_structural_problems_come_in_one_error_with_counts(
    copied_root: Path, small_pairs: list[Pair], edit_workbook: Edit
) -> None:
    of_b = [pair for pair in small_pairs if pair.task == "salient"]
    (copied_root / "map_1800" / f"{of_b[0].name}.png").unlink()
    (copied_root / "fixation_1800" / f"{of_b[1].name}.png").unlink()
    Image.new("L", (4, 4)).save(copied_root / "map_1800" / f"{of_b[2].image_id}_7.png")

    def change(book: openpyxl.Workbook) -> None:
        book["整体"].delete_rows(2)
        book["整体"].append([424242, "A text of no image"])
        book["部分-实验设置"].append([1, "什么", "A text of no kind"])

    edit_workbook(change)
    with pytest.raises(DataError) as caught:
        SjtuTis(copied_root).read()
    message = str(caught.value)
    assert f"missing map files (1): {of_b[0].name}.png" in message
    assert f"missing fixation files (1): {of_b[1].name}.png" in message
    assert f"map_1800/{of_b[2].image_id}_7.png" in message
    assert "images without a text in the workbook (1)" in message
    assert "424242 (whole)" in message
    assert "whose kind is not one of 整体, 显著, 非显著 (1): " in message
    assert re.search(r"images whose tasks are neither .*\(2\): ", message)
    assert "Unpack the published archive again" in message


def test_an_image_without_text_is_named_with_its_task(copied_root: Path, edit_workbook: Edit) -> None:
    def change(book: openpyxl.Workbook) -> None:
        book["整体"]["B2"] = "   "

    edit_workbook(change)
    with pytest.raises(DataError, match=r"images without a text in the workbook \(1\): \d+ \(whole\)(.|\n)*fix"):
        SjtuTis(copied_root).read()


def test_a_text_without_image_is_named(copied_root: Path, edit_workbook: Edit) -> None:
    edit_workbook(lambda book: book["整体"].append([777, "Nobody saw this"]))
    with pytest.raises(DataError, match=r"texts in the workbook without image files \(1\): 777 \(whole\)"):
        SjtuTis(copied_root).read()


def test_only_the_first_names_are_shown(copied_root: Path) -> None:
    for path in sorted((copied_root / "image_1800").glob("*.png"))[:12]:
        path.unlink()
    with pytest.raises(DataError, match=r"missing image files \(12\): .* and 4 more"):
        SjtuTis(copied_root).read()


def test_a_missing_column_is_named(copied_root: Path, edit_workbook: Edit) -> None:
    def change(book: openpyxl.Workbook) -> None:
        book["部分-实验设置"]["B1"] = "kind"

    edit_workbook(change)
    with pytest.raises(DataError, match=r"columns missing in the workbook's sheet 部分-实验设置 \(1\): 描述种类"):
        SjtuTis(copied_root).read()


@pytest.mark.real_data
def test_the_published_data_set_is_complete(sjtu_root: Path) -> None:
    pairs = SjtuTis(sjtu_root).read().pairs
    assert Counter(pair.task for pair in pairs) == {
        "pure": 600, "whole": 300, "general": 300, "salient": 300, "non_salient": 300,
    }  # fmt: skip
    assert Counter(image_sets(pairs).values()) == {"A": 300, "B": 300}
    assert sum(bool(pair.text) for pair in pairs) == 1200
    assert max(len(pair.text.split()) for pair in pairs) <= 24
