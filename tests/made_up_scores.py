"""Runs that never trained: folders with made-up scores and curves."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from saltext.data.splits import Split
from saltext.results.run_record import RunRecord
from saltext.results.study import Line, Study, Tolerance
from saltext.results.study_results import pooled_scores
from saltext.system.run_folder import RunFolder


def run(
    root: Path,
    scores: Mapping[str, Sequence[float]] | None = None,
    *,
    name: str = "one",
    label: str = "net",
    data: str = "saltext.data.sources.sjtu_tis.SjtuTis",
    selection_split: str = "test",
    stages: Mapping[str, Any] | None = None,
    stage: str = "",
    seed: int = 42,
    curve: Mapping[str, Sequence[float]] | None = None,
    baseline: Mapping[str, Sequence[float]] | None = None,
    variants: Mapping[str, Mapping[str, Sequence[float]]] | None = None,
    method: str = "by hand",
    first: int = 0,
) -> RunFolder:
    """A run folder.

    Args:
        root: Where.
        scores: Task -> CC of the images, numbered from ``first``; with ``stage``, they and the curves are the stage's.
        variants: Variant of the text -> the same.
        method: Of its split.
    """
    folder = RunFolder(root)
    part = folder.stage(stage) if stage else folder
    part.root.mkdir(parents=True)
    cfg: dict[str, Any] = {
        "name": name,
        "label": label,
        "seed": seed,
        "model": {"name": "made_up"},
        "data": {
            "_target_": data,
            "selection_split": selection_split,
            "image_size": [96, 128],
            "tasks": ["pure"],
            "split_seed": 3,
        },
        "evaluation": {"monitor": f"{selection_split}/cc", "mode": "max"},
        "trainer": {"max_epochs": 3},
        "optimizer": {"lr": 0.1},
        "stages": {"sequence": stages or {}},
    }
    folder.config.write_text(yaml.safe_dump(cfg, sort_keys=False))
    Split(method, 0, "image", {"train": ("1",), "val": ("2",), "test": ("3",)}).save(folder.split)
    if scores is not None:
        rows = [table(scores, label, seed, first)]
        rows += [table(baseline, "centre prior", seed, first)] if baseline else []
        pd.concat(rows).to_csv(part.scores, index=False)
        folder.result.write_text(json.dumps({"label": label, "seconds": 120, "test": {}}))
    if variants:
        others = [table(of, label, seed, first).assign(variant=name) for name, of in variants.items()]
        pd.concat(others).query("protocol == 'standard'").to_csv(part.text_ablation_scores, index=False)
    if curve:
        by_epoch = pd.DataFrame(curve)
        log(part.root, 0, by_epoch.assign(epoch=by_epoch.index, step=by_epoch.index).to_dict("records"))
    return folder


def table(scores: Mapping[str, Sequence[float]], model: str, seed: int, first: int = 0) -> pd.DataFrame:
    rows = [
        {"image_id": f"{place:010d}", "task": task, "text": "", "split": "test", "model": model, "seed": seed,
         "protocol": protocol, "cc": value if protocol == "tranblend" else value + 1}
        for protocol in ("standard", "tranblend")
        for task, values in scores.items()
        for place, value in enumerate(values, first)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def measured(study: Study, runs: Sequence[RunRecord]) -> pd.DataFrame:
    """What runs of one evaluation setting scored."""
    return pooled_scores(study, {"one way": runs}).own


def both_texts(
    salient: Sequence[float], non_salient: Sequence[float], name: str = "cc", **more: object
) -> pd.DataFrame:
    """Scores of images 000, 001 ... on both tasks of the text-swap test."""
    parts = [
        pd.DataFrame({"image_id": [f"{place:03}" for place in range(len(column))], "task": task, name: column})
        for task, column in (("salient", salient), ("non_salient", non_salient))
    ]
    return pd.concat(parts, ignore_index=True).assign(**more)


def log(folder: Path, version: int, rows: Sequence[Mapping[str, float]]) -> None:
    """As Lightning's CSV logger leaves them: validation and training values of an epoch on lines of their own."""
    target = folder / "metrics" / f"version_{version}"
    target.mkdir(parents=True)
    pd.DataFrame(rows).to_csv(target / "metrics.csv", index=False)


def spread(mean: float, half: float, pairs: int = 50) -> list[float]:
    """Values with this mean, half of them ``half`` above it and half below."""
    return (mean + half * np.where(np.arange(pairs) % 2, 1.0, -1.0)).tolist()


def curves(**lines: Sequence[float]) -> pd.DataFrame:
    rows = [(line, epoch, "cc", value) for line, values in lines.items() for epoch, value in enumerate(values)]
    return pd.DataFrame(rows, columns=["line", "epoch", "metric", "value"])


def study(*lines: Line, **more: Any) -> Study:
    """A study of CC on ``pure`` and ``salient``, measured as the TranBlend paper does, tolerance .05."""
    given: dict[str, Any] = {
        "name": "made_up",
        "title": "Made up",
        "source": "nowhere",
        "experiments": ["one"],
        "protocol": "tranblend",
        "metrics": ("cc",),
        "rows": {"pure": ["pure"], "salient": ["salient"]},
        "tolerance": {"cc": Tolerance(0.05, "made up")},
    }
    return Study(**{**given, "lines": lines or (Line("ours", "one"),), **more})
