"""The process that holds the demo's model, and is killed when a prediction takes too long."""

import multiprocessing
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from saltext.errors import SaltextError
from saltext.system.watched import watch_parent_process

if TYPE_CHECKING:  # brings torch, which takes seconds
    from saltext.prediction.model import Model

_Answer = TypeVar("_Answer")

_LOADING = 600.0  # seconds: a cold disk and a large model take their time
_ENDING = 10.0  # seconds until the system has taken back what an ended process held

_processes = multiprocessing.get_context("spawn")  # a fork of a process with threads, as a web server is, may hang


class PredictionError(SaltextError):
    """A question took too long, or the process died while answering it."""


@dataclass(frozen=True)
class About:
    """What the page needs to know about the model.

    Attributes:
        name: The model's name in messages.
        device: The device it computes on.
        reads_text: Whether a text can change its maps.
        reads_condition: Whether it is conditioned on the task besides the text.
        conditions: Names of the conditions it accepts.
    """

    name: str
    device: str
    reads_text: bool
    reads_condition: bool
    conditions: tuple[str, ...]


class Predictor:
    """Keeps the model in a separate process and answers one call at a time.

    A thread cannot be killed, a process can: one that computes for too long, or that died on an image, is replaced by a
    new one, which loads the model while the page stays up.

    A context manager: leaving it ends the process.

    Args:
        load: Loads the model. Called in the process, so it has to be picklable.
        timeout: Seconds that a question may take, once the model is loaded.

    """

    def __init__(self, load: Callable[[], "Model"], timeout: float) -> None:
        self._load = load
        self._timeout = timeout
        self._turn = threading.Lock()
        self._over = False
        self._about: About | None = None
        self._loaded = False
        self._connection: Connection
        self._start()

    def __enter__(self) -> "Predictor":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._over = True
        self._end()

    @property
    def about(self) -> About:
        """Description of the model, once it is loaded.

        Raises:
            SaltextError: The model cannot be loaded.
            OSError: A file of the model cannot be read.
        """
        return self._await_model() if self._about is None else self._about

    def call(self, question: Callable[["Model"], _Answer]) -> _Answer:
        """The answer to a question, after those asked before.

        Args:
            question: Called with the model in the process, so it and its answer have to be picklable.

        Raises:
            PredictionError: The process took too long or died; the next question gets a new process.
            SaltextError: As the question raises.
            OSError: As the question raises. Other errors of the question end the process.
        """
        with self._turn:
            try:
                if not self._loaded:
                    self._await_model()
                with suppress(ConnectionError):  # the process has ended: _receive raises
                    self._connection.send(question)
                answer: _Answer = self._receive(self._timeout)
                return answer
            except PredictionError:
                self._loaded = False
                raise
            finally:
                if not self._loaded and not self._over:
                    self._start()

    def _await_model(self) -> About:
        about: About = self._receive(_LOADING)
        self._about, self._loaded = about, True
        return about

    def _receive(self, seconds: float) -> Any:
        """The next object from the process, raised if it is an exception."""
        try:
            if not self._connection.poll(seconds):
                self._end()
                raise PredictionError(
                    f"This took longer than {seconds:g} s and was stopped. Try a smaller image, or start the demo with "
                    "a larger --timeout."
                )
            reply = self._connection.recv()
        except (EOFError, ConnectionError) as error:
            self._process.join(_ENDING)  # its own status, not that of being ended here
            self._end()
            raise PredictionError(
                f"The process that predicts crashed (status {self._process.exitcode}; -9 may be a lack of memory). "
                "The terminal of the demo may say more; a smaller image may work."
            ) from error
        if isinstance(reply, Exception):
            raise reply
        return reply

    def _start(self) -> None:
        self._loaded = False
        self._connection, theirs = _processes.Pipe()
        self._process = _processes.Process(target=_answer_questions, args=(self._load, theirs), daemon=True)
        self._process.start()
        theirs.close()  # so that the end of the process is noticed here

    def _end(self) -> None:
        self._process.kill()
        self._process.join(_ENDING)


def _answer_questions(load: Callable[[], "Model"], connection: Connection) -> None:
    """The main function of the process: load the model, and answer questions until the connection is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the page as well, which then ends this process
    watch_parent_process()
    try:
        model = load()
    except (SaltextError, OSError) as error:
        connection.send(error)
        return
    connection.send(About(model.name, str(model.device), model.reads_text, model.reads_condition, model.conditions))
    while True:
        try:
            question = connection.recv()
        except EOFError:
            return
        try:
            reply = question(model)
        except (SaltextError, OSError) as error:
            reply = error
        connection.send(reply)
