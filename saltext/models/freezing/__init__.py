"""What of a network does not train: parts that stay as they are, and the papers' fix rates."""

from saltext.models.freezing.parts import (
    KeepsFrozenParts,
    freeze,
    is_frozen,
    leave_out_of_state_dict,
    rest_frozen_parts,
)
from saltext.models.freezing.rates import FixRates, FreezeRow, Layers, fixed_layers, freeze_table

__all__ = [
    "FixRates",
    "FreezeRow",
    "KeepsFrozenParts",
    "Layers",
    "fixed_layers",
    "freeze",
    "freeze_table",
    "is_frozen",
    "leave_out_of_state_dict",
    "rest_frozen_parts",
]
