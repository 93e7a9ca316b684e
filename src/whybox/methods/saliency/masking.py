"""What replaces masked positions: baselines, and replacement ids for tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from whybox.errors import Argument, InputError, OptionError
from whybox.methods.saliency.baselines import (
    HELD_PHRASE,
    Baseline,
    fits_dtype,
    input_baseline,
    repeat_row,
    resolve_baselines,
    whole_number_baseline,
)
from whybox.methods.saliency.inputs import Input
from whybox.methods.saliency.problem import Indices, SaliencyProblem

__all__ = ["Replacement", "resolve_replacement"]

BACKGROUND: Final = "background"
_RowFunction = Callable[[Indices], list[npt.NDArray[Any]]]


@final
@dataclass(frozen=True)
class Replacement:
    """What masked positions hold.

    Attributes:
        description: in words.
        reference_functions: one or more, to be averaged over; each is a function of rows that gives one array an input, (m, *shape of the input).
        shared_references: of each reference, True if all rows share it.
        maskable_inputs: of each input, True if its positions may be masked; else it is held.
    """

    description: str
    reference_functions: tuple[_RowFunction, ...]
    shared_references: tuple[bool, ...]
    maskable_inputs: tuple[bool, ...]

    @property
    def n_references(self) -> int:
        """Number of references."""
        return len(self.reference_functions)

    def changed_positions(self, problem: SaliencyProblem, row: int, input_index: int) -> npt.NDArray[np.bool_]:
        """Where a row differs from its replacement, (*shape of the input). Masking other positions does not change the row."""
        x = problem.inputs[input_index].x[row]
        out = np.zeros(x.shape, dtype=bool)
        at = np.array([row])
        for rows in self.reference_functions:
            out |= rows(at)[input_index][0] != x
        return out


def resolve_replacement(problem: SaliencyProblem, given: Any = None) -> Replacement:
    """Read what was given as ``baseline=`` to a method that masks.

    Args:
        problem: knows inputs and background.
        given: as for :func:`whybox.methods.saliency.baselines.resolve_baselines`; for inputs of whole numbers (token ids, categories, bytes) the number that
            replaces them: a mask or padding token. In a tuple for a network of several inputs None means that this input is held, and
            ``"background"`` that it takes its background rows, categories and numbers alike.

    Raises:
        OptionError: whole numbers without a replacement, or nothing may be masked. InputError: see resolve_baselines.
    """
    requests = _background_requests(problem, given)
    if problem.background is not None and requests is not None:
        return _background_replacement(problem, problem.background, requests)
    if not any(i.without_gradient for i in problem.inputs) and not _holds_an_input(problem, given):
        refs = resolve_baselines(problem, given)
        return Replacement(
            _first_of([r.description for r in refs]),
            tuple(r.for_rows for r in refs),
            tuple(r.is_shared for r in refs),
            (True,) * len(problem.inputs),
        )
    listed = given if isinstance(given, list) else [given]
    replacements = [_with_whole_numbers(problem, one) for one in listed]
    if not any(replacements[0].maskable_inputs) or any(
        m.maskable_inputs != replacements[0].maskable_inputs for m in replacements
    ):
        raise OptionError(
            "every baseline must replace the same inputs, at least one; give a replacement for each input to be masked."
        )
    return Replacement(
        _first_of([m.description for m in replacements]),
        tuple(r for m in replacements for r in m.reference_functions),
        tuple(s for m in replacements for s in m.shared_references),
        replacements[0].maskable_inputs,
    )


def _first_of(descriptions: Sequence[str]) -> str:
    """References in words: how many there are, and the first; scores are means over them, so none of them is what masked positions hold."""
    return descriptions[0] if len(descriptions) == 1 else f"{len(descriptions)} references: {descriptions[0]}, ..."


def _background_requests(problem: SaliencyProblem, given: Any) -> list[Any] | None:
    """What is wanted for each input, if one of them is to take its background rows beside whole numbers or other baselines; else None."""
    if given is None or _is_background(given):
        mixed = any(i.without_gradient for i in problem.inputs)
        return [None if i.is_held else BACKGROUND for i in problem.inputs] if mixed else None
    if not isinstance(given, tuple) or len(given) != len(problem.inputs) or not any(map(_is_background, given)):
        return None
    return list(given)


def _is_background(given: Any) -> bool:
    return isinstance(given, str) and given == BACKGROUND


def _background_replacement(
    problem: SaliencyProblem, background: tuple[Input, ...], requests: Sequence[Any]
) -> Replacement:
    """Every background row is a reference, categories and numbers alike; held inputs stay the row's own.

    Args:
        problem: the inputs. background: their background rows. requests: for each input ``"background"``, None to hold it, or a replacement that all references share.

    Raises:
        InputError: an input holds whole numbers and its background floats, the other way round, or whole numbers that the input's type cannot hold.
    """
    replaced = [_beside_background(problem, k, *pair) for k, pair in enumerate(zip(background, requests, strict=True))]
    words, shared, functions = zip(*replaced, strict=True)

    def reference(n: int) -> _RowFunction:
        return lambda rows: [function(n, rows) for function in functions]

    count = len(background[0].x)
    description = _first_of([f"background row {n}" for n in range(count)])
    return Replacement(
        "; ".join([description, *filter(None, words)]),
        tuple(map(reference, range(count))),
        (all(shared),) * count,
        tuple(request is not None for request in requests),
    )


def _beside_background(
    problem: SaliencyProblem, input_index: int, background: Input, request: Any
) -> tuple[str, bool, Callable[[int, Indices], npt.NDArray[Any]]]:
    """What one input holds: in words, if they differ from those of the background row; whether all rows share it; a function of the background row's number and rows."""
    given = problem.inputs[input_index]
    if request is None:
        return "" if given.is_held else f"{given.name} held", False, lambda _, rows: given.x[rows]
    if _is_background(request):
        _check_same_kind(given, background)
        return "", True, lambda n, rows: repeat_row(background.x[n].astype(given.x.dtype), rows)
    description, is_shared, of_rows = (
        whole_number_baseline(given, request)
        if given.without_gradient
        else input_baseline(problem, input_index, request)
    )
    return f"{given.name}: {description}", is_shared, lambda _, rows: of_rows(rows)


