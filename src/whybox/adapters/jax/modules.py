"""Run functions of JAX, modules of equinox and modules of flax on rows, with the output of one layer recorded or replaced.

The hash of a body depends on what it computes, so that JAX compiles it once, however often it is wrapped.
"""

from __future__ import annotations

import inspect
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, final

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_batching import custom_vmap

from whybox.errors import OptionError, UnsupportedModelError, did_you_mean

__all__ = [
    "Equinox",
    "Flax",
    "Function",
    "LayerReached",
    "NetworkBody",
    "array_bytes",
    "array_part",
    "make_body",
    "parameter_path",
]

Mode = Literal["plain", "keep", "from", "stop", "given"]


class LayerReached(Exception):  # noqa: N818  # nothing went wrong
    """The layer up to which the network was run was reached; `shape`: of its output."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__(shape)
        self.shape = shape


@dataclass(frozen=True)
class NetworkBody(ABC):
    """What is run. ``batched``: on all rows at once; else on one row at a time, under vmap."""

    batched: bool

    @abstractmethod
    def module(self, params: Any) -> Any:
        """The function or module with these parameters."""

    @property
    @abstractmethod
    def structure(self) -> str:
        """Everything but the parameters, as text that is the same in another process."""

    def replace_layer(self, module: Any, layer: str, replacement: Any) -> Any:
        """The module with one layer replaced."""
        raise UnsupportedModelError(
            "layers of a plain JAX function cannot be reached; split it into two functions and explain the second."
        )

    def layers(self, module: Any) -> list[str]:
        """Names of the layers that hold no other layer."""
        raise UnsupportedModelError("layers of a plain JAX function cannot be reached.")

    def sequence_axes(self, module: Any, layer: str) -> tuple[str, ...] | None:
        """Names of the axes of a layer's input, if the layer distinguishes time from features; else None."""
        return None

    def any_size(self) -> AbstractContextManager[None]:
        """Within it a module that checks the size of its inputs takes other sizes too."""
        return nullcontext()

    def run(
        self,
        params: Any,
        x: tuple[Any, ...],
        names: tuple[str, ...],
        layer: str | None,
        mode: Mode,
        calls: tuple[int, ...] = (),
        *,
        mapped: bool = False,
    ) -> Any:
        """Evaluate rows. ``keep``: return (output, outputs of the layer at its calls). ``given``: return (output, inputs of the layer).

        ``from``: the first inputs replace the outputs of the layer at `calls`. ``stop``: raise LayerReached at the layer, at the first of `calls`.
        `mapped`: the layer is called under ``jax.vmap`` inside the network, on all parts of a row at once.
        """

        def call(*given: Any) -> Any:
            module = self.module(params)
            recorded: list[Any] = []
            if layer is not None:
                count = len(calls) if mode == "from" else 0
                replacements, given = dict(zip(calls, given[:count], strict=False)), given[count:]
                module = self.replace_layer(
                    module,
                    layer,
                    _LayerProbe(
                        self.layer_at(module, layer),
                        replacements,
                        recorded,
                        stop_at=(*calls, 0)[0] if mode == "stop" else None,
                        given=mode == "given",
                        mapped=mapped,
                    ),
                )
            output = module(**dict(zip(names, given, strict=True))) if names else module(*given)
            return (output, tuple(recorded)) if mode in ("keep", "given") else output

        return call(*x) if self.batched else jax.vmap(call)(*x)

    def layer_at(self, module: Any, layer: str) -> Any:
        """The layer of this name.

        Raises:
            OptionError: there is none.
        """
        node = module
        for step in layer.split("."):
            node = node[int(step)] if step.isdigit() else getattr(node, step, None)
            if node is None:
                raise OptionError(f"there is no layer {layer!r}.{did_you_mean(layer, self.layers(module))}")
        return node


