"""A device for machines without one: computes on the CPU, and refuses what a GPU refuses.

    with standin.device("cuda"):
        module.to("cuda")                       # by its own name, in every call of torch
        Trainer(**standin.TRAINER).fit(module)  # or trainer.accelerator=standin trainer.strategy=standin

A tensor on it is a wrapper around one on the CPU, so results are the CPU's. What is refused, with torch's own words:

* ``.numpy()``, and with it ``numpy.asarray``;
* tensors of two devices in one operation, but for what CUDA allows: numbers (no dimension), indices on the CPU, copies;
* random numbers of the CPU's generator made on the device;
* collectives of ``torch.distributed`` on tensors of the CPU, as with NCCL;
* float64 on ``"mps"``.

:func:`waits` lists what a GPU's user would wait for: where the host reads what the device has yet to compute.

Inference mode is ``torch.no_grad`` meanwhile: it brings operations here undivided, and views that are half its own.

For torch's C++ half the wrapper lies on ``meta``: that needs no driver, and starts no thread for the gradient, after
which no process could be forked. The name is put on and taken off where Python calls torch.
"""

import itertools
import os
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from lightning.pytorch.accelerators import Accelerator, AcceleratorRegistry
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy, StrategyRegistry
from torch import Tensor
from torch.distributed import distributed_c10d
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

TRAINER = {"accelerator": "standin", "strategy": "standin"}
"""What a trainer is given, by argument or configuration."""

_META = torch.device("meta")
_MEMORY = 2**30  # bytes that are free
_aten = torch.ops.aten

_BETWEEN_DEVICES = {_aten.copy_.default, _aten._foreach_copy_.default}
_BY_INDEX = {_aten.index.Tensor, _aten.index_put.default, _aten.index_put_.default, _aten._index_put_impl_.default}
_NO_NUMBERS = {_aten.stack.default, _aten.cat.default}
_READ_BY_THE_HOST = {
    _aten._local_scalar_dense.default, _aten.equal.default, _aten.nonzero.default, _aten.masked_select.default,
    _aten._unique2.default, _aten.unique_dim.default, _aten.unique_consecutive.default, _aten.bincount.default,
}  # fmt: skip
"""A value, or a shape that depends on values."""
_INDEXED = {Tensor.__getitem__, Tensor.__setitem__}
_MADE_OF_DATA = {torch.tensor, torch.as_tensor, torch.asarray}


class DeviceTensor(Tensor):
    """A tensor on the stand-in device.

    Attributes:
        inner: The values, on the CPU.
    """

    inner: Tensor
    place: torch.device
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, inner: Tensor, name: torch.device) -> "DeviceTensor":
        if name.type == "mps" and inner.dtype == torch.float64:
            raise TypeError(
                "Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support float64. Please use "
                "float32 instead."
            )
        wrapper = torch.Tensor._make_wrapper_subclass(
            cls, inner.shape, strides=inner.stride(), storage_offset=inner.storage_offset(), dtype=inner.dtype,
            layout=inner.layout, device=_META, requires_grad=False,
        )  # fmt: skip
        wrapper.inner, wrapper.place = inner, name
        return wrapper  # type: ignore[no-any-return]

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise RuntimeError(f"{func} was called on a tensor of the stand-in device after its `with` had ended")

    @property
    def device(self) -> torch.device:
        return self.place

    @property
    def is_cuda(self) -> bool:
        return self.place.type == "cuda"

    @property
    def is_mps(self) -> bool:
        return self.place.type == "mps"

    @property
    def is_meta(self) -> bool:
        return False

    def numpy(self, **kwargs: Any) -> Any:
        raise TypeError(
            f"can't convert {self.place} device type tensor to numpy. Use Tensor.cpu() to copy the tensor to host "
            "memory first."
        )

    def __array__(self, *args: Any, **kwargs: Any) -> np.ndarray:
        return self.numpy()

    def tolist(self) -> Any:
        _note_wait("tolist")
        return self.inner.tolist()

    def data_ptr(self) -> int:
        return self.inner.data_ptr()

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        copied = self.detach().clone().requires_grad_(self.requires_grad)
        memo[id(self)] = copied = (
            torch.nn.Parameter(copied, self.requires_grad) if isinstance(self, torch.nn.Parameter) else copied
        )
        return copied

    def __reduce_ex__(self, protocol: Any) -> Any:
        # A file of a GPU's tensor is read back onto the CPU, as the suite does.
        return self.detach().cpu().__reduce_ex__(protocol)

    def __repr__(self, **kwargs: Any) -> str:
        return f"DeviceTensor({self.inner}, device='{self.place}')"


_noted: list[str] | None = None


@contextmanager
def waits() -> Iterator[list[str]]:
    """Note for which operations the host waits for the device, each with the line of ours or of Lightning's it is in.

    What :func:`torch.cuda.set_sync_debug_mode` warns of on a GPU: values that are read, shapes that depend on values
    (masks as indices too), and copies between the devices that are not ``non_blocking``.
    """
    global _noted  # one device, one list
    _noted = []
    try:
        yield _noted
    finally:
        _noted = None


