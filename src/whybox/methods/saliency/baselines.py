"""Baselines: inputs that mean "absent". Read once, checked, and described in words for the evidence.

Sources: Sundararajan, Taly & Yan 2017 (arXiv:1703.01365), section 2.2 (a baseline conveys no signal); Fong & Vedaldi 2017 (arXiv:1704.03296), section 4.1
(blur of 10 pixels in pictures of 224); Sturmfels, Lundberg & Lee 2020 (doi:10.23915/distill.00022), which compares them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, final

import numpy as np
import numpy.typing as npt

from whybox.errors import Argument, DtypeError, InputError, NonFiniteError, OptionError
from whybox.methods.saliency.inputs import Input
from whybox.methods.saliency.problem import Indices, SaliencyProblem

__all__ = [
    "HELD_PHRASE",
    "Baseline",
    "describe_baselines",
    "fits_dtype",
    "input_baseline",
    "mean_baseline",
    "repeat_row",
    "resolve_baselines",
    "whole_number_baseline",
]

BLUR_SHARE: Final = 10 / 224  # standard deviation as a share of the shorter side
_BASELINE_KINDS: Final = "a number, 'mean', 'blur', ('blur', sigma), 'background', an array, a list of these, or a tuple with one for each input"
ROW_ITSELF: Final = "the row itself"
HELD_PHRASE: Final = ", whole numbers held"
_RowFunction = Callable[[Indices], npt.NDArray[Any]]


@final
@dataclass(frozen=True)
class Baseline:
    """One baseline for every row.

    Attributes:
        description: in words. is_shared: True if all rows share it.
        holds_inputs: True if inputs of whole numbers are held. from_background: True if it is a background row.
    """

    description: str
    is_shared: bool
    _row_functions: tuple[_RowFunction, ...]
    holds_inputs: bool = False
    from_background: bool = False

    def for_rows(self, rows: Indices) -> list[npt.NDArray[Any]]:
        """Return the baselines of these rows: one array an input, (m, *shape of the input). Whole numbers are the rows' own."""
        return [part(rows) for part in self._row_functions]


class InputBaseline(NamedTuple):
    """The baseline of one input: in words, whether all rows share it, and its function of rows."""

    description: str
    is_shared: bool
    for_rows: _RowFunction


def resolve_baselines(
    problem: SaliencyProblem, given: Any = None, *, whole_numbers: bool = False
) -> tuple[Baseline, ...]:
    """Read what was given as ``baseline=``.

    Args:
        problem: knows inputs and background.
        given: None: 0, or the background rows where there are any. A number. ``"mean"``: each picture's own mean per channel; for other inputs the mean
            of the background. ``"blur"`` or ``("blur", sigma)``: the picture under a Gaussian of `sigma` pixels. ``"background"``: every background row.
            An array: one baseline, or one a row. A list of these: several baselines, to be averaged over. A tuple, for a network of several
            inputs: one of these for each input, None for whole numbers, which are held as they are.
        whole_numbers: True where these may have a baseline too, since no path through them is taken: a whole number, an array of them, background rows.

    Returns:
        One or more baselines; methods average over them.

    Raises:
        OptionError: not one of these, or one that does not suit the input. InputError: an array of another shape. NonFiniteError: NaN or infinity in it.
    """
    if given is None:
        given = 0 if problem.background is None else "background"
    listed = list(given) if isinstance(given, list) else [given]
    if not listed:
        raise OptionError(Argument("baseline", []), f" is empty; give {_BASELINE_KINDS}.")
    if problem.background is not None and not any(_uses_background(problem, one) for one in listed):
        raise OptionError(
            "background rows were given and ",
            Argument("baseline", given),
            " does not use them; leave one of the two out.",
        )
    out: list[Baseline] = []
    for one in listed:
        if isinstance(one, str) and one == "background":
            out += _background_baselines(problem, whole_numbers=whole_numbers)
        else:
            each = enumerate(_per_input(problem, one, whole_numbers=whole_numbers))
            out.append(
                _join_inputs(
                    problem,
                    [
                        whole_number_baseline(problem.inputs[i], s)
                        if whole_numbers and s is not None and problem.inputs[i].x.dtype.kind in "iub"
                        else input_baseline(problem, i, s)
                        for i, s in each
                    ],
                )
            )
    return tuple(out)