def _check_same_kind(given: Input, other: Input) -> None:
    """Check that background rows can stand in an input.

    Raises:
        InputError: one holds whole numbers and the other floats, or the background numbers beyond the input's type.
    """
    if given.without_gradient != other.without_gradient:
        raise InputError(
            f"{given.name} holds {given.x.dtype} and its background {other.x.dtype}; give both as whole numbers, or both as floats."
        )
    if given.without_gradient and given.x.dtype != bool and not fits_dtype(other.x, given.x.dtype):
        raise InputError(
            f"the background of {given.name} holds numbers beyond {given.x.dtype}, the type of its rows; give the rows as {other.x.dtype} too."
        )


def _holds_an_input(problem: SaliencyProblem, given: Any) -> bool:
    listed = given if isinstance(given, list) else [given]
    return len(problem.inputs) > 1 and any(
        isinstance(one, tuple) and None in [_none_or_zero(o) for o in one] for one in listed
    )


def _none_or_zero(given: Any) -> Any:
    """For a comparison with None, which arrays do not take."""
    return given if given is None else 0


def _with_whole_numbers(problem: SaliencyProblem, one: Any) -> Replacement:
    """Replacements of whole numbers and held inputs; the rest is for resolve_baselines."""
    requests = _per_input(problem, one)
    maskable = tuple(w is not None for w in requests)
    whole = {
        i: whole_number_baseline(problem.inputs[i], w)
        for i, w in enumerate(requests)
        if w is not None and problem.inputs[i].without_gradient
    }
    rest = [
        None if g.without_gradient else g.x if w is None else w for g, w in zip(problem.inputs, requests, strict=True)
    ]
    words = [f"{problem.inputs[i].name}: {description}" for i, (description, _, _) in whole.items()]
    words += [f"{g.name} held" for g, w in zip(problem.inputs, requests, strict=True) if w is None]
    if all(g.without_gradient for g in problem.inputs):
        return Replacement(
            "; ".join(words) if len(problem.inputs) > 1 else whole[0][0],
            (lambda rows: [whole[i][2](rows) if i in whole else g.x[rows] for i, g in enumerate(problem.inputs)],),
            (all(maskable) and all(same for _, same, _ in whole.values()),),
            maskable,
        )
    refs = resolve_baselines(problem, tuple(rest))

    def rows_of(ref: Baseline) -> _RowFunction:
        return lambda rows: [whole[i][2](rows) if i in whole else a for i, a in enumerate(ref.for_rows(rows))]

    return Replacement(
        "; ".join([*words, refs[0].description.removesuffix(HELD_PHRASE)]),
        tuple(map(rows_of, refs)),
        (False,) * len(refs),
        maskable,
    )


def _per_input(problem: SaliencyProblem, one: Any) -> list[Any]:
    """What was given for each input."""
    if len(problem.inputs) == 1:
        request = one[0] if isinstance(one, tuple) and len(one) == 1 else one
        if request is None or isinstance(request, str):
            raise OptionError(
                f"{problem.inputs[0].name} holds whole numbers: give the number that replaces them, such as the id of a mask or padding token (",
                Argument("baseline", 0),
                "), or pass floats if they are quantities.",
            )
        return [request]
    if isinstance(one, tuple) and len(one) == len(problem.inputs):
        return list(one)
    if problem.net.replaced_calls and one is None:
        raise OptionError(
            "which token replaces absent ones is not known: give its id, ",
            Argument("baseline_token", example="..."),
            ", or background rows.",
        )
    raise OptionError(
        f"the network has {len(problem.inputs)} inputs, some of them of whole numbers: give baseline as a tuple with one for each input (None holds an input), or background rows."
    )
