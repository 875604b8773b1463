"""What the suite itself knows of a metric, for its page: names, direction, what it compares with, how to call it."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType

from saltext.metrics import METRICS

_PAGES = Path(__file__).resolve().parents[1] / "metrics"

_TRUTHS: Mapping[str, str] = MappingProxyType(
    {
        "density": "the blurred map of where people looked (`density`)",
        "fixations": "the points they fixated (`fixations`)",
        "others": "the fixations on other images (`others`)",
        "baseline": "a density to beat, usually the centre prior of other images (`baseline`)",
    }
)


def facts(name: str) -> str:
    """A table of what :data:`METRICS` says of a metric, how to call it, and its function's own documentation."""
    metric = METRICS[name]
    function = metric.function
    bound = function.keywords if isinstance(function, partial) else {}
    function = function.func if isinstance(function, partial) else function
    options = ", ".join(f"{key}={value!r}" for key, value in bound.items())
    return f"""\
| | |
|---|---|
| name in configurations, commands and score tables | `{name}` |
| heading of tables | {metric.title} |
| better | {"higher" if metric.higher_is_better else "lower"} |
| score of a constant prediction | {"depends on the image" if metric.chance is None else f"{metric.chance:g}"} |
| of the prediction it ignores | {metric.invariant_to} |
| compares the prediction with | {" and ".join(_TRUTHS[truth] for truth in metric.needs)} |
| computed by | {{py:func}}`{function.__module__}.{function.__name__}`{f" with `{options}`" if options else ""} |

```python
{call(name)}
```

```text
python -m saltext.run 'evaluation.test_metrics=[{name}]'
saltext score MAPS data/sjtu-tis --metric {name}
```

## Definition

```{{eval-rst}}
.. autofunction:: {function.__module__}.{function.__name__}
   :no-index:
```
"""


def call(name: str) -> str:
    """Python that scores ``pred`` against the truths a metric needs."""
    needs = METRICS[name].needs
    given = [truth if truth in needs else "None" for truth in ("density", "fixations")]
    extra = [f"{truth}={truth}" for truth in needs if truth in ("others", "baseline")]
    arguments = ", ".join(["pred", *given, f'["{name}"]', *extra])
    return f'from saltext.metrics import score\n\nscore({arguments})["{name}"]  # one score per image'


def overview() -> str:
    """One row per metric, linked to its page, or to its function where it has none."""
    rows = [
        f"| {_link(name)} | {metric.title} | {'higher' if metric.higher_is_better else 'lower'} | "
        f"{', '.join(f'`{truth}`' for truth in metric.needs)} |"
        for name, metric in METRICS.items()
    ]
    return "\n".join(["| name | heading | better | needs |", "|---|---|---|---|", *rows])


def _link(name: str) -> str:
    if (_PAGES / f"{name}.md").is_file():
        return f"[`{name}`]({name}.md)"
    function = METRICS[name].function
    function = function.func if isinstance(function, partial) else function
    return f"{{py:func}}`{name} <{function.__module__}.{function.__name__}>`"
