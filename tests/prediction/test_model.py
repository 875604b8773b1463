"""What a rebuilt model predicts, next to what its run is scored with."""

import logging
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image

import saltext
from saltext.data.dataset import collate
from saltext.errors import CheckpointError, ConfigError, DataError
from saltext.evaluation.groups import native_groups
from saltext.evaluation.model_predictor import ModelPredictor
from saltext.models.checkpoints import load_weights
from saltext.prediction.model import Model
from saltext.prediction.photos import open_photo
from saltext.prediction.texts import TextQuery
from saltext.runs import build_training
from saltext.runs.saved import configuration
from saltext.system.run_folder import RunFolder

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model(smoke_run: RunFolder) -> Model:
    return saltext.load(smoke_run.root, device="cpu")


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)).save(path)
    return path


def changed(run: RunFolder, folder: Path, **changes: object) -> RunFolder:
    """A copy of a run with another configuration."""
    shutil.copytree(run.root, folder)
    copy = RunFolder(folder)
    OmegaConf.save(OmegaConf.merge(OmegaConf.load(copy.config), changes), copy.config)
    return copy


@pytest.mark.parametrize("resize", ["stretch", "letterbox"])
@pytest.mark.parametrize("mirror", [False, True])
def test_a_prediction_is_the_map_the_run_is_scored_with(
    smoke_run: RunFolder, tmp_path: Path, resize: str, mirror: bool
) -> None:
    # In bfloat16, which `auto` takes where a CPU has it, rounding depends on the batch.
    run = changed(
        smoke_run, tmp_path / "run", data={"resize": resize}, evaluation={"mirror": mirror}, inference="reference"
    )
    root = OmegaConf.load(smoke_run.config).data.root  # of a copy, paths are not followed
    cfg = configuration(run, OmegaConf.create({"cache_features": False, "data": {"root": root}})).cfg
    module, data = build_training.module(cfg), build_training.datamodule(cfg)
    assert module is not None
    load_weights(module.network, run.chosen)
    module.eval()
    model = saltext.load(run.root, device="cpu")
    tested = data.dataset("test", native=True)
    for place in range(3):
        sample = collate([tested[place]])
        pair = tested.pairs[tested.indices[place]]
        with torch.inference_mode():
            (group,) = native_groups(sample, module.device)
            predictor = ModelPredictor(module.predict_saliency)
            predictor.read(sample)
            expected = predictor.maps(group.index, group.size)[0, 0].double().numpy()
        found = model.predict(pair.image, pair.text)
        np.testing.assert_allclose(found, expected / expected.sum(), rtol=1e-5)


def test_a_density_has_the_pictures_size_and_sums_to_one(model: Model, photo: Path) -> None:
    density = model.predict(photo, "the red circle")
    assert density.shape == (50, 70)
    assert density.dtype == np.float32
    assert density.min() >= 0
    assert density.sum(dtype=np.float64) == pytest.approx(1, abs=1e-6)


def test_files_pictures_and_arrays_are_predicted_alike(model: Model, photo: Path) -> None:
    expected = model.predict(photo, "a square")
    with Image.open(photo) as picture:
        np.testing.assert_array_equal(model.predict(picture, "a square"), expected)
        np.testing.assert_array_equal(model.predict(np.asarray(picture), "a square"), expected)
    np.testing.assert_array_equal(model.predict(str(photo), " a square\n"), expected)


def test_a_turned_picture_is_predicted_as_it_is_seen(model: Model, photo: Path, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(photo) as picture:
        picture.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)
    np.testing.assert_array_equal(model.predict(tmp_path / "turned.png", "a"), model.predict(photo, "a"))


def test_the_text_changes_the_map(model: Model, photo: Path) -> None:
    assert model.reads_text
    one, other = model.predict(photo, "the red circle"), model.predict(photo, "the blue square")
    assert np.abs(one - other).max() > 1e-8
    np.testing.assert_array_equal(one, model.predict(photo, "the red circle"))


def test_an_image_is_encoded_once_whatever_the_texts(smoke_run: RunFolder, photo: Path) -> None:
    model = saltext.load(smoke_run.root, device="cpu", inference="reference")  # otherwise a copy of the encoder runs
    encoder = model._pipeline.network.get_submodule("encoder")
    seen: list[int] = []
    encoder.register_forward_hook(lambda _, inputs, __: seen.append(len(inputs[0])))
    fresh = partial(saltext.load, smoke_run.root, device="cpu", inference="reference")
    alone = [fresh().predict(photo, text) for text in ("a lamp", "the dog")]
    opened = open_photo(photo)
    together = model.densities([(opened, TextQuery("a lamp", None)), (opened, TextQuery("the dog", None))])
    np.testing.assert_allclose(list(together), alone, rtol=1e-4)
    assert np.array_equal(model.predict(photo, "the dog"), model.predict(photo, "the dog"))
    assert seen == [1]


