"""Class activation maps: a layer's output, weighted by how the score depends on its channels.

Sources: Selvaraju et al. 2017 (Grad-CAM, arXiv:1610.02391), equations 1 and 2; Chattopadhyay et al. 2018 (Grad-CAM++, arXiv:1710.11063), equations 9, 10 and
19; Jiang et al. 2021 (LayerCAM, doi:10.1109/TIP.2021.3089943), equations 5 to 7; Wang et al. 2020 (Score-CAM, arXiv:1910.01279), algorithm 1. Backward passes end at
the layer, and all targets share one forward.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, final

import numpy as np
import numpy.typing as npt

from whybox.core.validation import check_true_or_false
from whybox.data.table import Floats
from whybox.errors import Argument, LimitError, OptionError, UnsupportedModelError
from whybox.methods.saliency.base import Method, MethodOutput, TargetMaps, list_rows
from whybox.methods.saliency.layer_axes import KnownAxes, LayerAxes, check_layer, checked_axes, checked_grid
from whybox.methods.saliency.layer_calls import check_call, resolve_call
from whybox.methods.saliency.layer_search import find_layer, read_layer
from whybox.methods.saliency.map_input import map_input
from whybox.methods.saliency.masking import Replacement, resolve_replacement
from whybox.methods.saliency.occlusion import evaluate_masked
from whybox.methods.saliency.problem import Indices, SaliencyProblem, TargetGradients
from whybox.models.differentiable import Array
from whybox.numerics.interpolation import upsample

__all__ = ["GradCam", "GradCamPlusPlus", "LayerCam", "ScoreCam"]


@dataclass(frozen=True)
class _CamMethod(Method):
    """A map on a layer's grid: the sum over the layer's channels, or each channel's part of it (``reduce=None``), which keeps its sign.

    Attributes:
        layer: its name in the network. None: the last one that outputs channels on a grid of more than one position, and whose axes can be found.
        upsample: True: the map is interpolated linearly to the input's positions; False: it stays on the layer's own grid.
        layer_axes: names of the layer's axes after the rows, in its own order: ``("y", "x", "channel")``; ``("token", "channel")`` for tokens, which are laid out
            on a grid line by line, leading ones (class tokens) left out. None: found by evaluating the network, see whybox.methods.saliency.axis_probe.
        grid: number of tokens along each axis of the input. None: as many as square patches make.
        reshape: a function that brings the layer's output, (rows, ...) in the network's own arrays, into such axes; it may only select and move numbers.
        signed: True: negative sums stay, which say what lowers the score; False: they are cut to 0, as in the papers.
        on_input: which input the map lies on, by name or number, if several have channels. None: the one that the named layer depends on.
        call: which call of the named layer, where one pass calls it several times: its number, counted from 0, or the name of the only input that it depends
            on. None: it is called once, or `on_input` decides.
    """

    needs_channels: ClassVar[bool] = True

    layer: str | None = None
    upsample: bool = True
    layer_axes: Any = None
    grid: Any = None
    reshape: Any = None
    on_input: Any = None
    call: int | str | None = None
    signed: bool = False

    def __post_init__(self) -> None:
        check_layer(self.layer)
        check_call(self.call, self.layer)
        check_true_or_false("upsample", self.upsample)
        check_true_or_false("signed", self.signed)
        if self.reshape is not None and not callable(self.reshape):
            raise OptionError(Argument("reshape", self.reshape), " must be a function of the layer's output.")
        object.__setattr__(self, "layer_axes", checked_axes(self.layer_axes))
        object.__setattr__(self, "grid", checked_grid(self.grid))
        for name in ("layer_axes", "grid", "reshape"):
            if self.layer is None and getattr(self, name) is not None:
                raise OptionError(
                    Argument(name, example=""),
                    " is about one layer: name it, ",
                    Argument("layer", example="'...'"),
                    ".",
                )

    def check_reduce(self, reduce: str | None) -> None:
        """See Method: the channels of the layer are summed or kept."""
        if reduce == "max":
            raise OptionError(
                Argument("reduce", "max"),
                ": a class activation map is the sum over the channels of its layer (",
                Argument("reduce", "sum"),
                "), or keeps them (",
                Argument("reduce", None),
                ").",
            )

    def with_resolved(self, settings: Mapping[str, Any]) -> Method:
        """See Method: the axes are those that were found before."""
        grid = settings["grid"]
        return replace(
            self,
            layer=settings["layer"],
            layer_axes=KnownAxes(tuple(settings["layer_axes"]), settings["spare"]),
            grid=grid and tuple(grid),
            on_input=settings.get("on_input"),  # not in files of older versions; nor is the next one
            call=settings.get("call"),
        )

    def __call__(self, problem: SaliencyProblem) -> MethodOutput:
        """Compute the maps.

        Raises:
            LimitError: maps of all channels do not fit into the budget.
        """
        keeps = problem.reduce is None
        problem = problem.at_call(resolve_call(problem, self.layer, self.call, self.on_input))
        input_index = map_input(problem, self.layer, self.on_input)
        axes = self._resolve_axes(problem, input_index)
        layer_maps: list[list[Floats]] = [[] for _ in range(problem.target.n_targets)]
        for rows in problem.row_batches(self.name):
            tap = problem.tap_layer(rows, axes.layer_name)
            activation = axes.arrange_output(tap.activation)
            gradients: TargetGradients = []
            for t in range(problem.target.n_targets):
                cotangent = problem.net.array(problem.target.cotangent(t, rows))
                gradient = tap.pullback(cotangent, last=t == problem.target.n_targets - 1)
                terms = self._channel_terms(problem, activation, axes.arrange_output(gradient), axes.channel_axis)
                if keeps:
                    self._check_memory(problem, input_index, tuple(map(int, terms.shape)), axes.channel_axis)
                    each = np.moveaxis(problem.net.numpy(terms), axes.channel_axis, 1)
                    layer_maps[t].append(axes.channels_to_input_order(each))
                else:
                    layer_maps[t].append(
                        self._cut(axes.to_input_order(problem.net.numpy(terms.sum(axes.channel_axis))))
                    )
                gradients.append((gradient,))
            if problem.spot_record is not None:
                problem.spot_record.add_layer(problem.net, rows, tap.activation, [of[0] for of in gradients])
            if not problem.row_outputs.derivatives_checked:
                inner, _ = problem.net.split_at_layer(axes.layer_name, problem.to_device(rows[:1]))
                network_inputs = problem.to_device(rows)[len(problem.net.replaced_calls) :]
                problem.check_derivatives(
                    inner, (tap.activation, *network_inputs), rows, gradients, tap.outputs, {0: None}
                )
        return self._method_output(problem, input_index, axes, [np.concatenate(of) for of in layer_maps])

    def _cut(self, layer_map: Floats) -> Floats:
        """A map without its negative side, unless that was asked for."""
        return layer_map if self.signed else np.maximum(layer_map, 0.0)

    def _check_memory(
        self, problem: SaliencyProblem, input_index: int, shape: tuple[int, ...], channel_axis: int
    ) -> None:
        """Check that the maps of all channels fit into the budget; `shape`: of the layer's output, as arranged.

        Raises:
            LimitError: they do not.
        """
        cells = int(np.prod(shape[1:])) // shape[channel_axis]
        places = int(np.prod(problem.inputs[input_index].position_shape)) if self.upsample else cells
        needed = 8 * problem.n_rows * problem.target.n_targets * shape[channel_axis] * places
        if needed > problem.budget:
            raise LimitError(
                f"maps of {shape[channel_axis]} channels at {places:,} positions of {problem.n_rows:,} rows take {needed / 1e6:,.0f} MB, more than ",
                Argument("budget", example="..."),
                " allows; raise it, explain fewer rows",
                (", or leave the maps on the layer's grid: ", Argument("upsample", False)) if self.upsample else "",
                ".",
            )

    def _resolve_axes(self, problem: SaliencyProblem, input_index: int) -> LayerAxes:
        if self.layer is None:
            return find_layer(problem, input_index)
        return read_layer(problem, input_index, self.layer, self.layer_axes, self.grid, self.reshape)

    @abstractmethod
    def _channel_terms(self, problem: SaliencyProblem, activation: Array, gradient: Array, channel: int) -> Array:
        """What each channel adds to the map, in the axes of the activation."""

    def _method_output(
        self, problem: SaliencyProblem, input_index: int, axes: LayerAxes, layer_maps: list[Floats]
    ) -> MethodOutput:
        input_, layer = problem.inputs[input_index], axes.layer_name
        sizes, keeps = input_.position_shape, problem.reduce is None

        def drawn_on_input(of: Floats) -> Floats:
            if not keeps:
                return upsample(of, sizes) if self.upsample else of
            if self.upsample:
                each = upsample(of.reshape(-1, *of.shape[2:]), sizes)
                of = each.reshape(*of.shape[:2], *each.shape[1:])
            return np.moveaxis(of, 1, input_.channel_axis or 1)

        maps: TargetMaps = [
            [drawn_on_input(of) if i == input_index else None for i in range(len(problem.inputs))] for of in layer_maps
        ]
        grid = " x ".join(map(str, layer_maps[0].shape[2 if keeps else 1 :]))
        drawn = f", interpolated to {' x '.join(map(str, sizes))}" if self.upsample else ""
        return MethodOutput(
            maps,
            f"layer {axes}, {grid} positions{drawn}",
            f"output of layer {layer!r}{'' if problem.net.layer_call is None else f' at its call {problem.net.layer_call}'}, weighted by how the score depends on its channels"
            + ("; each channel alone" if keeps else "" if self.signed else "; negative sums are cut to 0"),
            channels_reduced=not keeps,
            keep_channels=keeps,
            layer_channels=keeps,
            exact=True,
            units="weighted activation",
            signed=self.signed or keeps,
            notes=(*axes.notes, *_empty_notes(problem, layer_maps, layer)),
            resolved_options=axes.resolved_options
            | {"on_input": input_index}
            | ({} if problem.net.layer_call is None else {"call": problem.net.layer_call}),
        )


def _empty_notes(problem: SaliencyProblem, layer_maps: list[Floats], layer: str) -> tuple[str, ...]:
    """Notes on maps that are zero everywhere."""
    notes = []
    for t, of in enumerate(layer_maps):
        none = np.asarray(~of.reshape(len(of), -1).any(axis=1))
        if none.any():
            notes.append(
                f"EMPTY: the map{problem.target.output_phrase(t)} is 0 everywhere in {list_rows(none)}: at layer {layer!r} "
                "nothing raises the score; try another layer (layer=...)"
            )
    return tuple(notes)


def _over_places(a: Array, channel: int) -> tuple[Array, int]:
    """Sums over positions, kept as axes of length 1; and the number of positions."""
    shape = tuple(map(int, a.shape))
    places = tuple(i for i in range(1, len(shape)) if i != channel)
    kept = tuple(1 if i in places else n for i, n in enumerate(shape))
    return a.sum(places).reshape(kept), int(np.prod([shape[i] for i in places]))


def _positive_part(a: Array) -> Array:
    return (a + abs(a)) * 0.5


@final
@dataclass(frozen=True)
class GradCam(_CamMethod):
    """Channels weighted by the mean of the score's derivative over positions."""

    name: ClassVar[str] = "gradcam"
    title: ClassVar[str] = "Grad-CAM"

    def _channel_terms(self, problem: SaliencyProblem, activation: Array, gradient: Array, channel: int) -> Array:
        sums, places = _over_places(gradient, channel)
        return sums * (1 / places) * activation


