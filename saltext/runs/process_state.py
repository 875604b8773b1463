"""Restore the state of a process after a run in it."""

import logging
import os
import random
import signal
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_LOGGERS = ("lightning.pytorch", "lightning.fabric")


@contextmanager
def restored() -> Iterator[None]:
    """Restore random states, torch's settings, warnings, Lightning's loggers, signal handlers and the environment.

    Ctrl-C inside raises :class:`KeyboardInterrupt`; Lightning would catch it and end the process.
    """
    seeds = random.getstate(), np.random.get_state(), torch.get_rng_state()
    gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
    deterministic = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    cudnn = torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark
    precision, default_dtype = torch.get_float32_matmul_precision(), torch.get_default_dtype()
    environment = dict(os.environ)
    levels = {logging.getLogger(name): logging.getLogger(name).level for name in _LOGGERS}
    in_main_thread = threading.current_thread() is threading.main_thread()
    handlers = {number: signal.getsignal(number) for number in _SIGNALS} if in_main_thread else {}
    try:
        with warnings.catch_warnings():
            yield
    except SystemExit as end:
        if isinstance(end.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        raise
    finally:
        for number, handler in handlers.items():
            if handler is not None:  # not one of Python's
                signal.signal(number, handler)
        for logger, level in levels.items():
            logger.setLevel(level)
        for name in [name for name in os.environ if name not in environment]:
            del os.environ[name]
        os.environ.update(environment)
        torch.set_default_dtype(default_dtype)
        torch.set_float32_matmul_precision(precision)
        torch.use_deterministic_algorithms(deterministic[0], warn_only=deterministic[1])
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = cudnn
        random.setstate(seeds[0])
        np.random.set_state(seeds[1])
        torch.set_rng_state(seeds[2])
        if gpus:
            torch.cuda.set_rng_state_all(gpus)
