"""What lies where in the folder of one run."""

import logging
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from saltext.errors import ConfigError, DamagedFileError, printable
from saltext.storage import check_csv, read_json

_log = logging.getLogger(__name__)

LAST, PREVIOUS = "last.ckpt", "last.prev.ckpt"
_LONGEST_FAILURE = 10_000  # characters


@dataclass(frozen=True)
class RunFolder:
    """Names of the files of one run; creates nothing by itself."""

    root: Path

    @property
    def config(self) -> Path:
        """The composed configuration, resolved but for the environment: the record a run is rebuilt from."""
        return self.root / "config.yaml"

    @property
    def trust(self) -> Path:
        """Facts that bind :attr:`config` to who started the run here, see :mod:`saltext.runs.trust`."""
        return self.root / "trust.json"

    @property
    def provenance(self) -> Path:
        """Package versions, git commit, hardware and times."""
        return self.root / "provenance.json"

    @property
    def split(self) -> Path:
        """Which images trained, chose the epoch, and were tested."""
        return self.root / "split.json"

    @property
    def checkpoints(self) -> Path:
        """Folder of ``best.ckpt`` and ``last.ckpt``."""
        return self.root / "checkpoints"

    @property
    def best(self) -> Path:
        """Weights of the epoch chosen on the validation images."""
        return self.checkpoints / "best.ckpt"

    @property
    def exported(self) -> Path:
        """Weights of an export, in place of :attr:`checkpoints`; named as the Hugging Face hub expects."""
        return self.root / "model.safetensors"

    @property
    def class_names(self) -> Path:
        """Sentence features of the grounders' class names, which a self-contained export brings."""
        return self.root / "class_names.safetensors"

    @property
    def card(self) -> Path:
        """The model card of an export."""
        return self.root / "README.md"

    @property
    def last(self) -> Path:
        """Everything needed to continue after the last finished epoch."""
        return self.checkpoints / LAST

    @property
    def previous(self) -> Path:
        """The same of the epoch before; there only while it trains."""
        return self.checkpoints / PREVIOUS

    @property
    def chosen(self) -> Path:
        """The weights to test: the best epoch's, or the last one's where no images were kept to choose.

        The record of a finished training says which, so that the last epoch never stands in for a best one that is
        gone; while it trains, or where the record is damaged, it is the best one where there is one. An export has one
        file of weights.
        """
        if os.path.lexists(self.exported):
            return self.exported
        with suppress(DamagedFileError):
            if read_json(self.finished_stage, dict).get("weights") == self.best.name:
                return self.best
        return self.best if os.path.lexists(self.best) else self.last

    @property
    def scores(self) -> Path:
        """One row per test pair, model and protocol, one column per metric."""
        return self.root / "scores.csv"

    @property
    def epoch_scores(self) -> Path:
        """One row per epoch and pair; only with ``callbacks=epoch_scores``."""
        return self.root / "epoch_scores.csv"

    @property
    def text_ablation_scores(self) -> Path:
        """Scores of the model with other texts than the pairs' own; only where it reads text."""
        return self.root / "text_ablation.csv"

    @property
    def text_ablation_table(self) -> Path:
        """Differences between the own text and other texts, by task and metric."""
        return self.root / "text_ablation.md"

    @property
    def table(self) -> Path:
        """Task x metric next to the centre prior and the published values."""
        return self.root / "table.md"

    @property
    def picture(self) -> Path:
        """A few test pairs: image, text, human map, prediction."""
        return self.root / "pairs.png"

    @property
    def coverage(self) -> Path:
        """One row per test pair: the fraction of its fixations in the region that holds each fraction of the mass."""
        return self.root / "calibration.csv"

    @property
    def report(self) -> Path:
        """The page for readers; of a sweep, too."""
        return self.root / "report.html"

    @property
    def finished_stage(self) -> Path:
        """What a finished stage trained on; there only when it has finished."""
        return self.root / "stage.json"

    def stage(self, name: str) -> "RunFolder":
        """The folder of a stage of the run."""
        return RunFolder(self.root / "stages" / name)

    @property
    def log(self) -> Path:
        """What the run said, in plain lines."""
        return self.root / "run.log"

    @property
    def wandb_id(self) -> Path:
        """The id of the W&B run, so that a resumed run continues it."""
        return self.root / "wandb" / "id"

    @property
    def mlflow_id(self) -> Path:
        """The id of the MLflow run, so that a resumed run continues it."""
        return self.root / "mlflow" / "run_id"

    @property
    def failure(self) -> Path:
        """Why a job of a sweep failed, in a line; there only where it did."""
        return self.root / "failure.txt"

    @property
    def result(self) -> Path:
        """Mean test scores; there only when the run has finished."""
        return self.root / "result.json"

    def read_result(self) -> dict[str, Any]:
        """Mean test scores, label and duration of a finished run, whose tables are complete.

        Raises:
            DamagedFileError: ``result.json`` or a table of scores is missing, empty, cut or of other content.
        """
        found: dict[str, Any] = read_json(self.result, dict, ("label", "seconds", "test"))
        match found:
            case {"label": str(label), "seconds": int() | float(), "test": dict()} if label == printable(label):
                pass
            case _:
                raise DamagedFileError(f"{self.result} is damaged: expected a label, seconds and scores, got others")
        self.check_scores()
        return found

    def check_scores(self) -> None:
        """Make sure that the tables of scores are as long as they were written.

        Raises:
            DamagedFileError: One is missing, empty or cut.
        """
        check_csv(self.scores)
        if self.text_ablation_scores.exists():
            check_csv(self.text_ablation_scores)

    def read_failure(self) -> str:
        """Why a failed job failed, in a line; empty for others."""
        if not self.failure.is_file():
            return ""
        with self.failure.open(encoding="utf-8", errors="replace") as stream:
            return stream.read(_LONGEST_FAILURE).strip()

    def read_starts(self) -> list[dict[str, Any]]:
        """The records of the run's starts, see ``saltext.runs.provenance``; the log names what is none."""
        try:
            records: list[Any] = read_json(self.provenance, list) if self.provenance.exists() else []
        except DamagedFileError as error:
            _log.warning("%s; left out", error)
            return []
        starts = []
        for record in records:
            kinds = {"packages": dict, "gpus": list}
            if isinstance(record, dict) and all(isinstance(record.get(key, k()), k) for key, k in kinds.items()):
                starts.append(record)
            else:
                _log.warning("%s: left out an entry that is no record of a start: %.80r", self.provenance, record)
        return starts

    def version(self) -> str:
        """The version of saltext that last wrote to the folder, and its commit, as text for a message.

        "the version that wrote it" where no record says more: an export has none, and a stranger's may say anything.
        """
        last = (self.read_starts() or [{}])[-1]
        number, commit = last.get("packages", {}).get("saltext"), last.get("commit")
        if not isinstance(number, str) or not re.fullmatch(r"[0-9][\w.+]{0,40}", number):
            return "the version that wrote it"
        of_commit = ""
        if isinstance(commit, str) and re.fullmatch(r"[0-9a-f]{40}", commit):
            of_commit = f" of commit {commit[:12]}"
        return f"saltext {number}{of_commit}, which wrote it"

    def damage(self) -> str:
        """Why a run that seems to have finished counts as unfinished; empty for all others."""
        try:
            if self.result.exists():
                self.read_result()
        except DamagedFileError as error:
            return str(error)
        return ""

    @property
    def is_finished(self) -> bool:
        """Whether the run has finished, and its results are complete."""
        return self.result.exists() and not self.damage()

    @property
    def has_trained(self) -> bool:
        """Whether the training in this folder has finished."""
        try:
            read_json(self.finished_stage, dict, ("tasks",))
        except DamagedFileError:
            return False
        return True

    @classmethod
    def existing(cls, path: str | Path) -> "RunFolder":
        """The folder of an earlier run.

        Raises:
            ConfigError: The folder is missing or is not a run's.
        """
        folder = cls(Path(path))
        if not folder.config.is_file():
            what = "is not there" if not folder.root.is_dir() else "holds no config.yaml"
            raise ConfigError(
                f"Expected the folder of a run, but {folder.root} {what}. "
                "Run folders are written below output_dir (outputs/NAME/TIME_LABEL); name one of those."
            )
        return folder


def finished_runs(root: Path) -> list[RunFolder]:
    """The finished runs at or below a folder, in the order of their names; what is damaged is named and left out."""
    return undamaged([RunFolder(path.parent) for path in sorted(root.rglob("result.json"))])


def undamaged(folders: Sequence[RunFolder]) -> list[RunFolder]:
    """Those of some finished runs whose results are complete; the others are named in the log."""
    found = []
    for folder in folders:
        damage = folder.damage()
        if damage:
            _log.warning("left out: %s; python -m saltext.run resume=%s scores it again", damage, folder.root)
        elif folder.result.exists():
            found.append(folder)
    return found


def label(folder: RunFolder) -> str:
    """The name of a finished run's model in tables."""
    name: str = folder.read_result()["label"]
    return name
