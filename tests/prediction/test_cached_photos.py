"""Features of photos are found by a digest that is made once a photo, and change no prediction."""

import hashlib

import numpy as np
import pytest

from saltext.data.cache import CacheSettings
from saltext.models.feature_cache import FeatureCache
from saltext.prediction.model import Model
from saltext.prediction.photos import Photo, open_photo
from saltext.prediction.texts import TextQuery
from tests.training.test_cached_features import module

TEXTS = ("a circle", "", "the star on the left", "a circle")


def model(cache: FeatureCache | None) -> Model:
    return Model(module("grounded_gaze", cache).eval().pipeline, CacheSettings((64, 96), (16, 24)), "a test")


def photo(seed: int) -> Photo:
    return open_photo(np.random.default_rng(seed).integers(0, 256, (50, 70, 3), dtype=np.uint8))


def test_predictions_are_the_same_with_and_without_cached_features() -> None:
    cache = FeatureCache()
    wanted = [(photo(seed), TextQuery(text)) for seed in (0, 1) for text in TEXTS]
    expected = list(model(None).densities(wanted, batch_size=3))
    cached = model(cache)
    for _ in range(2):
        for found, density in zip(cached.densities(wanted, batch_size=3), expected, strict=True):
            np.testing.assert_array_equal(found, density)
    pixels = wanted[4][0].pixels
    np.testing.assert_array_equal(cached.predict(pixels, TEXTS[0]), model(None).predict(pixels, TEXTS[0]))
    # Of two photos and their mirror images: features and semantic maps of two backbones, and maps of three texts.
    assert len(cache) == 2 * 2 * 2 * (2 + 3)


def test_a_photo_is_hashed_once_whatever_is_read_about_it(monkeypatch: pytest.MonkeyPatch) -> None:
    opened, predicts = photo(0), model(FeatureCache())
    hashed: list[int] = []
    real = hashlib.blake2b

    def counting(content: bytes = b"", **settings: int) -> object:
        hashed.append(len(content))
        return real(content, **settings)

    monkeypatch.setattr(hashlib, "blake2b", counting)
    list(predicts.densities([(opened, TextQuery(text)) for text in TEXTS], batch_size=2))
    assert len([size for size in hashed if size >= opened.pixels.nbytes]) == 1


def test_photos_are_distinguished_by_their_pixels() -> None:
    one = photo(0)
    assert open_photo(one.pixels.copy()).digest == one.digest
    assert open_photo(np.ascontiguousarray(one.pixels[:, ::-1])).digest != one.digest
    assert Photo(one.pixels.reshape(70, 50, 3)).digest != one.digest