def _note_wait(operation: object) -> None:
    if _noted is None:
        return
    frames = [frame for frame in traceback.extract_stack() if "/torch/" not in frame.filename]
    line = next(frame for frame in reversed(frames) if frame.filename != __file__)
    _noted.append(f"{operation} at {line.filename}:{line.lineno}")


def _plain(value: Any) -> Any:
    return value.inner if isinstance(value, DeviceTensor) else value


def _as_tensors(index: Any) -> Any:
    """An index whose lists are tensors of the CPU: torch would make them on ``meta``, where they have no values."""
    if isinstance(index, tuple):
        return tuple(_as_tensors(part) for part in index)
    return torch.tensor(index, dtype=None if index else torch.long) if isinstance(index, list) else index


class _Names(TorchFunctionMode):
    """Where Python calls torch: the device's name becomes ``meta``."""

    def __init__(self, name: torch.device) -> None:
        super().__init__()
        self.name = name

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__name__", "") == "_parse_to":  # by which Lightning's modules know where they are
            return func(*args, **(kwargs or {}))
        args, kwargs = [self._meta(arg) for arg in args], {k: self._meta(v) for k, v in (kwargs or {}).items()}
        if func in _MADE_OF_DATA and kwargs.get("device") == _META:  # does not pass the dispatcher
            return func(*args, **{**kwargs, "device": "cpu"}).to(_META)
        if func in _INDEXED and isinstance(args[0], DeviceTensor):
            args[1] = _as_tensors(args[1])
        return func(*args, **kwargs)

    def _meta(self, value: Any) -> Any:
        if isinstance(value, str) and value.partition(":")[0] == self.name.type:
            return _META
        return _META if isinstance(value, torch.device) and value.type == self.name.type else value


class _Kernels(TorchDispatchMode):
    """Below autograd: computes on the CPU, after what a device would have looked at."""

    def __init__(self, name: torch.device) -> None:
        super().__init__()
        self.name = name

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        tensors = [leaf for leaf in tree_flatten((args, kwargs))[0] if isinstance(leaf, Tensor)]
        ours = [tensor for tensor in tensors if isinstance(tensor, DeviceTensor)]
        here = bool(ours)
        if any(tensor.device == _META for tensor in tensors):
            raise NotImplementedError(f"{func} was given a tensor without values, which torch made past the stand-in")
        if func is _aten._has_compatible_shallow_copy_type.default and ours:
            return False  # Module.to() would put the wrapper's empty shell into the parameter that is there
        if func.namespace == "c10d":
            self._refuse_collective(func, tensors)
        elif ours:
            self._refuse_two_devices(func, tensors, args, kwargs)
        if _noted is not None and self._has_to_wait(func, args, kwargs, bool(ours)):
            _note_wait(func)
        if kwargs.get("device") is not None:
            here = torch.device(kwargs["device"]) == _META
            kwargs["device"] = torch.device("cpu")
            if here and isinstance(kwargs.get("generator"), torch.Generator):
                raise RuntimeError(f"Expected a '{self.name.type}' device type for generator but found 'cpu'")
        plain_args, plain_kwargs = tree_map(_plain, (args, kwargs))
        result = func(*plain_args, **plain_kwargs)
        if func in _BETWEEN_DEVICES:
            return args[0] if func is _aten.copy_.default else None
        known = {id(tensor.inner): tensor for tensor in ours}
        return tree_map(lambda value: self._wrapped(func, value, known, here), result)

    def _wrapped(self, func: Any, value: Any, known: Mapping[int, DeviceTensor], here: bool) -> Any:
        if not isinstance(value, Tensor) or not here:
            return value
        if (same := known.get(id(value))) is None:
            return DeviceTensor(value, self.name)
        if same.shape != value.shape:
            raise NotImplementedError(f"{func} changes the shape of a tensor in place, which the stand-in cannot")
        return same

    def _refuse_collective(self, func: Any, tensors: Sequence[Tensor]) -> None:
        if "barrier" not in func.name() and not all(isinstance(tensor, DeviceTensor) for tensor in tensors):
            raise RuntimeError("No backend type associated with device type cpu")

    @staticmethod
    def _has_to_wait(func: Any, args: Any, kwargs: Mapping[str, Any], ours: bool) -> bool:
        if func in _READ_BY_THE_HOST:
            return ours
        if func is _aten.repeat_interleave.Tensor:
            return ours and kwargs.get("output_size") is None
        if func in _BY_INDEX:
            indices = [index for index in args[1] if index is not None]
            return ours and any(not isinstance(i, DeviceTensor) or i.dtype == torch.bool for i in indices)
        if func is _aten._to_copy.default:
            place = kwargs.get("device")
            crosses = place is not None and (torch.device(place) == _META) != ours
            return crosses and not kwargs.get("non_blocking")
        if func in _BETWEEN_DEVICES:
            crosses = {isinstance(leaf, DeviceTensor) for leaf in tree_flatten(args[:2])[0]} == {True, False}
            return crosses and not (args[2] if len(args) > 2 else kwargs.get("non_blocking"))
        return False

    def _refuse_two_devices(self, func: Any, tensors: Sequence[Tensor], args: Any, kwargs: Any) -> None:
        if func in _BETWEEN_DEVICES:
            return
        given = zip(func._schema.arguments, itertools.chain(args, itertools.repeat(None)), strict=False)
        written = [
            leaf
            for argument, value in given
            if argument.alias_info is not None and argument.alias_info.is_write
            for leaf in tree_flatten(kwargs.get(argument.name, value))[0]
        ]
        strange = [tensor for tensor in tensors if not isinstance(tensor, DeviceTensor)]
        if func in _BY_INDEX and isinstance(args[0], DeviceTensor):
            indices = [id(index) for index in args[1] if index is not None]
            strange = [tensor for tensor in strange if id(tensor) not in indices]
        numbers = func not in _NO_NUMBERS
        if any(tensor.ndim or not numbers or any(tensor is other for other in written) for tensor in strange):
            raise RuntimeError(
                f"Expected all tensors to be on the same device, but found at least two devices, {self.name} and cpu! "
                f"(in {func})"
            )


