"""``shap.KernelExplainer`` and ``shap.SamplingExplainer``: any function of rows."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np

from whybox.compat.columns import in_columns_of
from whybox.compat.refused import refuse, refuse_given
from whybox.compat.shap.answers import Answers, Budget
from whybox.compat.shap.backgrounds import Background, DenseData
from whybox.compat.shap.explainer import Explainer, count_or_auto, output_to_ask
from whybox.compat.shap.explanation import Explanation
from whybox.compat.shap.linked import LinkedGame, explain_linked
from whybox.compat.shap.links import identity
from whybox.compat.shap.list_form import shaped
from whybox.core.progress import no_progress_bars
from whybox.models.bound_method import bound_method

__all__ = ["KernelExplainer", "SamplingExplainer"]

ADDED_COALITIONS = 2_048  # of "auto", beside two a feature
NO_SELECTION = (
    "no feature is left out of an estimate: every value is computed, each with a standard error (error_std of explainer(X)). Leave it out; "
    "explainer(X).to_whybox().top(10) lists the largest."
)


class _OfFunctions(Explainer):
    """What both share: functions of arrays, and the rows that absent features take their values from."""

    _evals_are_rows = False  # whether nsamples counts rows, or coalitions over the whole background

    def __init__(self, model: Any, data: Any, feature_names: Any = None, link: Any = identity, **kwargs: Any) -> None:
        for name, value in kwargs.items():
            if name not in ("keep_index", "keep_index_ordered", "seed"):
                raise TypeError(f"{type(self).__name__} takes no argument {name!r}.")
            if name != "seed":
                refuse_given(name, value, "rows are passed to the model without their index.", default=False)
        names = data.group_names if isinstance(data, DenseData) else getattr(data, "columns", None)
        names = None if names is None or hasattr(data, "iloc") else list(names)
        background = self._prepare(model, data, feature_names=feature_names or names, link=link, cut=None)
        if background.rows is None:
            refuse(
                f"shap.{type(self).__name__} without data", "pass the rows that absent features take their values from."
            )
        if background.clustering is not None or background.correlated:
            refuse(f"a masker in shap.{type(self).__name__}", "pass rows, or shap.kmeans(rows, k).")
        self._seed = kwargs.get("seed") or 0
        self._columns = getattr(self.data, "columns", None)
        self._takes_arrays = callable(model) and bound_method(model) is None
        if self._takes_arrays or self.link is not identity:  # as shap calls functions
            self.feature_names = self.feature_names or (
                None if self._columns is None else [str(n) for n in self._columns]
            )
            self.data = self.data.to_numpy() if hasattr(self.data, "to_numpy") else self.data
        self._has_one_column = self._takes_arrays and np.shape(model(self.data[:1].copy())) == (1, 1)
        if self.link is identity:
            rows = Background(self.data, background.weights, most_counted=len(background))
            self._kept_answers = Answers(model, rows, output=output_to_ask(model), seed=self._seed)

    @property
    def expected_value(self) -> Any:
        """The value when every feature is absent: a number, or (outputs,)."""
        if self.link is identity:
            base = super().expected_value
            return np.array([base]) if self._has_one_column else base
        game = self._game_without_row()
        base = np.asarray(game(np.zeros((1, self.data.shape[1]))))[0]
        return np.float64(base) if base.ndim == 0 else base

    def _game_without_row(self) -> LinkedGame:
        count = len(self.data)
        share = np.full(count, 1.0 / count) if self._weights is None else self._weights
        return LinkedGame(self.model, self.link, self.data[0], self.data, share)

    def shap_values(self, X: Any, **options: Any) -> Any:
        """Return values, (rows, features) or (rows, features, outputs); of one row without the first axis. Options are those of a call.

        Raises:
            OptionError: what is not honoured; see docs/from_shap.md. Others as :func:`whybox.explain`.
        """
        e, single = self._explained(X, **options)
        values = e.values[0] if single else e.values
        return shaped(values, has_outputs=e.values.ndim == 3)

    def __call__(self, X: Any, **options: Any) -> Explanation:
        """Return an Explanation of rows, or of one, with standard errors where values are estimated.

        Args:
            X: rows. options: ``nsamples``, coalitions of a row, each over the whole background (of SamplingExplainer predictions of a row); all are spent.
                ``"auto"``: as many as shap takes, or fewer where the errors are small. ``silent``, ``gc_collect``. ``l1_reg``: refused, unless it leaves out none.

        Raises:
            OptionError: what is not honoured; see docs/from_shap.md. Others as :func:`whybox.explain`.
        """
        e, single = self._explained(X, **options)
        return e[0] if single else e

    def _explained(self, X: Any, **options: Any) -> tuple[Explanation, bool]:
        l1_reg, nsamples = options.pop("l1_reg", "auto"), options.pop("nsamples", "auto")
        y, collects = options.pop("y", None), options.pop("gc_collect", False)
        if l1_reg not in (None, False, 0, "auto"):
            refuse(f"l1_reg={l1_reg!r}", NO_SELECTION)
        refuse_given(
            "y", y, "the prediction is explained; wb.explain(model, X, background, loss='log', y=y) explains the loss."
        )
        refuse_given(
            "min_samples_per_feature",
            options.pop("min_samples_per_feature", 100),
            "draws go where errors are largest.",
            default=100,
        )
        silent = bool(options.pop("silent", False))
        if options:
            raise TypeError(f"{type(self).__name__} takes no argument {next(iter(options))!r}.")
        at = None
        if isinstance(self.data, np.ndarray):  # functions of arrays know no names
            X, at = in_columns_of(X, self._columns)
        rows, single = self._rows(X)
        with no_progress_bars(hidden=silent):
            e = self._explain(rows, self._budget(nsamples, linked=self.link is not identity))
        e = e if at is None else e[:, at]
        if collects:
            gc.collect()
        return e, single

    def _explain(self, rows: Any, budget: Budget) -> Explanation:
        if self.link is identity:
            e = self._to_shap(self._answers.explain(rows, budget=budget))
            return _with_output_axis(e) if self._has_one_column else e
        rows = rows.to_numpy() if hasattr(rows, "to_numpy") else np.asarray(rows)
        return explain_linked(
            self.model,
            self.link,
            rows,
            np.asarray(self.data),
            self._weights,
            budget=budget,
            names=self.feature_names,
            output_names=self.output_names,
            seed=self._seed,
        )

    def _budget(self, nsamples: Any, *, linked: bool) -> Budget:
        """Return the predictions of a row; of `linked` games one is a coalition over the whole background."""
        width, count = self.data.shape[1], 1 if linked or self._evals_are_rows else len(self._kept_answers.background)
        given = count_or_auto("nsamples", nsamples)
        return Budget("nsamples", (self._usual(width) if given is None else given) * count, is_given=given is not None)

    def _usual(self, width: int) -> int:
        return 2 * width + ADDED_COALITIONS


class KernelExplainer(_OfFunctions):
    """Shapley values of any function of rows: exact where all coalitions fit ``nsamples``, else with standard errors; exact at once where whybox reads the model.

    Args:
        model: a function of rows, a predict method of an estimator, or an estimator. data: rows, all of which count, or what ``kmeans`` returns, or a sparse matrix.
        feature_names: labels. link: ``"identity"``, or ``"logit"``: values of the log-odds of the mean output, as shap defines them.

    Raises:
        OptionError: what is not honoured; see docs/from_shap.md. Others as :func:`whybox.explain`.
    """


class SamplingExplainer(_OfFunctions):
    """As :class:`KernelExplainer`, with ``nsamples`` in predictions of single rows.

    Raises:
        OptionError: a link, and what is not honoured. Others as :func:`whybox.explain`.
    """

    _evals_are_rows = True

    def __init__(self, model: Any, data: Any, **kwargs: Any) -> None:
        super().__init__(model, data, **kwargs)
        if self.link is not identity:
            refuse("link of shap.SamplingExplainer", "shap.KernelExplainer(model, data, link='logit') takes one.")

    def _usual(self, width: int) -> int:
        return 1_000 * width


def _with_output_axis(e: Explanation) -> Explanation:
    """The output axis of a function that returns one column."""
    arrays = {
        name: None if a is None else a[..., None]
        for name, a in e.held.arrays.items()
        if name not in ("data", "display_data")
    }
    return Explanation(
        **{name: arrays[name] for name in ("values", "base_values", "error_std", "lower_bounds", "upper_bounds")},
        data=e.data,
        feature_names=e.feature_names,
        output_names=[str(e.output_names or "output 0")],
        compute_time=e.compute_time,
    )
