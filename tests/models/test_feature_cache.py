import pickle
from collections.abc import Callable, Sequence
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from saltext.data.keys import ImageKey, ImageSource
from saltext.models import feature_cache
from saltext.models.feature_cache import FeatureCache, addressed, get_or_compute, get_or_compute_by_text
from saltext.models.feature_file import Features
from saltext.models.freezing import freeze
from tests.models.cached_features import PREPROCESSING, Two, check, features, images, keys


@pytest.fixture
def module() -> Two:
    torch.manual_seed(0)
    return freeze(Two())


# What is found


def test_cached_features_equal_computed_ones_to_the_last_bit(module: Two, tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path)
    for rows in ([0, 1, 2], [2, 3, 0], [1, 2], [101, 1, 101, 5]):
        check(features(module, cache, rows), module, rows)
    check(features(module, FeatureCache(tmp_path), [5, 101, 3]), module, [5, 101, 3])


def test_each_image_is_computed_once_whatever_the_batches(module: Two, tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path)
    for rows in ([0, 1, 2, 3], [5, 0, 3, 5, 4], [4, 4, 1]):
        features(module, cache, rows)
    assert module.runs == [1] * 6
    assert len(cache) == 6


def test_another_run_finds_what_the_first_one_computed(module: Two, tmp_path: Path) -> None:
    features(module, FeatureCache(tmp_path), [0, 1])
    other = freeze(Two())
    other.load_state_dict(module.state_dict())
    check(features(other, FeatureCache(tmp_path), [0, 1]), module, [0, 1])
    assert other.runs == []


def test_a_mirror_image_is_another_image(module: Two, tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path)
    for rows in ([0], [100], [0, 100]):
        check(features(module, cache, rows), module, rows)
    assert module.runs == [1, 1]


def test_images_that_do_not_come_back_are_computed_beside_those_that_do(module: Two, tmp_path: Path) -> None:
    cache, given = FeatureCache(tmp_path), images([0, 1, 1])
    features(module, cache, [0])
    for _ in range(2):
        with addressed(cache, given, [*keys([0]), None, None], PREPROCESSING):
            check(get_or_compute([module], given, lambda places: module(given[places])), module, [0, 1, 1])
    assert module.runs == [1] * 5
    assert len(cache) == 1


def test_only_the_very_images_that_were_addressed_are_found(module: Two, tmp_path: Path) -> None:
    cache, given = FeatureCache(tmp_path), images([0, 1])
    features(module, cache, [0, 1])
    with addressed(cache, given, keys([0, 1]), PREPROCESSING):
        other = given.flip(0)  # what a network makes of its images has no key
        check(get_or_compute([module], other, lambda places: module(other[places])), module, [1, 0])


def test_a_key_an_image_is_expected(module: Two, tmp_path: Path) -> None:
    with (
        pytest.raises(ValueError, match="expected one key an image, got 1 keys for 2 images"),
        addressed(FeatureCache(tmp_path), images([0, 1]), keys([0]), PREPROCESSING),
    ):
        pass


def test_features_carry_no_gradient_but_that_of_the_images(module: Two, tmp_path: Path) -> None:
    assert not any(t.requires_grad for t in features(module, FeatureCache(tmp_path), [0, 1]))
    given = images([0, 1]).requires_grad_()
    with addressed(FeatureCache(tmp_path), given, keys([0, 1]), PREPROCESSING):
        convolved, _ = get_or_compute([module], given, lambda places: module(given[places]))
    convolved.sum().backward()
    assert given.grad is not None
    assert given.grad.abs().sum() > 0


def test_features_in_half_precision_are_joined_under_autocast(module: Two, tmp_path: Path) -> None:
    given = images([0, 1])
    with (
        torch.autocast("cpu", torch.bfloat16),
        addressed(FeatureCache(tmp_path), given, keys([0, 1]), PREPROCESSING),
    ):
        (halves,) = get_or_compute([module], given, lambda places: (given[places].half(),))
    assert torch.equal(halves, given.half())


class Lengths:
    """Lengths of texts as features; records the images and texts it was called with."""

    def __init__(self, cache: FeatureCache, module: Two) -> None:
        self.cache, self.module = cache, module
        self.asked: list[tuple[int, str]] = []

    def compute(self, places: list[int], texts: list[str]) -> Features:
        self.asked += dict.fromkeys(zip(places, texts, strict=True))
        return (torch.tensor([[float(len(text))] for text in texts]),)

    def __call__(self, texts: list[str], rows: Sequence[int] = ()) -> list[float]:
        numbers = list(rows) or [0] * len(texts)
        given = images(numbers)
        with addressed(self.cache, given, keys(numbers), PREPROCESSING):
            return get_or_compute_by_text([self.module], given, texts, self.compute)[0].flatten().tolist()


def test_features_depend_on_the_text_where_they_are_said_to(module: Two, tmp_path: Path) -> None:
    lengths = Lengths(FeatureCache(tmp_path), module)
    assert lengths(["a", "abc", "", "a"]) == [1, 3, 0, 1]
    assert sorted(text for _, text in lengths.asked) == ["", "a", "abc"]
    again = Lengths(FeatureCache(tmp_path), module)
    assert again(["abc", "a", ""]) == [3, 1, 0]
    assert not again.asked
    assert again(["x" * n for n in range(20)]) == list(range(20))  # more than there is room for
    assert again(["x" * n for n in range(20)]) == list(range(20))


