"""A device of its own for tests, without the hardware: its numbers are held on the processor, and refuse to meet the processor's."""

from __future__ import annotations

import torch
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils._pytree import tree_leaves, tree_map

NAME = "elsewhere"
aten = torch.ops.aten
CROSSING = {aten._to_copy.default, aten.copy_.default, aten._local_scalar_dense.default}


class Elsewhere(torch.Tensor):
    """A tensor on the device; `host` has its numbers."""

    @staticmethod
    def __new__(cls, host):
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            host.size(),
            strides=host.stride(),
            storage_offset=host.storage_offset(),
            dtype=host.dtype,
            device=torch.device(NAME, 0),
            requires_grad=False,
        )
        made.host = host
        return made

    def __init__(self, host):
        super().__init__()

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return run(func, args, kwargs or {})

    def __repr__(self):
        return f"Elsewhere({self.host!r})"


def run(func, args, kwargs):
    """Compute on the processor what was asked of the device."""
    shaped = [a for a in tree_leaves((args, kwargs)) if isinstance(a, FakeTensor)]
    if shaped:
        return _by_shape(shaped[0].fake_mode, func, args, kwargs)
    own = {}

    def down(a):
        if isinstance(a, Elsewhere):
            own[id(a.host)] = a
            return a.host
        if isinstance(a, torch.Tensor) and a.ndim and func not in CROSSING:
            raise RuntimeError(f"{func}: expected all tensors to be on the same device, {NAME} and {a.device}")
        if isinstance(a, torch.device) and a.type == NAME:
            return torch.device("cpu")
        return a

    to = kwargs.get("device", None)
    host_args, host_kwargs = tree_map(down, args), tree_map(down, kwargs)
    if func is aten._to_copy.default:
        host_kwargs.pop("device", None)
        out = func(*host_args, **host_kwargs)
        return out if to is not None and torch.device(to).type == "cpu" else Elsewhere(out)
    if func is aten.copy_.default:
        func(*host_args, **host_kwargs)
        return args[0]
    out = func(*host_args, **host_kwargs)

    def up(a):
        if isinstance(a, torch.Tensor):
            return own.get(id(a)) if id(a) in own else Elsewhere(a)
        return a

    return tree_map(up, out)


def _by_shape(mode, func, args, kwargs):
    """While a module is traced tensors have shapes and no numbers; parameters then show theirs alone."""

    def bare(a):
        if isinstance(a, Elsewhere):
            with torch.utils._mode_utils.no_dispatch():
                shape = torch.empty_strided(a.shape, a.stride(), dtype=a.dtype, device="meta")
            return FakeTensor(mode, shape, a.device)
        return a

    with mode:
        return func(*tree_map(bare, args), **tree_map(bare, kwargs))


def factory(func, *args, **kwargs):
    return run(func, args, kwargs)


class Module:
    """What torch asks of a device's module."""

    @staticmethod
    def is_available():
        return True

    @staticmethod
    def get_amp_supported_dtype():
        return [torch.bfloat16]

    @staticmethod
    def is_initialized():
        return True

    @staticmethod
    def _is_in_bad_fork():
        return False

    @staticmethod
    def manual_seed_all(seed):
        return None


def start():
    torch.utils.backend_registration._setup_privateuseone_for_python_backend(NAME, backend_module=Module())
    lib = torch.library.Library("_", "IMPL")
    lib.fallback(factory, "PrivateUse1")
    return lib
