"""Runs that are killed, or whose disk is full, in the middle of every kind of write: they go on to the same end.

Three conditions: as it is, ``TMPDIR`` on another file system than the run, and a disk that is full. A dozen faults by
default; ``make test-faults`` (``SALTEXT_FAULTS=200``) places as many as it says.
"""

import json
import os
import random
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.command_line import ENVIRONMENT, ROOT, forking
from tests.forked import Forked

ELSEWHERE = Path("/dev/shm")
EPOCHS = 3
TINY = (
    "preset=smoke", "data.batch_size=4", "data.image_size=[32,32]", "data.map_size=[8,8]", "data.images=12",
    "data.tasks=[salient,non_salient]", f"trainer.max_epochs={EPOCHS}", "data.val_fraction=0.3",
    "evaluation.pictures=1", "evaluation.baselines=[uniform]", "evaluation.paper=null",
    "evaluation.test_metrics=[cc,nss]", "model.freeze.encoder=1.0",
)  # fmt: skip
STAGED = (
    *TINY,
    "stages=warmup_finetune",
    "stages.warmup_epochs=2",
    "~stages.sequence.general",
    "~stages.sequence.whole",
    "~stages.sequence.pure",
)
MOMENTS = ("before", "half", "written", "after")


@dataclass(frozen=True)
class Kill:
    """What goes wrong in a run.

    Attributes:
        run: ``single`` or ``staged``.
        kind: See :class:`tests.faults.zygote.Fault`; ``time``: wherever it is then.
        number: Which write of that kind; of ``time``, thousandths of the whole run's duration.
        moment: See :class:`tests.faults.zygote.Fault`.
        condition: ``plain``, ``tmpdir`` or ``full``.
    """

    run: str
    kind: str
    number: int
    moment: str
    condition: str

    def __str__(self) -> str:
        return f"{self.run}, {self.condition}, {self.kind} {self.number} {self.moment}"


def _places() -> list[Kill]:
    """One of each: every kind of write at every moment, in turn under every condition."""
    writes = [
        *(("single", "last.ckpt", number, moment) for number in (1, 2, 3) for moment in (*MOMENTS, "between")),
        *(("single", "best.ckpt", 1, moment) for moment in (*MOMENTS, "between")),
        *(("single", "scores.csv", 1, moment) for moment in (*MOMENTS, "between")),
        *(("single", "text_ablation.csv", 1, moment) for moment in (*MOMENTS, "between")),
        *(("single", "rows.json", number, moment) for number in (1, 2) for moment in MOMENTS),
        *(("single", "metrics.csv", number, moment) for number in (1, 2, 4) for moment in MOMENTS),
        *(("single", name, 1, moment) for name in ("provenance.json", "split.json", "stage.json", "result.json")
          for moment in MOMENTS),
        *(("single", name, 1, moment) for name in ("pairs.png", "table.md", "curves.csv", "curves.png")
          for moment in ("half", "written")),
        *(("single", "cache:", number, "open") for number in (1, 2, 3, 5, 8, 12)),
        *(("single", "cache:building", number, "open") for number in (1, 2, 4, 6, 9)),
        *(("single", "cache:feature", number, "open") for number in (1, 2)),
        *(("staged", "last.ckpt", number, moment) for number in (2, 4) for moment in (*MOMENTS, "between")),
        *(("staged", name, number, moment) for name in ("stage.json", "scores.csv", "text_ablation.csv")
          for number in (1, 2) for moment in MOMENTS),
    ]  # fmt: skip
    conditions = ("plain", "tmpdir", "full")
    # Three times over, so that each write meets each condition.
    return [Kill(*write, conditions[(place + turn) % 3]) for turn in range(3) for place, write in enumerate(writes)]


SHORT = [
    Kill("single", "last.ckpt", 2, "between", "plain"),
    Kill("single", "last.ckpt", 1, "half", "tmpdir"),
    Kill("single", "best.ckpt", 1, "after", "plain"),
    Kill("single", "scores.csv", 1, "written", "plain"),
    Kill("single", "cache:", 3, "open", "plain"),
    Kill("single", "last.ckpt", 2, "half", "full"),
    Kill("staged", "text_ablation.csv", 2, "half", "full"),
]


# Of sixty faults, at least five interrupt each of these kinds of write by SIGKILL.
KINDS = {
    "checkpoints": ("last.ckpt", "best.ckpt"),
    "score tables": ("scores.csv", "text_ablation.csv", "rows.json"),
    "the log": ("metrics.csv",),
    "records": ("provenance.json", "split.json", "stage.json", "result.json"),
    "what is looked at": ("pairs.png", "table.md", "curves.csv", "curves.png"),
    "caches": ("cache:", "cache:building", "cache:feature"),
}


