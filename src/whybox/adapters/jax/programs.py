"""Programs of JAX: what their outputs depend on, operations that derivatives do not follow, and errors of tracing in words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp

from whybox.core.library_calls import first_line
from whybox.errors import UnsupportedModelError

__all__ = ["break_names", "clear_errors", "depends_on_last_input"]


@contextmanager
def clear_errors() -> Iterator[None]:
    """Within it errors of JAX say what it cannot trace or differentiate, and what to do.

    Raises:
        UnsupportedModelError: such a network.
    """
    try:
        yield
    except jax.errors.UnexpectedTracerError:
        raise
    except TypeError as error:
        if missing := re.search(r"missing \d+ required .*'(key|keys|state|rng|rngs)'", str(error)):
            raise UnsupportedModelError(
                f"the network needs {missing[1]!r} beside its inputs; fix its value: whybox.networks.jax(lambda x: net(x, {missing[1]}), batched=False), and take "
                "the output alone if it returns a state too: net(x, state)[0]."
            ) from error
        if not isinstance(error, jax.errors.JAXTypeError):
            raise
        raise UnsupportedModelError(
            f"JAX cannot compile the network ({type(error).__name__}: {first_line(error)}); write it so that jax.jit takes it: jnp in place of numpy, "
            "jnp.where or jax.lax.cond in place of if, no float(), int() or .item()."
        ) from error
    except ValueError as error:
        if "Reverse-mode differentiation" not in str(error) and "callbacks do not support" not in str(error):
            raise
        raise UnsupportedModelError(
            f"JAX cannot differentiate the network ({first_line(error)}); use jax.lax.scan or fixed bounds in place of a while loop, "
            "give callbacks a jax.custom_vjp, or use a method that needs no derivatives: 'occlusion', 'shapley'."
        ) from error


def depends_on_last_input(jaxpr: Any) -> list[bool]:
    """Which outputs depend on the last input."""
    dependent = {jaxpr.invars[-1]}
    for step in jaxpr.eqns:
        if any(not hasattr(v, "val") and v in dependent for v in step.invars):
            dependent.update(step.outvars)
    return [not hasattr(v, "val") and v in dependent for v in jaxpr.outvars]


def break_names(jaxpr: Any) -> Iterator[str]:
    """Names of the operations of a program, nested ones included, whose derivatives are not those of their outputs."""
    for step in jaxpr.eqns:
        name = step.primitive.name
        if name in ("round", "floor", "ceil", "stop_gradient") or name.startswith("custom_vjp"):
            yield name.removesuffix("_call")
        elif (
            name == "convert_element_type"
            and jnp.issubdtype(step.params["new_dtype"], jnp.integer)
            and jnp.issubdtype(step.invars[0].aval.dtype, jnp.floating)
        ):
            yield "a cast to whole numbers"
        for inner in step.params.values():
            for part in inner if isinstance(inner, (list, tuple)) else (inner,):
                if hasattr(part, "eqns") or hasattr(getattr(part, "jaxpr", None), "eqns"):
                    yield from break_names(getattr(part, "jaxpr", part))
