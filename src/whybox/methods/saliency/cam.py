"""Class activation maps: what a layer puts out, weighted by what the score makes of its channels.

Sources: Selvaraju et al. 2017 (Grad-CAM, arXiv:1610.02391), equations 1 and 2; Chattopadhyay et al. 2018 (Grad-CAM++, arXiv:1710.11063), equations 9, 10 and
19; Jiang et al. 2021 (LayerCAM, doi:10.1109/TIP.2021.3089943), equations 5 to 7; Wang et al. 2020 (Score-CAM, arXiv:1910.01279), algorithm 1. Backwards go to the layer
and no further, and every target shares one forward.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.errors import Argument, OptionError, UnsupportedModelError
from whybox.methods.saliency.base import Maps, Method, MethodOutput, those
from whybox.methods.saliency.layer_axes import Known, LayerAxes, checked_axes, checked_grid
from whybox.methods.saliency.layer_search import find_layer, read_layer
from whybox.methods.saliency.masking import Replacement, resolve_replacement
from whybox.methods.saliency.occlusion import covered
from whybox.methods.saliency.problem import Grads, Indices, Question
from whybox.models.differentiable import Array
from whybox.numerics.interpolation import upsample

__all__ = ["GradCam", "GradCamPlusPlus", "LayerCam", "ScoreCam"]


@dataclass(frozen=True)
class _Cam(Method):
    """A map on a layer's grid.

    Attributes:
        layer: its name in the network. None: the last one that puts out channels on a grid of more than one place, and whose axes can be found.
        upsample: whether the map is drawn on the input's places, linearly along each axis; False gives the layer's own grid.
        layer_axes: names of the layer's axes behind the rows, in its own order: ``("y", "x", "channel")``; ``("token", "channel")`` for tokens, which are laid out
            on a grid line by line, those before them (class tokens) left out. None: the network is asked, see whybox.methods.saliency.axis_probe.
        grid: how many tokens there are along each axis of the input. None: as many as square patches make.
        reshape: a function that brings what the layer puts out, (rows, ...) in the network's own arrays, into such axes; it may only choose and move numbers.
    """

    channels: ClassVar[bool] = True

    layer: str | None = None
    upsample: bool = True
    layer_axes: Any = None
    grid: Any = None
    reshape: Any = None

    def __post_init__(self) -> None:
        if self.layer is not None and not isinstance(self.layer, str):
            raise OptionError(Argument("layer", self.layer), " must be the name of a layer.")
        if not isinstance(self.upsample, bool):
            raise OptionError(Argument("upsample", self.upsample), " must be True or False.")
        if self.reshape is not None and not callable(self.reshape):
            raise OptionError(Argument("reshape", self.reshape), " must be a function of what the layer puts out.")
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

    def resolved(self, found: Mapping[str, Any]) -> Method:
        """See Method: the axes that were found are not looked for again."""
        grid = found["grid"]
        return replace(
            self,
            layer=found["layer"],
            layer_axes=Known(tuple(found["layer_axes"]), found["spare"]),
            grid=grid and tuple(grid),
        )

    def __call__(self, q: Question) -> MethodOutput:
        """Compute the maps."""
        which = _picture(q)
        axes = self._axes(q, which)
        coarse: list[list[Floats]] = [[] for _ in range(q.target.count)]
        for rows in q.blocks(self.name):
            tapped = q.tapped(rows, axes.layer)
            activation = axes.placed(tapped.activation)
            pulled: Grads = []
            for t in range(q.target.count):
                cotangent = q.net.array(q.target.cotangent(t, rows))
                slopes = tapped.pull(cotangent, last=t == q.target.count - 1)
                found = q.net.numpy(self._combined(q, activation, axes.placed(slopes), axes.channel))
                coarse[t].append(np.maximum(axes.turned(found), 0.0))
                pulled.append((slopes,))
            if not q.answers.derivatives_checked:
                inner, _ = q.net.split_at_layer(axes.layer, q.lift(rows[:1]))
                given = q.lift(rows)[1 if q.behind_embedding else 0 :]  # what the whole network takes
                q.check_derivatives(inner, (tapped.activation, *given), rows, pulled, tapped.outputs, {0: None})
        return self._found(q, which, axes, [np.concatenate(of) for of in coarse])

    def _axes(self, q: Question, which: int) -> LayerAxes:
        if self.layer is None:
            return find_layer(q, which)
        return read_layer(q, which, self.layer, self.layer_axes, self.grid, self.reshape)

    @abstractmethod
    def _combined(self, q: Question, activation: Array, slopes: Array, channel: int) -> Array:
        """The map before its negative side is cut, (m, *grid)."""

    def _found(self, q: Question, which: int, axes: LayerAxes, coarse: list[Floats]) -> MethodOutput:
        given, layer = q.inputs[which], axes.layer
        sizes = given.sizes
        maps: Maps = [
            [(upsample(of, sizes) if self.upsample else of) if i == which else None for i in range(len(q.inputs))]
            for of in coarse
        ]
        grid = " x ".join(map(str, coarse[0].shape[1:]))
        drawn = f", drawn on {' x '.join(map(str, sizes))}" if self.upsample else ""
        return MethodOutput(
            maps,
            f"layer {axes}, {grid} places{drawn}",
            f"what layer {layer!r} puts out, weighted for the score; negative sums are cut to 0",
            reduced=True,
            exact=True,
            units="weighted activation",
            notes=(*axes.notes, *_empty(q, coarse, layer)),
            resolved=axes.resolved,
        )


def _empty(q: Question, coarse: list[Floats], layer: str) -> tuple[str, ...]:
    """Maps that are zero everywhere are said to be so."""
    notes = []
    for t, of in enumerate(coarse):
        none = np.asarray(~of.reshape(len(of), -1).any(axis=1))
        if none.any():
            notes.append(
                f"EMPTY: the map{q.target.about(t)} is 0 everywhere in {those(none)}: at layer {layer!r} "
                "nothing speaks for the score there; another layer may (layer=...)"
            )
    return tuple(notes)


def _picture(q: Question) -> int:
    """The input whose places are shown.

    Raises:
        UnsupportedModelError: none has channels, or several have.
    """
    able = [i for i, given in enumerate(q.inputs) if given.channel is not None]
    if len(able) != 1:
        raise UnsupportedModelError(
            f"class activation maps need one input of channels and places, and {len(able)} of {len(q.inputs)} inputs have channels",
            "." if able else ("; say ", Argument("channel_axis", example="..."), " if this is one."),
        )
    return able[0]


def _over_places(a: Array, channel: int) -> tuple[Array, int]:
    """Sums over places, kept as axes of one; and how many places there are."""
    shape = tuple(map(int, a.shape))
    places = tuple(i for i in range(1, len(shape)) if i != channel)
    kept = tuple(1 if i in places else n for i, n in enumerate(shape))
    return a.sum(places).reshape(kept), int(np.prod([shape[i] for i in places]))


def _positive(a: Array) -> Array:
    return (a + abs(a)) * 0.5


@final
@dataclass(frozen=True)
class GradCam(_Cam):
    """Channels weighted by the mean of the score's derivative over their places."""

    name: ClassVar[str] = "gradcam"
    title: ClassVar[str] = "Grad-CAM"

    def _combined(self, q: Question, activation: Array, slopes: Array, channel: int) -> Array:
        sums, places = _over_places(slopes, channel)
        return (sums * (1 / places) * activation).sum(channel)


