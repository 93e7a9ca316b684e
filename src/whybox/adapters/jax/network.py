"""Networks of JAX: functions, modules of equinox, modules of flax. Forward and backward passes are compiled."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final, Literal, final

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from whybox.adapters.jax.modules import (
    Function,
    LayerReached,
    Mode,
    NetworkBody,
    array_bytes,
    array_part,
    make_body,
    parameter_path,
)
from whybox.adapters.jax.programs import break_names, clear_errors, depends_on_last_input
from whybox.adapters.network_outputs import OutputPart, followed_by, parameter_names
from whybox.errors import Argument, DtypeError, OptionError, UnsupportedModelError
from whybox.models.differentiable import Array, Differentiable, Indices, LayerSide, LayerTap, Pullback

__all__ = ["JaxNetwork", "network", "wrap", "wrap_body"]

DEVICE_ROWS: Final = 256
CPU_ROWS: Final = 32


def network(obj: Any, output: Any = None) -> JaxNetwork:
    """Wrap a module of equinox (one row at a time, channels first) or of flax.nnx (all rows at once, channels last).

    Raises:
        UnsupportedModelError: a module in train mode, or a function, which does not say how it takes rows.
    """
    if any(c.__module__.partition(".")[0] in ("equinox", "flax") for c in type(obj).__mro__):
        return wrap(obj, output=output)
    raise UnsupportedModelError("a JAX function is wrapped first: whybox.networks.jax(function, params).")


def wrap(
    obj: Any,
    params: Any = None,
    *,
    batched: bool | None = None,
    channels: Literal["first", "last"] | None = None,
    output: Any = None,
) -> JaxNetwork:
    """See whybox.networks.jax.

    Raises:
        OptionError, UnsupportedModelError: see whybox.adapters.jax.modules.make_body.
    """
    if channels not in (None, "first", "last"):
        raise OptionError(Argument("channels", channels), " is not known: 'first' or 'last'.")
    body, params, kind = make_body(obj, params, batched=batched)
    first = 1 if params is not None and "(JAX function)" in kind else 0
    signature = parameter_names(obj)[first:], parameter_names(obj, required=True)[first:]
    own: Literal["first", "last"] = "first" if "(equinox module" in kind else "last"
    return wrap_body(body, params, kind, channels=channels or own, output=output, signature=signature)


def wrap_body(
    body: NetworkBody,
    params: Any,
    kind: str,
    *,
    channels: Literal["first", "last"] = "last",
    output: Any = None,
    signature: tuple[tuple[str, ...], tuple[str, ...]] = ((), ()),
) -> JaxNetwork:
    """Make the network of a body and its parameters."""
    arrays = [a for a in jax.tree_util.tree_leaves(params) if hasattr(a, "dtype")]
    floats = [a for a in arrays if jnp.issubdtype(a.dtype, jnp.floating)]
    if not floats and isinstance(body, Function):
        floats = body.floats
    dtype = jax.dtypes.canonicalize_dtype(
        floats[0].dtype if floats else jnp.float32
    )  # numpy's float64 is cut to 32 bits by JAX
    device = next((next(iter(a.devices())) for a in floats if isinstance(a, jax.Array) and len(a.devices()) == 1), None)
    if kind.endswith("module"):
        kind = f"{kind}, {sum(a.size for a in floats):,} parameters)"
    on_cpu = (device.platform if device is not None else jax.default_backend()) == "cpu"
    return JaxNetwork(
        kind=kind,
        library="jax",
        channels=channels,
        max_batch_size=CPU_ROWS if on_cpu else DEVICE_ROWS,
        arithmetic=str(dtype),
        params=params,
        dtype=dtype,
        device=device,
        run=_FixedArguments(body, OutputPart(output, jax.Array), signature=signature),
    )


@final
@dataclass(frozen=True)
class _FixedArguments:
    """The function that is compiled, from rows to outputs; its hash depends on what it computes."""

    body: NetworkBody
    head: Callable[[Any], Any]
    names: tuple[str, ...] = ()
    layer: str | None = None
    mode: Mode = "plain"
    calls: tuple[int, ...] = ()  # of the layer, that the first inputs replace, or that is reached
    mapped: bool = False  # the layer is called under vmap inside the network
    one_numbers: tuple[int, ...] = ()  # positions of inputs that are (rows, 1) here and (rows,) in the body
    signature: tuple[tuple[str, ...], tuple[str, ...]] = (
        (),
        (),
    )  # names of all inputs, and of those that must be given

    def __call__(self, params: Any, x: tuple[Any, ...]) -> Any:
        first = (
            len(self.calls) if self.mode == "from" else 0
        )  # the layer's outputs, before the inputs of the whole network
        x = tuple(a[:, 0] if i - first in self.one_numbers else a for i, a in enumerate(x))
        output = self.body.run(params, x, self.names, self.layer, self.mode, self.calls, mapped=self.mapped)
        if self.mode in ("keep", "given"):  # for the layer alone: of several outputs none need be named yet
            return None, output[1]
        out = self.head(output)
        if not jnp.ndim(out) or out.shape[0] != len(x[0]):
            raise UnsupportedModelError(
                f"the network's output for {len(x[0])} rows has the shape {jnp.shape(out)}; its first axis must be the rows. "
                "A function of one row is wrapped with whybox.networks.jax(function, params, batched=False)."
            )
        return out


@partial(jax.jit, static_argnums=0)
def _evaluate_outputs(run: _FixedArguments, params: Any, x: tuple[Any, ...]) -> Any:
    return run(params, x)


@partial(jax.jit, static_argnums=0)
def _layer_value(run: _FixedArguments, params: Any, x: tuple[Any, ...]) -> Any:
    """The outputs of a layer at its calls, or its inputs; what comes after the layer is not computed."""
    return run(params, x)[1]


@partial(jax.jit, static_argnums=(0, 1))
def _forward_and_vjp(run: _FixedArguments, floats: tuple[bool, ...], params: Any, x: tuple[Any, ...]) -> Any:
    """Outputs, and the pullback as a tree of the arrays that it keeps."""

    def outputs_of(*float_inputs: Any) -> Any:
        remaining = iter(float_inputs)
        return run(params, tuple(next(remaining) if f else a for f, a in zip(floats, x, strict=True)))

    return jax.vjp(outputs_of, *(a for f, a in zip(floats, x, strict=True) if f))


def _apply_vjp(pull: Any, cotangent: Any) -> Any:
    return pull(cotangent)


_back = jax.jit(_apply_vjp)


@final
@dataclass(frozen=True, eq=False, kw_only=True)
class JaxNetwork(Differentiable):
    """See Differentiable."""

    run: _FixedArguments
    params: Any
    dtype: Any
    device: Any
    compiled_sizes: set[int] = field(default_factory=set, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        """Return what is pickled: the device by its platform and number, since the object belongs to this process."""
        device = self.device
        return {**self.__dict__, "device": None if device is None else (device.platform, device.id)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take the device of the same platform and number if there is one, else JAX's own choice."""
        saved = state["device"]
        same = [] if saved is None else [d for d in jax.devices() if (d.platform, d.id) == saved]
        self.__dict__.update({**state, "device": same[0] if same else None})

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the structure and of all parameters."""
        h = hashlib.sha256(self.run.body.structure.encode())
        for path, a in jax.tree_util.tree_leaves_with_path(self.params):
            if hasattr(a, "dtype"):
                h.update(f"{parameter_path(path)}{a.dtype}{a.shape}".encode())
                h.update(array_bytes(a))
        return h.hexdigest()

    # numbers there and back

    def is_own_array(self, x: Any) -> bool:
        """Whether this is an array of JAX."""
        return isinstance(x, jax.Array)

    def array(self, x: npt.NDArray[Any]) -> Array:
        """Copy numbers to the device; floats in the parameters' type, whole numbers in JAX's own (32 bits, unless jax_enable_x64 is set)."""
        if x.dtype.kind == "f":
            return jax.device_put(x.astype(self.dtype), self.device)
        if x.dtype.kind not in "iub":
            raise DtypeError(f"inputs of type {x.dtype} are not numbers.")
        if x.dtype != bool:
            wide = np.int64 if jax.config.jax_enable_x64 else np.int32
            if x.size and (x.max() > np.iinfo(wide).max or x.min() < np.iinfo(wide).min):
                raise DtypeError("inputs hold whole numbers beyond 32 bits, which JAX would cut; set jax_enable_x64.")
            x = x.astype(wide)
        return jax.device_put(x, self.device)

    def numpy(self, a: Array) -> npt.NDArray[Any]:
        """Copy an array to numpy; floats as float64."""
        return np.asarray(a).astype(np.float64) if jnp.issubdtype(a.dtype, jnp.floating) else np.array(a)

    def with_input_dtypes(self, given: Sequence[str], sample: tuple[npt.NDArray[Any], ...]) -> Iterator[JaxNetwork]:
        """See Differentiable."""
        wider = [jnp.dtype(d) for d in given if jnp.finfo(d).eps < jnp.finfo(self.dtype).eps]
        if wider:
            yield replace(self, dtype=jax.dtypes.canonicalize_dtype(min(wider, key=lambda d: jnp.finfo(d).eps)))
        yield self

    def take(self, a: Array, rows: Indices) -> Array:
        """Rows of an array."""
        return array_part(a, np.asarray(rows), self.device)

    def add_at(self, total: Array, rows: Indices, more: Array) -> Array:
        """Sum into rows."""
        return total.at[np.asarray(rows)].add(more.astype(total.dtype))

    # running

    @contextmanager
    def session(self) -> Iterator[None]:
        """See Differentiable. Compiled sizes are forgotten, so that the same call gives the same bits each time."""
        self.compiled_sizes.clear()
        yield

    def _padded(self, x: tuple[Array, ...]) -> tuple[Array, ...]:
        """Repeat the last row up to a number of rows that was compiled before, if there is one at most twice as large."""
        rows = len(x[0])
        size = min((s for s in self.compiled_sizes if rows <= s <= 2 * rows), default=rows)
        self.compiled_sizes.add(size)
        return x if size == rows else tuple(self.take(a, np.minimum(np.arange(size), rows - 1)) for a in x)

    def forward(self, x: tuple[Array, ...]) -> Array:
        """Outputs alone."""
        self.passes.forward += len(x[0])
        with clear_errors():
            return array_part(_evaluate_outputs(self.run, self.params, self._padded(x)), slice(len(x[0])), self.device)

    def __call__(self, x: tuple[Array, ...]) -> tuple[Array, Pullback]:
        """Outputs and pullback."""
        floats = _is_float(x)
        outputs, back = self._forward_and_pullback(self.run, floats, x)

        def pull(cotangent: Array, *, last: bool = False) -> tuple[Array | None, ...]:
            gradients = iter(back(cotangent))
            return tuple(next(gradients) if f else None for f in floats)

        return outputs, pull

    def _forward_and_pullback(
        self, run: _FixedArguments, floats: tuple[bool, ...], x: tuple[Array, ...]
    ) -> tuple[Array, Callable[[Array], Any]]:
        """Outputs, and the function from a cotangent to the gradients of the inputs that are floats."""
        rows = len(x[0])
        self.passes.forward += rows
        with clear_errors():
            outputs, pullback = _forward_and_vjp(run, floats, self.params, self._padded(x))

        def back(cotangent: Array) -> Any:
            self.passes.backward += rows
            padding = ((0, len(outputs) - rows), *((0, 0) for _ in cotangent.shape[1:]))
            typed = cotangent.astype(outputs.dtype)
            with clear_errors():
                gradients = _back(pullback, jnp.pad(typed, padding) if padding[0][1] else typed)
            return tuple(array_part(g, slice(rows), self.device) for g in gradients)

        return array_part(outputs, slice(rows), self.device), back

    def forward_and_memory(self, x: tuple[Array, ...]) -> tuple[Array, int]:
        """Outputs, and the bytes that the pullback keeps for these rows, from the compiled program: twice as many rows keep so many more."""
        outputs = self.forward(x)
        with clear_errors():
            (output, back), (_, twice) = self._traced(x, 1), self._traced(x, 2)
            self.check_unreached(x, self._unreached(x, output, back), "jax.lax.stop_gradient, rounding")
        return outputs, _tree_bytes(twice) - _tree_bytes(back)

    def _traced(self, x: tuple[Array, ...], times: int) -> tuple[Any, Any]:
        """Shapes of the outputs and of what the pullback keeps, for `times` times these rows; nothing is computed."""
        wide = tuple(jax.ShapeDtypeStruct((times * len(a), *a.shape[1:]), a.dtype) for a in x)
        output, back = jax.eval_shape(partial(_forward_and_vjp, self.run, _is_float(x)), self.params, wide)
        return output, back

    def gradient_breaks(self, x: tuple[Array, ...]) -> tuple[str, ...]:
        """See Differentiable."""
        with clear_errors():
            return tuple(dict.fromkeys(break_names(jax.make_jaxpr(self.run)(self.params, x).jaxpr)))

    def forward_and_live_memory(self, x: tuple[Array, ...]) -> tuple[Array, int]:
        """Outputs, and the bytes that derivatives would keep; without derivatives, those of these rows and their outputs."""
        outputs = self.forward(x)
        try:
            return outputs, _tree_bytes(self._traced(x, 2)[1]) - _tree_bytes(self._traced(x, 1)[1])
        except (TypeError, ValueError, NotImplementedError):
            return outputs, _tree_bytes((x, outputs))

    def _unreached(self, x: tuple[Array, ...], output: Any, back: Any) -> list[int]:
        """Positions of the float inputs that no derivative of the outputs reaches."""
        if not jnp.issubdtype(output.dtype, jnp.floating):  # refused by the caller
            return []
        reached = iter(depends_on_last_input(jax.make_jaxpr(_apply_vjp)(back, output).jaxpr))
        return [i for i, f in enumerate(_is_float(x)) if f and not next(reached)]

    def with_head(self, head: Callable[[Any], Array]) -> JaxNetwork:
        """The network followed by a function of its outputs, which is differentiated too."""
        return replace(self, run=replace(self.run, head=followed_by(self.run.head, head)))

    def select_output(self, output: Any) -> JaxNetwork:
        """The network with another of its outputs."""
        return replace(self, run=replace(self.run, head=OutputPart(output, jax.Array)))

    def with_input_names(self, names: tuple[str, ...]) -> JaxNetwork:
        """The network with inputs passed by name."""
        return replace(self, run=replace(self.run, names=names))

    def with_one_numbers(self, positions: tuple[int, ...]) -> JaxNetwork:
        """See Differentiable."""
        return replace(self, run=replace(self.run, one_numbers=positions))

    def accepted_inputs(self, *, required: bool = False) -> tuple[str, ...]:
        """Names of the inputs that the function or module takes."""
        return self.run.signature[required]

    # layers

    def layers(self, x: tuple[Array, ...]) -> list[tuple[str, tuple[int, ...]]]:
        """Names and output shapes of the layers that are called once and put out one array; nothing is computed."""
        shapes = []
        for name in self.run.body.layers(self.run.body.module(self.params)):
            try:
                run = replace(self.run, layer=name, mode="keep")
                values = jax.eval_shape(partial(run, self.params), x)[1]
            except (UnsupportedModelError, OptionError, jax.errors.JAXTypeError, TypeError):
                continue
            if len(values) == 1 and hasattr(values[0], "shape"):
                shapes.append((name, tuple(values[0].shape)))
        return shapes

    def reachable_shapes(self, x: tuple[Array, ...]) -> list[tuple[str, tuple[int, ...]]]:
        """See Differentiable; nothing is computed."""
        shapes, rows = [], () if self.run.body.batched else (len(x[0]),)
        try:
            names = self.run.body.layers(self.run.body.module(self.params))
        except UnsupportedModelError:
            return []
        for name in names:
            run = replace(self.run, layer=name, mode="stop", calls=(self.layer_call or 0,))
            try:
                with self.run.body.any_size():
                    jax.eval_shape(partial(run, self.params), x)
            except LayerReached as reached:
                shapes.append((name, (*rows, *reached.shape)))
            except Exception:  # noqa: S112  # whatever a network raises for rows of another size
                continue
        return shapes

    def named_shapes(self, x: tuple[Array, ...]) -> dict[str, tuple[int, ...]]:
        """See Differentiable; also of layers that are called several times, at the call that is meant."""
        return dict(self.reachable_shapes(x))

    def sequence_layers(self, x: tuple[Array, ...]) -> Iterator[tuple[str, tuple[str, ...], Array]]:
        """See Differentiable; in the order of the module's parts."""
        body = self.run.body
        try:
            module = body.module(self.params)
            names = body.layers(module)
        except UnsupportedModelError:
            return
        for name in names:
            axes = body.sequence_axes(module, name)
            if axes is None:
                continue
            try:
                given = _layer_value(replace(self.run, layer=name, mode="given"), self.params, x)
            except (UnsupportedModelError, OptionError, jax.errors.JAXTypeError, TypeError):
                continue
            self.passes.forward += len(x[0])
            if len(given) == 1 and isinstance(given[0], jax.Array) and given[0].ndim == len(axes):
                yield name, axes, given[0]

    def _layer_outputs(self, x: tuple[Array, ...], layer: str) -> tuple[bool, tuple[Array, ...]]:
        """Whether the layer is called under vmap, and its outputs at each call for these rows."""
        if self.run.mode == "from":
            raise UnsupportedModelError(
                f"layer {layer!r} is reached after an embedding in torch modules alone, and this is {self.kind}; leave ",
                Argument("embedding", example=""),
                " out.",
            )
        mapped = self._is_mapped(x, layer)
        values = _layer_value(replace(self.run, layer=layer, mode="keep", mapped=mapped), self.params, x)
        if any(not isinstance(a, jax.Array) or not jnp.issubdtype(a.dtype, jnp.floating) for a in values):
            raise UnsupportedModelError(f"layer {layer!r} does not put out one array of floats; name another.")
        return mapped, tuple(values)

    def _is_mapped(self, x: tuple[Array, ...], layer: str) -> bool:
        """Whether a layer is called under vmap inside the network, as ``jax.vmap(embedding)(ids)`` is in equinox; nothing is computed.

        Raises:
            UnsupportedModelError: it is called under several of these, or under scan.
        """
        for mapped in (False, True):
            run = replace(self.run, layer=layer, mode="keep", mapped=mapped)
            with suppress(jax.errors.UnexpectedTracerError):
                values = jax.eval_shape(lambda run=run: _layer_value(run, self.params, x))
                if not mapped or (values and all(len(a.shape) and a.shape[0] == len(x[0]) for a in values)):
                    return mapped
        raise UnsupportedModelError(
            f"layer {layer!r} is called under vmap or scan inside the network; name another, or split the network there and explain the function that begins with "
            "the layer's output (whybox.networks.jax)."
        )

    def _one_output(self, x: tuple[Array, ...], layer: str) -> tuple[bool, Array]:
        """The same at the call that is meant."""
        mapped, found = self._layer_outputs(x, layer)
        self.refuse_calls(layer, len(found))
        return mapped, found[self.layer_call or 0]

    def tap_layer(self, x: tuple[Array, ...], layer: str, side: LayerSide = "output") -> LayerTap:
        """See Differentiable. Runs up to the layer, then from it: together one forward, since the compiler drops what is not needed."""
        self.refuse_layer_input(side)
        mapped, layer_value = self._one_output(x, layer)
        run = replace(self.run, layer=layer, mode="from", calls=(self.layer_call or 0,), mapped=mapped)
        outputs, back = self._forward_and_pullback(run, (True, *(False for _ in x)), (layer_value, *x))

        def pull(cotangent: Array, *, last: bool = False) -> Array:
            return back(cotangent)[0]

        return LayerTap(outputs, layer_value, pull)

    def split_at_layer(self, layer: str, x: tuple[Array, ...], side: LayerSide = "output") -> tuple[JaxNetwork, Array]:
        """The network from a layer on, and the layer's output."""
        self.refuse_layer_input(side)
        self.passes.forward += len(x[0])
        mapped, layer_value = self._one_output(x, layer)
        return self._from(layer, (self.layer_call or 0,), layer_value.dtype, mapped=mapped), layer_value

    def split_at_calls(self, layer: str, x: tuple[Array, ...]) -> tuple[JaxNetwork, tuple[Array, ...]]:
        """See Differentiable."""
        self.passes.forward += len(x[0])
        mapped, found = self._layer_outputs(x, layer)
        self.refuse_calls(layer, min(len(found), 1))
        return self._from(layer, tuple(range(len(found))), found[0].dtype, mapped=mapped), found

    def _from(self, layer: str, calls: tuple[int, ...], dtype: Any, *, mapped: bool) -> JaxNetwork:
        """The network from these calls of a layer on."""
        run = replace(self.run, layer=layer, mode="from", calls=calls, mapped=mapped)
        return replace(self, run=run, dtype=dtype, replaced_calls=calls)

    def with_call_order(self, order: Sequence[int]) -> JaxNetwork:
        """See Differentiable."""
        calls = tuple(self.replaced_calls[k] for k in order)
        return replace(self, run=replace(self.run, calls=calls), replaced_calls=calls)

    def with_random_parameters(self, seed: int, layer: str | None = None) -> JaxNetwork:
        """A copy with random weights, normal with the same standard deviation; parameters with one axis (biases, scales) are shuffled."""
        count = 0

        def randomized(path: tuple[Any, ...], a: Any) -> Any:
            nonlocal count
            count += 1
            if not hasattr(a, "dtype") or not jnp.issubdtype(a.dtype, jnp.floating) or not a.size:
                return a
            if layer is not None and not parameter_path(path).startswith(f"{layer}."):
                return a
            values, rng = np.asarray(a, dtype=np.float64), np.random.default_rng([seed, count])
            random = rng.permutation(values) if values.ndim < 2 else values.std() * rng.standard_normal(values.shape)
            return jnp.asarray(random, dtype=a.dtype)

        params = jax.tree_util.tree_map_with_path(randomized, self.params)
        return replace(self, params=params, passes=type(self.passes)())


def _tree_bytes(tree: Any) -> int:
    """Bytes of all arrays, or shapes of arrays, in a tree."""
    return sum(int(a.size) * a.dtype.itemsize for a in jax.tree_util.tree_leaves(tree) if hasattr(a, "dtype"))


def _is_float(x: tuple[Array, ...]) -> tuple[bool, ...]:
    return tuple(bool(jnp.issubdtype(a.dtype, jnp.floating)) for a in x)