@pytest.mark.parametrize("on_disk", [True, False])
def test_the_expected_texts_of_an_image_are_computed_with_its_first_one(
    module: Two, tmp_path: Path, on_disk: bool
) -> None:
    cache = FeatureCache(tmp_path if on_disk else None)
    (zero, one) = keys([0, 1])
    assert zero is not None
    assert one is not None
    cache.expect_texts({zero: ["a", "bb", "ccc"], one: ["dddd"], one.flipped(): ["eeeee"]})
    lengths = Lengths(cache, module)
    assert lengths(["bb", "other"], [0, 1]) == [2, 5]
    assert lengths.asked == [(0, "a"), (0, "bb"), (0, "ccc"), (1, "dddd"), (1, "other")]  # an image's together
    assert lengths(["a", "ccc", "dddd"], [0, 0, 1]) == [1, 3, 4]
    assert len(lengths.asked) == 5
    assert lengths(["ffffff", "a"], [0, 1]) == [6, 1]  # nothing that is cached is computed again
    assert lengths.asked[5:] == [(0, "ffffff"), (1, "a")]


def test_more_texts_are_expected_than_there_is_room_for(module: Two, tmp_path: Path) -> None:
    cache, (zero,) = FeatureCache(tmp_path), keys([0])
    assert zero is not None
    cache.expect_texts({zero: ["x" * number for number in range(20)]})
    lengths = Lengths(cache, module)
    assert [lengths(["x" * number]) for number in range(20)] == [[number] for number in range(20)]


# What it is valid for


def reweighted(module: Two) -> None:
    module.load_state_dict({key: value + 1 for key, value in module.state_dict().items()})


def moved_by_hand(module: Two) -> None:
    module.conv.weight.data = module.conv.weight.data + 1


@pytest.mark.parametrize("change_weights", [reweighted, moved_by_hand])
def test_other_weights_have_other_features(module: Two, tmp_path: Path, change_weights: Callable[[Two], None]) -> None:
    cache = FeatureCache(tmp_path)
    features(module, cache, [0, 1])
    change_weights(module)
    check(features(module, cache, [0, 1]), module, [0, 1])
    assert module.runs == [1] * 4


def test_another_data_set_has_other_features(module: Two, tmp_path: Path) -> None:
    features(module, FeatureCache(tmp_path), [0, 1])
    other = ImageSource("changed", 8)
    check(features(module, FeatureCache(tmp_path), [0, 1], other, seed=2), module, [0, 1], seed=2)


class Scaled(nn.Module):
    def __init__(self, by: float) -> None:
        super().__init__()
        self.by = by


def test_size_normalisation_precision_settings_and_threads_are_part_of_the_key(module: Two, tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path)

    def computed(given: Tensor, part: nn.Module = module, preprocessing: nn.Module = PREPROCESSING) -> bool:
        before = len(module.runs)
        with addressed(cache, given, keys([0]), preprocessing):
            get_or_compute([part, module], given, lambda places: module(given[places]))
        return len(module.runs) > before

    assert computed(images([0]))
    assert not computed(images([0]))
    assert computed(images([0])[:, :, :7])
    assert computed(images([0]), preprocessing=Scaled(2.0))
    assert computed(images([0]), part=Scaled(2.0))
    assert computed(images([0]), part=Scaled(3.0))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert computed(images([0]))
        assert not computed(images([0]))
    module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    assert computed(images([0]))
    module.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    try:
        assert computed(images([0]))
    finally:
        torch.set_num_threads(threads)
    assert not computed(images([0]))


def test_features_computed_in_training_are_those_of_an_evaluation(module: Two, tmp_path: Path) -> None:
    """Each in a process of its own: the normalisation is in the mode of the training or the evaluation that owns it."""
    given = images([0])
    for mode in (True, False):
        with addressed(FeatureCache(tmp_path), given, keys([0]), nn.Identity().train(mode)):
            get_or_compute([module], given, lambda places: module(given[places]))
    assert module.runs == [1]


def test_weights_whose_changes_are_not_counted_are_not_relied_on(tmp_path: Path) -> None:
    with torch.inference_mode():
        module = freeze(Two())
    cache = FeatureCache(tmp_path)
    for _ in range(2):
        features(module, cache, [0])
    assert module.runs == [1, 1]


def test_what_is_made_in_inference_serves_training(module: Two, tmp_path: Path) -> None:
    for resident in (None, True):
        cache = FeatureCache(tmp_path / str(resident), resident)
        with torch.inference_mode():
            features(module, cache, [0])
        convolved, _ = features(module, cache, [0, 1])
        (convolved * torch.ones(1, requires_grad=True)).sum().backward()  # an inference tensor refuses


# Copies, photos


def test_a_copy_is_the_cache_itself_and_travels_to_another_process_as_its_folder(module: Two, tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path)
    assert deepcopy(cache) is cache
    features(module, cache, [0])
    travelled = pickle.loads(pickle.dumps(cache))
    check(features(module, travelled, [0]), module, [0])
    assert module.runs == [1]


def test_features_of_photos_are_kept_in_memory_and_found_by_their_keys(module: Two) -> None:
    cache = FeatureCache()
    one, other = ImageSource("photo 1", 1), ImageSource("photo 2", 1)
    given = images([0, 1])
    for _ in range(2):
        with addressed(cache, given, [ImageKey(one, 0), ImageKey(other, 0)], PREPROCESSING):
            check(get_or_compute([module], given, lambda places: module(given[places])), module, [0, 1])
    check(features(module, cache, [0], one), module, [0])
    assert module.runs == [1, 1]


# Other devices


def test_away_from_the_cpu_images_are_always_run_by_the_same_number(
    module: Two, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feature_cache, "_CHUNK_SIZES", {})
    cache = FeatureCache(tmp_path)
    for rows in ([0], [1, 2, 0], [*range(8), 100, 101]):
        check(features(module, cache, rows), module, rows)
    assert set(module.runs) == {8}
