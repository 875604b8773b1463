"""Fixations of other images: the negatives of the shuffled AUC."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from saltext.metrics.maps import Fixations, PixelLists


class FixationPool:
    """The fixations of a set of image-text pairs, at hand for scoring each pair against the others.

    A pair is left out together with every other pair of its image: viewers who saw the image with another text looked
    at the same objects, and the shuffled AUC would count them as chance.

    Args:
        points: For each pair, the (y, x) of its fixations in pixels of the image counted from 0, int64 (fixations, 2).
        sizes: Height and width of each pair's image, int64 (pairs, 2).
        image_ids: Image of each pair.
        groups: Group of each pair, usually its task; negatives come from the same group.

    Raises:
        ValueError: The arguments differ in length, or a point lies outside its image.

    Example:
        >>> from saltext.metrics import FixationPool
        >>> points = [torch.tensor([[0, 0]]), torch.tensor([[1, 1], [1, 2]])]  # (y, x) on images a and b
        >>> pool = FixationPool(points, torch.tensor([[2, 3], [2, 3]]), ["a", "b"], ["free", "free"])
        >>> pool.others(["a"], ["free"], (2, 3)).counts  # what a is scored against
        tensor([[[[0., 0., 0.],
                  [0., 1., 1.]]]])
    """

    def __init__(
        self, points: Sequence[Tensor], sizes: Tensor, image_ids: Sequence[str], groups: Sequence[str]
    ) -> None:
        lengths = (len(points), len(sizes), len(image_ids), len(groups))
        if len(set(lengths)) != 1:
            raise ValueError(
                f"expected one entry for each pair in points, sizes, image_ids and groups, got lengths {lengths}"
            )
        self._image_number = {name: number for number, name in enumerate(dict.fromkeys(image_ids))}
        self._group_number = {name: number for number, name in enumerate(dict.fromkeys(groups))}
        members: dict[str, list[int]] = {name: [] for name in self._group_number}
        for pair, group in enumerate(groups):
            members[group].append(pair)
        for of_pair, size, image_id in zip(points, sizes.tolist(), image_ids, strict=True):
            if bool(((of_pair < 0) | (of_pair >= torch.tensor(size, device=of_pair.device))).any()):
                raise ValueError(f"a fixation of image {image_id} lies outside its {size[0]} x {size[1]} pixels")
        owners = [torch.full((len(p),), self._image_number[i]) for p, i in zip(points, image_ids, strict=True)]
        native = [size.cpu().expand(len(p), 2) for p, size in zip(points, sizes, strict=True)]
        self._points = _grouped([p.cpu().long() for p in points], members, 0)
        self._native = _grouped(native, members, 1)
        # Padding belongs to image -1, which no pair can be.
        self._owners = _grouped(owners, members, -1)

    def others(self, image_ids: Sequence[str], groups: Sequence[str], size: tuple[int, int]) -> Fixations:
        """Fixations on other images of the same group, moved to an image's size.

        A point keeps its relative place: y becomes floor((y + 0.5) * height / native height).

        Args:
            image_ids: Image of each sample of a batch. One that is not in the pool has nothing to leave out.
            groups: Group of each sample.
            size: Height and width of the maps, the same for all samples.

        Returns:
            For each sample, the fixations that are its negatives, on the CPU.

        Raises:
            ValueError: A group that the pool does not have.
        """
        unknown = sorted(set(groups) - set(self._group_number))
        if unknown:
            raise ValueError(f"expected groups of the pool ({', '.join(self._group_number)}), got {', '.join(unknown)}")
        group = torch.tensor([self._group_number[name] for name in groups], dtype=torch.long)
        image = torch.tensor([self._image_number.get(name, len(self._image_number)) for name in image_ids])
        # In whole numbers, since a rounding error in front of the floor would move a point by a pixel.
        y, x = ((2 * self._points + 1) * torch.tensor(size) // (2 * self._native)).unbind(-1)
        owners = self._owners[group]
        valid = (owners != image[:, None]) & (owners >= 0)
        return Fixations(PixelLists((y * size[1] + x)[group], valid), (len(group), 1, *size), "others")


def _grouped(rows: Sequence[Tensor], members: Mapping[str, Sequence[int]], padding: int) -> Tensor:
    of_group = [torch.cat([rows[i] for i in pairs]) for pairs in members.values()]
    return pad_sequence(of_group, batch_first=True, padding_value=padding)
