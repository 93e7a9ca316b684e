"""How functions of JAX, modules of equinox and modules of flax are run on rows, with one layer listened to or replaced.

A body is hashable by what it computes, so that JAX compiles it once, however often it is wrapped.
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

from whybox.errors import OptionError, UnsupportedModelError, did_you_mean

__all__ = ["Equinox", "Flax", "Function", "LayerReached", "NetworkBody", "array_bytes", "make_body", "parameter_path"]

Mode = Literal["plain", "keep", "from", "stop", "given"]


class LayerReached(Exception):  # noqa: N818  # nothing went wrong
    """A layer was reached that the network was run up to; `shape`: of what it puts out."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__(shape)
        self.shape = shape


@dataclass(frozen=True)
class NetworkBody(ABC):
    """What is run: ``batched``: on all rows at once, or on one row at a time (vmapped)."""

    batched: bool

    @abstractmethod
    def module(self, params: Any) -> Any:
        """The callable with these parameters."""

    @property
    @abstractmethod
    def structure(self) -> str:
        """All but the parameters, in words that are the same in another process."""

    def replace_layer(self, module: Any, layer: str, replacement: Any) -> Any:
        """The module with one layer replaced."""
        raise UnsupportedModelError(
            "layers of a plain JAX function cannot be reached; split it into two functions and explain the second."
        )

    def layers(self, module: Any) -> list[str]:
        """Names of layers without parts of their own."""
        raise UnsupportedModelError("layers of a plain JAX function cannot be reached.")

    def sequence_axes(self, module: Any, layer: str) -> tuple[str, ...] | None:
        """Names of the axes that a layer is given, rows first, where it knows time from features."""
        return None

    def any_size(self) -> AbstractContextManager[None]:
        """Within it inputs may have another size than the module was made for, where it checks that first."""
        return nullcontext()

    def run(self, params: Any, x: tuple[Any, ...], names: tuple[str, ...], layer: str | None, mode: Mode) -> Any:
        """Answer rows. ``keep``: (answer, what the layer put out). ``from``: the first input stands for what the layer puts out.

        ``stop``: raise Reached there. ``given``: (answer, what the layer is given).
        """

        def call(*given: Any) -> Any:
            module = self.module(params)
            noted: list[Any] = []
            if layer is not None:
                replacement_output, given = (given[0], given[1:]) if mode == "from" else (None, given)
                module = self.replace_layer(
                    module,
                    layer,
                    _LayerProbe(
                        self.layer_at(module, layer),
                        replacement_output,
                        noted,
                        stop=mode == "stop",
                        given=mode == "given",
                    ),
                )
            answer = module(**dict(zip(names, given, strict=True))) if names else module(*given)
            if layer is not None and len(noted) != 1:
                raise UnsupportedModelError(
                    f"layer {layer!r} answers {'more than once' if noted else 'never'}; name another."
                )
            return (answer, noted[0]) if mode in ("keep", "given") else answer

        return call(*x) if self.batched else jax.vmap(call)(*x)

    def layer_at(self, module: Any, layer: str) -> Any:
        """The layer of this name.

        Raises:
            OptionError: there is none.
        """
        found = module
        for step in layer.split("."):
            found = found[int(step)] if step.isdigit() else getattr(found, step, None)
            if found is None:
                raise OptionError(f"there is no layer {layer!r}.{did_you_mean(layer, self.layers(module))}")
        return found


class _LayerProbe:
    """Stands where a layer stood: notes what it says, or says what it is given to say."""

    def __init__(self, layer: Any, replacement_output: Any, noted: list[Any], *, stop: bool, given: bool) -> None:
        self._layer, self._instead, self._said, self._stop = layer, replacement_output, noted, stop
        self._hears = given

    def __getattr__(self, name: str) -> Any:
        return getattr(self._layer, name)

    def __call__(self, *given: Any, **named: Any) -> Any:
        out = self._layer(*given, **named)
        if self._stop:
            raise LayerReached(tuple(jnp.shape(out)))
        if self._instead is not None:
            if jnp.shape(out) != jnp.shape(self._instead):
                raise UnsupportedModelError(
                    "the layer is called on parts of a row (under vmap inside the network); name one that answers a whole row."
                )
            out = self._instead
        self._said.append(given[0] if self._hears and given else out)
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
        """Its code, and the numbers it has closed over, is given as defaults or names among its module's."""
        words = (
            a if isinstance(a, str) else str((a.shape, a.dtype, array_bytes(a)))
            for a in _code_and_constants(self.function, set())
        )
        return "".join(words)

    @property
    def floats(self) -> list[Any]:
        """Arrays of floats that it holds."""
        held = (a for a in _code_and_constants(self.function, set()) if not isinstance(a, str))
        return [a for a in held if jnp.issubdtype(a.dtype, jnp.floating)]


