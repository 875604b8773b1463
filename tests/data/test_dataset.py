from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from saltext.data.cache import CacheSettings, DecodedCache, open_cache
from saltext.data.dataset import SJTUTIS, collate
from saltext.data.pairs import Pair
from saltext.data.transforms import Augment, View


@pytest.fixture
def cache(small_pairs: list[Pair], small_settings: CacheSettings, cache_dir: Path) -> DecodedCache:
    return open_cache(small_pairs, small_settings, cache_dir)


def test_a_batch_has_the_documented_shapes_types_and_ranges(small_pairs: list[Pair], cache: DecodedCache) -> None:
    dataset = SJTUTIS(small_pairs, cache, [3, 8, 20], native=True)
    batch = collate([dataset[place] for place in range(3)])
    shapes = {
        name: (tuple(value.shape), value.dtype) for name, value in batch.items() if isinstance(value, torch.Tensor)
    }
    assert shapes == {
        "image": ((3, 3, 72, 96), torch.uint8),
        "density": ((3, 1, 36, 48), torch.float32),
        "fixations": ((3, 1, 36, 48), torch.float32),
        "index": ((3,), torch.int64),
        "box": ((3, 4), torch.int64),
        "size": ((3, 2), torch.int64),
    }
    assert batch["index"].tolist() == [3, 8, 20]
    assert batch["text"] == [small_pairs[i].text for i in (3, 8, 20)]
    assert batch["image_id"] == [small_pairs[i].image_id for i in (3, 8, 20)]
    assert batch["task"] == [small_pairs[i].task for i in (3, 8, 20)]
    assert batch["box"].tolist() == [[0, 0, 72, 96]] * 3
    assert batch["density"].min() >= 0
    assert batch["density"].max() <= 1
    for place, index in enumerate((3, 8, 20)):
        points, density = batch["native_points"][place], batch["native_density"][place]
        assert points.dtype == torch.int64
        assert density.dtype == torch.uint8
        assert list(density.shape) == batch["size"][place].tolist()
        assert batch["fixations"][place].sum() == len(points) == len(cache.points(index))


def test_training_batches_carry_no_native_truth(small_pairs: list[Pair], cache: DecodedCache) -> None:
    batch = collate([SJTUTIS(small_pairs, cache)[0]])
    assert "native_density" not in batch
    assert "native_points" not in batch


def test_samples_own_their_memory(small_pairs: list[Pair], cache: DecodedCache) -> None:
    dataset = SJTUTIS(small_pairs, cache, native=True)
    before = dataset[0]["image"].clone()
    for value in dataset[0].values():
        if isinstance(value, torch.Tensor):
            value.zero_()
    assert torch.equal(dataset[0]["image"], before)


def test_a_letterboxed_samples_box_holds_all_its_content(small_pairs: list[Pair], cache_dir: Path) -> None:
    boxed = open_cache(small_pairs, CacheSettings((72, 96), (36, 48), "letterbox"), cache_dir)
    for augment in (None, Augment(flip=1.0)):
        dataset = SJTUTIS(small_pairs, boxed, augment=augment)
        for sample in (dataset[place] for place in range(len(dataset))):
            top, left, height, width = sample["box"].tolist()
            inside = torch.zeros(72, 96, dtype=torch.bool)
            inside[top : top + height, left : left + width] = True
            assert not sample["image"][:, ~inside].any()
            assert height == 72 or width == 96


def test_augmentation_depends_on_seed_epoch_and_pair_only(small_pairs: list[Pair], cache: DecodedCache) -> None:
    whole = SJTUTIS(small_pairs, cache, augment=Augment(), seed=5)
    part = SJTUTIS(small_pairs, cache, [30, 31], augment=Augment(), seed=5)
    assert torch.equal(whole[2, 31]["image"], part[2, 1]["image"])
    assert not torch.equal(whole[2, 31]["image"], whole[3, 31]["image"])


def test_mirroring_keeps_every_fixation_under_its_density(small_pairs: list[Pair], cache: DecodedCache) -> None:
    plain = SJTUTIS(small_pairs, cache)
    mirrored = SJTUTIS(small_pairs, cache, augment=Augment(flip=1.0))
    for place in range(0, 60, 7):
        one, two = plain[place], mirrored[place]
        assert torch.equal(two["density"], one["density"].flip(-1))
        assert torch.equal(two["fixations"], one["fixations"].flip(-1))


def test_native_truth_cannot_be_augmented(small_pairs: list[Pair], cache: DecodedCache) -> None:
    with pytest.raises(ValueError, match="give one of the two"):
        SJTUTIS(small_pairs, cache, augment=Augment(), native=True)


def test_a_cache_of_other_data_is_refused(small_pairs: list[Pair], cache: DecodedCache) -> None:
    with pytest.raises(ValueError, match="the cache holds 60 pairs, the data set 59"):
        SJTUTIS(small_pairs[:-1], cache)


def test_density_is_the_published_map_over_255(small_pairs: list[Pair], cache: DecodedCache) -> None:
    density = SJTUTIS(small_pairs, cache)[9]["density"].numpy()[0]
    np.testing.assert_array_equal(density, cache.density[9].astype(np.float32) / np.float32(255))


FLIPPING = Augment(brightness=0, contrast=0, hue=0, saturation=0)


def shifted(view: View, seed: tuple[int, int, int]) -> View:
    """An augmentation of one's own, which changes the image and says so nowhere."""
    return replace(view, image=np.roll(view.image, 1, axis=1))


@pytest.mark.parametrize("resize", ["stretch", "letterbox"])
@pytest.mark.parametrize("augment", [None, FLIPPING, Augment(), Augment(flip=0, hue=0, saturation=0), shifted])
def test_equal_keys_stand_for_equal_pixels(
    small_pairs: list[Pair], cache_dir: Path, resize: str, augment: Augment | None
) -> None:
    decoded = open_cache(small_pairs, CacheSettings((72, 96), (36, 48), resize), cache_dir)  # type: ignore[arg-type]
    dataset = SJTUTIS(small_pairs, decoded, augment=augment)
    mirrored = []
    for sample in (dataset[epoch, place] for epoch in range(2) for place in range(len(dataset))):
        key = sample["image_key"]
        mirrored.append(None if key is None else key.mirrored)
        if key is not None:
            image = torch.from_numpy(decoded.images[key.row].copy()).permute(2, 0, 1)
            assert torch.equal(sample["image"], image.flip(-1) if key.mirrored else image)
            assert key.source == (decoded.folder.name, len(decoded.images))
            assert key.flipped().flipped() == key
    expected = {None: {False}, FLIPPING: {False, True}}.get(augment, {None})
    assert set(mirrored) == expected