def describe_baselines(baselines: Sequence[Baseline]) -> str:
    """Describe them for the evidence: ``"0"``, ``"the mean over 0; the row blurred by 2 pixels"``, ``"the mean over 100 background rows"``."""
    background = [b for b in baselines if b.from_background]
    described = [b.description for b in baselines if not b.from_background]
    if len(background) > 1:
        described.append(f"{len(background)} background rows{HELD_PHRASE if background[0].holds_inputs else ''}")
    else:
        described += [b.description for b in background]
    words = "; ".join(described)
    return words if len(baselines) == 1 else f"the mean over {words}"


def mean_baseline(problem: SaliencyProblem, given: Any = None) -> list[npt.NDArray[Any] | None]:
    """The mean baseline of each input, (rows, *shape); None for whole numbers. See Method.reference_inputs."""
    each = [b.for_rows(np.arange(problem.n_rows)) for b in resolve_baselines(problem, given)]
    out: list[npt.NDArray[Any] | None] = []
    for k, input_ in enumerate(problem.inputs):
        out.append(
            None if input_.without_gradient else np.asarray(np.mean([of[k] for of in each], axis=0, dtype=np.float64))
        )
    return out


def _uses_background(problem: SaliencyProblem, one: Any) -> bool:
    """True if this baseline is made from the background."""
    if isinstance(one, str) and one == "background":
        return True
    return any(
        isinstance(s, str)
        and (s == "background" or (s == "mean" and not i.without_gradient and i.channel_axis is None))
        for i, s in zip(problem.inputs, _per_input(problem, one, whole_numbers=True), strict=True)
    )


def _per_input(problem: SaliencyProblem, one: Any, *, whole_numbers: bool = False) -> list[Any]:
    """What was given for each input."""
    if len(problem.inputs) == 1:
        if isinstance(one, tuple) and not (len(one) == 2 and isinstance(one[0], str)):
            if len(one) != 1:
                raise OptionError(
                    f"baseline is a tuple of {len(one)} and the network has one input; give several baselines as a list."
                )
            return [one[0]]
        return [one]
    if isinstance(one, tuple):
        if len(one) != len(problem.inputs):
            raise OptionError(
                f"baseline is a tuple of {len(one)} and the network has {len(problem.inputs)} inputs: give one for each input (None for whole numbers)."
            )
        for given, part in zip(problem.inputs, one, strict=True):
            if given.without_gradient and part is not None and not whole_numbers:
                raise OptionError(
                    f"{given.name} holds whole numbers, which stay as they are; its baseline must be None."
                )
        return list(one)
    if not isinstance(one, (str, int, float, np.number)):
        raise OptionError(
            f"the network has {len(problem.inputs)} inputs: give baseline as a tuple with one for each input."
        )
    return [None if i.without_gradient else one for i in problem.inputs]


def _join_inputs(problem: SaliencyProblem, parts: list[InputBaseline]) -> Baseline:
    floats = [p.description for p in parts if p.description != ROW_ITSELF]
    if len(set(floats)) > 1:
        words = "; ".join(f"{i.name}: {p.description}" for i, p in zip(problem.inputs, parts, strict=True))
    else:
        words = (floats or [ROW_ITSELF])[0] + (HELD_PHRASE if len(floats) < len(parts) else "")
    return Baseline(words, all(p.is_shared for p in parts), tuple(p.for_rows for p in parts), len(floats) < len(parts))


