import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from omegaconf import DictConfig, OmegaConf

from saltext.console import INTERRUPTED
from saltext.errors import ConfigError
from saltext.runs.launch import check_world, gpus_from_pool, node_rank, rendezvous
from saltext.system import watched
from tests.conftest import ROOT

# A worker that needs a while until its own first line.
WORKER = "import time; print('up', flush=True); time.sleep(60)"


def start(folder: Path, *line: str, **environment: str) -> "subprocess.Popen[str]":
    (folder / "slow_worker.py").write_text(WORKER)
    path = os.pathsep.join([str(folder), str(ROOT)])
    worker = subprocess.Popen(
        [sys.executable, *line], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": path, **environment},
    )  # fmt: skip
    assert worker.stdout is not None
    assert worker.stdout.readline() == "up\n"
    return worker


def reap(worker: "subprocess.Popen[str]") -> int:
    assert worker.stdout is not None
    with worker.stdout:
        return worker.wait(10)


def hang_up(worker: "subprocess.Popen[str]") -> None:
    assert worker.stdin is not None
    worker.stdin.close()  # what a killed parent's end of the pipe does


def test_a_worker_ends_when_its_parent_is_gone_also_while_it_imports(tmp_path: Path) -> None:
    worker = start(tmp_path, *watched.COMMAND, "slow_worker", **watched.ENVIRONMENT)
    assert worker.poll() is None
    hang_up(worker)
    assert reap(worker) != 0


def test_a_worker_started_by_hand_does_not_watch_its_input(tmp_path: Path) -> None:
    worker = start(tmp_path, *watched.COMMAND, "slow_worker", SALTEXT_PARENT_WATCHED="")
    hang_up(worker)
    time.sleep(0.5)
    still_running = worker.poll() is None
    worker.kill()
    reap(worker)
    assert still_running


def test_watching_without_a_parent_or_a_command_starts_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SALTEXT_PARENT_WATCHED", raising=False)
    before = threading.active_count()
    watched.watch_parent()
    monkeypatch.setenv("SALTEXT_FRONT", "")
    watched.watch_front()
    watched.announce_front()
    watched.watch_front()  # its own
    assert threading.active_count() == before


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks for processes under /proc")
@pytest.mark.parametrize("waits", [True, False], ids=["pidfd", "polling"])
def test_a_launchers_process_ends_with_the_command_that_began_it(tmp_path: Path, waits: bool) -> None:
    # It keeps the pipe of its own worker open, and nobody else would notice that the command is gone.
    line = "import os; from saltext.system import watched; watched.watch_front(); import slow_worker"
    if not waits:
        line = f"import os; vars(os).pop('pidfd_open', None); {line}"
    front = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    job = start(tmp_path, "-c", line, SALTEXT_FRONT=str(front.pid))
    assert job.poll() is None
    front.kill()
    front.wait()
    assert reap(job) == 1
    hang_up(job)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks for processes under /proc")
def test_a_launchers_process_whose_command_is_gone_before_it_starts_does_not_begin(tmp_path: Path) -> None:
    front = subprocess.Popen([sys.executable, "-c", ""])
    front.wait()
    line = "import time; from saltext.system import watched; watched.watch_front(); time.sleep(60)"
    done = subprocess.run([sys.executable, "-c", line], env={**os.environ, "SALTEXT_FRONT": str(front.pid)}, timeout=30)
    assert done.returncode == 1