def _chosen(count: int) -> list[Kill]:
    """That many faults: one of six at a random time, one of eight a full disk, the others kills, the kinds in turn."""
    dice = random.Random(0)
    places = _places()
    dice.shuffle(places)
    at_random = [
        Kill(dice.choice(("single", "staged")), "time", dice.randrange(1000), "", dice.choice(("plain", "tmpdir")))
        for _ in range(count // 6)
    ]
    full = [kill for kill in places if kill.condition == "full"][: count // 8]
    kills = [[kill for kill in places if kill.kind in kinds and kill.condition != "full"] for kinds in KINDS.values()]
    in_turn = [of_kind[turn % len(of_kind)] for turn in range(count) for of_kind in kills]
    return [*in_turn[: count - len(at_random) - len(full)], *full, *at_random]


def test_sixty_faults_have_five_kills_inside_each_kind_of_write_and_every_condition() -> None:
    chosen = _chosen(60)
    assert len(chosen) == 60
    for kinds in KINDS.values():
        assert sum(kill.kind in kinds and kill.condition != "full" for kill in chosen) >= 5
    assert {kill.condition for kill in chosen} == {"plain", "tmpdir", "full"}
    assert {kill.kind for kill in _places()} == {kind for kinds in KINDS.values() for kind in kinds}


class Zygote:
    """Runs in forks of a process of its own, see :mod:`tests.faults.zygote`."""

    def __init__(self) -> None:
        environment = {**os.environ, **ENVIRONMENT}
        (read, asks), (answered, answers) = os.pipe(), os.pipe()
        self.process = Forked(forking(), ["tests.faults.zygote"], str(ROOT), environment, (read, answers, 2))
        os.close(read)
        os.close(answers)
        self._asks, self._answers = os.fdopen(asks, "w"), os.fdopen(answered)

    def ask(self, do: str, **given: Any) -> dict[str, Any]:
        """The answer to a request."""
        self._asks.write(json.dumps({"do": do, **given}) + "\n")
        self._asks.flush()
        line = self._answers.readline()
        assert line, f"the process that forks has ended: {do} {given}"
        answer: dict[str, Any] = json.loads(line)
        return answer

    def run(self, folder: Path, fault: dict[str, Any] | None = None, **how: Any) -> dict[str, Any]:
        """A run, or what is left of it; its exit status and duration."""
        return self.ask("run", folder=str(folder), fault=fault, **{"tmpdir": None, "kill_after": None, **how})

    def close(self) -> None:
        """End it, and what it mounted with it."""
        self._asks.close()
        self._answers.close()
        assert self.process.wait(60) == 0


@dataclass
class Reference:
    """A run that nothing interrupted."""

    overrides: tuple[str, ...]
    found: dict[str, Any]
    epochs: int
    seconds: float


class DataReport:
    """Runs with faults, beside references."""

    def __init__(self, zygote: Zygote, outputs: Path, **runs: tuple[str, ...]) -> None:
        self.zygote, self.outputs, self.count = zygote, outputs, 0
        self.references = {name: self._reference(name, overrides) for name, overrides in runs.items()}
        self.table: Counter[tuple[str, str, str, str]] = Counter()

    def _reference(self, name: str, overrides: tuple[str, ...]) -> Reference:
        overrides = (*overrides, f"output_dir={self.outputs}")
        folder = self.outputs / f"reference-{name}"
        self.zygote.ask("prepare", folder=str(folder), overrides=overrides)
        ended = self.zygote.run(folder)
        assert ended["status"] == 0, self.said(folder)
        findings = self.zygote.ask("findings", folder=str(folder))
        assert not [path for path in findings["names"] if "last.prev" in path], "it takes space for nothing"
        return Reference(overrides, findings["found"], findings["epochs"], ended["seconds"])

    def said(self, folder: Path) -> str:
        """The end of what a run said."""
        return "\n".join(
            str(self.zygote.ask("read", path=str(folder / name))["text"])[-3000:]
            for name in ("run.log", "terminal.log")
        )

    def check(self, kill: Kill) -> str:
        """A run with a fault goes on to the same end; how it ended first."""
        self.count += 1
        folder = self.outputs / f"run{self.count}"
        reference = self.references[kill.run]
        own_cache = [f"data.cache_dir={folder}-cache"] if kill.kind.startswith("cache") else []
        self.zygote.ask("prepare", folder=str(folder), overrides=[*reference.overrides, *own_cache])
        tmpdir = str(ELSEWHERE) if kill.condition == "tmpdir" else None
        if kill.kind == "time":
            ended = self.zygote.run(folder, tmpdir=tmpdir, kill_after=reference.seconds * kill.number / 1000)
        else:
            full = kill.condition == "full"
            fault = {"kind": kill.kind, "number": kill.number, "moment": kill.moment, "full": full}
            ended = self.zygote.run(folder, fault, tmpdir=tmpdir)
        said = self.said(folder)
        if ended["status"] == -9:
            outcome = "killed"
        elif ended["status"] == 0:
            outcome = "finished all the same"  # what is optional, or the fault came too late
        else:
            outcome = "ended in words"
            assert ended["status"] == 2, said
            assert "No space left on device" in said
            assert "resume=" in said or "Make room" in said
            assert "Traceback" not in said, said
        again = self.zygote.run(folder, tmpdir=tmpdir)
        said = self.said(folder)
        assert again["status"] == 0, said
        findings = self.zygote.ask("findings", folder=str(folder))
        for name, value in reference.found.items():
            assert findings["found"].get(name) == value, f"{kill}: {name} differs\n{said}"
        assert findings["found"].keys() == reference.found.keys(), kill
        assert findings["epochs"] <= reference.epochs + 1, f"{kill}: more than an epoch was lost\n{said}"
        assert not findings["left"], f"{kill}: {findings['left']} lies there"
        self.table[kill.condition, kill.kind, kill.moment, outcome] += 1
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(f"{folder}-cache", ignore_errors=True)
        return outcome

    def summary(self) -> str:
        """What was struck where, and how it ended."""
        rows = [f"{count:4d}  {'  '.join(key)}" for key, count in sorted(self.table.items())]
        outcomes: Counter[str] = Counter()
        for key, count in self.table.items():
            outcomes[key[-1]] += count
        total = ", ".join(f"{count} {outcome}" for outcome, count in sorted(outcomes.items()))
        return "\n".join([*rows, f"{sum(self.table.values())} faults: {total}"])


@pytest.fixture(scope="module")
def faults(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DataReport]:
    zygote = Zygote()
    outputs = tmp_path_factory.mktemp("faults")
    yield DataReport(zygote, outputs, single=TINY, staged=STAGED)
    zygote.close()
    shutil.rmtree(outputs, ignore_errors=True)


@pytest.mark.slow
@pytest.mark.parametrize("kill", SHORT, ids=str)
def test_a_run_goes_on_to_the_same_end_whatever_write_was_interrupted(faults: DataReport, kill: Kill) -> None:
    assert faults.check(kill) == ("ended in words" if kill.condition == "full" else "killed")


@pytest.mark.slow
@pytest.mark.skipif("SALTEXT_FAULTS" not in os.environ, reason="hundreds of faults take an hour: make test-faults")
def test_many_runs_go_on_to_the_same_end(faults: DataReport, capsys: pytest.CaptureFixture[str]) -> None:
    problems = []
    with capsys.disabled():
        for kill in _chosen(int(os.environ["SALTEXT_FAULTS"])):
            try:
                print(f"\n{kill}: {faults.check(kill)}", end="", flush=True)
            except AssertionError as error:
                problems.append(f"{kill}: {error}")
                print(f"\n{kill}: FAILED", end="", flush=True)
        print(f"\n\n{faults.summary()}")
    assert not problems, "\n\n".join(problems)


@pytest.mark.slow
@pytest.mark.skipif(os.getuid() != 0, reason="mounting a small disk needs root")
def test_a_disk_that_is_really_full_is_said_in_words_and_loses_nothing(faults: DataReport, tmp_path: Path) -> None:
    zygote, reference = faults.zygote, faults.references["single"]
    small = tmp_path / "small"
    small.mkdir()
    zygote.ask("mount", at=str(small), size="100m")
    for free in (1, 5, 9):  # MB; a last.ckpt has 4.5, a best.ckpt 2.5
        folder = small / f"free-{free}"
        zygote.ask("prepare", folder=str(folder), overrides=reference.overrides)
        zygote.ask("fill", at=str(small), free=free * 10**6)
        ended = zygote.run(folder)
        said = faults.said(folder)
        assert ended["status"] == 2, said
        assert "error: the disk is full: No space left on device" in said
        assert "Traceback" not in said
        zygote.ask("fill", at=str(small), free=None)
        assert zygote.run(folder)["status"] == 0, faults.said(folder)
        assert zygote.ask("findings", folder=str(folder))["found"] == reference.found
