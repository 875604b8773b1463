"""Where people look when nothing is known about the image."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from saltext.errors import DataError

CENTRE_PRIOR = "centre prior"
"""Its name in tables."""


class CentrePrior:
    """For each task the mean of its training maps, each first divided by its sum.

    The bar of every saliency table: it sees neither image nor text.
    """

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}

    @property
    def tasks(self) -> list[str]:
        """Tasks seen so far, sorted."""
        return sorted(self._sums)

    def fit(self, batches: Iterable[tuple[Tensor, Sequence[str]]]) -> "CentrePrior":
        """Forget everything and take in batches of (density, tasks), as :meth:`update` does."""
        self._sums, self._counts = {}, {}
        for density, tasks in batches:
            self.update(density, tasks)
        return self

    def update(self, density: Tensor, tasks: Sequence[str]) -> None:
        """Take in a batch of training maps.

        Args:
            density: Ground-truth maps, not negative, any scale, shape ``(batch, 1, height, width)``.
            tasks: The task of each.

        Raises:
            ValueError: Shapes that do not fit together or to earlier batches.
            DataError: A map whose sum is not positive.
        """
        if density.ndim != 4 or density.shape[1] != 1 or len(density) != len(tasks):
            raise ValueError(
                f"density of shape ({len(tasks)}, 1, height, width) expected for {len(tasks)} tasks, "
                f"{tuple(density.shape)} came"
            )
        sizes = {tuple(total.shape) for total in self._sums.values()} | {tuple(density.shape[1:])}
        if len(sizes) > 1:
            raise ValueError(f"maps of one size expected, sizes {sorted(sizes)} came: resize them to one map size")
        density = density.detach().to("cpu", torch.float64)
        mass = density.sum(dim=(1, 2, 3), keepdim=True)
        if not bool((mass > 0).all()):
            raise DataError(
                f"{int((mass <= 0).sum())} of {len(tasks)} training maps sum to zero: they say nothing; drop them"
            )
        shares = density / mass
        for task in sorted(set(tasks)):
            rows = torch.tensor([name == task for name in tasks])
            self._sums[task] = self._sums.get(task, torch.zeros(())) + shares[rows].sum(dim=0)
            self._counts[task] = self._counts.get(task, 0) + int(rows.sum())

    def predict(self, tasks: Sequence[str]) -> Tensor:
        """Give the prior of each task.

        Args:
            tasks: Any tasks seen in training, in any order, with repeats.

        Returns:
            float32 maps that sum to 1, shape ``(len(tasks), 1, height, width)``.

        Raises:
            DataError: A task without a training map.
        """
        unknown = sorted(set(tasks) - set(self._sums))
        if unknown:
            raise DataError(
                f"no training map was seen for {unknown}; the centre prior knows {self.tasks or 'no task yet'}"
            )
        means = {task: (self._sums[task] / self._counts[task]).float() for task in set(tasks)}
        return torch.stack([means[task] for task in tasks])