class _LayerProbe:
    """Takes the place of a layer: records its outputs or its inputs, call by call, or puts out replacements."""

    def __init__(
        self,
        layer: Any,
        replacements: dict[int, Any],
        recorded: list[Any],
        *,
        stop_at: int | None,
        given: bool,
        mapped: bool,
    ) -> None:
        self._layer, self._replacements, self._recorded, self._stop_at = layer, replacements, recorded, stop_at
        self._records_input, self._mapped = given, mapped

    def __getattr__(self, name: str) -> Any:
        return getattr(self._layer, name)

    def __call__(self, *given: Any, **named: Any) -> Any:
        if not self._mapped:
            return self._noted(self._layer(*given, **named), given)

        def on_all_parts(size: int, is_mapped: Any, *parts: Any) -> Any:
            axes = tuple(jax.tree_util.tree_map(lambda m: 0 if m else None, of) for of in is_mapped)
            out = jax.vmap(lambda *one: self._layer(*one, **named), in_axes=axes, axis_size=size)(*parts)
            out = self._noted(out, parts)
            return out, jax.tree_util.tree_map(lambda _: True, out)

        on_a_part: Any = custom_vmap(lambda *parts: self._layer(*parts, **named))
        on_a_part.def_vmap(on_all_parts)
        return on_a_part(*given)

    def _noted(self, out: Any, given: tuple[Any, ...]) -> Any:
        """The output, recorded and perhaps replaced."""
        call = len(self._recorded)
        if self._stop_at == call:
            raise LayerReached(tuple(jnp.shape(out)))
        if call in self._replacements:
            replacement = self._replacements[call]
            if jnp.shape(out) != jnp.shape(replacement):
                raise UnsupportedModelError(
                    "the layer is called on parts of a row (under vmap inside the network); name one that is called for a whole row."
                )
            out = replacement
        self._recorded.append(given[0] if self._records_input and given else out)
        return out


@final
@dataclass(frozen=True)
class Function(NetworkBody):
    """A function of (params, inputs...) or of (inputs...)."""

    function: Callable[..., Any]
    parametric: bool

    def module(self, params: Any) -> Any:
        """The function, given its parameters."""
        return (lambda *x, **named: self.function(params, *x, **named)) if self.parametric else self.function

    @property
    def structure(self) -> str:
        """Its code, and the numbers in its closure, its defaults and the globals that it names."""
        texts = (
            a if isinstance(a, str) else str((a.shape, a.dtype, array_bytes(a)))
            for a in _code_and_constants(self.function, set())
        )
        return "".join(texts)

    @property
    def floats(self) -> list[Any]:
        """Arrays of floats that it holds."""
        arrays = (a for a in _code_and_constants(self.function, set()) if not isinstance(a, str))
        return [a for a in arrays if jnp.issubdtype(a.dtype, jnp.floating)]


@final
@dataclass(frozen=True)
class Equinox(NetworkBody):
    """A module of equinox: a tree of arrays (the parameters) and of everything else."""

    tree: Any
    static: tuple[Any, ...]

    def module(self, params: Any) -> Any:
        """Combine the parameters with everything else."""
        import equinox

        return equinox.combine(params, jax.tree_util.tree_unflatten(self.tree, self.static))

    @property
    def structure(self) -> str:
        """The tree as text."""
        return _without_addresses((self.tree, self.static))

    def replace_layer(self, module: Any, layer: str, replacement: Any) -> Any:
        """Replace a layer in a copy."""
        import equinox

        return equinox.tree_at(lambda m: self.layer_at(m, layer), module, replacement)

    def sequence_axes(self, module: Any, layer: str) -> tuple[str, ...] | None:
        """See NetworkBody."""
        import equinox

        kinds = (equinox.nn.Conv, equinox.nn.ConvTranspose, equinox.nn.Pool)
        node = self.layer_at(module, layer)
        return ("row", "feature", "time") if isinstance(node, kinds) and node.num_spatial_dims == 1 else None

    def layers(self, module: Any) -> list[str]:
        """Names of the modules that hold no other module."""
        import equinox

        return [
            name
            for name, inner in _submodules(module, equinox.Module)
            if not next(_submodules(inner, equinox.Module), None)
        ]


