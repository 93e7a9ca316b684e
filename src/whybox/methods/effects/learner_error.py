"""Learner bands: how far training moves a curve, from models that were fitted again on other training rows.

The standard error of a curve is about the rows it is taken over, for one model as it is. Fitted on other rows of the same kind, and with other random
numbers, the model would be another one. Fit it again on bootstrap samples of its training rows (three or more, and ten for a band that is not wide for want
of fits), pass the fitted models, and ``learner_error`` is
the standard deviation of their curves at the same points, ``sqrt(sum (curve_m - mean)^2 / (M - 1))``: the bootstrap's standard error of the curve of one fit.
``learner_interval`` is the curve +- that error times Student's t of M - 1 degrees of freedom (4.30 for three fits, 2.26 for ten), for a standard deviation
of few fits is itself uncertain.

References:
    Molnar et al., Relating the partial dependence plot and permutation feature importance to the data generating process, xAI 2023.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np

from whybox.data.table import Floats
from whybox.errors import Argument, OptionError, quoted_list
from whybox.explanation.effects import CurveKey, Effects
from whybox.explanation.explanation import Explanation
from whybox.explanation.spot_checks import SpotChecks, merge_spot_checks
from whybox.methods.registry import find, load, methods
from whybox.numerics.statistics import confidence_interval, critical_value

__all__ = ["check_refits", "with_learner_error"]

MIN_REFITS: Final = 3


def check_refits(refits: Any, kind: str) -> list[Any] | None:
    """Refuse what is not a list of fitted models.

    Raises:
        OptionError: fewer than three, or a kind of effect that has a curve for each row.
    """
    if refits is None:
        return None
    if not isinstance(refits, (list, tuple)) or len(refits) < MIN_REFITS:
        raise OptionError(
            f"refits must be a list of at least {MIN_REFITS} models, each fitted again on a bootstrap sample of the training rows."
        )
    if load(find("effects", kind, argument="kind").run).by_row:
        means = [s.id for s in methods("effects") if not load(s.run).by_row]
        raise OptionError(
            "refits go with ", Argument("kind", example=quoted_list(means)), f": {kind!r} has a curve for each row."
        )
    return list(refits)


def with_learner_error(
    effects: Effects, refits: Sequence[Any], refit_effects: Callable[[Any, list[CurveKey], dict[str, Any]], Effects]
) -> Effects:
    """Return the curves with ``learner_error``, shaped as they are, and ``learner_interval``, its 95 % interval, (..., 2), among their extras.

    Args:
        effects: of the model itself. refits: models fitted again. refit_effects: (model, features, grid) -> effects, as asked of the model itself.

    Raises:
        OptionError: a model with other outputs.
    """
    curves_of: dict[CurveKey, list[Floats]] = {key: [] for key in effects}
    checks = [effects[0].evidence.spot_checks]
    curve_keys: list[CurveKey] = [key for key in effects if isinstance(key, str)]
    keys_of_call: list[list[CurveKey]] = [curve_keys] * bool(curve_keys) + [
        [key] for key in effects if not isinstance(key, str)
    ]
    for model in refits:
        for keys in keys_of_call:
            grid = {name: points for key in keys for name, points in _curve_points(effects[key]).items()}
            curves = refit_effects(model, keys, grid)
            checks.append(curves[0].evidence.spot_checks)
            for key in keys:
                if curves[key].output_names != effects[key].output_names or curves[key].shape != effects[key].shape:
                    raise OptionError(
                        "a model among refits has other outputs than the model itself; fit the same kind again."
                    )
                curves_of[key].append(curves[key].values)
    merged_checks = merge_spot_checks(checks)
    with_errors = {key: _with_error(e, np.stack(curves_of[key]), merged_checks) for key, e in effects.items()}
    return Effects(with_errors, effects.library)


def _curve_points(e: Explanation) -> dict[str, Any]:
    """The points of a curve, as a grid argument."""
    return {name: list(e.coords[dim]) for name, dim in zip(e.players, ("point", "point_2"), strict=False)}


def _with_error(e: Explanation, values: Floats, checks: SpotChecks | None) -> Explanation:
    dims = e.dims
    error = np.asarray(values.std(axis=0, ddof=1))
    freedom = len(values) - 1
    note = f"learner_error: standard deviation of {len(values)} fits at the same points; learner_interval: {critical_value(freedom=freedom):.2f} of it to either side."
    interval = np.stack(confidence_interval(e.values, error, freedom=freedom), axis=-1)
    evidence = replace(e.evidence, notes=(*e.evidence.notes, note), spot_checks=checks)
    extras = {**e.extras, "learner_error": (dims, error), "learner_interval": ((*dims, "bound"), interval)}
    return replace(e, extras=extras, evidence=evidence)
