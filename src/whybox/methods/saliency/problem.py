"""A saliency problem: network, inputs, target, memory budget. Methods take scores and gradients from it, one micro-batch at a time."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from whybox.core.progress import timed_batches
from whybox.core.validation import check_whole_number
from whybox.data.table import Floats
from whybox.errors import Argument, InputError, LimitError, OptionError, UnsupportedModelError
from whybox.methods.saliency.first_pass import BYTES_HINT, first_pass, is_picture, with_other_row
from whybox.methods.saliency.gradient_check import CHECK_TARGETS, RowCheck, check_row, input_sizes, typical_size
from whybox.methods.saliency.inputs import Input, resolve_inputs
from whybox.methods.saliency.spot_record import SpotRecord
from whybox.methods.saliency.targets import Target, resolve_target
from whybox.models.differentiable import Array, Differentiable, LayerTap, Pullback, consecutive_slice

__all__ = [
    "DEFAULT_MEMORY",
    "SaliencyProblem",
    "parse_bytes",
    "resolve_background",
    "resolve_problem",
    "select_rows",
]

DEFAULT_MEMORY: Final = "1GB"
CHECK_STREAM: Final = 77  # random numbers of the gradient check are not those of the methods
Indices = npt.NDArray[np.intp]
TargetGradients = list[tuple[Array | None, ...]]  # for each target, one array an input
_BYTE_UNITS: Final = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "KI": 2**10, "MI": 2**20, "GI": 2**30}


@final
@dataclass(frozen=True)
class SaliencyProblem:
    """A network, its inputs and the target, ready to be evaluated.

    Attributes:
        net: the network. inputs: its inputs. target: which of its outputs is explained.
        row_outputs: outputs of the rows that were evaluated so far.
        batch_size: rows in one micro-batch: `budget` over `row_bytes`.
        row_bytes: bytes that a derivative at one row keeps; if no derivatives are taken, bytes in use while one row is evaluated.
        budget: in bytes. seed: of all random numbers.
        reduce: how channels become one number: ``"max"``, ``"sum"`` or None. background: background rows, if any.
        spot_record: where some of what is evaluated is written down for spot checks; None: nothing is.
    """

    net: Differentiable
    inputs: tuple[Input, ...]
    target: Target
    row_outputs: RowOutputs
    batch_size: int
    row_bytes: int
    budget: int
    seed: int
    reduce: str | None = "sum"
    background: tuple[Input, ...] | None = None
    spot_record: SpotRecord | None = None

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(self.inputs[0].x)

    @property
    def whole_inputs(self) -> tuple[Input, ...]:
        """What the whole network takes: not the outputs of a layer that this one begins after."""
        return self.inputs[len(self.net.replaced_calls) :]

    def at_call(self, call: int | None) -> SaliencyProblem:
        """The same problem, with the call of a layer that is meant where it is called several times."""
        return self if call is None else replace(self, net=replace(self.net, layer_call=call))

    @property
    def outputs(self) -> Floats:
        """Outputs of all rows, (rows, ...); rows that were not evaluated yet are evaluated now."""
        self.evaluate_rows(np.arange(self.n_rows))
        return self.row_outputs.outputs

    @property
    def scores(self) -> Floats:
        """Scores of the targets at the rows, (rows, targets)."""
        return self.target.select_scores(self.outputs, np.arange(self.n_rows))

    def summed_channel(self, input_index: int) -> int | None:
        """The channel axis of an input if channels are summed; None if they are kept, or if there are none."""
        return self.inputs[input_index].channel_axis if self.reduce == "sum" else None

    def evaluate_rows(self, rows: Indices) -> None:
        """Evaluate those of these rows that were not evaluated yet."""
        missing = np.unique(rows[~self.row_outputs.is_evaluated[rows]])
        for start in range(0, len(missing), self.batch_size):
            some = missing[start : start + self.batch_size]
            self.record_outputs(some, self.net.numpy(self.net.forward(self.to_device(some))))

    def record_outputs(self, rows: Indices, outputs: Floats) -> None:
        """Keep the network's outputs of these rows."""
        self.row_outputs.record_outputs(self.net, rows, outputs)
        self.target.record_outputs(outputs, rows)

    def rng_for(self, *key: int) -> np.random.Generator:
        """A random generator that depends on the seed and on these numbers only."""
        return np.random.default_rng([self.seed, *key])

    def to_device(self, rows: Indices) -> tuple[Array, ...]:
        """Inputs of these rows as arrays on the network's device."""
        consecutive = consecutive_slice(rows)
        return tuple(self.net.array(i.x[rows if consecutive is None else consecutive]) for i in self.inputs)

    def row_batches(self, task: str, *, passes: int = 1) -> Iterator[Indices]:
        """Micro-batches of rows. `task` is shown in the progress bar, which counts `passes` passes a row."""
        for rows, _ in self.sample_batches(1, task, passes=passes):
            yield rows

    def sample_batches(self, samples: int, task: str, *, passes: int = 1) -> Iterator[tuple[Indices, Indices]]:
        """Micro-batches of (row, sample) for every row and sample, the samples of a row next to each other."""
        for index in self.index_batches(self.n_rows * samples, task, passes=passes):
            yield index // samples, index % samples

    def index_batches(self, total: int, task: str, *, passes: int = 1) -> Iterator[Indices]:
        """Micro-batches of 0, 1, ... `total` - 1. They are the same in every run, so that results are equal to the bit."""
        unit = f"passes x {passes}" if passes > 1 else "passes"
        for batch in timed_batches(
            total, description=task, first_size=self.batch_size, max_size=self.batch_size, unit=unit, fixed_size=True
        ):
            yield np.arange(batch.start, batch.stop, dtype=np.intp)

    def gradients_at_rows(self, rows: Indices) -> tuple[tuple[Array, ...], TargetGradients]:
        """Inputs of these rows, and the gradients of each target there; takes one forward, whose outputs are kept."""
        xs = self.to_device(rows)
        outputs, pull = self.net(xs)
        self.record_outputs(rows, self.net.numpy(outputs))
        grads = self._pull_targets(pull, rows)
        self._check_derivatives(xs, rows, grads, outputs)
        if self.spot_record is not None:
            self.spot_record.add_points(self.net, rows, xs, grads)
        return xs, grads

    def _pull_targets(self, pull: Pullback, rows: Indices) -> TargetGradients:
        count = self.target.n_targets
        return [pull(self.net.array(self.target.cotangent(t, rows)), last=t == count - 1) for t in range(count)]

    def gradients_at_points(
        self, xs: tuple[Array, ...], rows: Indices, *, check: bool = True
    ) -> tuple[Floats, TargetGradients]:
        """Scores (m, targets) and gradients of each target at these points.

        Args:
            xs: the points, one array an input. rows: the row that each point belongs to.
            check: True if the gradient check may run here, and the points are part of a map. Not at baselines, where inputs are alike, and kinks and
                symmetries are common.
        """
        self.evaluate_rows(rows)
        outputs, pull = self.net(xs)
        grads = self._pull_targets(pull, rows)
        if check:
            self._check_derivatives(xs, rows, grads, outputs)
            if self.spot_record is not None:
                self.spot_record.add_points(self.net, rows, xs, grads)
        return self.target.select_scores(self.net.numpy(outputs), rows), grads

    def _check_derivatives(self, xs: tuple[Array, ...], rows: Indices, grads: TargetGradients, outputs: Array) -> None:
        """Compare the first derivatives that are taken with differences of outputs.

        Raises:
            UnsupportedModelError: see whybox.methods.saliency.gradient_check.
        """
        if self.row_outputs.derivatives_checked:
            return
        sizes = {
            i: input_sizes(given.x, given.dims) for i, given in enumerate(self.inputs) if not given.without_gradient
        }
        self.check_derivatives(self.net, xs, rows, grads, outputs, sizes)

    def check_derivatives(
        self,
        net: Differentiable,
        xs: tuple[Array, ...],
        rows: Indices,
        grads: TargetGradients,
        outputs: Array,
        sizes: Mapping[int, Floats | None],
    ) -> None:
        """Compare derivatives at the first and the last of these points with differences of outputs, once for a problem.

        Args:
            net: the problem's network, or its part from a layer on. xs: the inputs of that network. rows: the row that each point belongs to.
            grads: for each target one array an input. outputs: outputs at these points.
            sizes: typical size of the numbers of each differentiated input; None: of the point itself.
        """
        if self.row_outputs.derivatives_checked:
            return
        self.row_outputs.derivatives_checked = True
        targets = np.unique(np.linspace(0, self.target.n_targets - 1, CHECK_TARGETS).astype(np.intp))
        others = np.flatnonzero(self.target.positions[0, rows] != self.target.positions[0, rows[0]])
        for k, point in enumerate((0, others[-1] if len(others) else len(rows) - 1)):  # two directions at a single row
            one = np.array([point], dtype=np.intp)
            x = tuple(net.numpy(net.take(a, one)) for a in xs)
            input_sizes_here = {i: typical_size(x[i]) if size is None else size for i, size in sizes.items()}
            row = RowCheck(
                net, x, input_sizes_here, self.target.positions[targets, rows[point]], self.target.output_shape
            )
            slopes = [{i: net.numpy(net.take(grads[t][i], one)) for i in input_sizes_here} for t in targets]
            largest = float(np.abs(net.numpy(net.take(outputs, one))).max())
            if remark := check_row(row, slopes, largest, self.rng_for(CHECK_STREAM, k)):
                net.remarks.append(remark)
                return

    def tap_layer(self, rows: Indices, layer: str) -> LayerTap:
        """Evaluate these rows and keep the output of a layer."""
        tap = self.net.tap_layer(self.to_device(rows), layer)
        self.record_outputs(rows, self.net.numpy(tap.outputs))
        return tap

    def scores_at_points(self, xs: tuple[Array, ...], rows: Indices) -> Floats:
        """Scores (m, targets) at these points, without derivatives."""
        self.evaluate_rows(rows)
        return self.target.select_scores(self.net.numpy(self.net.forward(xs)), rows)

    def zero_maps(self) -> list[list[Floats | None]]:
        """Zeros in the input's shape for each target and input; None for inputs of whole numbers."""
        return [
            [None if i.without_gradient else np.zeros(i.x.shape) for i in self.inputs]
            for _ in range(self.target.n_targets)
        ]

    def require_derivatives(self, method: str) -> None:
        """Check that there is an input to differentiate by.

        Raises:
            UnsupportedModelError: all inputs are whole numbers.
        """
        if all(i.without_gradient for i in self.inputs):
            raise UnsupportedModelError(
                Argument("method", method),
                f" takes derivatives, and whole numbers ({self.inputs[0].x.dtype}) have none. ",
                BYTES_HINT
                if is_picture(self.inputs[0].x)
                else (
                    "For tokens name the embedding layer by its path in the network: ",
                    Argument("embedding", example="'...'"),
                    "; for pictures pass floats, scaled as for training.",
                ),
            )


