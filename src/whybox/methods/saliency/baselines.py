"""Baselines: what stands for "absent" in a network's input. Read once, checked, and named in words for the evidence.

Sources: Sundararajan, Taly & Yan 2017 (arXiv:1703.01365), section 2.2 (a baseline conveys no signal); Fong & Vedaldi 2017 (arXiv:1704.03296), section 4.1
(blur of 10 pixels in pictures of 224); Sturmfels, Lundberg & Lee 2020 (doi:10.23915/distill.00022), which compares them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from whybox.errors import Argument, DtypeError, InputError, NonFiniteError, OptionError
from whybox.methods.saliency.inputs import Input
from whybox.methods.saliency.problem import Indices, Question

__all__ = ["Baseline", "in_words", "middle", "repeated", "resolve_baselines"]

BLUR_SHARE: Final = 10 / 224  # standard deviation as a share of the shorter side
_KINDS: Final = "a number, 'mean', 'blur', ('blur', sigma), 'background', an array, a list of these, or a tuple with one for each input"
_Rows = Callable[[Indices], npt.NDArray[Any]]


@final
@dataclass(frozen=True)
class Baseline:
    """One reference for every row.

    Attributes:
        said: in words. same: whether it is the same for all rows. of_background: whether it is a row of the background.
        holds: whether whole numbers are held as the rows have them.
    """

    said: str
    same: bool
    _parts: tuple[_Rows, ...]
    of_background: bool = False
    holds: bool = False

    def rows(self, rows: Indices) -> list[npt.NDArray[Any]]:
        """Return the references of these rows: one array an input, (m, *shape of the input). Whole numbers are the rows' own."""
        return [part(rows) for part in self._parts]


@final
@dataclass(frozen=True)
class _Part:
    """The references of one input."""

    said: str
    same: bool
    rows: _Rows


def resolve_baselines(q: Question, given: Any = None) -> tuple[Baseline, ...]:
    """Read what was given as ``baseline=``.

    Args:
        q: the question, which knows inputs and background.
        given: None: 0, or the background rows where there are any. A number. ``"mean"``: each picture's own mean per channel; for other inputs the mean
            of the background. ``"blur"`` or ``("blur", sigma)``: the picture under a Gaussian of `sigma` pixels. ``"background"``: every background row.
            An array: one reference, or one a row. A list of these: several references, to be averaged. A tuple, for a network of several
            inputs: one of these for each input, None for whole numbers, which are held as they are.

    Returns:
        One or more references; methods average over them.

    Raises:
        OptionError: not one of these, or one that does not suit the input. InputError: an array of another shape. NonFiniteError: NaN or infinity in it.
    """
    if given is None:
        given = 0 if q.background is None else "background"
    listed = list(given) if isinstance(given, list) else [given]
    if not listed:
        raise OptionError(Argument("baseline", []), f" is empty; give {_KINDS}.")
    if q.background is not None and not any(_asks_background(q, one) for one in listed):
        raise OptionError(
            "background rows were given and ",
            Argument("baseline", given),
            " does not use them; leave one of the two out.",
        )
    out: list[Baseline] = []
    for one in listed:
        if isinstance(one, str) and one == "background":
            out += _background(q)
        else:
            out.append(_joined(q, [_part(q, i, s) for i, s in enumerate(_shared_out(q, one))]))
    return tuple(out)


def in_words(baselines: Sequence[Baseline]) -> str:
    """Name them for the evidence: ``"0"``, ``"the mean over 0; the row blurred by 2 pixels"``, ``"the mean over 100 background rows"``."""
    of_background = [b for b in baselines if b.of_background]
    others = [b.said for b in baselines if not b.of_background]
    behind = [b.said for b in of_background]
    if len(behind) > 1:
        held = ", whole numbers held" if of_background[0].holds else ""
        behind = [f"{len(behind)} background rows{held}"]
    words = "; ".join([*others, *behind])
    return words if len(baselines) == 1 else f"the mean over {words}"


