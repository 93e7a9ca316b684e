"""Options of attributions by SHAP."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Final, final

import numpy as np

from whybox.core.validation import check_positive, check_whole_number
from whybox.core.workers import check_jobs
from whybox.errors import Argument, OptionError, Part, quoted_list
from whybox.games.indices import Index, as_index
from whybox.methods.common.options import OFFSETS_OF_LIBRARIES, PredictionOptions, check_max_evals, option
from whybox.methods.common.spot_checks import check_spot_checks
from whybox.methods.method_spec import MethodSpec
from whybox.methods.registry import family_ids
from whybox.numerics.statistics import critical_value

__all__ = ["AUTOMATIC_METHODS", "METHODS_OF_OTHER_LIBRARIES", "ShapOptions"]

AUTOMATIC_METHODS: Final = (
    "auto",
    "exact",
)  # what may be asked for instead of one method: the first that fits the model, the first exact one
_MET_BY_EXACT: Final = (
    "tol",
    "top",
    "level",
    "surrogate",
    "callback",
    "batch_size",
    "stochastic",
)  # by an answer without errors
_LATER: Final = (
    "absent features take the values of whole background rows, whatever the other features are (interventional). Other value functions are not built yet.",
)
_OF_OTHER_LIBRARIES: Final[Mapping[str, tuple[Part, ...]]] = {
    **OFFSETS_OF_LIBRARIES,
    "l1_reg": ("no feature is left out of an estimate; every value has a standard error.",),
    "nsamples": ("write ", Argument("max_evals", example="2000"), ", predictions in total, or ", Argument("tol"), "."),
    "npermutations": ("write ", Argument("max_evals", example="2000"), ", predictions in total, or ", Argument("tol"), "."),
    "budget": ("write ", Argument("max_evals", example="2000"), ": predictions of single rows, for all rows together."),
    "approximator": ("the estimator is chosen by the errors that it would have; ", Argument("method"), " names one."),
    "data": ("write ", Argument("background", example="X_train"), "."),
    "masker": ("write ", Argument("background", example="X_train"), "."),
    "imputer": ("write ", Argument("background", example="X_train"), "."),
    "link": (
        "say on which scale to explain: ", Argument("scale", example="'raw', 'probability' or 'response'"),
        ", or pass a function of rows that returns what is to be explained.",
    ),
    "model_output": ("write ", Argument("scale", example="'raw', 'probability' or 'response'"), "."),
    "feature_perturbation": (
        "with ", Argument("background", example="X_train"), " absent features take its values (interventional), without it a tree ensemble's own ",
        "training weights (path-dependent). Conditional value functions are not built yet.",
    ),
    "check_additivity": ("every row is checked; ", Argument("additivity_tol"), " says which difference is accepted."),
    "random_state": ("write ", Argument("seed", example="0"), "."),
    "feature_names": ("names are those of the columns; pass a data frame.",),
    "output_names": ("names are those of the model's classes or outputs.",),
    "max_samples": ("every row of the background counts; pass fewer rows to use fewer.",),
    "interactions": ("write ", Argument("order", 2), "."),
    "max_order": ("write ", Argument("order", 2), " for pairwise interactions; there are no higher ones."),
    "conditional": _LATER,
    "causal": _LATER,
    "causal_ordering": _LATER,
    "asymmetric": _LATER,
    "ordering": _LATER,
    "confounding": _LATER,
}  # fmt: skip
METHODS_OF_OTHER_LIBRARIES: Final[Mapping[str, str]] = {
    **dict.fromkeys(("kernel", "kernel_shap", "permutation", "permutation_shap", "sampling"), "sampled_shap"),
    "owen": "partition_shap",
}


@final
@dataclass(frozen=True, kw_only=True)
class ShapOptions:
    """What ``wb.explain`` and the explainers take beside model, background and rows; see there for each in full.

    Raises:
        OptionError: a value that is not known or out of range.
    """

    INSTEAD: ClassVar[Mapping[str, tuple[Part, ...]]] = _OF_OTHER_LIBRARIES

    method: str = option(
        "auto", "auto (read, else all coalitions, else sampled), exact (or refused), or the id of one method"
    )
    output: Any = option(None, "name of a class or output, or all")
    scale: str | None = option(None, "raw, probability or response", choices=(None, "raw", "probability", "response"))
    loss: Any = option(
        None,
        "explain the loss of each row, not its prediction: log, brier, zero_one, squared, absolute, pinball(level), poisson, tweedie(power), or auto",
    )
    order: int = option(1, "1: attributions; 2: pairwise interactions", choices=(1, 2))
    players: Any = option(None, "columns that share the credit as one", as_text=False)
    index: str | Index = option("shapley", "shapley, banzhaf, 'banzhaf(p)' or 'beta(a, b)'")
    background_weight: Any = option(None, "one weight a background row", as_text=False)
    seed: int = option(0, "draws samples and what is checked; exact methods draw nothing else")
    additivity_tol: float | None = option(None, "largest accepted difference from the prediction")
    max_evals: int | None = option(
        None, "most predictions of one call; where not given 2,000 a row, of exact answers a billion"
    )
    tol: float | None = option(None, "standard error to reach, as a share of a row's largest value; 0.02")
    top: int | None = option(None, "stop when this many of the largest values are settled")
    level: float = option(0.95, "confidence of the intervals")
    response_method: str | None = option(None, "method of the estimator to evaluate instead of reading it")
    batch_size: int | None = option(None, "most rows of one call of the model")
    stochastic: bool = option(False, "allow a model that answers the same row differently; errors count that")
    surrogate: bool | None = option(None, "whether a model fitted to the predictions helps the estimate", as_text=False)
    callback: Any = option(None, "called with the explanation so far after each round of sampling", as_text=False)
    hierarchy: Any = option(
        None, "blocks of features that belong together, nested lists or a linkage matrix of scipy", as_text=False
    )
    n_jobs: int | None = option(None, "threads")
    dtype: Any = option(None, "arithmetic", choices=(None, "float32", "float64"))
    sparse: bool = option(False, "leave out features that the model does not read, or pairs that share no path")
    spot_checks: int | None = option(None, "predictions that recompute numbers of the answer; 0: none")

    def __post_init__(self) -> None:
        if not isinstance(self.order, (int, np.integer)) or self.order not in (1, 2):
            raise OptionError(Argument("order", self.order), ": 1 gives attributions, 2 gives pairwise interactions.")
        known = (*AUTOMATIC_METHODS, *family_ids("shap"))
        if not isinstance(self.method, str) or self.method not in known:
            meant = METHODS_OF_OTHER_LIBRARIES.get(self.method) if isinstance(self.method, str) else None
            if meant is not None:
                raise OptionError(
                    Argument("method", self.method),
                    " is not known here; write ",
                    Argument("method", meant),
                    ".",
                )
            raise OptionError(Argument("method", self.method), " is not known here.", known=known)
        check_whole_number("seed", self.seed, None)
        tol = self.additivity_tol
        if tol is not None and not (isinstance(tol, (int, float)) and tol > 0):
            raise OptionError(
                Argument("additivity_tol", tol), " must be a positive number: the largest residual you accept."
            )
        if (
            self.dtype is not None
            and str(self.dtype) not in ("float32", "float64")
            and self.dtype not in (np.float32, np.float64)
        ):
            raise OptionError(
                Argument("dtype", self.dtype),
                ": attributions are computed in 'float32' or 'float64'; None takes what the model's library computes in.",
            )
        if not isinstance(self.sparse, bool):
            raise OptionError(
                Argument("sparse", self.sparse),
                ": True keeps what can differ from zero alone, the features that the model reads or, with ",
                Argument("order", 2),
                ", pairs that share a path; else leave it out.",
            )
        self._check_sampling()
        if self.loss is not None:
            from whybox.methods.shap.loss_games import check_loss_options  # loads the models, which no help needs

            check_loss_options(self.loss, self.scale, stochastic=self.stochastic, surrogate=self.surrogate)
        plain = {
            "order": int(self.order),
            "index": as_index(self.index),
            "seed": int(self.seed),
            "additivity_tol": None if tol is None else float(tol),
            "max_evals": check_max_evals(self.max_evals),
            "n_jobs": check_jobs(self.n_jobs),
            "spot_checks": check_spot_checks(self.spot_checks),
            "dtype": None if self.dtype is None else "float32" if np.dtype(self.dtype) == np.float32 else "float64",
        }
        for name, value in plain.items():
            object.__setattr__(self, name, value)

    def _check_sampling(self) -> None:
        """Check the options of methods that evaluate the model."""
        if self.tol is not None:
            object.__setattr__(self, "tol", check_positive("tol", self.tol, 1.0))
        for name in ("top", "batch_size"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, check_whole_number(name, getattr(self, name)))
        if self.level != 0.95:  # loads SciPy
            critical_value(self.level)
        object.__setattr__(self, "level", float(self.level))
        if not isinstance(self.stochastic, bool):
            raise OptionError(
                Argument("stochastic", self.stochastic), ": True if the model answers at random; else leave it out."
            )
        if self.surrogate is not None and not isinstance(self.surrogate, bool):
            raise OptionError(
                Argument("surrogate", self.surrogate),
                " must be True or False; None uses it where it lowers the errors.",
            )
        if self.callback is not None and not callable(self.callback):
            raise OptionError(
                Argument("callback", self.callback), " must be a function that takes the explanation so far."
            )

    def given(self) -> list[str]:
        """Names of the options that are not at their default, but for the method itself."""
        return [
            f.name for f in fields(self) if f.name != "method" and not _is_default(getattr(self, f.name), f.default)
        ]

    def check_taken(self, *specs: MethodSpec) -> None:
        """Refuse options that none of some methods takes.

        Raises:
            OptionError: there are such.
        """
        taken = dict.fromkeys(name for spec in specs for name in spec.option_names)
        foreign = [name for name in self.given() if name not in taken]
        if foreign:
            raise OptionError(
                Argument("method", specs[0].id),
                f" does not take {quoted_list(foreign)}; it takes {quoted_list(list(taken), len(taken))}.",
            )

    def for_exact(self) -> ShapOptions:
        """Return the options without those that an answer without errors meets whatever they are: what accuracy is asked, and how to reach it."""
        defaults: dict[str, Any] = {f.name: f.default for f in fields(self) if f.name in _MET_BY_EXACT}
        return replace(self, **defaults)

    @property
    def prediction_options(self) -> PredictionOptions:
        """What is needed to evaluate the model."""
        return PredictionOptions(
            output=self.output,
            scale=self.scale,
            response_method=self.response_method,
            max_evals=self.max_evals,
            n_jobs=self.n_jobs,
            level=self.level,
            spot_checks=self.spot_checks,
        )

    @property
    def game_index(self) -> Index:
        """The index as its quadrature."""
        return as_index(self.index)


def _is_default(value: Any, default: Any) -> bool:
    """Whether an option is as it would be if it were not given; arrays are never compared."""
    if isinstance(value, Index):
        return value == as_index(default)
    return value is default or (
        isinstance(value, (str, int, float)) and type(value) is type(default) and value == default
    )
