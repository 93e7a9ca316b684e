"""What was asked, as plain data: enough for an auditor to ask it again. Arrays are kept by digest; whoever asks again brings them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from whybox.errors import InputError, OptionError
from whybox.methods.registry import family_ids
from whybox.methods.saliency.base import Method
from whybox.methods.saliency.inputs import Input
from whybox.methods.saliency.make_method import make
from whybox.methods.saliency.problem import SaliencyProblem
from whybox.models.differentiable import Differentiable

__all__ = ["check_same_network", "input_digest", "only_digest", "plain_options", "rebuild_method", "settings_of"]


def input_digest(inputs: Sequence[Input]) -> str:
    """SHA-256 of types, shapes and bytes of what went in."""
    h = hashlib.sha256()
    for i in inputs:
        h.update(f"{i.x.dtype.str}{i.x.shape}".encode())
        h.update(np.ascontiguousarray(i.x).data)
    return h.hexdigest()


def check_same_network(fingerprints: Mapping[str, Any], net: Differentiable) -> None:
    """Hold a network against the one whose SHA-256 an explanation keeps.

    Raises:
        InputError: it is another.
    """
    if fingerprints.get("model") != net.fingerprint:
        raise InputError(
            "the explanation was made from another network: its parameters (or its kind) have another SHA-256. Pass the network as it was, or explain again."
        )


def settings_of(problem: SaliencyProblem, method: Method, asked: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return a method's name, its options, and what else decided the maps.

    Args:
        q: the question as it was settled. method: with its options. asked: more of what the user said (``dtype``, ``output``).
    """
    channels = {i.channel for i in problem.inputs}
    target: Any = None  # a function of the outputs, which cannot be kept
    if asked is None or not callable(asked.get("target")):
        each = bool((problem.target.positions != problem.target.positions[:, :1]).any()) or problem.target.per_row
        target = {
            "places": "one a row" if each else [int(p) for p in problem.target.positions[:, 0]],
            "shape": list(problem.target.shape),
        }
    return {
        "method": method.name,
        "options": plain_options(method),
        "target": target,
        "reduce": problem.reduce,
        "channel_axis": channels.pop() if len(channels) == 1 else "auto",
        "background": None if problem.background is None else input_digest(problem.background),
        **{name: _plain(value) for name, value in (asked or {}).items() if name != "target"},
    }


def plain_options(method: Method) -> dict[str, Any]:
    """A method's options as they are kept."""
    return {f.name: _plain(getattr(method, f.name)) for f in fields(method)}


def _plain(value: Any) -> Any:
    """An option as it is kept: plain data; arrays by their SHA-256, other objects by their kind."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, (tuple, list)):
        return [_plain(v) for v in value]
    if isinstance(value, np.ndarray) and value.dtype != object:
        h = hashlib.sha256(f"{value.dtype.str}{value.shape}".encode() + np.ascontiguousarray(value).tobytes())
        return {"array": h.hexdigest()}
    return {"object": type(value).__name__}


def only_digest(value: Any) -> bool:
    """Whether an option is, or has in it, something of which only a digest is kept."""
    return isinstance(value, Mapping) or (isinstance(value, (list, tuple)) and any(map(only_digest, value)))


def rebuild_method(settings: Mapping[str, Any], method: Any = None, options: Mapping[str, Any] | None = None) -> Method:
    """Return the method that made an explanation, with its options.

    Args:
        settings: as of settings_of. method: the method itself, where it is not one of the catalogue. options: those that could not be kept (arrays, functions).

    Raises:
        OptionError: something could not be kept and is not given; the message names it.
        InputError: what is given is not what was used.
    """
    said = settings.get("method")
    if isinstance(method, Method):
        if method.name != said or plain_options(method) != dict(settings["options"]):
            raise InputError(
                f"method={method!r} is not what made this explanation: {said!r} with {dict(settings['options'])}."
            )
        return method.resolved(settings["resolved"]) if "resolved" in settings else method
    if method is not None:
        raise OptionError(
            "method= takes a method itself, of a class of your own; a method of the catalogue is known from the explanation."
        )
    if said not in family_ids("saliency"):
        raise OptionError(
            f"the explanation was made by {said!r}, which is no method of the catalogue; pass method=, the method itself."
        )
    kept = dict(settings["options"])
    for name, value in (options or {}).items():
        if name not in kept or (_plain(value) != kept[name]):
            raise InputError(f"{name}= is not what made this explanation: {kept.get(name)!r}.")
    lost = [name for name, value in kept.items() if only_digest(value) and name not in (options or {})]
    if lost:
        raise OptionError(
            f"option {lost[0]!r} of method {said!r} is not kept in an explanation; pass it again: options={{{lost[0]!r}: ...}}."
        )
    made = make(said, {name: _tuples(value) for name, value in kept.items()} | dict(options or {}))
    return made.resolved(settings["resolved"]) if "resolved" in settings else made


def _tuples(value: Any) -> Any:
    """Lists of the file as the tuples they were."""
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value