@final
@dataclass(frozen=True)
class GradCamPlusPlus(_Cam):
    """Channels weighted by the sum of positive derivatives, each divided by 2 + derivative x sum of the channel (the paper's alpha for a score of exp(y)).

    The paper's factor exp(y), the same for a whole map, is left out. What the layer puts out must not be negative in sum over a channel where that makes
    the divisor 0 or less: name a layer behind its ReLU.
    """

    name: ClassVar[str] = "gradcam++"
    title: ClassVar[str] = "Grad-CAM++"

    def _combined(self, q: Question, activation: Array, slopes: Array, channel: int) -> Array:
        up = _positive(slopes)
        sums, _ = _over_places(activation, channel)
        divisor = up * sums + 2
        if float(q.net.numpy(sums).min()) < 0 and float(q.net.numpy(divisor).min()) < 1e-3:
            raise UnsupportedModelError(
                Argument("method", "gradcam++"),
                " divides by 2 + derivative x sum of a channel, which is 0 or less here, since the layer puts out negative numbers; name a "
                "layer behind a ReLU.",
            )
        weights, _ = _over_places(up / divisor, channel)
        return (weights * activation).sum(channel)


@final
@dataclass(frozen=True)
class LayerCam(_Cam):
    """Each place of each channel weighted by its own derivative, where that is positive."""

    name: ClassVar[str] = "layercam"
    title: ClassVar[str] = "LayerCAM"

    def _combined(self, q: Question, activation: Array, slopes: Array, channel: int) -> Array:
        return (_positive(slopes) * activation).sum(channel)