def input_baseline(problem: SaliencyProblem, input_index: int, given: Any) -> InputBaseline:
    """Read what was given for one input.

    Raises:
        OptionError, InputError, NonFiniteError: see resolve_baselines.
    """
    input_ = problem.inputs[input_index]
    if input_.without_gradient:
        return _held_baseline(input_)
    if isinstance(given, (int, float, np.number)) and not isinstance(given, (bool, np.bool_)):
        value = float(np.real(given))
        if not np.isfinite(value):
            raise NonFiniteError(Argument("baseline", given), " is not finite.")
        return InputBaseline(
            f"{value:g}", True, lambda rows: np.full((len(rows), *input_.x.shape[1:]), value, dtype=input_.x.dtype)
        )
    if isinstance(given, str) and given == "mean":
        return _mean_baseline(problem, input_index)
    if isinstance(given, str) and given == "blur":
        return _blur_baseline(input_, None)
    if isinstance(given, tuple) and len(given) == 2 and given[0] == "blur":
        return _blur_baseline(input_, given[1])
    if isinstance(given, str) and given == "background":
        if problem.background is None:
            raise _background_missing()
        raise OptionError(
            "'background' means whole background rows here: give it for all inputs, not inside a tuple. A method that masks (",
            Argument("method", "ablation"),
            ") takes it in one tuple, not in a list of tuples.",
        )
    if problem.net.is_own_array(given) or isinstance(given, np.ndarray):
        return _array_baseline(
            input_, np.asarray(problem.net.numpy(given) if problem.net.is_own_array(given) else given)
        )
    raise OptionError(Argument("baseline", given), f" for {input_.name} is not known: {_BASELINE_KINDS}.")


def _held_baseline(input_: Input) -> InputBaseline:
    return InputBaseline(ROW_ITSELF, False, lambda rows: input_.x[rows])


def _mean_baseline(problem: SaliencyProblem, input_index: int) -> InputBaseline:
    input_ = problem.inputs[input_index]
    if input_.channel_axis is not None:
        places = input_.position_axes

        def channel_means(rows: Indices) -> npt.NDArray[Any]:
            x = input_.x[rows]
            return np.broadcast_to(x.mean(axis=places, keepdims=True, dtype=np.float64), x.shape).astype(x.dtype)

        return InputBaseline("each row's own mean of every channel", False, channel_means)
    if problem.background is None:
        raise OptionError(
            Argument("baseline", "mean"),
            f" for {input_.name} of shape {input_.x.shape}, which has no channels, is the mean of background rows; give ",
            Argument("background", example="..."),
            ", or say ",
            Argument("channel_axis", example="..."),
            " if these are pictures.",
        )
    centre = problem.background[input_index].x.mean(axis=0, dtype=np.float64).astype(input_.x.dtype)
    return InputBaseline("the mean of the background", True, lambda rows: repeat_row(centre, rows))


def _blur_baseline(input_: Input, sigma: Any) -> InputBaseline:
    if input_.channel_axis is None or len(input_.position_axes) < 2:
        raise OptionError(
            Argument("baseline", "blur"),
            f" is for pictures; {input_.name} has the axes {', '.join(input_.dims)}. Say ",
            Argument("channel_axis", example="..."),
            " if these are pictures.",
        )
    if sigma is None:
        sigma = max(1.0, BLUR_SHARE * min(input_.x.shape[i] for i in input_.position_axes))
    if (
        isinstance(sigma, bool)
        or not isinstance(sigma, (int, float, np.number))
        or not np.isfinite(sigma)
        or not sigma > 0
    ):
        raise OptionError(
            Argument("baseline", example=""), f"('blur', {sigma!r}): the width must be a number of pixels above 0."
        )
    widths = [float(sigma) if i in input_.position_axes else 0.0 for i in range(input_.x.ndim)]

    def blurred_rows(rows: Indices) -> npt.NDArray[Any]:
        from scipy.ndimage import gaussian_filter

        return np.asarray(gaussian_filter(input_.x[rows], widths, mode="nearest"))

    return InputBaseline(f"the row blurred by {float(sigma):.3g} pixels", False, blurred_rows)


