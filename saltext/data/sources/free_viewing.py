"""What the readers of data sets without texts share."""

from collections.abc import Sequence
from typing import ClassVar

CONDITION = "pure"
"""The only condition: free viewing."""


class FreeViewing:
    """Base of the readers of data sets whose viewers read no text; no table publishes values for them."""

    published: ClassVar[str | None] = None
    conditions: ClassVar[Sequence[str]] = (CONDITION,)