@pytest.mark.parametrize("size", [(1, 1), (1, 400), (400, 1), (700, 3)], ids=str)
def test_pictures_of_any_shape_are_predicted(model: Model, size: tuple[int, int]) -> None:
    density = model.predict(np.zeros((*size, 3), np.uint8), "x")
    assert density.shape == size
    assert density.sum(dtype=np.float64) == pytest.approx(1, abs=1e-6)


def test_batches_give_each_picture_its_own_map(model: Model, photo: Path) -> None:
    photos = [open_photo(photo), open_photo(np.zeros((20, 30, 3), np.uint8))]
    queries = [(photo, TextQuery(text)) for photo in photos for text in ("a", "b", "")]
    together = list(model.densities(queries, batch_size=4))
    assert len(together) == 6
    for (picture, query), density in zip(queries, together, strict=True):
        np.testing.assert_allclose(density, model.predict(picture.pixels, query.text), rtol=1e-4)


def test_no_more_than_a_batch_is_read_ahead(model: Model) -> None:
    read = 0

    def queries():  # type: ignore[no-untyped-def]
        nonlocal read
        for _ in range(10):
            read += 1
            yield open_photo(np.zeros((4, 4, 3), np.uint8)), TextQuery("")

    next(model.densities(queries(), batch_size=3))
    assert read == 3


@pytest.mark.parametrize("text", ["", "🐈", "\0", "白いランプ", "<a> [SEP] {text}"], ids=ascii)
def test_any_text_can_be_read(model: Model, photo: Path, text: str) -> None:
    assert np.isfinite(model.predict(photo, text)).all()


def test_what_is_cut_of_a_long_text_is_said_once(
    smoke_run: RunFolder, photo: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = saltext.load(smoke_run.root, device="cpu")
    text = "the red circle " * 667
    assert len(text.strip()) == 10_004
    with caplog.at_level(logging.WARNING):
        whole = model.predict(photo, text)
        model.predict(photo, text)
        model.predict(photo, "the red circle.")
    (message,) = caplog.messages
    assert "only 153 of 10004 characters are read of the text 'the red" in message  # 31 words and a start token
    assert model.remarks(TextQuery(text.strip())) == [message]  # the remark is repeated
    assert model.remarks(TextQuery("the red circle.")) == []
    np.testing.assert_array_equal(model.predict(photo, text[:153]), whole)


def test_a_prompt_with_the_condition_gets_the_task(smoke_run: RunFolder, tmp_path: Path, photo: Path) -> None:
    run = changed(smoke_run, tmp_path / "run", prompt="{condition}: {text}")
    model = saltext.load(run.root, device="cpu")
    plain = saltext.load(smoke_run.root, device="cpu")
    assert model.reads_condition
    assert not plain.reads_condition
    np.testing.assert_array_equal(model.predict(photo, "x"), plain.predict(photo, "general: x"))
    np.testing.assert_array_equal(model.predict(photo), plain.predict(photo, "pure:"))
    np.testing.assert_array_equal(model.predict(photo, "x", task="non_salient"), plain.predict(photo, "non salient: x"))
    with pytest.raises(ConfigError, match="non_silent"):
        model.predict(photo, "x", task="non_silent")


def test_a_model_without_text_says_so_once(
    model: Model, smoke_run: RunFolder, photo: Path, caplog: pytest.LogCaptureFixture
) -> None:
    deaf = Model(model._pipeline, model._settings, "deaf")
    deaf._pipeline.reads_text = False
    try:
        for text in ("", "a", "b"):
            deaf.predict(photo, text)
    finally:
        deaf._pipeline.reads_text = True
    assert caplog.messages == ["deaf reads no text: every text gives the same map"]


def test_a_picture_or_text_that_cannot_be_used_is_named(model: Model, tmp_path: Path, photo: Path) -> None:
    (tmp_path / "cut.jpg").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(DataError, match=r"cut\.jpg with the text 'a' cannot be used: .*not images"):
        model.predict(tmp_path / "cut.jpg", "a")
    with pytest.raises(DataError, match=r"not strings \(1\): None|not strings: None"):
        model.predict(photo, None)  # type: ignore[arg-type]


def test_the_first_frame_is_said(model: Model, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    model.predict(tmp_path / "moving.gif")
    assert caplog.messages == [f"{tmp_path / 'moving.gif'} holds several frames or pages; the first one is taken"]


def test_weights_that_are_no_numbers_are_no_prediction(smoke_run: RunFolder, tmp_path: Path, photo: Path) -> None:
    run = changed(smoke_run, tmp_path / "run")
    saved = torch.load(run.best, weights_only=True)
    for value in saved["state_dict"].values():
        if value.is_floating_point():
            value.fill_(float("nan"))
    torch.save(saved, run.best)
    with pytest.raises(CheckpointError, match="expected finite predictions"):
        saltext.load(run.root, device="cpu").predict(photo)


def test_a_map_of_zeros_says_nothing(model: Model) -> None:
    box = (0, 0, *model._settings.image_size)
    density = model._density(torch.zeros(1, 1, 6, 8), box, (5, 7))  # type: ignore[arg-type]
    np.testing.assert_allclose(density, 1 / 35, rtol=1e-6)
