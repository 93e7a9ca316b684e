"""Options of LIME."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, final

import numpy as np

from whybox.core.validation import check_positive, check_whole_number
from whybox.core.workers import check_jobs
from whybox.errors import Argument, OptionError, Part
from whybox.methods.common.options import OFFSETS_OF_LIBRARIES, PredictionOptions, check_max_evals, option
from whybox.methods.common.output import PREDICTED
from whybox.methods.common.spot_checks import check_spot_checks
from whybox.methods.registry import methods
from whybox.numerics.statistics import critical_value

__all__ = ["AUTO", "DISCRETIZERS", "NEIGHBOURHOODS", "LimeOptions", "methods_of_tables"]

AUTO: Final = "auto"
DISCRETIZERS: Final = ("quartile", "decile", "entropy")
NEIGHBOURHOODS: Final = ("lime", "row")


def methods_of_tables() -> tuple[str, ...]:
    """Return what the user may type for a method, where rows of a table are explained."""
    return AUTO, *(spec.id for spec in methods("lime") if "background" in spec.needs)


_OUTPUTS: Final = (Argument("output"), " names a class, 'all' or 'predicted'.")
_NAMES: Final = ("names are those of the columns; pass a data frame.",)
_NO_PRODUCT: Final = (
    "with weights of your own the features of a sample are not independent of each other, so no value is known exactly. Choose how fast weights fall: ",
    Argument("kernel_width", example="2.0"),
    ".",
)
_OF_THE_LIME_PACKAGE: Final[Mapping[str, tuple[Part, ...]]] = {
    **OFFSETS_OF_LIBRARIES,
    "kernel": _NO_PRODUCT,
    "distance_metric": _NO_PRODUCT,
    "model_regressor": (
        "no regressor is fitted, because each coefficient is a weighted mean. For the penalty of the lime package, pass ",
        Argument("alpha", example="1"),
        ".",
    ),
    "num_samples": (
        "the sample grows until the largest values are settled. ",
        Argument("max_evals"),
        " bounds it, ",
        Argument("tol"),
        " says how small errors get.",
    ),
    "num_features": (
        "every feature has a value. ",
        Argument("top"),
        " says how many of the largest are to be settled, and their ranks say in which order.",
    ),
    "feature_selection": ("no feature is left out of the linear model; their ranks say which are large.",),
    "discretize_continuous": ("for numbers that are not cut into bins, pass ", Argument("discretizer", None), "."),
    "sample_around_instance": (
        "for regions around the values of the row, pass ",
        Argument("neighbourhood", "row"),
        ".",
    ),
    "labels": _OUTPUTS,
    "top_labels": _OUTPUTS,
    "random_state": ("write ", Argument("seed", example="0"), "."),
    "training_data": ("write ", Argument("background", example="X_train"), "."),
    "training_labels": ("write ", Argument("y"), ", with ", Argument("discretizer", "entropy"), "."),
    "feature_names": _NAMES,
    "class_names": ("names are those of the model's classes; the result says which is explained.",),
    "categorical_features": (
        "columns of strings, categories and booleans are categories already. Give codes the type of categories, or the edges between them: ",
        Argument("discretizer", example="{'city': [0.5, 1.5]}"),
        ".",
    ),
    "categorical_names": ("pass a data frame in which categories are texts.",),
}


@final
@dataclass(frozen=True, kw_only=True)
class LimeOptions:
    """What ``wb.lime`` and the explainer take beside model, rows and background; see there for each in full.

    Raises:
        OptionError: a value that is not known or out of range.
    """

    INSTEAD: ClassVar[Mapping[str, tuple[Part, ...]]] = _OF_THE_LIME_PACKAGE

    method: str = option(AUTO, "auto, exact or sampled")
    output: Any = option(None, "name of a class or output, all, or predicted: of each row its own class")
    scale: str | None = option(None, "raw, probability or response", choices=(None, "raw", "probability", "response"))
    y: Any = option(None, "the truth of the background rows, for the entropy discretizer", as_text=False)
    top: int | None = option(None, "how many of the largest values are to be settled; 5 where not given")
    discretizer: Any = option(
        "quartile",
        "quartile, decile, entropy, none (a value for each standard deviation), or edges by name or position",
        as_text=False,
    )
    neighbourhood: str = option(
        "lime", "lime: bins of the background; row: around the row's own values", choices=NEIGHBOURHOODS
    )
    kernel_width: Any = option(None, "width of the kernel; 0.75 times the root of the number of features")
    alpha: float | None = option(None, "ridge penalty of the lime package, for comparison; none where not given")
    players: Any = option(None, "columns that are changed together", as_text=False)
    background_weight: Any = option(None, "one weight a background row", as_text=False)
    tol: float | None = option(None, "standard error to reach, as a share of the largest value; 0.02")
    max_evals: int | None = option(None, "most predictions of single rows; 2,000 a row, at least 20,000")
    level: float = option(0.95, "confidence of the intervals")
    response_method: str | None = option(None, "method of the estimator to evaluate instead of reading it")
    seed: int = option(0, "draws the sample, and what is checked")
    n_jobs: int | None = option(None, "threads of tree ensembles")
    spot_checks: int | None = option(None, "predictions that recompute numbers of the answer; 0: none")

    def __post_init__(self) -> None:
        known = methods_of_tables()
        if not isinstance(self.method, str) or self.method not in known:
            raise OptionError(Argument("method", self.method), " is not known here.", known=known)
        if self.neighbourhood not in NEIGHBOURHOODS:
            raise OptionError(Argument("neighbourhood", self.neighbourhood), " is not known.", known=NEIGHBOURHOODS)
        self._check_discretizer()
        self._check_width()
        for name, value in (("alpha", self.alpha), ("tol", self.tol)):
            if value is not None and not (name == "alpha" and value == 0):
                check_positive(name, value)
        if self.top is not None:
            check_whole_number("top", self.top)
        check_whole_number("seed", self.seed, None)
        critical_value(self.level)
        object.__setattr__(self, "level", float(self.level))
        object.__setattr__(self, "max_evals", check_max_evals(self.max_evals))
        object.__setattr__(self, "n_jobs", check_jobs(self.n_jobs))
        object.__setattr__(self, "spot_checks", check_spot_checks(self.spot_checks))

    def _check_discretizer(self) -> None:
        given = self.discretizer
        if given is not None and not isinstance(given, Mapping) and given not in DISCRETIZERS:
            raise OptionError(
                Argument("discretizer", given),
                " is not known. Use one of these, edges by name ({'age': [30, 50]}), or None for a value for each standard deviation.",
                known=DISCRETIZERS,
            )
        if (given == "entropy") != (self.y is not None):
            if self.y is None:
                raise OptionError(
                    Argument("discretizer", "entropy"),
                    " chooses edges by the truth of the background rows: pass ",
                    Argument("y"),
                    ".",
                )
            raise OptionError(
                Argument("y"), " is used by ", Argument("discretizer", "entropy"), " alone; leave it out."
            )
        if self.neighbourhood == "row" and given != "quartile":
            raise OptionError(
                Argument("neighbourhood", "row"),
                " has windows of a quarter of the background around each row's own values; leave ",
                Argument("discretizer"),
                " out.",
            )

    def _check_width(self) -> None:
        width = self.kernel_width
        if width is None:
            return
        widths = width if isinstance(width, (Sequence, np.ndarray)) and not isinstance(width, str) else [width]
        if not len(widths):
            raise OptionError(Argument("kernel_width"), " is an empty list; give one width or several.")
        for one in widths:
            if callable(one):
                raise OptionError(
                    Argument("kernel_width"),
                    " takes a width. A kernel of your own is not a product over features, so no value is known exactly, and it is not supported.",
                )
            check_positive("kernel_width", one)

    @property
    def widths(self) -> tuple[float, ...] | None:
        """The widths of a sweep; None where there is one width."""
        width = self.kernel_width
        if isinstance(width, (Sequence, np.ndarray)):
            return tuple(float(w) for w in width)
        return None

    @property
    def predicted_class(self) -> bool:
        """Whether each row is explained for its own predicted class."""
        return isinstance(self.output, str) and self.output == PREDICTED

    @property
    def prediction_options(self) -> PredictionOptions:
        """What is needed to read the model."""
        return PredictionOptions(
            output="all" if self.predicted_class else self.output,
            scale=self.scale,
            response_method=self.response_method,
            max_evals=self.max_evals,
            n_jobs=self.n_jobs,
            level=self.level,
            spot_checks=self.spot_checks,
        )