def resolve_problem(  # noqa: PLR0913  # a problem has this many parts
    net: Differentiable,
    inputs: Any,
    target: Any,
    *,
    channel_axis: Any = "auto",
    budget: Any = DEFAULT_MEMORY,
    seed: int = 0,
    derivatives: bool = True,
    reduce: str | None = "sum",
    background: Any = None,
) -> SaliencyProblem:
    """Evaluate one row, and resolve everything else from its outputs.

    Raises:
        OptionError, InputError, UnsupportedModelError: see whybox.errors. LimitError: a single row does not fit into the budget.
    """
    max_bytes = parse_bytes(budget)
    seed = check_whole_number("seed", seed, 0)
    resolved = resolve_inputs(net, inputs, channel_axis)
    if user_function := callable(target):
        net, target = net.with_head(_checked_scores(net, target)), None
    rows = len(resolved[0].x)
    # the second row alone, to be compared with its output beside the first row; a single row after another one, to be compared with its output alone
    sample = tuple(i.x[1:2] if rows > 1 else i.x if net.max_batch_size == 1 else with_other_row(i.x) for i in resolved)
    net, outputs, kept = first_pass(net, sample, resolved, derivatives=derivatives, user_function=user_function)
    first = net.numpy(outputs)
    if first.dtype.kind == "c":
        raise UnsupportedModelError(
            f"the {net.noun}'s outputs are complex numbers ({first.dtype}), and a map needs one real number a row; take .abs() or .real in a "
            "function: ",
            Argument("target", example=""),
            "lambda outputs: outputs.abs()[:, 0].",
        )
    if derivatives and first.dtype.kind != "f":
        raise UnsupportedModelError(
            f"the network's outputs are whole numbers ({first.dtype}), which have no derivatives; explain what they are computed from "
            "(logits; see ",
            Argument("output", example=""),
            "), or use a method without derivatives: 'occlusion', 'shapley'.",
        )
    saved = max(-(-kept // len(first)), 2 * sum(x[:1].nbytes for x in sample), 1)
    if saved > max_bytes:
        raise LimitError(
            f"{'a derivative at one row keeps' if derivatives else 'evaluating one row takes'} {saved / 1000000.0:,.0f} MB, more than ",
            Argument("budget", budget),
            "; raise it, or explain smaller inputs.",
        )
    row_outputs = RowOutputs(np.full((rows, *first.shape[1:]), np.nan), np.zeros(rows, dtype=bool), first[-1])
    resolved_target = resolve_target(target, first.shape[1:], rows, net.output_names)
    batch_size = int(max(1, min(net.max_batch_size, max_bytes // saved)))
    background_inputs = None if background is None else resolve_background(net, background, resolved, channel_axis)
    return SaliencyProblem(
        net, resolved, resolved_target, row_outputs, batch_size, saved, max_bytes, seed, reduce, background_inputs
    )


def resolve_background(
    net: Differentiable, background: Any, inputs: tuple[Input, ...], channel_axis: Any
) -> tuple[Input, ...]:
    """Return background rows with the columns in the order of the inputs.

    Raises:
        InputError: rows of another shape, or other columns.
    """
    background_inputs = resolve_inputs(net, background, channel_axis)
    if len(background_inputs) == len(inputs):
        background_inputs = tuple(map(_columns_in_order, background_inputs, inputs))
    if len(background_inputs) != len(inputs) or any(
        b.x.shape[1:] != i.x.shape[1:] for b, i in zip(background_inputs, inputs, strict=False)
    ):
        raise InputError(
            f"the background has rows of shape {', '.join(str(b.x.shape[1:]) for b in background_inputs)}, the inputs of {', '.join(str(i.x.shape[1:]) for i in inputs)}."
        )
    return background_inputs


def _columns_in_order(background_inputs: Input, given: Input) -> Input:
    """A frame's columns in the order of the inputs' own.

    Raises:
        InputError: these are other columns.
    """
    if (
        given.is_one_number  # which is called as its input is
        or background_inputs.feature_names is None
        or given.feature_names is None
        or background_inputs.feature_names == given.feature_names
    ):
        return background_inputs
    if sorted(background_inputs.feature_names) != sorted(given.feature_names):
        odd = sorted(set(background_inputs.feature_names) ^ set(given.feature_names))
        raise InputError(
            f"the background has other columns than the inputs: only one of the two has {', '.join(map(repr, odd[:5]))}."
        )
    order = [background_inputs.feature_names.index(name) for name in given.feature_names]
    return replace(
        background_inputs, x=np.ascontiguousarray(background_inputs.x[:, order]), feature_names=given.feature_names
    )


@final
@dataclass
class RowOutputs:
    """Outputs of the rows that were evaluated.

    Attributes:
        outputs: (rows, ...), NaN where a row was not evaluated. is_evaluated: (rows,), which rows were.
        output_elsewhere: output of the second (or the only) row, evaluated in another batch. batch_difference: largest difference from its output here.
        batch_checked: True once these two were compared. derivatives_checked: True once the gradient check has run.
    """

    outputs: Floats
    is_evaluated: npt.NDArray[np.bool_]
    output_elsewhere: Floats
    batch_difference: float = 0.0
    batch_checked: bool = False
    derivatives_checked: bool = False

    def record_outputs(self, net: Differentiable, rows: Indices, outputs: Floats) -> None:
        """Keep outputs of these rows.

        Raises:
            UnsupportedModelError: they are not finite, or a row's output changes with the other rows in its batch.
        """
        if not np.isfinite(outputs).all():
            raise UnsupportedModelError(
                f"the {net.noun}'s outputs for some rows are NaN or infinite; there is nothing to explain there."
            )
        self.outputs[rows], self.is_evaluated[rows] = outputs, True
        here = np.flatnonzero(rows == min(1, len(self.is_evaluated) - 1))
        if self.batch_checked or not len(here):
            return
        own = outputs[here[0]] * 1.0  # booleans and bytes have no differences
        self.batch_difference = float(np.abs(own - self.output_elsewhere).max(initial=0.0))
        scale = float(np.abs(own).max(initial=0.0)) + 1e-6
        if self.batch_difference > (2e-2 if "16" in net.arithmetic else 1e-3) * scale:
            raise UnsupportedModelError(
                f"a row's output changes with the other rows in its batch or with its position among them ("
                f"{own.ravel()[0]:.6g} here, {self.output_elsewhere.ravel()[0]:.6g} elsewhere): "
                "batch statistics, numbers quantised by the range of a whole batch (dynamic int8), or noise at prediction time. "
                f"Such a {net.noun} has no map of a single row; use statistics of the training (track_running_stats=True and eval mode), explain it before quantisation, "
                "or wrap it so that it takes one row at a time."
            )


def _checked_scores(net: Differentiable, function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A user's function of the outputs, checked to return one number a row in an array of the network's library."""
    has_library = net.is_own_array(net.array(np.zeros(1, dtype=np.float32)))  # functions of arrays have none

    def checked_function(outputs: Any) -> Any:
        scores = function(outputs)
        shape = getattr(scores, "shape", None)
        foreign = has_library and not net.is_own_array(scores)
        if foreign or shape is None or len(shape) not in (1, 2) or (len(shape) == 2 and shape[1] != 1):
            raise OptionError(
                f"the target function must return one number a row, as an array of the network's library; it returned {type(scores).__name__} of shape {shape}."
            )
        return scores

    return checked_function


def parse_bytes(budget: Any) -> int:
    """Bytes of a budget: ``"1GB"``, ``"256 MiB"`` or a number.

    Raises:
        OptionError: neither.
    """
    if isinstance(budget, (int, np.integer)) and not isinstance(budget, bool) and budget > 0:
        return int(budget)
    match = (
        re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMG]I?)?B?\s*", str(budget).upper()) if isinstance(budget, str) else None
    )
    if not match or float(match[1]) <= 0:
        raise OptionError(Argument("budget", budget), " is not a number of bytes: '1GB', '512MB', or a whole number.")
    return int(float(match[1]) * _BYTE_UNITS[match[2] or ""])


def select_rows(problem: SaliencyProblem, rows: Indices, net: Differentiable | None = None) -> SaliencyProblem:
    """The same problem for some of the rows, perhaps with another network."""
    if problem.target.is_predicted:
        problem.evaluate_rows(rows)
    inputs = tuple(replace(i, x=i.x[rows]) for i in problem.inputs)
    target = replace(problem.target, positions=problem.target.positions[:, rows])
    known = problem.row_outputs
    outputs, is_evaluated = known.outputs[rows], known.is_evaluated[rows]
    if net is not None:
        outputs, is_evaluated = np.full_like(outputs, np.nan), np.zeros(len(rows), dtype=bool)
        target = replace(target, is_predicted=False)  # the same outputs, whatever this network predicts
    row_outputs = RowOutputs(outputs, is_evaluated, known.output_elsewhere, batch_checked=True)
    net = net or problem.net
    return replace(problem, net=net, inputs=inputs, target=target, row_outputs=row_outputs, spot_record=None)
