"""Which parts of a network train, as a table."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from saltext.models.freezing import FreezeRow


def show(rows: Sequence[FreezeRow]) -> None:
    """Print how many layers and parameters of each part train."""
    view = Table("part", "layers", "fixed", "parameters", "trained", title="What trains")
    for column in view.columns[1:]:
        column.justify = "right"
    for row in rows:
        counted = (str(row.layers), str(row.fixed_layers)) if row.layers else ("–", "–")
        view.add_row(row.part, *counted, f"{row.parameters:,}", f"{row.trained_parameters:,}")
    view.add_section()
    total, trained = (sum(getattr(row, name) for row in rows) for name in ("parameters", "trained_parameters"))
    view.add_row("all", "", "", f"{total:,}", f"{trained:,}")
    Console(width=None if Console().is_terminal else 100).print(view)
