"""A question settled: network, inputs, target, memory. Methods ask it for scores and gradients, a micro-batch at a time."""

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
from whybox.errors import Argument, InputError, LimitError, OptionError, UnsupportedModelError, WhyboxError
from whybox.methods.saliency.gradient_check import CHECK_TARGETS, RowCheck, check_row, sizes_of, typical_size
from whybox.methods.saliency.inputs import Input, resolve_inputs
from whybox.methods.saliency.targets import Target, resolve_target
from whybox.models.differentiable import Array, Differentiable, LayerTap, Pull, consecutive_slice

__all__ = ["DEFAULT_MEMORY", "Question", "bytes_of", "first_pass", "part", "refused", "settle"]

DEFAULT_MEMORY: Final = "1GB"
BYTES: Final = "Pictures of bytes go in as floats, scaled as for training: x.astype('float32') / 255."
CHECKING: Final = 77  # sets what checks draw apart from what methods draw
Indices = npt.NDArray[np.intp]
Grads = list[tuple[Array | None, ...]]  # for each target, one array an input
_UNITS: Final = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "KI": 2**10, "MI": 2**20, "GI": 2**30}


@final
@dataclass(frozen=True)
class Question:
    """What is asked of a network.

    Attributes:
        net: the network; inputs: what goes in; target: what is explained of what comes out.
        answers: what the network said to the rows, as far as it was asked.
        at_once: rows that may go through together: the byte budget over what a derivative at one row keeps, or over what lives at a time
            where none is taken. row_saved: those bytes. budget: in bytes. seed: for what is drawn.
        reduce: what becomes of channels: ``"max"``, ``"sum"`` or None. background: rows that stand for "absent", if any were given.
    """

    net: Differentiable
    inputs: tuple[Input, ...]
    target: Target
    answers: Answers
    at_once: int
    row_saved: int
    budget: int
    seed: int
    reduce: str | None = "sum"
    background: tuple[Input, ...] | None = None

    @property
    def rows(self) -> int:
        """How many rows."""
        return len(self.inputs[0].x)

    @property
    def behind_embedding(self) -> bool:
        """Whether the network begins behind its embedding: what that puts out comes first, and all that goes into the whole is held."""
        return len(self.inputs) > 1 and not self.inputs[0].held and all(i.held for i in self.inputs[1:])

    @property
    def outputs(self) -> Floats:
        """What the network answers to all rows, (rows, ...); those it was not asked about yet are asked now."""
        self.know(np.arange(self.rows))
        return self.answers.outputs

    @property
    def scores(self) -> Floats:
        """Of the targets at the rows themselves, (rows, targets)."""
        return self.target.scores(self.outputs, np.arange(self.rows))

    def summed(self, which: int) -> int | None:
        """The axis of channels of an input, if these are to be summed; None: they stay, or there are none."""
        return self.inputs[which].channel if self.reduce == "sum" else None

    def know(self, rows: Indices) -> None:
        """Ask about those of these rows that were not answered yet."""
        missing = np.unique(rows[~self.answers.known[rows]])
        for start in range(0, len(missing), self.at_once):
            some = missing[start : start + self.at_once]
            self.learn(some, self.net.numpy(self.net.forward(self.lift(some))))

    def learn(self, rows: Indices, outputs: Floats) -> None:
        """Keep what the network answered to these rows."""
        self.answers.learn(self.net, rows, outputs)
        self.target.learn(outputs, rows)

    def draws(self, *which: int) -> np.random.Generator:
        """Random numbers that depend on the seed and on these numbers alone."""
        return np.random.default_rng([self.seed, *which])

    def lift(self, rows: Indices) -> tuple[Array, ...]:
        """Inputs of these rows on the network's device."""
        beside = consecutive_slice(rows)
        return tuple(self.net.array(i.x[rows if beside is None else beside]) for i in self.inputs)

    def blocks(self, what: str, *, each: int = 1) -> Iterator[Indices]:
        """Rows, as many at a time as may go through together; `each` passes are counted for a row in the progress bar."""
        for some in self.pairs(1, what, each=each):
            yield some[0]

    def pairs(self, samples: int, what: str, *, each: int = 1) -> Iterator[tuple[Indices, Indices]]:
        """(row, sample) for every row and sample, as many at a time as may go through together, a row's samples next to each other."""
        for at in self.passes(self.rows * samples, what, each=each):
            yield at // samples, at % samples

    def passes(self, total: int, what: str, *, each: int = 1) -> Iterator[Indices]:
        """0, 1, ... `total` - 1, as many at a time as may go through together; always the same ones together, so that bytes come out the same."""
        unit = f"passes x {each}" if each > 1 else "passes"
        for some in timed_batches(
            total, description=what, first_size=self.at_once, max_size=self.at_once, unit=unit, fixed_size=True
        ):
            yield np.arange(some.start, some.stop, dtype=np.intp)

    def at_rows(self, rows: Indices) -> tuple[tuple[Array, ...], Grads]:
        """Inputs of these rows, and for each target the gradients there; one forward, which also answers them."""
        xs = self.lift(rows)
        outputs, pull = self.net(xs)
        self.learn(rows, self.net.numpy(outputs))
        grads = self._pulled(pull, rows)
        self._check_derivatives(xs, rows, grads, outputs)
        return xs, grads

    def _pulled(self, pull: Pull, rows: Indices) -> Grads:
        count = self.target.count
        return [pull(self.net.array(self.target.cotangent(t, rows)), last=t == count - 1) for t in range(count)]

    def gradients(self, xs: tuple[Array, ...], rows: Indices, *, check: bool = True) -> tuple[Floats, Grads]:
        """Scores (m, targets) of these points, and for each target its gradients; `rows` says whose points they are.

        `check`: whether derivatives may be checked here; not at baselines, where inputs are all alike and kinks and symmetries meet.
        """
        self.know(rows)
        outputs, pull = self.net(xs)
        grads = self._pulled(pull, rows)
        if check:
            self._check_derivatives(xs, rows, grads, outputs)
        return self.target.scores(self.net.numpy(outputs), rows), grads

    def _check_derivatives(self, xs: tuple[Array, ...], rows: Indices, grads: Grads, outputs: Array) -> None:
        """The first derivatives that are taken are held against differences of answers.

        Raises:
            UnsupportedModelError: see whybox.methods.saliency.gradient_check.
        """
        if self.answers.derivatives_checked:
            return
        sizes = {i: sizes_of(given.x, given.dims) for i, given in enumerate(self.inputs) if not given.whole}
        self.check_derivatives(self.net, xs, rows, grads, outputs, sizes)

    def check_derivatives(
        self,
        net: Differentiable,
        xs: tuple[Array, ...],
        rows: Indices,
        grads: Grads,
        outputs: Array,
        sizes: Mapping[int, Floats | None],
    ) -> None:
        """Hold derivatives at the first and the last of these points against differences of answers, once a question.

        Args:
            net: this question's network, or what of it begins at a layer. xs: what goes into it. rows: whose points these are.
            grads: for each target one array an input. outputs: what was answered there. sizes: how large an input's numbers are, of those that are differentiated.
                None: as they are here.
        """
        if self.answers.derivatives_checked:
            return
        self.answers.derivatives_checked = True
        some = np.unique(np.linspace(0, self.target.count - 1, CHECK_TARGETS).astype(np.intp))
        others = np.flatnonzero(self.target.where[0, rows] != self.target.where[0, rows[0]])
        for k, at in enumerate((0, others[-1] if len(others) else len(rows) - 1)):  # two directions at a single row
            one = np.array([at], dtype=np.intp)
            x = tuple(net.numpy(net.take(a, one)) for a in xs)
            known = {i: typical_size(x[i]) if size is None else size for i, size in sizes.items()}
            row = RowCheck(net, x, known, self.target.where[some, rows[at]], self.target.shape)
            slopes = [{i: net.numpy(net.take(grads[t][i], one)) for i in known} for t in some]
            largest = float(np.abs(net.numpy(net.take(outputs, one))).max())
            if said := check_row(row, slopes, largest, self.draws(CHECKING, k)):
                net.remarks.append(said)
                return

    def tapped(self, rows: Indices, layer: str) -> LayerTap:
        """Run these rows and keep what a layer puts out; this answers them too."""
        found = self.net.tap_layer(self.lift(rows), layer)
        self.learn(rows, self.net.numpy(found.outputs))
        return found

    def asked(self, xs: tuple[Array, ...], rows: Indices) -> Floats:
        """Scores (m, targets) of these points, without derivatives."""
        self.know(rows)
        return self.target.scores(self.net.numpy(self.net.forward(xs)), rows)

    def zeros(self) -> list[list[Floats | None]]:
        """For each target and input, zeros in the input's shape; None for whole numbers."""
        return [[None if i.whole else np.zeros(i.x.shape) for i in self.inputs] for _ in range(self.target.count)]

    def needs_derivatives(self, method: str) -> None:
        """Refuse what has none.

        Raises:
            UnsupportedModelError: all inputs are whole numbers.
        """
        if all(i.whole for i in self.inputs):
            raise UnsupportedModelError(
                Argument("method", method),
                f" takes derivatives, and there are none by whole numbers ({self.inputs[0].x.dtype}). ",
                BYTES
                if _is_picture(self.inputs[0].x)
                else (
                    "For tokens name their embedding layer by its path in the network: ",
                    Argument("embedding", example="'...'"),
                    "; for pictures pass floats, scaled as the network was trained.",
                ),
            )