@final
@dataclass(frozen=True)
class Flax(NetworkBody):
    """A module of flax.nnx: a graph, and its state (the parameters)."""

    graph: Any

    def module(self, params: Any) -> Any:
        """Combine the parameters with everything else."""
        from flax import nnx

        return nnx.merge(self.graph, params)

    @property
    def structure(self) -> str:
        """The graph as text."""
        return _without_addresses(self.graph)

    def replace_layer(self, module: Any, layer: str, replacement: Any) -> Any:
        """Replace a layer; the module is a fresh one."""
        path, _, last = layer.rpartition(".")
        parent = self.layer_at(module, path) if path else module
        if last.isdigit():
            parent[int(last)] = replacement
        else:
            object.__setattr__(parent, last, replacement)
        return module

    def sequence_axes(self, module: Any, layer: str) -> tuple[str, ...] | None:
        """See NetworkBody."""
        from flax import nnx

        node = self.layer_at(module, layer)
        if isinstance(node, nnx.RNN):
            return ("time", "row", "feature") if node.time_major else ("row", "time", "feature")
        conv = isinstance(node, (nnx.Conv, nnx.ConvTranspose)) and len(tuple(np.atleast_1d(node.kernel_size))) == 1
        return ("row", "time", "feature") if conv else None

    def layers(self, module: Any) -> list[str]:
        """Names of the modules that hold no other module."""
        from flax import nnx

        names = [".".join(map(str, path)) for path, n in nnx.iter_graph(module) if path and isinstance(n, nnx.Module)]
        return sorted(n for n in names if not any(other.startswith(f"{n}.") for other in names))


def make_body(obj: Any, params: Any, *, batched: bool | None) -> tuple[NetworkBody, Any, str]:
    """Return (body, parameters, description) of a module or function.

    Raises:
        UnsupportedModelError: a module in train mode, or one of flax.linen without its parameters.
        OptionError: parameters for a module that has its own, or no function.
    """
    roots = {c.__module__.partition(".")[0] for c in type(obj).__mro__}
    if params is None and "equinox" in roots:
        return _equinox_module(obj, batched=bool(batched))
    if "flax" in roots:
        if hasattr(obj, "apply"):
            raise UnsupportedModelError(
                "a module of flax.linen has no parameters of its own; pass whybox.networks.jax(module.apply, variables)."
            )
        if params is None:
            return _flax_module(obj, batched=batched is not False)
    if not callable(obj):
        raise OptionError(f"{type(obj).__name__} is neither a function nor a module.")
    try:
        hash(obj)
    except TypeError:
        raise OptionError(
            f"{type(obj).__name__} cannot be hashed, so JAX cannot compile it once; wrap it in a function."
        ) from None
    name = getattr(obj, "__qualname__", type(obj).__name__)
    return Function(batched is not False, obj, params is not None), params, f"{name} (JAX function)"


def _equinox_module(obj: Any, *, batched: bool) -> tuple[NetworkBody, Any, str]:
    import equinox

    training = [
        name or type(obj).__name__ for name, m in [("", obj), *_submodules(obj, equinox.Module)] if _is_training(m)
    ]
    if training:
        raise UnsupportedModelError(
            f"the network is in train mode ({training[0]!r}), where dropout and batch statistics change its outputs; pass equinox.nn.inference_mode(net)."
        )
    params, rest = equinox.partition(obj, lambda a: isinstance(a, (jax.Array, np.ndarray)))
    static, tree = jax.tree_util.tree_flatten(rest)
    return Equinox(batched, tree, tuple(static)), params, f"{type(obj).__name__} (equinox module"


def _is_training(module: Any) -> bool:
    dropped: Any = getattr(module, "p", 1.0)
    return getattr(module, "inference", None) is False and dropped != 0