@final
@dataclass(frozen=True)
class GradCamPlusPlus(_CamMethod):
    """Channels weighted by the sum of positive derivatives, each divided by 2 + derivative x sum of the channel (the paper's alpha for a score of exp(y)).

    The paper's factor exp(y), the same for a whole map, is left out. A channel's sum must not be so negative that the divisor is 0 or less: name a layer
    after its ReLU.
    """

    name: ClassVar[str] = "gradcam++"
    title: ClassVar[str] = "Grad-CAM++"

    def _channel_terms(self, problem: SaliencyProblem, activation: Array, gradient: Array, channel: int) -> Array:
        up = _positive_part(gradient)
        sums, _ = _over_places(activation, channel)
        divisor = up * sums + 2
        if float(problem.net.numpy(sums).min()) < 0 and float(problem.net.numpy(divisor).min()) < 1e-3:
            raise UnsupportedModelError(
                Argument("method", "gradcam++"),
                " divides by 2 + derivative x sum of a channel, which is 0 or less here, since the layer's output has negative numbers; name "
                "one after a ReLU.",
            )
        weights, _ = _over_places(up / divisor, channel)
        return weights * activation


@final
@dataclass(frozen=True)
class LayerCam(_CamMethod):
    """Each position of each channel weighted by its own derivative if that is positive."""

    name: ClassVar[str] = "layercam"
    title: ClassVar[str] = "LayerCAM"

    def _channel_terms(self, problem: SaliencyProblem, activation: Array, gradient: Array, channel: int) -> Array:
        return _positive_part(gradient) * activation