def _array_baseline(input_: Input, a: npt.NDArray[Any]) -> InputBaseline:
    if a.dtype.kind not in "fiu":
        raise DtypeError(f"the baseline of {input_.name} holds {a.dtype}, not numbers.")
    if not np.isfinite(a).all():
        raise NonFiniteError(f"the baseline of {input_.name} has missing or infinite values.")
    a = input_.as_column(a.astype(input_.x.dtype))
    if a.shape in {input_.x.shape[1:], (1, *input_.x.shape[1:])}:
        one = a.reshape(input_.x.shape[1:])
        return InputBaseline("a given baseline", True, lambda rows: repeat_row(one, rows))
    if a.shape == input_.x.shape:
        return InputBaseline("a given baseline for each row", False, lambda rows: a[rows])
    raise InputError(
        f"the baseline of {input_.name} has the shape {a.shape}; it must be {input_.x.shape[1:]} (one for all rows) or {input_.x.shape} (one a row)."
    )


def _background_baselines(problem: SaliencyProblem, *, whole_numbers: bool) -> list[Baseline]:
    """Every background row is a baseline."""
    if problem.background is None:
        raise _background_missing()
    count = len(problem.background[0].x)

    def is_held(input_: Input) -> bool:
        return input_.is_held if whole_numbers else input_.without_gradient

    def fixed_row(input_: Input, background: Input, k: int) -> _RowFunction:
        if is_held(input_):
            return lambda rows: input_.x[rows]
        one = background.x[k].astype(input_.x.dtype)
        return lambda rows: repeat_row(one, rows)

    held = any(map(is_held, problem.inputs))
    return [
        Baseline(
            f"background row {k}" + (HELD_PHRASE if held else ""),
            not held,
            tuple(fixed_row(i, b, k) for i, b in zip(problem.inputs, problem.background, strict=True)),
            held,
            from_background=True,
        )
        for k in range(count)
    ]


def _background_missing() -> OptionError:
    return OptionError(
        Argument("baseline", "background"), " needs background rows: ", Argument("background", example="...")
    )


def repeat_row(one: npt.NDArray[Any], rows: Indices) -> npt.NDArray[Any]:
    """One row's array, repeated for each of these rows: (*shape) -> (m, *shape)."""
    return np.ascontiguousarray(np.broadcast_to(one, (len(rows), *one.shape)))


def whole_number_baseline(given: Input, request: Any) -> InputBaseline:
    """Replacement of an input of whole numbers: in words, whether all rows share it, and a function of rows."""
    a = given.as_column(np.asarray(request))
    if a.dtype.kind not in "iub" or (a.ndim and a.shape not in (given.x.shape, given.x.shape[1:])):
        raise InputError(
            f"{given.name} holds whole numbers; its replacement must be one whole number, or an array of them of shape {given.x.shape[1:]}, and is {request!r}."
        )
    if a.size and (a.min() < np.iinfo(np.int64).min or (given.x.dtype != bool and not fits_dtype(a, given.x.dtype))):
        raise OptionError(
            Argument("baseline", request), f" does not fit into {given.x.dtype}, the type of {given.name}."
        )
    a = a.astype(given.x.dtype)
    if a.shape == given.x.shape:
        return InputBaseline("a given replacement for each row", False, lambda rows: a[rows])
    one = np.broadcast_to(a, given.x.shape[1:])
    description = str(a) if not a.ndim else "a given replacement"
    return InputBaseline(description, True, lambda rows: repeat_row(one, rows))


def fits_dtype(a: npt.NDArray[Any], dtype: Any) -> bool:
    """Whether a type of whole numbers holds these."""
    info = np.iinfo(dtype)
    return bool(info.min <= a.min() and a.max() <= info.max)