class _StandIn(Accelerator):
    """What a Lightning trainer knows of the device."""

    def setup_device(self, device: torch.device) -> None:
        pass

    def teardown(self) -> None:
        pass

    def get_device_stats(self, device: Any) -> dict[str, Any]:
        return {}

    @staticmethod
    def parse_devices(devices: Any) -> Any:
        return devices

    @staticmethod
    def get_parallel_devices(devices: Any) -> list[Any]:
        return [devices]

    @staticmethod
    def auto_device_count() -> int:
        return 1

    @staticmethod
    def is_available() -> bool:
        return True

    @staticmethod
    def name() -> str:
        return "standin"


def _without_gradient(mode: torch.inference_mode) -> None:
    mode.before = torch.is_grad_enabled()
    torch._C._set_grad_enabled(mode.before and not mode.mode)


def _with_gradient_again(mode: torch.inference_mode, *raised: Any) -> None:
    torch._C._set_grad_enabled(mode.before)


@contextmanager
def device(kind: str = "cuda") -> Iterator[torch.device]:
    """Have the stand-in device, and a trainer for it, for a while.

    Args:
        kind: ``"cuda"`` or ``"mps"``: its name, and what it refuses.
    """
    name = torch.device(f"{kind}:0")
    AcceleratorRegistry.register("standin", _StandIn, override=True)
    StrategyRegistry.register("standin", SingleDeviceStrategy, override=True, device=name)
    try:
        with (
            mock.patch.object(torch.inference_mode, "__enter__", _without_gradient),
            mock.patch.object(torch.inference_mode, "__exit__", _with_gradient_again),
            mock.patch.object(Tensor, "pin_memory", lambda tensor: tensor),  # which asks the driver
            mock.patch.object(torch.cuda, "get_device_name", return_value="stand-in"),
            mock.patch.object(torch.cuda, "mem_get_info", return_value=(_MEMORY, _MEMORY)),
            mock.patch.object(torch.mps, "recommended_max_memory", return_value=_MEMORY),
            mock.patch.object(torch.mps, "driver_allocated_memory", return_value=0),
            _Names(name),
            _Kernels(name),
        ):
            yield name
    finally:
        AcceleratorRegistry.remove("standin")
        StrategyRegistry.remove("standin")


class _OneOfTwo(DDPStrategy):
    """Two processes that talk by gloo, which the stand-in refuses what NCCL refuses.

    Torch's own DDP cannot wrap what lies on the device: gradients are averaged after the step backward instead.
    """

    def __init__(self, place: torch.device, meeting: Path, **given: Any) -> None:
        super().__init__(parallel_devices=[place, place], **given)
        self._meeting = meeting

    def setup_distributed(self) -> None:
        self.set_world_ranks()
        if not torch.distributed.is_initialized():
            torch.distributed.init_process_group(
                "gloo", self._meeting.as_uri(), rank=self.global_rank, world_size=self.world_size
            )

    def configure_ddp(self) -> None:
        pass

    def post_backward(self, closure_loss: Tensor) -> None:
        for parameter in self.model.parameters():
            if parameter.grad is not None:
                torch.distributed.all_reduce(parameter.grad)
                parameter.grad /= self.world_size


@contextmanager
def one_of_two(rank: int, meeting: Path) -> Iterator[None]:
    """Be one of two processes with a device each, which refuse to communicate what lies on the CPU.

    Args:
        rank: 0 or 1.
        meeting: A file by which the processes find each other; not there before.
    """
    with (
        device("cuda") as place,
        mock.patch.object(distributed_c10d, "_get_object_coll_device", return_value="cuda"),
        mock.patch.object(torch.cuda, "get_device_capability", return_value=(8, 0)),
        mock.patch.dict(os.environ, LOCAL_RANK=str(rank)),
    ):
        StrategyRegistry.register("standin", _OneOfTwo, override=True, place=place, meeting=meeting)
        yield
        torch.distributed.destroy_process_group()