@final
@dataclass(frozen=True)
class ScoreCam(_Cam):
    """Channels weighted by how the score does when only what they light up is seen: no derivatives, C + 1 forwards a row and one of what stands for absent.

    Each channel is drawn on the input's places and scaled to 0 ... 1; weights are the softmax over channels of the scores under these masks (the
    score of the empty input, subtracted in the paper, cancels in it). A channel that is the same everywhere cannot be scaled and takes no part.

    Attributes:
        baseline: what shows where the mask is 0 (the paper: 0); see whybox.methods.saliency.masking.
    """

    baseline: Any = None

    name: ClassVar[str] = "scorecam"
    title: ClassVar[str] = "Score-CAM"
    background: ClassVar[bool] = True

    def __call__(self, q: Question) -> MethodOutput:
        """Compute the maps."""
        which = _picture(q)
        if q.inputs[which].whole:
            raise UnsupportedModelError(
                Argument("method", "scorecam"),
                " scales the input by masks between 0 and 1, and whole numbers cannot be; pass floats.",
            )
        axes = self._axes(q, which)
        absent = resolve_replacement(q, self.baseline)
        coarse: list[list[Floats]] = [[] for _ in range(q.target.count)]
        for rows in q.blocks(self.name):
            tapped = q.tapped(rows, axes.layer)
            acts = np.moveaxis(q.net.numpy(axes.placed(tapped.activation)), axes.channel, 1)
            acts = np.ascontiguousarray(np.transpose(acts, (0, 1, *(2 + k for k in axes.order))))
            del tapped  # and what it keeps for derivatives
            for t, of in enumerate(self._weighted(q, absent, which, rows, acts)):
                coarse[t].append(np.maximum(of, 0.0))
        return self._found(q, which, axes, [np.concatenate(of) for of in coarse])

    def _combined(self, q: Question, activation: Array, slopes: Array, channel: int) -> Array:
        raise NotImplementedError  # weights are no derivatives

    def _weighted(
        self, q: Question, absent: Replacement, which: int, rows: Indices, acts: npt.NDArray[Any]
    ) -> list[Floats]:
        """The maps of these rows for each target, from activations (m, channels, *grid)."""
        given = q.inputs[which]
        sizes = given.sizes
        flat = acts.reshape(*acts.shape[:2], -1)
        low, high = flat.min(axis=2), flat.max(axis=2)
        able = [np.flatnonzero(of) for of in high > low]
        first = int(rows[0])

        def masks(some: Indices, ks: Indices) -> list[npt.NDArray[Any] | None]:
            local = some - first
            channel = np.array([able[i][k] for i, k in zip(local, ks, strict=True)])
            drawn = upsample(acts[local, channel], sizes)
            span = tuple(range(1, drawn.ndim))
            least, most = drawn.min(axis=span, keepdims=True), drawn.max(axis=span, keepdims=True)
            mask = np.expand_dims((drawn - least) / np.where(most > least, most - least, 1), given.channel or 1)
            return [mask if i == which else None for i in range(len(q.inputs))]

        counts = np.zeros(q.rows, dtype=np.intp)
        counts[rows] = [len(of) for of in able]
        maps = [np.zeros((len(rows), *acts.shape[2:])) for _ in range(q.target.count)]
        if not counts.any():
            return maps
        for row, scores in covered(q, absent, counts, masks, self.name):
            i = row - first
            weights = np.exp(scores - scores.max(axis=0))
            weights /= weights.sum(axis=0)
            for t, of in enumerate(maps):
                of[i] = np.tensordot(weights[:, t], acts[i, able[i]], axes=1)
        return maps