def middle(q: Question, given: Any = None) -> list[npt.NDArray[Any] | None]:
    """For each input the mean of its references, (rows, *shape); None for whole numbers: what Method.reference answers for maps between row and baseline."""
    each = [b.rows(np.arange(q.rows)) for b in resolve_baselines(q, given)]
    out: list[npt.NDArray[Any] | None] = []
    for k, to in enumerate(q.inputs):
        out.append(None if to.whole else np.asarray(np.mean([of[k] for of in each], axis=0, dtype=np.float64)))
    return out


def _asks_background(q: Question, one: Any) -> bool:
    """Whether this is made from the background."""
    if isinstance(one, str) and one == "background":
        return True
    return any(
        isinstance(s, str) and s == "mean" and not i.whole and i.channel is None
        for i, s in zip(q.inputs, _shared_out(q, one), strict=True)
    )


def _shared_out(q: Question, one: Any) -> list[Any]:
    """One wish for each input."""
    if len(q.inputs) == 1:
        if isinstance(one, tuple) and not (len(one) == 2 and isinstance(one[0], str)):
            if len(one) != 1:
                raise OptionError(
                    Argument("baseline"),
                    f" has {len(one)} parts in a tuple and the network has one input; a list holds several baselines.",
                )
            return [one[0]]
        return [one]
    if isinstance(one, tuple):
        if len(one) != len(q.inputs):
            raise OptionError(
                Argument("baseline"),
                f" has {len(one)} parts and the network {len(q.inputs)} inputs: a tuple holds one for each input (None for whole numbers).",
            )
        for given, part in zip(q.inputs, one, strict=True):
            if given.whole and part is not None:
                raise OptionError(
                    f"{given.name} holds whole numbers, which are held as they are; its baseline must be None."
                )
        return list(one)
    if not isinstance(one, (str, int, float, np.number)):
        raise OptionError(f"the network has {len(q.inputs)} inputs: give baseline as a tuple with one for each input.")
    return [None if i.whole else one for i in q.inputs]


def _joined(q: Question, parts: list[_Part]) -> Baseline:
    floats = [p.said for i, p in zip(q.inputs, parts, strict=True) if not i.whole]
    if len(set(floats)) > 1:
        words = "; ".join(f"{i.name}: {p.said}" for i, p in zip(q.inputs, parts, strict=True))
    else:
        words = (floats or ["the row itself"])[0] + (", whole numbers held" if len(floats) < len(parts) else "")
    return Baseline(words, all(p.same for p in parts), tuple(p.rows for p in parts))


def _part(q: Question, which: int, given: Any) -> _Part:
    """Read the wish for one input."""
    to = q.inputs[which]
    if to.whole:
        return _held(to)
    if isinstance(given, (int, float, np.number)) and not isinstance(given, (bool, np.bool_)):
        value = float(np.real(given))
        if not np.isfinite(value):
            raise NonFiniteError(Argument("baseline", given), " is not finite.")
        return _Part(f"{value:g}", True, lambda rows: np.full((len(rows), *to.x.shape[1:]), value, dtype=to.x.dtype))
    if isinstance(given, str) and given == "mean":
        return _mean(q, which)
    if isinstance(given, str) and given == "blur":
        return _blur(to, None)
    if isinstance(given, tuple) and len(given) == 2 and given[0] == "blur":
        return _blur(to, given[1])
    if isinstance(given, str) and given == "background":
        raise OptionError("'background' stands for whole background rows: give it for all inputs, not inside a tuple.")
    if q.net.is_own_array(given) or isinstance(given, np.ndarray):
        return _fixed(to, np.asarray(q.net.numpy(given) if q.net.is_own_array(given) else given))
    raise OptionError(Argument("baseline", given), f" for {to.name} is not one that is known: {_KINDS}.")


def _held(to: Input) -> _Part:
    return _Part("the row itself", False, lambda rows: to.x[rows])