@final
@dataclass(frozen=True)
class ScoreCam(_CamMethod):
    """Channels weighted by the score when the channel is used as a mask: no derivatives, C + 1 forwards a row and one of the baseline.

    Each channel is interpolated to the input's positions and scaled to 0 ... 1; weights are the softmax over channels of the scores under these masks (the
    score of the empty input, subtracted in the paper, cancels in it). A constant channel cannot be scaled and takes no part.

    Attributes:
        baseline: what masked positions hold (the paper: 0); see whybox.methods.saliency.masking.
    """

    baseline: Any = None

    name: ClassVar[str] = "scorecam"
    title: ClassVar[str] = "Score-CAM"
    takes_background: ClassVar[bool] = True

    def __call__(self, problem: SaliencyProblem) -> MethodOutput:
        """Compute the maps."""
        keeps = problem.reduce is None
        problem = problem.at_call(resolve_call(problem, self.layer, self.call, self.on_input))
        input_index = map_input(problem, self.layer, self.on_input)
        if problem.inputs[input_index].without_gradient:
            raise UnsupportedModelError(
                Argument("method", "scorecam"),
                " scales the input by masks between 0 and 1, which whole numbers cannot take; pass floats.",
            )
        axes = self._resolve_axes(problem, input_index)
        replacement = resolve_replacement(problem, self.baseline)
        layer_maps: list[list[Floats]] = [[] for _ in range(problem.target.n_targets)]
        for rows in problem.row_batches(self.name):
            tap = problem.tap_layer(rows, axes.layer_name)
            activations = np.moveaxis(problem.net.numpy(axes.arrange_output(tap.activation)), axes.channel_axis, 1)
            activations = np.ascontiguousarray(axes.channels_to_input_order(activations))
            if problem.spot_record is not None:
                problem.spot_record.add_layer(problem.net, rows, tap.activation, ())
            del tap  # frees what it keeps for derivatives
            if keeps:
                self._check_memory(problem, input_index, activations.shape, 1)
            for t, of in enumerate(self._weighted_maps(problem, replacement, input_index, rows, activations)):
                layer_maps[t].append(of if keeps else self._cut(of))
        return self._method_output(problem, input_index, axes, [np.concatenate(of) for of in layer_maps])

    def _channel_terms(self, problem: SaliencyProblem, activation: Array, gradient: Array, channel: int) -> Array:
        raise NotImplementedError  # its weights are scores

    def _weighted_maps(
        self,
        problem: SaliencyProblem,
        replacement: Replacement,
        input_index: int,
        rows: Indices,
        activations: npt.NDArray[Any],
    ) -> list[Floats]:
        """The maps of these rows for each target, from activations (m, channels, *grid); of each channel if they are kept."""
        input_ = problem.inputs[input_index]
        sizes = input_.position_shape
        flat = activations.reshape(*activations.shape[:2], -1)
        low, high = flat.min(axis=2), flat.max(axis=2)
        usable = [np.flatnonzero(of) for of in high > low]
        first = int(rows[0])

        def make_masks(mask_rows: Indices, mask_numbers: Indices) -> list[npt.NDArray[Any] | None]:
            local = mask_rows - first
            channel = np.array([usable[i][k] for i, k in zip(local, mask_numbers, strict=True)])
            drawn = upsample(activations[local, channel], sizes)
            span = tuple(range(1, drawn.ndim))
            least, most = drawn.min(axis=span, keepdims=True), drawn.max(axis=span, keepdims=True)
            mask = np.expand_dims((drawn - least) / np.where(most > least, most - least, 1), input_.channel_axis or 1)
            return [mask if i == input_index else None for i in range(len(problem.inputs))]

        counts = np.zeros(problem.n_rows, dtype=np.intp)
        counts[rows] = [len(of) for of in usable]
        keeps = problem.reduce is None
        shape = activations.shape[1 if keeps else 2 :]
        maps = [np.zeros((len(rows), *shape)) for _ in range(problem.target.n_targets)]
        if not counts.any():
            return maps
        for row, scores in evaluate_masked(problem, replacement, counts, make_masks, self.name):
            i = row - first
            weights = np.exp(scores - scores.max(axis=0))
            weights /= weights.sum(axis=0)
            for t, of in enumerate(maps):
                if keeps:
                    of[i, usable[i]] = weights[:, t].reshape(-1, *(1,) * (len(shape) - 1)) * activations[i, usable[i]]
                else:
                    of[i] = np.tensordot(weights[:, t], activations[i, usable[i]], axes=1)
        return maps