# A worker that says which process it is, and what it got of the others, in a file named after its rank.
RANK = """
import os, pathlib, sys, time
folder, what = pathlib.Path(sys.argv[1]), sys.argv[2]
given = [os.environ.get(name, "") for name in ("WORLD_SIZE", "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS")]
part = folder / f"{os.environ.get('RANK', '0')}.part"
part.write_text(" ".join([str(os.getpid()), *given]))
part.rename(part.with_suffix(".rank"))
if what == "fail" and os.environ.get("RANK") == "1":
    sys.exit(3)
if what == "meet":
    import torch, torch.distributed
    torch.distributed.init_process_group("gloo")
    met = torch.ones(1)
    torch.distributed.all_reduce(met)
    torch.distributed.destroy_process_group()
    part.with_suffix(".met").write_text(str(met.item()))
if what == "stubborn":
    import signal
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
time.sleep(0 if what in ("end", "meet") else 120)
"""
# A process that was started in the background may have inherited that it ignores Ctrl-C.
LAUNCH = """
import os, signal, socket, sys
from saltext.runs.launch import launch
if "HOST" in os.environ:
    socket.sethostname(os.environ["HOST"])
signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    sys.exit(launch("rank", sys.argv[1:3], *map(int, sys.argv[3:])))
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.fixture
def launched(tmp_path: Path) -> Callable[..., "subprocess.Popen[bytes]"]:
    """Starts a process that launches ranks: what they do, how many, on how many machines, and its environment."""
    (tmp_path / "rank.py").write_text(RANK)
    path = os.pathsep.join([str(tmp_path), str(ROOT)])

    def start(
        what: str, ranks: int, machines: int = 1, before: Sequence[str] = (), **variables: str
    ) -> "subprocess.Popen[bytes]":
        environment = {**os.environ, "PYTHONPATH": path, "CUDA_VISIBLE_DEVICES": "", **variables}
        command = [*before, sys.executable, "-c", LAUNCH, str(tmp_path), what, str(ranks), str(machines)]
        return subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)

    return start


def said(folder: Path, ranks: int) -> dict[str, list[str]]:
    """What each rank said, once all have."""
    deadline = time.monotonic() + 120
    while len(files := sorted(folder.glob("*.rank"))) < ranks and time.monotonic() < deadline:
        time.sleep(0.05)
    return {path.stem: path.read_text().split(" ") for path in files}


def gone(pid: str) -> bool:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        status = Path(f"/proc/{pid}/stat")
        if not status.exists() or status.read_text().rpartition(")")[2].split()[0] == "Z":
            return True
        time.sleep(0.05)
    return False


needs_proc = pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks for processes under /proc")


@needs_proc
@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_stopping_the_front_leaves_no_rank_behind(
    launched: Callable[..., "subprocess.Popen[bytes]"], tmp_path: Path, number: signal.Signals
) -> None:
    front = launched("wait", 2)
    ranks = said(tmp_path, 2)
    assert sorted(ranks) == ["0", "1"]
    front.send_signal(number)
    assert front.wait(180) != 0
    assert all(gone(words[0]) for words in ranks.values())


@needs_proc
@pytest.mark.slow
@pytest.mark.parametrize(("ranks", "seconds"), [(1, 30), (2, 10)])
def test_interrupting_the_front_ends_ranks_that_do_not_listen_within_seconds(
    launched: Callable[..., "subprocess.Popen[bytes]"], tmp_path: Path, ranks: int, seconds: float
) -> None:
    front = launched("stubborn", ranks)
    found = said(tmp_path, ranks)
    time.sleep(1)  # until they do not listen
    began = time.monotonic()
    front.send_signal(signal.SIGINT)
    assert front.wait(60) == INTERRUPTED
    assert time.monotonic() - began < seconds
    assert all(gone(words[0]) for words in found.values())


@pytest.mark.slow
def test_ranks_of_a_machine_whose_name_does_not_resolve_meet(
    launched: Callable[..., "subprocess.Popen[bytes]"], tmp_path: Path
) -> None:
    alone = ["unshare", "--uts", sys.executable, "-c", "import socket; socket.sethostname('nosuchhost')"]
    if shutil.which("unshare") is None or subprocess.run(alone, capture_output=True).returncode:
        pytest.skip("only root can give a process a host name of its own")
    front = launched("meet", 2, before=("unshare", "--uts"), HOST="nosuchhost")
    assert front.wait(300) == 0
    assert sorted(path.read_text() for path in tmp_path.glob("*.met")) == ["2.0", "2.0"]


@needs_proc
@pytest.mark.slow
def test_a_failing_rank_ends_the_others_and_the_launch(
    launched: Callable[..., "subprocess.Popen[bytes]"], tmp_path: Path
) -> None:
    front = launched("fail", 2)
    ranks = said(tmp_path, 2)
    assert front.wait(180) != 0
    assert sorted(ranks) == ["0", "1"]
    assert all(gone(words[0]) for words in ranks.values())


@pytest.mark.slow
def test_two_machines_with_a_master_address_work_together(
    launched: Callable[..., "subprocess.Popen[bytes]"], tmp_path: Path
) -> None:
    where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(20000 + os.getpid() % 20000)}
    fronts = [launched("end", 1, 2, **where, NODE_RANK=str(place)) for place in (0, 1)]
    assert [front.wait(120) for front in fronts] == [0, 0]
    assert {rank: words[1] for rank, words in said(tmp_path, 2).items()} == {"0": "2", "1": "2"}


def test_a_process_started_alone_has_no_variables_of_other_ranks(
    launched: Callable[..., "subprocess.Popen[bytes]"], tmp_path: Path
) -> None:
    assert launched("end", 1, OMP_NUM_THREADS="3", WORLD_SIZE="7").wait(60) == 0
    assert said(tmp_path, 1)["0"][1:] == ["", "", "3"]


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"MASTER_ADDR": "a", "NODE_RANK": "1"}, ("a", "29500", 1)),
        ({"MASTER_ADDR": "a", "MASTER_PORT": "7", "NODE_RANK": "0", "SLURM_NODEID": "1"}, ("a", "7", 0)),
        ({"SLURM_NODEID": "1", "SLURM_NODELIST": "gpu[07-08]", "SLURM_JOB_ID": "123456"}, ("gpu07", "18456", 1)),
    ],
)
def test_machines_meet_where_the_environment_says(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], expected: tuple[str, str, int]
) -> None:
    for name in ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK", "SLURM_NODEID", "SLURM_NNODES"):
        monkeypatch.setenv(name, "")  # so that what is set below and by the function is undone
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert (*rendezvous(2), node_rank(2)) == expected
    assert node_rank(1) == 0


def test_machines_without_a_master_address_get_an_error_that_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MASTER_ADDR", "NODE_RANK", "SLURM_NODEID"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError, match=r"num_nodes=2.*MASTER_ADDR.*NODE_RANK"):
        rendezvous(2)
    monkeypatch.setenv("SLURM_NODEID", "0")
    monkeypatch.setenv("SLURM_NNODES", "3")
    with pytest.raises(ConfigError, match=r"trainer\.num_nodes=2, got 3"):
        rendezvous(2)


def configuration(devices: object, machines: int = 1) -> DictConfig:
    return OmegaConf.create({"trainer": {"devices": devices, "num_nodes": machines, "accelerator": "cpu"}})


def test_a_run_with_other_processes_than_asked_for_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    check_world(configuration(2, 2), 4)
    check_world(OmegaConf.create({"trainer": {"devices": 1, "accelerator": "cpu"}}), 1)
    with pytest.raises(ConfigError, match="asks for 2 processes, but the trainer works with 1"):
        check_world(configuration(2), 1)
    monkeypatch.setenv("WORLD_SIZE", "2")  # torchrun started two, each of which would train on its own
    with pytest.raises(ConfigError, match="2 were started"):
        check_world(configuration(1), 1)


@pytest.fixture
def pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


@pytest.mark.usefixtures("pool")
def test_jobs_beside_each_other_get_gpus_of_their_own() -> None:
    with gpus_from_pool(1, ["0", "1", "GPU-ab"]) as one, gpus_from_pool(2, ["0", "1", "GPU-ab"]) as two:
        assert (one, two) == ({"CUDA_VISIBLE_DEVICES": "0"}, {"CUDA_VISIBLE_DEVICES": "1,GPU-ab"})
    with gpus_from_pool(1, ["0", "1", "GPU-ab"]) as again:
        assert again == {"CUDA_VISIBLE_DEVICES": "0"}


@pytest.mark.usefixtures("pool")
def test_a_job_waits_until_enough_gpus_are_free_and_holds_none_meanwhile() -> None:
    got: list[dict[str, str]] = []

    def wait_for_two() -> None:
        with gpus_from_pool(2, ["0", "1"]) as mine:
            got.append(mine)

    with gpus_from_pool(1, ["0", "1"]):
        waiting = threading.Thread(target=wait_for_two)
        waiting.start()
        time.sleep(0.3)
        assert not got
        with gpus_from_pool(1, ["1"]) as free:
            assert free == {"CUDA_VISIBLE_DEVICES": "1"}
    waiting.join(30)
    assert got == [{"CUDA_VISIBLE_DEVICES": "0,1"}]


@pytest.mark.usefixtures("pool")
def test_without_gpus_to_share_a_job_gets_no_variable() -> None:
    for count, gpus in ((0, ["0"]), (2, ["0"]), (1, [])):
        with gpus_from_pool(count, gpus) as mine:
            assert mine == {}
