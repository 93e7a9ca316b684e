"""How a map was made, so that an auditor can make it again. Arrays are kept as digests only; whoever makes the map again brings them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Final, final

import numpy as np

from whybox.errors import Argument, InputError, OptionError
from whybox.explanation.explanation import Explanation
from whybox.methods.registry import family_ids
from whybox.methods.saliency.base import Method
from whybox.methods.saliency.inputs import Input
from whybox.methods.saliency.make_method import make_method
from whybox.methods.saliency.problem import SaliencyProblem
from whybox.models.differentiable import Differentiable

__all__ = [
    "Recipe",
    "TargetRecipe",
    "check_same_network",
    "input_digest",
    "make_recipe",
    "only_digest",
    "plain_options",
    "read_recipe",
    "rebuild_method",
]

_PER_ROW: Final = "one a row"


@final
@dataclass(frozen=True)
class TargetRecipe:
    """Which outputs were explained.

    Attributes:
        positions: in the flattened outputs; None: each row has an output of its own, which the explanation keeps as ``extras["target"]``.
        shape: of one row's outputs.
    """

    positions: tuple[int, ...] | None
    shape: tuple[int, ...]


@final
@dataclass(frozen=True)
class Recipe:
    """How a map was made. The evidence keeps it as plain data (`to_settings`), and :func:`read_recipe` reads it back.

    Attributes:
        method: id of the method. options: its options as plain data; arrays as SHA-256, other objects by their class.
        target: None: a function of the outputs, which cannot be kept.
        reduce, channel_axis, dtype, output, embedding, baseline_token: as for ``whybox.saliency``.
        background: SHA-256 of the background rows, None for none.
        inputs: index of the input that each map belongs to; (): not known, as in files of older versions.
        resolved: what the method found out about the network, see ``Method.with_resolved``; {}: nothing.
    """

    method: str
    options: Mapping[str, Any]
    target: TargetRecipe | None = None
    reduce: str | None = None
    channel_axis: int | str | None = "auto"
    background: str | None = None
    dtype: str | None = None
    output: Any = None
    embedding: str | None = None
    baseline_token: Any = None
    inputs: tuple[int, ...] = ()
    resolved: Mapping[str, Any] = field(default_factory=dict)

    def to_settings(self) -> dict[str, Any]:
        """Return the recipe as plain data, as evidence keeps it."""
        settings = {f.name: _plain_value(getattr(self, f.name)) for f in fields(self) if f.name in _PLAIN_FIELDS}
        settings["options"] = dict(self.options)
        settings["target"] = None if self.target is None else _target_settings(self.target)
        settings["inputs"] = list(self.inputs)
        if self.resolved:
            settings["resolved"] = dict(self.resolved)
        return settings


_PLAIN_FIELDS: Final = frozenset(f.name for f in fields(Recipe)) - {"options", "target", "inputs", "resolved"}


def _target_settings(target: TargetRecipe) -> dict[str, Any]:
    return {
        "places": _PER_ROW if target.positions is None else list(target.positions),
        "shape": list(target.shape),
    }


def read_recipe(e: Explanation) -> Recipe:
    """Read the recipe that an explanation's evidence keeps. Fields that a file does not have get their defaults; unknown ones are left where they are.

    Raises:
        InputError: there is none.
    """
    settings = e.evidence.settings
    if e.kind != "saliency" or not {"method", "options"} <= set(settings):
        raise InputError(
            f"check is for the maps of wb.saliency; this is an explanation of kind {e.kind!r} without settings in its evidence."
        )
    known = {f.name: settings[f.name] for f in fields(Recipe) if f.name in settings}
    if known.get("target") is not None:
        positions = known["target"]["places"]
        known["target"] = TargetRecipe(
            None if positions == _PER_ROW else tuple(map(int, positions)), tuple(map(int, known["target"]["shape"]))
        )
    known["inputs"] = tuple(known.get("inputs", ()))
    known["output"] = _as_tuples(known.get("output"))
    return Recipe(**known)


def make_recipe(
    problem: SaliencyProblem, method: Method, *, target_is_function: bool = False, **request: Any
) -> Recipe:
    """Return the recipe of a map before it is computed.

    Args:
        problem: the problem. method: with its options. target_is_function: True if the target is a function of the outputs.
        request: more of what the user asked for: dtype, output, embedding, baseline_token.
    """
    channels = {i.channel_axis for i in problem.inputs}
    where = problem.target.positions
    per_row = problem.target.per_row or bool((where != where[:, :1]).any())
    positions = None if per_row else tuple(map(int, where[:, 0]))
    return Recipe(
        method=method.name,
        options=plain_options(method),
        target=None if target_is_function else TargetRecipe(positions, tuple(problem.target.output_shape)),
        reduce=problem.reduce,
        channel_axis=channels.pop() if len(channels) == 1 else "auto",
        background=None if problem.background is None else input_digest(problem.background),
        **request,
    )


def input_digest(inputs: Sequence[Input]) -> str:
    """SHA-256 of types, shapes and bytes of the inputs."""
    h = hashlib.sha256()
    for i in inputs:
        h.update(f"{i.x.dtype.str}{i.x.shape}".encode())
        h.update(np.ascontiguousarray(i.x).data)
    return h.hexdigest()


def check_same_network(fingerprints: Mapping[str, Any], net: Differentiable) -> None:
    """Compare a network with the one whose SHA-256 an explanation keeps.

    Raises:
        InputError: it is another one.
    """
    if fingerprints.get("model") != net.fingerprint:
        raise InputError(
            "the explanation was made from another network: its parameters (or its kind) have another SHA-256. Pass the network as it was, or explain again."
        )


def plain_options(method: Method) -> dict[str, Any]:
    """A method's options as plain data."""
    return {f.name: _plain_value(getattr(method, f.name)) for f in fields(method)}


