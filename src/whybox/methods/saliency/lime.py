"""LIME: the linear model of the score on which parts are visible, fitted where most of them are.

Source: Ribeiro, Singh & Guestrin 2016 (arXiv:1602.04938); which masks are drawn and how errors are estimated: whybox.games.local_linear.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Final, final

import numpy as np
import numpy.typing as npt

from whybox.core.validation import check_positive, check_true_or_false, check_whole_number
from whybox.data.table import Floats
from whybox.errors import Argument, LimitError, OptionError
from whybox.explanation.local_rows import MIN_EFFECTIVE_SIZE, MIN_R_SQUARED
from whybox.games.local_linear import (
    LocalDesign,
    draw_local_design,
    fit_local_linear,
    min_local_evaluations,
    size_law,
)
from whybox.methods.saliency.base import Method, MethodOutput, list_rows
from whybox.methods.saliency.masking import Replacement, resolve_replacement
from whybox.methods.saliency.occlusion import evaluate_masked
from whybox.methods.saliency.problem import Indices, SaliencyProblem
from whybox.methods.saliency.segments import Segments, resolve_segments, without_channel

__all__ = ["LimeParts"]

MIN_MASKED_SHARE: Final = 1e-6  # of the weighted law: without it the whole row is all that has weight


@final
@dataclass(frozen=True)
class LimeParts(Method):
    """The weighted least squares of the score on masks of parts: a part's value is its coefficient.

    Each part is visible with probability 1/2; a mask with m of M parts visible has the weight exp(-(1 - sqrt(m / M))^2 / (2 kernel_width^2)): LIME's kernel of the
    cosine distance for pictures. A part in which the row equals its replacement changes nothing: its value is 0, and it does not count among the M. All 2^M masks are
    evaluated if `samples` allow, and the coefficients are then exact; else masks are drawn by their weight, the same ones for every row of M parts, and coefficients have
    standard errors. Each position gets the part's value divided by the number of its positions; the values themselves are ``extras["part"]``, their standard
    errors ``extras["part_error"]``. How well the linear model fits is in ``extras``: ``r_squared`` (of the weighted law), ``intercept``, ``local_prediction`` (the linear
    model where all parts are visible), ``gap`` (that less the score) and ``effective_size`` (how many equally weighted masks would tell as much, as a share of
    those evaluated).

    Attributes:
        samples: most evaluations a row. With several baselines scores are means over them, and they share `samples`.
        kernel_width: of the kernel; smaller: more parts stay visible.
        alpha: penalty of the squared coefficients as in scikit-learn's Ridge on `samples` plain draws; the lime package has 1. It shrinks coefficients the more, the
            narrower the kernel is.
        parts, patches, baseline, joined: as of Ablation.
    """

    samples: int = 1000
    kernel_width: float = 0.25
    alpha: float = 0.0
    parts: Any = None
    patches: Any = None
    baseline: Any = None
    joined: bool = False

    name: ClassVar[str] = "lime"
    title: ClassVar[str] = "LIME"
    needs_gradients: ClassVar[bool] = False
    takes_background: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_whole_number("samples", self.samples, 2)
        check_positive("kernel_width", self.kernel_width)
        if self.alpha != 0 or isinstance(self.alpha, bool):
            check_positive("alpha", self.alpha)
        check_true_or_false("joined", self.joined)

    def __call__(self, problem: SaliencyProblem) -> MethodOutput:
        """Compute the maps."""
        replacement = resolve_replacement(problem, self.baseline)
        parts = resolve_segments(problem, replacement, self.parts, self.patches, joined=self.joined)
        designs = self._make_designs(problem, parts, replacement)
        row_scores = problem.scores
        n_rows, n_targets = row_scores.shape
        values = np.zeros((n_rows, parts.n_segments, n_targets))
        variances = np.zeros_like(values)
        fits = _RowFits.without_parts(row_scores)
        present = [np.flatnonzero(of) for of in parts.is_active]
        if problem.spot_record is not None:
            problem.spot_record.watch_parts(parts.segment_labels, present)

        def make_masks(rows: Indices, ks: Indices) -> list[npt.NDArray[Any] | None]:
            keep = np.ones((len(rows), parts.n_segments), dtype=bool)
            for row in np.unique(rows).tolist():
                at = np.flatnonzero(rows == row)
                keep[np.ix_(at, present[row])] = designs[len(present[row])].coalitions[ks[at]]
            return parts.position_masks(keep, rows)

        counts = np.array([len(designs[len(p)].coalitions) if len(p) else 0 for p in present], dtype=np.intp)
        for row, mask_scores in evaluate_masked(problem, replacement, counts, make_masks, self.name):
            design = designs[len(present[row])]
            fit = fit_local_linear(design, mask_scores, self.alpha / (self.samples * design.mean_weight))
            values[row, present[row]], variances[row, present[row]] = fit.coefficients, fit.variances
            fits.intercept[row], fits.local_prediction[row] = fit.intercept, fit.local_prediction
            fits.r_squared[row], fits.effective_size[row] = fit.r_squared, design.effective_share
        exact = all(d.is_exact for d in designs.values())
        return MethodOutput(
            without_channel(problem, parts, parts.to_positions(values)),
            _describe_computation(designs, parts),
            self._describe_values(replacement),
            None if exact else without_channel(problem, parts, parts.to_positions(variances, 2)),
            exact=exact,
            channels_reduced=not parts.are_channels,
            keep_channels=parts.are_channels,
            units=parts.units,
            notes=fits.notes(),
            extras={"part": parts.as_extra(problem, values)}
            | ({} if exact else {"part_error": parts.as_extra(problem, np.sqrt(variances))})
            | fits.to_extras(row_scores, has_output_axis=problem.target.has_output_axis),
        )

    def _make_designs(
        self, problem: SaliencyProblem, parts: Segments, replacement: Replacement
    ) -> dict[int, LocalDesign]:
        """One design for each number of parts that a row has.

        Raises:
            LimitError: `samples` are too few for coefficients with standard errors. OptionError: only the whole row has weight.
        """
        part_counts = sorted({int(n) for n in parts.is_active.sum(axis=1)} - {0})
        calls = self.samples // replacement.n_references
        min_samples = max(map(min_local_evaluations, part_counts), default=2)
        if calls < min_samples:
            over = f" over {replacement.n_references} references" if replacement.n_references > 1 else ""
            raise LimitError(
                Argument("samples", self.samples),
                f" are too few for the coefficients of {part_counts[-1]} parts{over}: standard errors need "
                f"{min_samples * replacement.n_references:,} or more. Raise samples, or take fewer parts (",
                Argument("patches", example="..."),
                ", ",
                Argument("parts", example="..."),
                ").",
            )
        for m in part_counts:
            if size_law(m, self.kernel_width)[:-1].sum() < MIN_MASKED_SHARE:
                raise OptionError(
                    Argument("kernel_width", self.kernel_width),
                    f" gives weight to nothing but the whole row (of {m} parts), so no part can be told from another; raise it.",
                )
        return {m: draw_local_design(m, calls, self.kernel_width, problem.rng_for(m)) for m in part_counts}

    def _describe_values(self, replacement: Replacement) -> str:
        ridge = f", ridge penalty {self.alpha:g} on {self.samples:,} draws" if self.alpha else ""
        return (
            "coefficient of a part in the weighted least squares of the score on which parts are visible (each with probability 1/2, weights of the cosine distance, "
            f"kernel width {self.kernel_width:g}{ridge}), absent parts holding {replacement.description}, divided by the number of its positions"
        )


@final
@dataclass(frozen=True)
class _RowFits:
    """How well the linear model of each row fits; (rows, targets), effective_size (rows,)."""

    intercept: Floats
    local_prediction: Floats
    r_squared: Floats
    effective_size: Floats

    @classmethod
    def without_parts(cls, scores: Floats) -> _RowFits:
        """Of rows in which nothing can be masked: the score itself."""
        nothing = np.full(scores.shape, np.nan)
        return cls(scores.copy(), scores.copy(), nothing, np.full(len(scores), np.nan))

    def to_extras(
        self, scores: Floats, *, has_output_axis: bool
    ) -> dict[str, tuple[tuple[str, ...], npt.NDArray[Any]]]:
        """Extras of the explanation."""
        axes = ("row", "output") if has_output_axis else ("row",)
        per_output = {
            "r_squared": self.r_squared,
            "intercept": self.intercept,
            "local_prediction": self.local_prediction,
            "gap": self.local_prediction - scores,
        }
        found: dict[str, tuple[tuple[str, ...], npt.NDArray[Any]]] = {
            name: (axes, a if has_output_axis else a[:, 0]) for name, a in per_output.items()
        }
        return found | {"effective_size": (("row",), self.effective_size)}

    def notes(self) -> tuple[str, ...]:
        """What the reader must know before the values."""
        poor = np.asarray((self.r_squared < MIN_R_SQUARED).any(axis=1))
        few = self.effective_size < MIN_EFFECTIVE_SIZE
        notes = []
        if poor.any():
            worst = float(np.nanmin(self.r_squared))
            notes.append(
                f"the linear model fits poorly: R squared below {MIN_R_SQUARED:g} in {list_rows(poor)}, down to {worst:.2g}; see extras['r_squared']"
            )
        if few.any():
            least = float(np.nanmin(self.effective_size))
            notes.append(
                f"few masks have nearly all of the weight: effective size below {MIN_EFFECTIVE_SIZE:g} of the masks in {list_rows(few)}, down to {least:.2g}; "
                "a larger kernel_width spreads it"
            )
        return tuple(notes)


def _describe_computation(designs: dict[int, LocalDesign], parts: Segments) -> str:
    every = [m for m, d in designs.items() if d.is_exact]
    drawn = [len(d.coalitions) for d in designs.values() if not d.is_exact]
    words = (
        [f"all {2 ** max(every):,} masks" if len(every) == 1 else f"all masks of {min(every)} to {max(every)} parts"]
        if every
        else []
    )
    if drawn:
        words.append(f"{max(drawn):,} masks, stratified by the number of visible parts")
    return f"{parts.description}: {' and '.join(words) or 'nothing to evaluate'}"
