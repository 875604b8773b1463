from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from saltext.data.report import DataReport
from saltext.errors import DataError
from saltext.prediction.inputs import Request, requests, usable
from saltext.prediction.texts import TextQuery


def track(things: Iterable[Any], what: str, total: int) -> Iterable[Any]:
    return things


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for name in ("b.jpg", "a.PNG", "deep/c.png", "deep/er/d.webp"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 3)).save(tmp_path / name)
    (tmp_path / "notes.txt").touch()
    (tmp_path / ".hidden.png").touch()
    return tmp_path


def found(images: list[str], texts: list[str] | None = None, table: Path | None = None) -> list[tuple[str, list[str]]]:
    """Names and texts, when nothing is wrong."""
    issues = DataReport()
    wanted = requests(images, ["x"] if texts is None else texts, table, issues)
    issues.raise_if_any("input", "")
    return [(request.image.name, [query.text for query in request.queries]) for request in wanted]


def wrong(*images: str, table: Path | None = None) -> str:
    issues = DataReport()
    usable(requests(images, ["x"], table, issues), issues, track)
    with pytest.raises(DataError) as raised:
        issues.raise_if_any("input", "")
    return str(raised.value)


def test_a_folder_gives_its_own_pictures_in_order(photos: Path) -> None:
    assert [name for name, _ in found([str(photos)])] == ["a.PNG", "b.jpg"]


def test_a_pattern_gives_the_pictures_it_matches(photos: Path) -> None:
    assert [name for name, _ in found([f"{photos}/**/*"])] == ["a.PNG", "b.jpg", "c.png", "d.webp"]
    assert [name for name, _ in found([f"{photos}/*/[cd].*"])] == ["c.png"]


def test_a_file_whose_name_looks_like_a_pattern_is_taken_itself(photos: Path) -> None:
    (photos / "b.jpg").rename(photos / "b[1].jpg")
    assert [name for name, _ in found([f"{photos}/b[1].jpg"])] == ["b[1].jpg"]


def test_a_picture_named_twice_has_each_text_once(photos: Path) -> None:
    (photos / "link.jpg").symlink_to(photos / "b.jpg")
    named = [str(photos / "b.jpg"), str(photos / "deep/../b.jpg"), str(photos / "link.jpg")]
    assert found(named, ["lamp", " lamp ", "", "cat"]) == [("b.jpg", ["lamp", "", "cat"])]


def test_a_table_gives_pictures_from_its_own_folder(photos: Path) -> None:
    table = photos / "texts.csv"
    table.write_text('\ufefftext,image,note\n"red, or\nblue",b.jpg,1\n,deep/c.png,2\ncat,b.jpg,3\n', encoding="utf-8")
    assert found([], [], table) == [("b.jpg", ["red, or\nblue", "cat"]), ("c.png", [""])]


def test_a_table_adds_to_what_is_named(photos: Path) -> None:
    (photos / "texts.csv").write_text("image,text\nb.jpg,cat\n")
    assert found([str(photos / "b.jpg")], ["lamp"], photos / "texts.csv") == [("b.jpg", ["lamp", "cat"])]


def test_conditions_are_those_the_model_knows_also_where_none_is_named(photos: Path) -> None:
    picture, issues = str(photos / "b.jpg"), DataReport()
    assert queries(requests([picture], ["x"], None, issues, ["free"], ("free", "guided"))) == [TextQuery("x", "free")]
    issues.raise_if_any("input", "")
    requests([picture], ["x", ""], None, issues, known=("free", "guided"))
    requests([picture], ["x"], None, issues, ["salient"], ("free", "guided"))
    with pytest.raises(DataError) as raised:
        issues.raise_if_any("input", "")
    for said in ("conditions other than free, guided (3)", "'general', since no condition is named", "'salient'"):
        assert said in str(raised.value)


def queries(requested: list[Request]) -> list[TextQuery]:
    return [query for request in requested for query in request.queries]


def test_each_text_may_have_its_condition_or_all_the_same(photos: Path) -> None:
    (photos / "texts.csv").write_text("image,text,task\nb.jpg,cat,salient\nb.jpg,dog,\n")
    table, picture = photos / "texts.csv", str(photos / "b.jpg")
    assert queries(requests([picture], ["x", "y"], None, DataReport(), ["salient", "whole"])) == [
        TextQuery("x", "salient"), TextQuery("y", "whole")
    ]  # fmt: skip
    assert queries(requests([picture], ["x"], table, DataReport(), ["whole"])) == [
        TextQuery("x", "whole"), TextQuery("cat", "salient"), TextQuery("dog", "whole")
    ]  # fmt: skip
    assert queries(requests([], [], table, DataReport())) == [TextQuery("cat", "salient"), TextQuery("dog", None)]


def test_one_text_under_two_conditions_is_read_twice(photos: Path) -> None:
    wanted = requests([str(photos / "b.jpg")], ["x", "x"], None, DataReport(), ["salient", "non_salient"])
    assert queries(wanted) == [TextQuery("x", "salient"), TextQuery("x", "non_salient")]


