"""The command, on pictures of all kinds."""

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import saltext
from saltext.prediction import model as prediction
from saltext.prediction.results import KINDS, PANEL_TEXTS
from saltext.system.run_folder import RunFolder
from tests.command_line import command, here, refused

pytestmark = pytest.mark.slow

LAMPS, PEOPLE = "the white lamps", "the people 🐈"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two good pictures of unequal size."""
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (40, 60, 3), dtype=np.uint8)).save(folder / "street.jpg")
    Image.fromarray(rng.integers(0, 256, (30, 20, 3), dtype=np.uint8)).save(folder / "hall.png")
    return folder


@pytest.fixture
def run(smoke_run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Arguments that name the model, in an empty working folder."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return ["--model", str(smoke_run.root), "--device", "cpu"]


def rows(out: Path) -> list[dict[str, str]]:
    with (out / "predictions.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def files(out: Path) -> set[str]:
    return {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}


def refusal(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    return refused(capsys, "predict", *arguments)


def test_pictures_and_texts_become_maps_overlays_and_panels(photos: Path, run: list[str], tmp_path: Path) -> None:
    out = tmp_path / "out"
    here("predict", str(photos), "--text", LAMPS, "--text", PEOPLE, "--out", str(out), "--batch-size", "3", *run)
    table = rows(out)
    assert [(Path(row["image"]).name, row["text"]) for row in table] == [
        ("hall.png", LAMPS), ("hall.png", PEOPLE), ("street.jpg", LAMPS), ("street.jpg", PEOPLE)
    ]  # fmt: skip
    model = saltext.load(run[1], device="cpu")
    for row in table:
        density = np.load(out / row["density"])
        np.testing.assert_allclose(density, model.predict(row["image"], row["text"]), rtol=1e-4)
        with Image.open(row["image"]) as picture, Image.open(out / row["overlay"]) as overlay:
            assert picture.size == overlay.size == density.shape[::-1]
            assert overlay.mode == "RGB"
    assert {row["panel"] for row in table} == {"panel/hall.png", "panel/street.png"}
    named = {row[kind] for row in table for kind in KINDS}
    assert files(out) == {*named, "predictions.csv"}


def test_the_index_keeps_what_earlier_calls_wrote_as_long_as_it_is_there(
    photos: Path, run: list[str], tmp_path: Path
) -> None:
    out = tmp_path / "out"

    def predicted(name: str, *texts: str) -> list[tuple[str, str]]:
        given = [part for text in texts for part in ("--text", text)]
        here("predict", str(photos / name), *given, "--out", str(out), "--only", "density", *run)
        return [(Path(row["image"]).name, row["text"]) for row in rows(out)]

    assert predicted("hall.png", "two\nlines") == [("hall.png", "two\nlines")]
    assert predicted("street.jpg", LAMPS) == [("hall.png", "two\nlines"), ("street.jpg", LAMPS)]
    assert predicted("street.jpg", PEOPLE) == [("hall.png", "two\nlines"), ("street.jpg", PEOPLE)]
    (out / "density" / "hall.npy").unlink()
    assert predicted("street.jpg", LAMPS) == [("street.jpg", LAMPS)]
    (out / "predictions.csv").write_bytes(b"\xff\x00, no table")
    assert predicted("street.jpg", LAMPS) == [("street.jpg", LAMPS)]


def test_explanations_are_drawn_and_listed_when_asked_for(photos: Path, run: list[str], tmp_path: Path) -> None:
    street, out = photos / "street.jpg", tmp_path / "here" / "predictions"
    texts = ["--text", "a man beside a red bus", "--text", ""]
    here("predict", str(street), *texts, "--explain", "--only", "density", *run)
    assert files(out) == {
        "density/street_text1.npy", "density/street_text2.npy", "explanation/street_text1.png", "explanations.csv",
        "predictions.csv",
    }  # fmt: skip
    with (out / "explanations.csv").open(encoding="utf-8", newline="") as stream:
        listed = list(csv.DictReader(stream))
    assert [row["part"] for row in listed] == ["a man", "beside a red bus", "red", "bus"]
    explained = saltext.load(run[1], device="cpu").explain(street, "a man beside a red bus")
    for row, effect in zip(listed, explained.effects, strict=True):
        assert float(row["moved"]) == pytest.approx(effect.moved, abs=1e-4)
        assert float(row["moved_with_neutral_word"]) == pytest.approx(effect.moved_replaced, abs=1e-4)
        assert row["explanation"] == "explanation/street_text1.png"


def test_a_single_text_needs_no_panel_and_keeps_the_pictures_name(photos: Path, run: list[str], tmp_path: Path) -> None:
    here("predict", str(photos / "street.jpg"), "--text", "", *run)
    out = tmp_path / "here" / "predictions"
    assert files(out) == {"density/street.npy", "overlay/street.png", "predictions.csv"}
    assert rows(out)[0]["panel"] == ""


def test_maps_can_be_written_alone_as_pictures_of_sixteen_bits(photos: Path, run: list[str], tmp_path: Path) -> None:
    out = tmp_path / "out"
    picture = str(photos / "street.jpg")
    here("predict", picture, "--text", LAMPS, "--only", "density", "--density", "png", "--out", str(out), *run)
    assert files(out) == {"density/street.png", "predictions.csv"}
    density = saltext.load(run[1], device="cpu").predict(picture, LAMPS)
    with Image.open(out / "density" / "street.png") as written:
        levels = np.asarray(written)
    assert levels.dtype == np.uint16
    np.testing.assert_allclose(levels, density / density.max() * 65535, atol=0.51)


def test_a_table_gives_each_picture_its_own_texts(photos: Path, run: list[str], tmp_path: Path) -> None:
    (photos / "texts.csv").write_text(f"image,text\nstreet.jpg,{LAMPS}\nhall.png,a door\nstreet.jpg,{PEOPLE}\n")
    here("predict", "--texts", str(photos / "texts.csv"), "--out", str(tmp_path / "out"), *run)
    written = {(Path(row["image"]).name, row["text"]) for row in rows(tmp_path / "out")}
    assert written == {("street.jpg", LAMPS), ("street.jpg", PEOPLE), ("hall.png", "a door")}


def test_the_maps_can_be_scored_as_those_of_any_model(smoke_run: RunFolder, run: list[str], tmp_path: Path) -> None:
    from saltext.data.sources.detect import source_of
    from saltext.data.sources.sjtu_tis import SjtuTis
    from saltext.evaluation.score_folder import score_folder

    root = smoke_run.root.parent / "synthetic-smoke"
    pairs = [pair for pair in SjtuTis(root).read().pairs if pair.task == "salient"]
    with (tmp_path / "texts.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([["image", "text"], *([pair.image, pair.text] for pair in pairs)])
    here("predict", "--texts", str(tmp_path / "texts.csv"), "--only", "density", "--out", str(tmp_path / "out"), *run)
    maps, source = tmp_path / "out" / "density", source_of(root)
    scores = score_folder(maps, source, tasks=["salient"], metrics=["cc"], baselines=[])
    assert len(scores) == len(pairs)


def bad_pictures(photos: Path) -> None:
    whole = (photos / "street.jpg").read_bytes()
    (photos / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (photos / "notes.png").write_text("not a picture")
    (photos / "empty.png").touch()


def test_everything_wrong_is_said_before_the_model_runs(
    photos: Path, run: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bad_pictures(photos)
    monkeypatch.setattr(prediction.Model, "_saliency", lambda *_: pytest.fail("the model ran"))
    said = refusal([str(photos), "missing.png", "--text", "x", "--out", str(tmp_path / "out"), *run], capsys)
    for expected in (
        f"cut short or damaged (1): {photos}/cut.jpg", f"not images (1): {photos}/notes.png", "empty files",
                     "not found", "--skip-bad"):  # fmt: skip
        assert expected in said
    assert not (tmp_path / "out").exists()


def test_with_skip_bad_the_good_pictures_are_predicted(
    photos: Path, run: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bad_pictures(photos)
    here("predict", str(photos), "--text", "x", "--skip-bad", "--out", str(tmp_path / "out"), *run)
    assert [Path(row["image"]).name for row in rows(tmp_path / "out")] == ["hall.png", "street.jpg"]
    assert f"cut short or damaged (1): {photos}/cut.jpg" in caplog.text


def test_every_map_that_can_be_written_is_and_the_index_names_it(
    photos: Path, run: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (photos / ("n" * 250 + ".png")).write_bytes((photos / "hall.png").read_bytes())  # NAME_text1.npy is too long
    out = tmp_path / "out"
    said = refusal([str(photos), "--text", "x", "--text", "y", "--only", "density", "--out", str(out), *run], capsys)
    assert "files that cannot be written (2)" in said
    assert [row["density"] for row in rows(out) if row["density"]] == [
        f"density/{name}_text{number}.npy" for name in ("hall", "street") for number in (1, 2)
    ]
    assert all((out / row["density"]).is_file() for row in rows(out) if row["density"])


def test_with_skip_bad_and_nothing_good_there_is_an_error(
    photos: Path, run: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    (photos / "notes.png").write_text("not a picture")
    assert "not images" in refusal([str(photos / "notes.png"), "--text", "x", "--skip-bad", *run], capsys)


def test_what_was_decided_about_a_picture_is_said(
    photos: Path, run: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    frames[0].save(photos / "moving.gif", save_all=True, append_images=frames[1:])
    here("predict", str(photos / "moving.gif"), "--text", "x", "--out", str(tmp_path / "out"), *run)
    assert "moving.gif holds several frames or pages; the first one is taken" in caplog.text


def test_a_picture_is_never_overwritten(
    photos: Path, run: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.move(photos, tmp_path / "overlay")
    picture = tmp_path / "overlay" / "hall.png"
    before = picture.read_bytes()
    assert "would be overwritten" in refusal([str(picture), "--text", "x", "--out", str(tmp_path), *run], capsys)
    assert picture.read_bytes() == before


def test_a_folder_that_cannot_be_written_to_is_named(
    photos: Path, run: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    picture = str(photos / "hall.png")
    assert "--out" in refusal([picture, "--text", "x", "--out", picture, *run], capsys)


def test_a_panel_shows_the_first_texts_of_many(photos: Path, run: list[str], tmp_path: Path) -> None:
    texts = [argument for number in range(PANEL_TEXTS + 4) for argument in ("--text", f"text {number}")]
    here("predict", str(photos / "hall.png"), *texts, "--out", str(tmp_path / "out"), *run)
    assert len(rows(tmp_path / "out")) == PANEL_TEXTS + 4
    with Image.open(tmp_path / "out" / "panel" / "hall.png") as panel:
        assert panel.height < 6000


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "expected an image, a folder or a pattern"),
        (["a.png"], '--text "" is free viewing'),
        (["--text", "x", "--texts", "t.csv"], "go together"),
        (["--example", "a.png"], "--example has its own image and texts; leave out IMAGE, --text"),
        (["--example", "--text", "x"], "--example has its own image and texts"),
        (["--example", "--texts", "t.csv"], "--example has its own image and texts"),
        (["--example", "--task", "pure"], "--example has its own image and texts"),
        (["a.png", "--text", "x"], "a.png"),
        (["a.png", "--text", "x", "--model", "nowhere"], "nowhere"),
        (["a.png", "--text", "x", "--batch-size", "0"], "greater than or equal to 1"),
        (["a.png", "--text", "x", "--batch-size", "many"], "batch-size"),
        (["a.png", "--text", "x", "--task", "silent"], "non_salient"),
        (["a.png", "--text", "x", "--task", "pure", "--task", "whole"], "once for each of 1 --text, got it 2 times"),
    ],
)
def test_a_mistake_gets_one_clear_error(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert said in refusal(arguments, capsys)


def test_a_run_among_the_images_is_answered_with_the_option_that_names_it(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "config.yaml").touch()
    assert f"--model {tmp_path}" not in refusal(["a.png", str(tmp_path), "--text", "x"], capsys)  # photos beside one
    (tmp_path / "checkpoints").mkdir()
    said = refusal(["a.png", str(tmp_path), "--text", "x"], capsys)
    assert f"--model {tmp_path}" in said


def test_the_example_needs_no_file_of_the_users_own(run: list[str], tmp_path: Path) -> None:
    here("predict", "--example", "--out", str(tmp_path / "out"), *run)
    table = rows(tmp_path / "out")
    assert [row["task"] for row in table] == ["salient", "non_salient"] * 2
    assert len({row["text"] for row in table} - {""}) == 4
    assert {"panel/astronaut.png", "panel/coffee.png"} <= {*files(tmp_path / "out")}
    with Image.open(table[0]["image"]) as photo:
        assert np.load(tmp_path / "out" / table[0]["density"]).shape == photo.size[::-1]


def test_the_help_shows_examples(capsys: pytest.CaptureFixture[str]) -> None:
    here("predict", "--help")
    assert 'saltext predict street.jpg --text "the white lamps"' in capsys.readouterr().out


def test_from_outside_it_says_how_far_it_is_in_plain_lines(photos: Path, run: list[str], tmp_path: Path) -> None:
    line = [str(photos), "--text", "x " * 5000, "--out", "out", *run]
    done = command("predict", *line, module="saltext", cwd=tmp_path / "here")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "Wrote 2 maps for 2 images to out (index: predictions.csv)\n"
    said = done.stderr.splitlines()
    assert "predicting: 2 of 2" in said
    assert any("characters are read of the text 'x x" in line for line in said)
    assert all("read of the text" in line or line.startswith(("checking", "predicting")) for line in said)
    done = command("predict", *line, "--device", "abacus", module="saltext", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error: device=abacus")
    assert "Traceback" not in done.stderr
