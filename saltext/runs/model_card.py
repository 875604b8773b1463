"""The model card of an export, with the metadata that the Hugging Face hub reads (``README.md``)."""

import hashlib
import math
from collections.abc import Iterator
from pathlib import Path

from huggingface_hub import EvalResult, ModelCardData
from omegaconf import DictConfig

from saltext import __version__
from saltext.data.splits import PARTS, Split
from saltext.evaluation.protocols import STANDARD
from saltext.metrics.scores import is_built_in
from saltext.reporting.grid import escape_markdown
from saltext.reporting.tables import STANDARD_NOTE, TaskTable, all_metrics
from saltext.results.means import Row, rows
from saltext.results.run_record import evaluation_setting
from saltext.results.score_table import of_protocol, read_scores
from saltext.runs import schema
from saltext.runs.stages import Stage
from saltext.system.run_folder import RunFolder

_TASK = "text-guided-saliency-prediction"
_UNNAMED = ("custom", "synthetic")  # readers whose data set has no public name

_BODY = """# {label}

Where people look in an image after reading a sentence about it: a model of the Python package `saltext`.

```python
import saltext

model = saltext.load("{place}")  # a commit of the repository: revision="..."
density = model.predict("photo.jpg", "the white lamps")  # float32 (height, width), sums to 1
```

On the command line: `saltext predict photo.jpg --text "the white lamps" --model {place}`.

| | |
|---|---|
| network | `{network}` |
| conditions | {tasks} |
| trained on | {data}; {sizes} |
| evaluation | {setting} |
| weights | `model.safetensors`, SHA-256 `{digest}` |
| made by | `saltext export`, saltext {version} |

Modules whose weights come from packages or repositories of their own are not in `model.safetensors`; `config.yaml`
names them. `split.json` lists the images of each part.

{scores}
## Limits

A density is an estimate of where the viewers of one study looked on average, not of where any one person looks. Not
for judging or tracking persons. {terms}
"""


def model_card(export: RunFolder, stage: Stage, place: str, licence: str | None = None) -> str:
    """The model card of an export.

    Args:
        export: Its folder, with configuration, split and weights.
        stage: What was exported. Its scores, if it has any, become a table and the ``model-index`` of the metadata.
        place: What ``saltext.load`` is given: the folder's name, or ``owner/name`` on the hub.
        licence: Identifier as the hub knows it, such as ``mit``; None: not stated.

    Returns:
        Markdown that begins with metadata in YAML.

    Raises:
        DamagedFileError: The stage's scores are damaged.
    """
    cfg = stage.cfg
    split = Split.load(export.split)
    scored = _rows(stage)
    unit = f"{split.unit}s"
    data_set = _data_set(cfg)
    metadata = ModelCardData(
        language="en",
        license=licence,
        library_name="saltext",
        tags=["saltext", "saliency", "text-guided-saliency", "eye-tracking", "visual-attention", "pytorch"],
        datasets=[data_set] if data_set else None,
        metrics=sorted({name for row in scored for name in row.means}) or None,
        model_name=str(cfg.label) if scored else None,
        eval_results=list(_results(scored, data_set or "own data")) or None,
    )
    table = ""
    if scored:
        shown = all_metrics(TaskTable("Scores", STANDARD_NOTE, scored))
        table = f"## Scores\n\n{shown.markdown().strip()}\n"
    body = _BODY.format(
        label=escape_markdown(str(cfg.label)),
        place=place,
        network=str(cfg.model["_target_"]).rpartition(".")[2],
        tasks=", ".join(f"`{task}`" for task in cfg.data.tasks or ()) or "those of its data set",
        data=data_set or "a data set of its author's",
        sizes=", ".join(f"{part} {len(split.parts[part])}" for part in PARTS) + f" {unit}",
        setting=escape_markdown(evaluation_setting(split, cfg.data.selection_split)),
        digest=_digest(export.exported),
        version=__version__,
        scores=table,
        terms=f"Licence: {licence}." if licence else "Its author has not stated a licence.",
    )
    return f"---\n{metadata.to_yaml()}\n---\n\n{body}"


def _rows(stage: Stage) -> list[Row]:
    """The means of the model itself under each condition, by the standard protocol; empty without scores."""
    if not stage.folder.scores.is_file():
        return []
    scores = read_scores(stage.folder.scores)
    own = of_protocol(scores[scores["model"] == str(stage.cfg.label)], STANDARD)
    return rows(own, {})


def _results(scored: list[Row], data_set: str) -> Iterator[EvalResult]:
    for row in scored:
        for name, mean in row.means.items():
            if is_built_in(name) and math.isfinite(mean.mean):
                yield EvalResult(
                    task_type=_TASK,
                    task_name="Text-guided saliency prediction",
                    dataset_type=data_set,
                    dataset_name=data_set,
                    dataset_config=row.task,
                    dataset_split="test",
                    metric_type=name,
                    metric_name=f"{name}, mean over {row.pairs} pairs",
                    metric_value=round(mean.mean, 4),
                )


def _data_set(cfg: DictConfig) -> str:
    """The name of the data set's reader as the hub writes names, ``sjtu-tis``; empty for one without a public name."""
    name = str(cfg.data["_target_"]).split(".")[-2]
    return "" if name in _UNNAMED or cfg.data["_target_"] == schema.SYNTHETIC else name.replace("_", "-")


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