@final
@dataclass(frozen=True)
class Equinox(NetworkBody):
    """A module of equinox: a tree of arrays (the parameters) and of everything else."""

    tree: Any
    static: tuple[Any, ...]

    def module(self, params: Any) -> Any:
        """Put together again."""
        import equinox

        return equinox.combine(params, jax.tree_util.tree_unflatten(self.tree, self.static))

    @property
    def structure(self) -> str:
        """The tree in words."""
        return _without_addresses((self.tree, self.static))

    def replace_layer(self, module: Any, layer: str, replacement: Any) -> Any:
        """Replace a layer in a copy."""
        import equinox

        return equinox.tree_at(lambda m: self.layer_at(m, layer), module, replacement)

    def sequence_axes(self, module: Any, layer: str) -> tuple[str, ...] | None:
        """See Body."""
        import equinox

        kinds = (equinox.nn.Conv, equinox.nn.ConvTranspose, equinox.nn.Pool)
        found = self.layer_at(module, layer)
        return ("row", "feature", "time") if isinstance(found, kinds) and found.num_spatial_dims == 1 else None

    def layers(self, module: Any) -> list[str]:
        """Modules within which there is no module."""
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
        """Put together again."""
        from flax import nnx

        return nnx.merge(self.graph, params)

    @property
    def structure(self) -> str:
        """The graph in words."""
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
        """See Body."""
        from flax import nnx

        found = self.layer_at(module, layer)
        if isinstance(found, nnx.RNN):
            return ("time", "row", "feature") if found.time_major else ("row", "time", "feature")
        conv = isinstance(found, (nnx.Conv, nnx.ConvTranspose)) and len(tuple(np.atleast_1d(found.kernel_size))) == 1
        return ("row", "time", "feature") if conv else None

    def layers(self, module: Any) -> list[str]:
        """Modules within which there is no module."""
        from flax import nnx

        found = [
            (".".join(map(str, path)), node)
            for path, node in nnx.iter_graph(module)
            if path and isinstance(node, nnx.Module)
        ]
        return sorted(n for n, _ in found if not any(m.startswith(f"{n}.") for m, _ in found))


def make_body(obj: Any, params: Any, *, batched: bool | None) -> tuple[NetworkBody, Any, str]:
    """Return (body, parameters, in words) of a module or function.

    Raises:
        UnsupportedModelError: a module in train mode, or one of flax.linen without its parameters.
        OptionError: parameters for a module that has its own, or no function.
    """
    roots = {c.__module__.partition(".")[0] for c in type(obj).__mro__}
    if params is None and "equinox" in roots:
        return _equinox(obj, batched=bool(batched))
    if "flax" in roots:
        if hasattr(obj, "apply"):
            raise UnsupportedModelError(
                "a module of flax.linen has no parameters of its own; pass whybox.networks.jax(module.apply, variables)."
            )
        if params is None:
            return _flax(obj, batched=batched is not False)
    if not callable(obj):
        raise OptionError(f"{type(obj).__name__} is no function and no module.")
    try:
        hash(obj)
    except TypeError:
        raise OptionError(
            f"{type(obj).__name__} cannot be hashed, so JAX cannot compile it once; wrap it in a function."
        ) from None
    name = getattr(obj, "__qualname__", type(obj).__name__)
    return Function(batched is not False, obj, params is not None), params, f"{name} (JAX function)"


def _equinox(obj: Any, *, batched: bool) -> tuple[NetworkBody, Any, str]:
    import equinox

    off = [name or type(obj).__name__ for name, m in [("", obj), *_submodules(obj, equinox.Module)] if _trains(m)]
    if off:
        raise UnsupportedModelError(
            f"the network is in train mode ({off[0]!r}), where dropout and batch statistics change its answers; pass equinox.nn.inference_mode(net)."
        )
    params, rest = equinox.partition(obj, lambda a: isinstance(a, (jax.Array, np.ndarray)))
    static, tree = jax.tree_util.tree_flatten(rest)
    return Equinox(batched, tree, tuple(static)), params, f"{type(obj).__name__} (equinox module"


def _trains(module: Any) -> bool:
    dropped: Any = getattr(module, "p", 1.0)
    return getattr(module, "inference", None) is False and dropped != 0


def _flax(obj: Any, *, batched: bool) -> tuple[NetworkBody, Any, str]:
    from flax import nnx

    for path, node in nnx.iter_graph(obj):
        rate: Any = getattr(node, "rate", 0.0)
        dropping = getattr(node, "deterministic", None) is False and rate != 0
        if dropping or getattr(node, "use_running_average", None) is False:
            raise UnsupportedModelError(
                f"the network is in train mode ({'.'.join(map(str, path))!r}), where dropout and batch statistics change its answers; call net.eval() first."
            )
    graph, state = nnx.split(obj)
    return Flax(batched, graph), state, f"{type(obj).__name__} (flax module"


def _submodules(module: Any, kind: type) -> Iterator[tuple[str, Any]]:
    """(dotted name, module) of all modules inside."""

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
    """Names, code and numbers (arrays as they are): what decides a function's numbers, as far as it can be seen: its code, and that of functions that it holds."""
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
        known = getattr(inner, "__globals__", {})
        held += [c.cell_contents for c in getattr(inner, "__closure__", None) or () if _is_filled(c)]
        held += [getattr(inner, "__defaults__", None), getattr(inner, "__kwdefaults__", None)]
        held += [known[n] for n in code.co_names if n in known and not inspect.ismodule(known[n])]
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


def array_bytes(a: Any) -> bytes:
    """An array's numbers; of a key of random numbers those behind it."""
    key = isinstance(a, jax.Array) and jnp.issubdtype(a.dtype, jax.dtypes.prng_key)
    return np.ascontiguousarray(jax.random.key_data(a) if key else a).tobytes()


def _without_addresses(noted: Any) -> str:
    """Words without addresses in memory."""
    return re.sub(r" at 0x[0-9a-f]+", "", str(noted))


def parameter_path(path: tuple[Any, ...]) -> str:
    """A path in a tree of parameters, as layers are named: ``layers.0.weight``."""
    steps = [next(str(getattr(k, a)) for a in ("name", "key", "idx") if hasattr(k, a)) for k in path]
    return ".".join(steps).removesuffix(".value")
