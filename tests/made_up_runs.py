"""What a run leaves in its folder, without a run."""

import json

import pandas as pd
from omegaconf import DictConfig

from saltext.results.score_table import write_scores
from saltext.system.run_folder import RunFolder


def write_run(folder: RunFolder, cfg: DictConfig, cc: float) -> None:
    """Curves of which the best CC is ``cc``, scores of two images and tasks with that mean CC, and the result."""
    logged = folder.root / "metrics" / "version_0"
    logged.mkdir(parents=True, exist_ok=True)
    (logged / "metrics.csv").write_text(f"epoch,step,val/cc\n0,1,{cc / 2}\n1,2,{cc}\n2,3,{cc / 4}\n")
    write_scores(folder.scores, pd.DataFrame([*_rows(cfg, cfg.label, cc), *_rows(cfg, "uniform map", 0.0)]))
    means = {"pure": {"cc": cc - 0.1, "kl": 1.0, "nss": 2.0}, "salient": {"cc": cc + 0.1, "kl": 1.0, "nss": 2.0}}
    result = {"label": cfg.label, "seed": cfg.seed, "seconds": 90, "test": {"standard": {cfg.label: means}}}
    folder.result.write_text(json.dumps(result))


def _rows(cfg: DictConfig, model: str, cc: float) -> list[dict[str, object]]:
    same = {"text": "", "split": "test", "model": model, "seed": cfg.seed, "protocol": "standard"}
    return [
        {"image_id": image, "task": task, **same, "cc": cc + shift, "kl": 1.0, "nss": 2.0}
        for task, shift in (("pure", -0.1), ("salient", 0.1))
        for image in ("007", "008")
    ]