def _flax_module(obj: Any, *, batched: bool) -> tuple[NetworkBody, Any, str]:
    from flax import nnx

    for path, node in nnx.iter_graph(obj):
        rate: Any = getattr(node, "rate", 0.0)
        dropping = getattr(node, "deterministic", None) is False and rate != 0
        if dropping or getattr(node, "use_running_average", None) is False:
            raise UnsupportedModelError(
                f"the network is in train mode ({'.'.join(map(str, path))!r}), where dropout and batch statistics change its outputs; call net.eval() first."
            )
    graph, state = nnx.split(obj)
    return Flax(batched, graph), state, f"{type(obj).__name__} (flax module"


def _submodules(module: Any, kind: type) -> Iterator[tuple[str, Any]]:
    """(dotted name, module) of all modules in a module."""

    def walk(node: Any, name: str) -> Iterator[tuple[str, Any]]:
        if isinstance(node, kind):
            if name:
                yield name, node
            parts = [(f, getattr(node, f, None)) for f in getattr(node, "__dataclass_fields__", ())]
        elif isinstance(node, (list, tuple)):
            parts = [(str(i), part) for i, part in enumerate(node)]
        elif isinstance(node, dict):
            parts = [(str(k), part) for k, part in node.items()]
        else:
            return
        for step, part in parts:
            yield from walk(part, f"{name}.{step}" if name else step)

    return walk(module, "")


def _code_and_constants(function: Any, seen: set[int]) -> Iterator[Any]:
    """Yield what decides the outputs of a function: names, code and numbers as text, arrays as they are; also of the functions that it uses."""
    inner = function
    while hasattr(inner, "__wrapped__"):
        inner = inner.__wrapped__
    if id(inner) in seen:
        return
    seen.add(id(inner))
    yield str(getattr(inner, "__qualname__", type(inner).__name__))
    if str(getattr(inner, "__module__", "")).partition(".")[0] in ("jax", "jaxlib", "numpy"):
        return
    held: list[Any] = [inner, getattr(inner, "__self__", None)]
    if isinstance(inner, partial):
        held += [inner.func, inner.args, inner.keywords]
    code = getattr(inner, "__code__", None)
    if code is not None:
        yield str((code.co_code, _without_addresses(code.co_consts), code.co_names))
        module_names = getattr(inner, "__globals__", {})
        held += [c.cell_contents for c in getattr(inner, "__closure__", None) or () if _is_filled(c)]
        held += [getattr(inner, "__defaults__", None), getattr(inner, "__kwdefaults__", None)]
        held += [module_names[n] for n in code.co_names if n in module_names and not inspect.ismodule(module_names[n])]
    for a in jax.tree_util.tree_leaves(held):
        if isinstance(a, (jax.Array, np.ndarray)):
            yield a
        elif isinstance(a, (int, float, complex, str)):
            yield repr(a)
        elif inspect.isroutine(a) or isinstance(a, partial) or hasattr(a, "__wrapped__"):
            yield from _code_and_constants(a, seen)


def _is_filled(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return False
    return True


def array_part(a: Any, index: Any, device: Any) -> Any:
    """``a[index]``; on a processor by numpy, since JAX compiles up to six programs for every new shape, which takes longer than the copy."""
    if isinstance(index, slice) and index.stop == len(a):
        return a
    if any(d.platform != "cpu" for d in a.devices()):
        return a[index]
    return jax.device_put(np.asarray(a)[index], device)


def array_bytes(a: Any) -> bytes:
    """The numbers of an array as bytes; of a key of random numbers its data."""
    key = isinstance(a, jax.Array) and jnp.issubdtype(a.dtype, jax.dtypes.prng_key)
    return np.ascontiguousarray(jax.random.key_data(a) if key else a).tobytes()


def _without_addresses(obj: Any) -> str:
    """An object as text, without addresses in memory."""
    return re.sub(r" at 0x[0-9a-f]+", "", str(obj))


def parameter_path(path: tuple[Any, ...]) -> str:
    """A path in a tree of parameters, as layers are named: ``layers.0.weight``."""
    steps = [next(str(getattr(k, a)) for a in ("name", "key", "idx") if hasattr(k, a)) for k in path]
    return ".".join(steps).removesuffix(".value")
