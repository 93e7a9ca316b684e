"""Arguments that the explainers of lime share: what is honoured of them, and what is refused."""

from __future__ import annotations

import sys
from typing import Any, Final

from whybox.compat.refused import refuse, refuse_given
from whybox.errors import Argument, OptionError

__all__ = ["PENALTY", "check_kernel", "check_selection", "penalty_of", "print_fit", "refuse_distance"]

PENALTY: Final = 1.0  # of lime's own ridge
SELECTIONS: Final = ("auto", "highest_weights", "none")


def check_kernel(kernel: Any) -> None:
    """Refuse a kernel of the caller's.

    Raises:
        OptionError: there is one.
    """
    refuse_given("kernel", kernel, "weights are those of lime's own kernel; say how fast they fall: kernel_width=2.0.")


def refuse_distance(distance_metric: Any, default: str) -> None:
    """Refuse another distance than lime's own; None is that too.

    Raises:
        OptionError: it is another one.
    """
    if distance_metric is None:
        return
    refuse_given(
        "distance_metric", distance_metric, "the kernel is that of lime's own distance; leave it out.", default=default
    )


def check_selection(feature_selection: Any) -> bool:
    """Return whether only the largest weights are shown; False: all are.

    Raises:
        OptionError: another way to select features.
    """
    if feature_selection in ("forward_selection", "lasso_path"):
        refuse(
            f"feature_selection={feature_selection!r}",
            "no feature is left out of the linear model, so a weight does not depend on which are shown. Write 'auto', 'highest_weights' or 'none'.",
        )
    if feature_selection not in SELECTIONS:
        raise OptionError(Argument("feature_selection", feature_selection), " is not known.", known=SELECTIONS)
    return bool(feature_selection != "none")


def penalty_of(model_regressor: Any) -> float | None:
    """Return the ridge penalty: lime's own for None, that of a Ridge, none of a LinearRegression.

    Raises:
        OptionError: another regressor, or one without an intercept.
    """
    if model_regressor is None:
        return PENALTY
    kind = f"{type(model_regressor).__module__.partition('.')[0]}.{type(model_regressor).__name__}"
    if kind not in ("sklearn.Ridge", "sklearn.LinearRegression") or not model_regressor.fit_intercept:
        refuse(
            "model_regressor",
            "weights are those of a linear model; pass a Ridge or a LinearRegression of scikit-learn, or leave it out.",
        )
    penalty = float(getattr(model_regressor, "alpha", 0.0))
    return penalty if penalty > 0 else None


def print_fit(explanation: Any) -> None:
    """Print what lime prints where ``verbose`` is True: the intercept, the prediction of the linear model and that of the model, of each label."""
    for label in sorted(explanation.local_preds):
        sys.stdout.write(
            f"Intercept {explanation.intercept[label]}\nPrediction_local {explanation.local_preds[label]}\n"
            f"Right: {explanation.own_prediction(label)}\n"
        )