def _mean(q: Question, which: int) -> _Part:
    to = q.inputs[which]
    if to.channel is not None:
        places = to.places

        def own(rows: Indices) -> npt.NDArray[Any]:
            x = to.x[rows]
            return np.broadcast_to(x.mean(axis=places, keepdims=True, dtype=np.float64), x.shape).astype(x.dtype)

        return _Part("each row's own mean of every channel", False, own)
    if q.background is None:
        raise OptionError(
            Argument("baseline", "mean"),
            f" for {to.name} of shape {to.x.shape}, which has no channels, is the mean of background rows; give ",
            Argument("background", example="..."),
            ", or say ",
            Argument("channel_axis", example="..."),
            " if these are pictures.",
        )
    centre = q.background[which].x.mean(axis=0, dtype=np.float64).astype(to.x.dtype)
    return _Part("the mean of the background", True, lambda rows: repeated(centre, rows))


def _blur(to: Input, sigma: Any) -> _Part:
    if to.channel is None or len(to.places) < 2:
        raise OptionError(
            Argument("baseline", "blur"),
            f" is for pictures; {to.name} has the axes {', '.join(to.dims)}. Say ",
            Argument("channel_axis", example="..."),
            " if these are pictures.",
        )
    if sigma is None:
        sigma = max(1.0, BLUR_SHARE * min(to.x.shape[i] for i in to.places))
    if (
        isinstance(sigma, bool)
        or not isinstance(sigma, (int, float, np.number))
        or not np.isfinite(sigma)
        or not sigma > 0
    ):
        raise OptionError(Argument("baseline", ("blur", sigma)), ": the width must be a number of pixels above 0.")
    widths = [float(sigma) if i in to.places else 0.0 for i in range(to.x.ndim)]

    def blurred(rows: Indices) -> npt.NDArray[Any]:
        from scipy.ndimage import gaussian_filter

        return np.asarray(gaussian_filter(to.x[rows], widths, mode="nearest"))

    return _Part(f"the row blurred by {float(sigma):.3g} pixels", False, blurred)


def _fixed(to: Input, a: npt.NDArray[Any]) -> _Part:
    if a.dtype.kind not in "fiu":
        raise DtypeError(f"the baseline of {to.name} holds {a.dtype}, which is no number.")
    if not np.isfinite(a).all():
        raise NonFiniteError(f"the baseline of {to.name} has missing or infinite values.")
    a = a.astype(to.x.dtype)
    if a.shape in {to.x.shape[1:], (1, *to.x.shape[1:])}:
        one = a.reshape(to.x.shape[1:])
        return _Part("a given reference", True, lambda rows: repeated(one, rows))
    if a.shape == to.x.shape:
        return _Part("a given reference for each row", False, lambda rows: a[rows])
    raise InputError(
        f"the baseline of {to.name} has the shape {a.shape}; it must be {to.x.shape[1:]} (one for all rows) or {to.x.shape} (one a row)."
    )


def _background(q: Question) -> list[Baseline]:
    """Every background row is a reference."""
    if q.background is None:
        raise OptionError(
            Argument("baseline", "background"),
            " needs background rows: give ",
            Argument("background", example="..."),
            ".",
        )
    count = len(q.background[0].x)

    def fixed(to: Input, behind: Input, k: int) -> _Rows:
        if to.whole:
            return lambda rows: to.x[rows]
        one = behind.x[k].astype(to.x.dtype)
        return lambda rows: repeated(one, rows)

    held = any(i.whole for i in q.inputs)
    return [
        Baseline(
            f"background row {k}" + (", whole numbers held" if held else ""),
            not held,
            tuple(fixed(i, b, k) for i, b in zip(q.inputs, q.background, strict=True)),
            of_background=True,
            holds=held,
        )
        for k in range(count)
    ]


def repeated(one: npt.NDArray[Any], rows: Indices) -> npt.NDArray[Any]:
    """One row's array for each of these rows: (*shape) -> (m, *shape)."""
    return np.ascontiguousarray(np.broadcast_to(one, (len(rows), *one.shape)))
