import torch
from torch.nn import functional as F

from saltext.training.native import fixation_counts, groups, resample


def _batch(sizes: list[tuple[int, int]], boxes: list[tuple[int, int, int, int]]) -> dict[str, object]:
    return {
        "image": torch.zeros(len(sizes), 3, 32, 64, dtype=torch.uint8),
        "index": torch.arange(len(sizes)) + 10,
        "size": torch.tensor(sizes),
        "box": torch.tensor(boxes),
        "native_density": [torch.full(size, i, dtype=torch.uint8) for i, size in enumerate(sizes)],
        "native_points": [torch.tensor([[0, i]]) for i, _ in enumerate(sizes)],
    }


def test_a_stretched_map_is_resampled_whole() -> None:
    maps = torch.rand(2, 1, 8, 16)
    out = resample(maps, torch.tensor([0, 0, 32, 64]), (50, 40), (32, 64))
    torch.testing.assert_close(out, F.interpolate(maps, (50, 40), mode="bilinear"))


def test_padding_of_a_letterboxed_map_is_cut_off() -> None:
    maps = torch.zeros(1, 1, 32, 64)
    maps[..., 8:24, :] = 1.0  # the image fills the middle rows, padding above and below
    out = resample(maps, torch.tensor([8, 0, 16, 64]), (20, 80), (32, 64))
    assert out.shape == (1, 1, 20, 80)
    torch.testing.assert_close(out, torch.ones_like(out))


def test_two_fixations_on_one_pixel_count_twice() -> None:
    counts = fixation_counts([torch.tensor([[1, 2], [1, 2]]), torch.tensor([[0, 0]])], (3, 4))
    assert counts.shape == (2, 1, 3, 4)
    assert counts[0, 0, 1, 2] == 2
    assert counts[1, 0, 0, 0] == 1
    assert counts.sum() == 3


def test_samples_of_one_size_are_scored_together_and_keep_their_own_truth() -> None:
    whole = (0, 0, 32, 64)
    batch = _batch([(4, 6), (5, 3), (4, 6)], [whole, whole, whole])
    saliency = torch.arange(3.0).view(3, 1, 1, 1).expand(3, 1, 8, 16)
    found = {tuple(g.density.shape[-2:]): g for g in groups(saliency, batch)}
    assert set(found) == {(4, 6), (5, 3)}
    pair = found[4, 6]
    assert pair.index.tolist() == [10, 12]
    assert pair.saliency[:, 0, 0, 0].tolist() == [0.0, 2.0]
    torch.testing.assert_close(pair.density[:, 0, 0, 0] * 255, torch.tensor([0.0, 2.0]))
    assert pair.fixations[0, 0, 0, 0] == 1
    assert pair.fixations[1, 0, 0, 2] == 1
