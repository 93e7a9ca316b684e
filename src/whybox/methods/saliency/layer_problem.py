"""A problem that begins at a layer: the layer's output (or input) takes the place of the network's inputs, which are held."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt

from whybox.errors import Argument, OptionError
from whybox.methods.saliency.base import Method
from whybox.methods.saliency.baselines import Baseline
from whybox.methods.saliency.inputs import Input
from whybox.methods.saliency.layer_axes import check_layer
from whybox.methods.saliency.layer_calls import check_call, resolve_call
from whybox.methods.saliency.problem import Indices, SaliencyProblem
from whybox.methods.saliency.spot_record import SpotRecord
from whybox.models.differentiable import Differentiable, LayerSide

__all__ = ["LayerMethod", "baseline_at_layer", "layer_problem"]

LAYER_SIDES: Final = ("output", "input")
AXES_OF_PICTURES: Final = (4, 5)  # layers with so many axes have channels, where the network's pictures have them


@dataclass(frozen=True)
class LayerMethod(Method):
    """A method whose maps are of a layer, not of the inputs.

    Attributes:
        layer: its name in the network.
        side: ``"output"``: the layer's output is explained; ``"input"``: what it is given, its first argument.
        call: which call of the layer, where one pass calls it several times: its number, counted from 0, or the name of the only input that it depends on;
            None: it is called once.
    """

    default_reduce: ClassVar[str | None] = None

    layer: str | None = None
    side: LayerSide = "output"
    call: int | str | None = None

    def __post_init__(self) -> None:
        check_layer(self.layer)
        check_call(self.call, self.layer)
        if self.side not in LAYER_SIDES:
            raise OptionError(Argument("side", self.side), " is not known: 'output' or 'input'.")

    def place(self, problem: SaliencyProblem) -> str:
        """What is explained, in words: ``"output of layer 'fc1'"``."""
        call = problem.net.layer_call
        return f"{self.side} of layer {self.layer!r}" + ("" if call is None else f" at its call {call}")

    def at_call(self, problem: SaliencyProblem) -> SaliencyProblem:
        """The problem, with the call of the layer that is meant.

        Raises:
            OptionError: no layer was named, or it is called several times and no call is meant.
        """
        return problem.at_call(resolve_call(problem, self.named_layer(problem), self.call))

    def named_layer(self, problem: SaliencyProblem) -> str:
        """The layer's name.

        Raises:
            OptionError: none was given; the message names those that there are.
        """
        if self.layer is None:
            first = problem.to_device(np.zeros(1, dtype=np.intp))
            known = list(dict.fromkeys(name for name, _ in problem.net.reachable_shapes(first)))
            names = ", ".join(known[:12]) + (", ..." if len(known) > 12 else "")
            raise OptionError(
                Argument("method", self.name),
                " explains a layer; name it: ",
                Argument("layer", example="..."),
                f" (one of {names})." if known else ".",
            )
        return self.layer


def layer_problem(problem: SaliencyProblem, method: LayerMethod) -> SaliencyProblem:
    """The problem of which the layer's output (or input) is the first input; the network's own inputs are held.

    Raises:
        OptionError: there is no such layer. UnsupportedModelError: it cannot be reached, or does not run once with one array of floats.
    """
    layer = method.named_layer(problem)
    arrays = [i.x for i in problem.inputs]
    inner, activations = _at_layer(problem, layer, method.side, arrays)
    channel = None
    if activations.ndim in AXES_OF_PICTURES:
        channel = activations.ndim - 1 if problem.net.channels == "last" else 1
    at_layer = Input(activations, _axis_names(activations.ndim, channel), channel, None, f"layer {layer}")
    if activations.ndim == 2:
        at_layer = replace(at_layer, feature_names=tuple(f"unit {k}" for k in range(activations.shape[1])))
    inputs = (at_layer, *(replace(i, is_held=True) for i in problem.whole_inputs))
    record = problem.spot_record
    if record is not None:
        record = SpotRecord.draw_record(inputs, problem.target.n_targets, record.rng, len(record.rows))
    return replace(problem, net=inner, inputs=inputs, background=None, spot_record=record)


def baseline_at_layer(problem: SaliencyProblem, method: LayerMethod, baseline: Baseline) -> npt.NDArray[Any]:
    """What the layer gives at a baseline of the inputs, (1 or rows, ...): one for all rows if they share the baseline."""
    rows = np.arange(1 if baseline.is_shared else problem.n_rows)
    return _at_layer(problem, method.named_layer(problem), method.side, baseline.for_rows(rows))[1]


def _at_layer(
    problem: SaliencyProblem, layer: str, side: LayerSide, arrays: Sequence[npt.NDArray[Any]]
) -> tuple[Differentiable, npt.NDArray[Any]]:
    """The network from a layer on, and what the layer gives for these inputs."""
    net, parts, inner = problem.net, [], problem.net
    for start in range(0, len(arrays[0]), problem.batch_size):
        at: Indices = np.arange(start, min(start + problem.batch_size, len(arrays[0])))
        inner, out = net.split_at_layer(layer, tuple(net.array(a[at]) for a in arrays), side)
        parts.append(net.numpy(out))
    activations = np.concatenate(parts)
    return inner, activations if "64" in net.arithmetic else activations.astype(np.float32)


def _axis_names(ndim: int, channel: int | None) -> tuple[str, ...]:
    """Names of a layer's axes: those of pictures and volumes have channels; of others only vectors have a name."""
    if channel is not None:
        places = iter(("y", "x") if ndim == 4 else ("z", "y", "x"))
        return ("row", *("channel" if i == channel else next(places) for i in range(1, ndim)))
    return ("row", "feature") if ndim == 2 else ("row", *(f"axis_{i}" for i in range(1, ndim)))