def settle(  # noqa: PLR0913  # everything a question of saliency is made of
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
) -> Question:
    """Ask the network about one row, and settle everything else by what it says.

    Raises:
        OptionError, InputError, UnsupportedModelError: see whybox.errors. LimitError: one row alone does not fit into the budget.
    """
    limit = bytes_of(budget)
    seed = check_whole_number("seed", seed, 0)
    settled = resolve_inputs(net, inputs, channel_axis)
    if function := callable(target):
        net, target = net.with_head(_scores(target)), None
    rows = len(settled[0].x)
    # the second row alone, to be compared with its answer beside the first; a single row behind a companion, to be compared with its answer alone
    few = tuple(i.x[1:2] if rows > 1 else i.x if net.rows_at_once == 1 else _accompanied(i.x) for i in settled)
    net, said, kept = first_pass(net, few, settled, derivatives=derivatives, plain=not function)
    first = net.numpy(said)
    if first.dtype.kind == "c":
        raise UnsupportedModelError(
            f"the network answers with complex numbers ({first.dtype}), and a map is of one real number a row; take .abs() or .real in a "
            "function: ",
            Argument("target", example="lambda outputs: outputs.abs()[:, 0]"),
            ".",
        )
    if derivatives and first.dtype.kind != "f":
        raise UnsupportedModelError(
            f"the network answers with whole numbers ({first.dtype}), which have no derivatives; explain what they are made from "
            "(logits), say with ",
            Argument("output", example="..."),
            ", or use a method that asks without derivatives: 'occlusion', 'shapley'.",
        )
    saved = max(-(-kept // len(first)), 2 * sum(x[:1].nbytes for x in few), 1)
    if saved > limit:
        raise LimitError(
            f"{'a derivative at one row keeps' if derivatives else 'one row going through takes'} {saved / 1e6:,.0f} MB, more than ",
            Argument("budget", budget),
            "; raise it, or explain smaller inputs.",
        )
    answers = Answers(np.full((rows, *first.shape[1:]), np.nan), np.zeros(rows, dtype=bool), first[-1])
    wanted = resolve_target(target, first.shape[1:], rows, net.output_names)
    at_once = int(max(1, min(net.rows_at_once, limit // saved)))
    behind = None if background is None else _background(net, background, settled, channel_axis)
    return Question(net, settled, wanted, answers, at_once, saved, limit, seed, reduce, behind)


def _accompanied(x: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """A row behind another one, of a wider range: quantisation by the range of a batch shows."""
    other = np.flip(x, -1)
    return np.concatenate([other * x.dtype.type(1.5) if x.dtype.kind == "f" else other, x])


def first_pass(
    net: Differentiable,
    few: tuple[npt.NDArray[Any], ...],
    inputs: tuple[Input, ...],
    *,
    derivatives: bool = True,
    plain: bool = True,
) -> tuple[Differentiable, Array, int]:
    """Ask for the first time, with floats in the type that the network takes.

    Args:
        net: the network. few: rows of its inputs. inputs: what they are of. derivatives: whether any will be taken.
        plain: whether nothing of the user's runs behind the network, whose errors would be no fault of the inputs.

    Returns:
        The network, taking this type; what it answers; and the bytes that a derivative keeps (without: that live at a time).

    Raises:
        InputError: the network cannot compute with arrays like these.
    """
    failed: Exception | None = None
    for fed in net.with_input_dtypes([i.given for i in inputs if i.given], few):
        try:
            return fed, *(fed.forward_and_memory if derivatives else fed.forward_and_live_memory)(
                tuple(fed.array(x) for x in few)
            )
        except Exception as error:
            if isinstance(error, (WhyboxError, NotImplementedError)) or "OutOfMemory" in type(error).__name__:
                raise
            failed = failed or error
    assert failed is not None  # noqa: S101  # for the types
    if not plain:
        raise failed
    raise refused(failed, len(few[0]), inputs) from failed


def _is_picture(x: npt.NDArray[Any]) -> bool:
    return x.dtype == np.uint8 and x.ndim > 2


def refused(error: Exception, asked: int, inputs: tuple[Input, ...]) -> InputError:
    """What a network says that cannot compute with these inputs, with their types and shapes."""
    given = "; ".join(f"{i.name}: {i.x.dtype} of shape {i.x.shape}" for i in inputs)
    said = " ".join(str(error).split())
    advice = (
        BYTES
        if any(_is_picture(i.x) for i in inputs)
        else "Pass what it is called with, rows first: one array, or a tuple (a dict by name) of several; it must take any number of rows."
    )
    return InputError(
        f"the network does not take these inputs ({given}), asked about {asked} of the rows: {type(error).__name__}: {said[:300]}. {advice}"
    )


def _background(
    net: Differentiable, background: Any, inputs: tuple[Input, ...], channel_axis: Any
) -> tuple[Input, ...]:
    behind = resolve_inputs(net, background, channel_axis)
    if len(behind) == len(inputs):
        behind = tuple(map(_in_order, behind, inputs))
    if len(behind) != len(inputs) or any(b.x.shape[1:] != i.x.shape[1:] for b, i in zip(behind, inputs, strict=False)):
        raise InputError(
            f"the background has rows of shape {', '.join(str(b.x.shape[1:]) for b in behind)}, the inputs of {', '.join(str(i.x.shape[1:]) for i in inputs)}."
        )
    return behind


def _in_order(behind: Input, given: Input) -> Input:
    """A frame's columns in the order of the inputs' own.

    Raises:
        InputError: these are other columns.
    """
    if behind.names is None or given.names is None or behind.names == given.names:
        return behind
    if sorted(behind.names) != sorted(given.names):
        odd = sorted(set(behind.names) ^ set(given.names))
        raise InputError(
            f"the background has other columns than the inputs: {', '.join(map(repr, odd[:5]))} are in one of them alone."
        )
    order = [behind.names.index(name) for name in given.names]
    return replace(behind, x=np.ascontiguousarray(behind.x[:, order]), names=given.names)


@final
@dataclass
class Answers:
    """What the network answered to the rows: outputs (rows, ...), which of them are known; `first` is what the second (the only) row got in another place."""

    outputs: Floats
    known: npt.NDArray[np.bool_]
    first: Floats
    apart: float = 0.0
    checked: bool = False
    derivatives_checked: bool = False

    def learn(self, net: Differentiable, rows: Indices, outputs: Floats) -> None:
        """Keep answers.

        Raises:
            UnsupportedModelError: they are not finite, or that row was answered otherwise in other company or another place.
        """
        if not np.isfinite(outputs).all():
            raise UnsupportedModelError(
                "the network answers some rows with NaN or infinity; there is nothing to explain there."
            )
        self.outputs[rows], self.known[rows] = outputs, True
        here = np.flatnonzero(rows == min(1, len(self.known) - 1))
        if self.checked or not len(here):
            return
        own = outputs[here[0]]
        self.apart = float(np.abs(own - self.first).max(initial=0.0))
        scale = float(np.abs(own).max(initial=0.0)) + 1e-6
        if self.apart > (2e-2 if "16" in net.arithmetic else 1e-3) * scale:
            raise UnsupportedModelError(
                f"a row's answer depends on the rows beside it or on its place among them ({own.ravel()[0]:.6g} here, {self.first.ravel()[0]:.6g} elsewhere): batch "
                "statistics, numbers quantised by the range of a whole batch (dynamic int8), or noise at prediction time. Such a network has no map of a single row; use running "
                "statistics (track_running_stats=True) and eval mode, explain it before it was quantised, or wrap it in a module that asks it row by row."
            )


def _scores(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A user's function of the outputs, whose answer must be one number a row."""

    def head(outputs: Any) -> Any:
        said = function(outputs)
        shape = getattr(said, "shape", None)
        if shape is None or len(shape) not in (1, 2) or (len(shape) == 2 and shape[1] != 1):
            raise OptionError(
                f"the target function must answer one number a row, in the network's own arrays; it gave {type(said).__name__} of shape {shape}."
            )
        return said

    return head


def bytes_of(budget: Any) -> int:
    """``"1GB"``, ``"256 MiB"`` or a number of bytes.

    Raises:
        OptionError: neither.
    """
    if isinstance(budget, (int, np.integer)) and not isinstance(budget, bool) and budget > 0:
        return int(budget)
    found = (
        re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMG]I?)?B?\s*", str(budget).upper()) if isinstance(budget, str) else None
    )
    if not found or float(found[1]) <= 0:
        raise OptionError(Argument("budget", budget), " is no number of bytes: '1GB', '512MB', or a whole number.")
    return int(float(found[1]) * _UNITS[found[2] or ""])


def part(q: Question, rows: Indices, net: Differentiable | None = None) -> Question:
    """The same question about some of the rows, perhaps to another network."""
    if q.target.predicted:
        q.know(rows)
    inputs = tuple(replace(i, x=i.x[rows]) for i in q.inputs)
    target = replace(q.target, where=q.target.where[:, rows])
    answers = Answers(q.answers.outputs[rows], q.answers.known[rows], q.answers.first, checked=True)
    if net is not None:
        answers = Answers(
            np.full_like(answers.outputs, np.nan), np.zeros(len(rows), dtype=bool), answers.first, checked=True
        )
        target = replace(target, predicted=False)  # what was explained there is explained here
    return replace(q, net=net or q.net, inputs=inputs, target=target, answers=answers)