def test_a_condition_that_is_none_is_named(photos: Path) -> None:
    (photos / "texts.csv").write_text("image,text,task\nb.jpg,cat,silent\n")
    assert "texts.csv row 2 ('silent')" in wrong(table=photos / "texts.csv")


def test_results_never_share_a_name(photos: Path) -> None:
    (photos / "texts.csv").write_text(
        "image,text\nx.png,1\nx.png,2\nx_text1.png,1\nx_3.jpg,1\ndeep/X.png,1\nX_Text1_2.png,1\n"
    )
    wanted = requests([], [], photos / "texts.csv", DataReport())
    results = [name.casefold() for request in wanted for name in request.results]
    assert len(results) == len(set(results)) == 6
    assert wanted[0].results == ["x_text1", "x_text2"]
    assert wanted[2].results == ["x_3"]


def test_a_single_texts_result_is_called_like_the_picture(photos: Path) -> None:
    (request,) = requests([str(photos / "b.jpg")], ["x"], None, DataReport())
    assert request.results == ["b"]


def test_everything_wrong_is_said_at_once(photos: Path) -> None:
    (photos / "bare").mkdir()
    (photos / "fake.png").write_text("no picture")
    (photos / "void.png").touch()
    (photos / "texts.csv").write_bytes(b"image,text\nb.jpg\n,x\nmissing.png,x\nb\0.jpg,x\n")
    message = wrong(
        "https://example.org/cat.jpg", f"{photos}/*.gif", f"{photos}/bare", f"{photos}/none.jpg", str(photos),
        "y" * 5000, table=photos / "texts.csv",
    )  # fmt: skip
    for expected in (
        "addresses, which are not fetched: save the image and name its file (1): https://example.org/cat.jpg",
        f"patterns that match no image (1): {photos}/*.gif",
        f".webp) (1): {photos}/bare",
        "files not found (3)",
        "missing.png",
        "none.jpg",
        "empty files (1)",
        "files that are not images (1)",
        "table rows without image or text (3): texts.csv row 2, texts.csv row 3, texts.csv row 5",
    ):
        assert expected in message


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "cannot be read"),
        (b"image,text\n", "it has no rows"),
        (b"picture,text\na.png,x\n", "without image"),
        (b"image,text\na.png,\xff\xfe\n", "cannot be read"),
    ],
)
def test_a_table_that_is_none_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "texts.csv").write_bytes(content)
    assert said in wrong(table=tmp_path / "texts.csv")
    assert "cannot be read" in wrong(table=tmp_path / "none.csv")


def test_a_folder_with_brackets_is_no_pattern(photos: Path) -> None:
    folder = photos / "data[1]"
    folder.mkdir()
    for where in (folder, photos / "data1"):
        where.mkdir(exist_ok=True)
        Image.new("RGB", (4, 4)).save(where / "one.png")
    issues = DataReport()
    (request,) = requests([f"{photos}/data[[]1]/*.png"], ["x"], None, issues)
    assert request.image == folder / "one.png"
    (request,) = requests([f"{folder}/*.png"], ["x"], None, issues)
    assert request.image == folder / "one.png"


def test_a_name_in_another_unicode_form_is_the_same_name(photos: Path) -> None:
    Image.new("RGB", (4, 4)).save(photos / "cafe\u0301.png")
    (photos / "texts.csv").write_text('Image;TEXT\ncaf\u00e9.png;"a; b"\n', encoding="utf-8-sig")
    (request,) = requests([], [], photos / "texts.csv", DataReport())
    assert request.image == photos / "cafe\u0301.png"
    assert request.queries[0].text == "a; b"


def test_a_picture_that_is_not_there_is_called_as_it_was_given() -> None:
    assert "files not found (1): nothere.jpg\n" in wrong("nothere.jpg")


def test_dangling_links_in_a_folder_are_reported(photos: Path) -> None:
    (photos / "gone.png").symlink_to(photos / "nowhere.png")
    assert f"links that lead nowhere (1): {photos}/gone.png" in wrong(str(photos))


def test_links_in_circles_are_refused(tmp_path: Path) -> None:
    (tmp_path / "two.png").symlink_to("one.png")
    (tmp_path / "one.png").symlink_to("two.png")
    assert "files not found" in wrong(str(tmp_path / "one.png"))


def test_good_pictures_are_kept_beside_bad_ones(photos: Path) -> None:
    (photos / "fake.png").write_text("no picture")
    issues = DataReport()
    kept = usable(requests([str(photos)], ["x"], None, issues), issues, track)
    assert [request.image.name for request in kept] == ["a.PNG", "b.jpg"]


def test_a_text_that_is_no_unicode_is_a_fault_of_its_own() -> None:
    issues = DataReport()
    assert requests(["a.png"], ["half \ud83d"], None, issues) == []
    with pytest.raises(DataError, match=r"texts that are not valid Unicode \(1\)"):
        issues.raise_if_any("input", "")