def _plain_value(value: Any) -> Any:
    """A value as plain data; arrays as SHA-256, other objects by their class."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, (tuple, list)):
        return [_plain_value(v) for v in value]
    if isinstance(value, np.ndarray) and value.dtype != object:
        h = hashlib.sha256(f"{value.dtype.str}{value.shape}".encode() + np.ascontiguousarray(value).tobytes())
        return {"array": h.hexdigest()}
    return {"object": type(value).__name__}


def only_digest(value: Any) -> bool:
    """True if an option, or a part of it, is kept as a digest only."""
    return isinstance(value, Mapping) or (isinstance(value, (list, tuple)) and any(map(only_digest, value)))


def rebuild_method(recipe: Recipe, method: Any = None, options: Mapping[str, Any] | None = None) -> Method:
    """Return the method that made an explanation, with its options.

    Args:
        recipe: of the explanation. method: the method itself, if it is a class of the user's own. options: those that could not be kept (arrays, functions).

    Raises:
        OptionError: something could not be kept and is not given; the message names it.
        InputError: what is given is not what was used.
    """
    if isinstance(method, Method):
        if method.name != recipe.method or plain_options(method) != dict(recipe.options):
            raise InputError(
                Argument("method", method),
                f" is not the method that made this explanation: {recipe.method!r} with {dict(recipe.options)}.",
            )
        return method.with_resolved(recipe.resolved) if recipe.resolved else method
    if method is not None:
        raise OptionError(
            Argument("method", example=""),
            " takes a method object of a class of your own; the library's own methods are known from the explanation.",
        )
    if recipe.method not in family_ids("saliency"):
        raise OptionError(
            f"the explanation was made by {recipe.method!r}, which is not a method of this library; pass the method object: ",
            Argument("method", example="..."),
        )
    kept = dict(recipe.options)
    for name, value in (options or {}).items():
        if name not in kept or (_plain_value(value) != kept[name]):
            raise InputError(f"{name}= is not the option that made this explanation: {kept.get(name)!r}.")
    missing = [name for name, value in kept.items() if only_digest(value) and name not in (options or {})]
    if missing:
        raise OptionError(
            f"an explanation does not keep option {missing[0]!r} of method {recipe.method!r}; pass it again: ",
            Argument("options", example=""),
            f"{{{missing[0]!r}: ...}}.",
        )
    made = make_method(recipe.method, {name: _as_tuples(value) for name, value in kept.items()} | dict(options or {}))
    return made.with_resolved(recipe.resolved) if recipe.resolved else made


def _as_tuples(value: Any) -> Any:
    """Lists of a file as the tuples they were."""
    return tuple(_as_tuples(v) for v in value) if isinstance(value, list) else value
