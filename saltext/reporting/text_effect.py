"""What the text is worth: the score with a pair's own text minus the score with another one."""

from collections.abc import Mapping
from types import MappingProxyType

import pandas as pd
from rich.console import Console
from rich.table import Table

from saltext.console import PRINT_WIDTH
from saltext.metrics import METRICS
from saltext.reporting.compare import Difference, compare, markdown

TITLES: Mapping[str, str] = MappingProxyType(
    {
        "empty": "no text",
        "other_image": "the text of another image",
        "opposite": "the text about the image's other objects (salient <-> non_salient)",
        "opposite_condition": "that text, and the name of its condition",
    }
)
"""What the model read instead, by the variant's name."""


def text_effects(own: pd.DataFrame, variants: pd.DataFrame) -> dict[str, list[Difference]]:
    """Own text minus other text, for each variant.

    Args:
        own: Scores of the model with every pair's own text, one protocol.
        variants: Its scores with other texts, with a column ``variant``.

    Returns:
        Variant -> differences by task and metric, with intervals over images.
    """
    return {str(name): compare(own, part) for name, part in variants.groupby("variant", sort=False)}


def heading(variant: str) -> str:
    """What a table of one variant shows."""
    return f"Effect of the text: own text minus {TITLES.get(variant, variant)}, mean and 95 % interval over images"


def show(effects: Mapping[str, list[Difference]]) -> None:
    """Print the means of all variants in one table; intervals stand in the document."""
    names = list(dict.fromkeys(d.metric for differences in effects.values() for d in differences))
    view = Table("own text minus", "task", "images", title="Effect of the text")
    for name in names:
        view.add_column(METRICS[name].title, justify="right", no_wrap=True)
    for variant, differences in effects.items():
        view.add_section()
        for task in dict.fromkeys(d.task for d in differences):
            cells = {d.metric: d for d in differences if d.task == task}
            means = (f"{d.mean:+.3f}{'*' if d.excludes_zero else ' '}" for d in (cells[name] for name in names))
            view.add_row(TITLES.get(variant, variant), task, str(cells[names[0]].images), *means)
    view.caption = "* the 95 % interval (paired bootstrap over images) excludes zero"
    view.caption_justify = "left"
    Console(width=None if Console().is_terminal else PRINT_WIDTH).print(view)


def document(effects: Mapping[str, list[Difference]]) -> str:
    """All variants as one Markdown text."""
    return "\n".join(f"**{heading(name)}**\n\n{markdown(differences)}" for name, differences in effects.items())
