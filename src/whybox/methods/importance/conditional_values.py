"""New values of a column, drawn from what it may be given other columns of the row: the part that the others do not explain is exchanged between rows.

A number is regressed on the other columns, cross-fitted (a ridge regression, and gradient boosting of what that leaves), and the residuals are exchanged. A
category has a predicted distribution; a row's class covers a range of it between 0 and 1, a uniform number in that range is the row's, and these are
exchanged. So are missing values, as a class of their own. Every new value is one that the column has: the nearest to what was drawn.

References:
    Watson & Wright, Testing conditional independence in supervised learning algorithms, Machine Learning 110 (2021); Molnar et al., Model-agnostic feature
    importance and effects with dependent features, Data Mining and Knowledge Discovery 38 (2024).
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from whybox.core.workers import one_library_thread
from whybox.data.table import Floats
from whybox.methods.common.columns import Feature, Ints
from whybox.methods.common.rows import WeightedRows
from whybox.methods.importance.even_donors import EvenDonors

__all__ = ["ConditionalValues"]

FOLDS: Final = 4
MAX_ONE_HOT: Final = 20  # categories of a predictor, the most common ones
MAX_CLASSES: Final = 30  # of a category that is predicted; the rarer ones are one class together
MAX_BOOSTED_CLASSES: Final = 8  # more take a logistic regression: boosting grows a tree a class
MIN_BOOSTED_ROWS: Final = 200
ONE_THREAD_ROWS: Final = 20_000  # with fewer, threads of boosting wait for each other longer than they work
RIDGE_PENALTIES: Final = (1e-6, 1e-4, 1e-2, 0.1, 1.0)  # a row


@final
class ConditionalValues:
    """Draws rows whose value of a column stands in for a row's own, given other columns.

    Args:
        rows: all rows, with their weights; those of weight zero are not fitted, and nothing is drawn from them.
        position: of the column. given: positions of the columns that are known.
        seed: of the folds and the models.
    """

    def __init__(self, rows: WeightedRows, position: int, given: tuple[int, ...], seed: int) -> None:
        self._rows, self._given, self._seed = rows, given, seed
        self._feature = rows.feature(position)
        self._weights = rows.weights
        self._kept = np.flatnonzero(rows.weights > 0)
        self._fold = np.zeros(len(rows), dtype=np.int64)
        order = np.random.default_rng([seed % 2**63, 0xC0DE, position]).permutation(self._kept)
        self._fold[order] = np.arange(len(order)) % FOLDS
        P = _predictors(rows, given, {})
        self._class, self._members = _classes(self._feature, self._kept, rows.weights)
        self._chances, self._own_chances = (
            None,
            np.ones((len(rows), 1)),
        )  # of classes; their predictions for the rows as they are
        if len(self._members) > 1:
            self._chances = self._cross_fit(P, self._class, classes=len(self._members))
            self._own_chances = self._fitted(self._chances, P)
        self._means = None  # of numbers; None: the column has no number
        numbers = np.full(len(rows), np.nan) if self._feature.numbers is None else self._feature.numbers
        self._is_number = np.isfinite(numbers)
        self._has_number = np.flatnonzero((rows.weights > 0) & self._is_number)
        if len(self._has_number):
            self._numbers = np.where(self._is_number, numbers, 0.0)
            self._means = self._cross_fit(P, self._numbers, among=self._has_number)
            self._own_means = self._fitted(self._means, P)[:, 0]
            self._residuals = self._numbers - self._own_means
            self._order = self._has_number[np.argsort(self._numbers[self._has_number], kind="stable")]
        self.explained = self._share_explained()

    def draw(self, rng: np.random.Generator, drawn: Mapping[int, Ints] | None = None) -> Ints:
        """Return, for each row, the position of a row whose value of the column it takes, (rows,).

        Args:
            rng: draws the exchange. drawn: of known columns, the rows that their values were taken from; else every row has its own.
        """
        means, chances = self._predicted(drawn or {})
        order = rng.permutation(self._kept)
        partner = np.arange(len(self._rows))
        partner[self._kept] = EvenDonors(order, self._weights, rng).shifted()[self._kept]
        which = np.zeros(len(partner), dtype=np.int64)
        if self._chances is not None:
            place = self._places(rng)[partner]
            upper = np.cumsum(chances, axis=1)
            which = np.minimum((upper < place[:, None] * upper[:, -1:]).sum(axis=1), len(self._members) - 1)
        out = np.arange(len(partner))
        for k, members in enumerate(self._members):
            those = np.flatnonzero((which == k) & (self._weights > 0))
            if means is not None and k == 0:  # the numbers; every other class is exchanged as it is
                out[those] = self._nearest(means[those], self._residual_of(partner[those], rng))
            else:
                same = self._class[those] == k
                out[those[~same]] = rng.choice(members, int((~same).sum()))
        return out

    def _predicted(self, drawn: Mapping[int, Ints]) -> tuple[Floats | None, Floats]:
        """Means, (rows,), None of a column without numbers, and chances of the classes, (rows, classes), where known columns were drawn."""
        if not drawn:
            return (None if self._means is None else self._own_means), self._own_chances
        P = _predictors(self._rows, self._given, drawn)
        means = None if self._means is None else self._fitted(self._means, P)[:, 0]
        return means, self._own_chances if self._chances is None else self._fitted(self._chances, P)

    def _residual_of(self, partner: Ints, rng: np.random.Generator) -> Floats:
        """Residuals of partners; of those without a number, of others at random."""
        chosen = np.where(self._is_number[partner], partner, rng.choice(self._has_number, len(partner)))
        return np.asarray(self._residuals[chosen])

    def _nearest(self, means: Floats, residuals: Floats) -> Ints:
        """Positions of the rows whose own value is nearest to mean + residual."""
        wanted, own = means + residuals, self._numbers[self._order]
        right = (
            np.searchsorted(own, wanted).clip(1, max(len(own) - 1, 1))
            if len(own) > 1
            else np.zeros(len(wanted), dtype=np.int64)
        )
        left = np.maximum(right - 1, 0)
        return np.asarray(self._order[np.where(np.abs(own[left] - wanted) <= np.abs(own[right] - wanted), left, right)])

    def _places(self, rng: np.random.Generator) -> Floats:
        """A uniform number in the range that each row's own class covers of its predicted distribution, (rows,)."""
        chances = self._own_chances
        upper, rows = np.cumsum(chances, axis=1), np.arange(len(chances))
        top = upper[rows, self._class]
        return np.asarray((top - chances[rows, self._class] * rng.random(len(rows))) / upper[:, -1])

    def _cross_fit(
        self, P: Floats, target: npt.NDArray[Any], *, classes: int = 0, among: Ints | None = None
    ) -> list[Any]:
        """A model for each fold, fitted on the other folds."""
        among = self._kept if among is None else among
        out = []
        for fold in range(FOLDS):
            rows = among[self._fold[among] != fold]
            fit = _fit_classes if classes else _fit_mean
            out.append(fit(P[rows], target[rows], self._weights[rows], classes, self._seed))
        return out

    def _fitted(self, models: list[Any], P: Floats) -> Floats:
        """Predictions of each row by the model that was not fitted to it, (rows, 1 or classes)."""
        out: Floats | None = None
        for fold, model in enumerate(models):
            those = np.flatnonzero(self._fold == fold)
            if len(those):
                values = model(P[those])
                if out is None:
                    out = np.zeros((len(P), values.shape[1]))
                out[those] = values
        assert out is not None  # noqa: S101  # there are rows
        return out

    def _share_explained(self) -> float:
        """The share of the column's variance that the others explain in rows that were not fitted; 0 at least, NaN of a constant.

        Of classes it is that of their indicators; of a number with missing values the mean of both, each as a share of its own variance.
        """
        left = []
        if self._chances is not None:
            rows, indicators = self._kept, np.eye(len(self._members))[self._class[self._kept]]
            left.append(_ratio(indicators - self._own_chances[rows], indicators, self._weights[rows]))
        if self._means is not None:
            rows = self._has_number
            left.append(_ratio(self._residuals[rows, None], self._numbers[rows, None], self._weights[rows]))
        known = [share for share in left if not np.isnan(share)]
        return max(0.0, 1.0 - float(np.mean(known))) if known else float("nan")


def _ratio(residuals: Floats, values: Floats, weights: Floats) -> float:
    if not np.ptp(values, axis=0).any():
        return float("nan")  # a constant; its sum of squares is that of the mean's rounding
    w = weights / weights.sum()
    total = float((w @ (values - w @ values) ** 2).sum())
    return float((w @ residuals**2).sum()) / total if total > 0 else float("nan")


def _classes(feature: Feature, kept: Ints, weights: Floats) -> tuple[Ints, list[Ints]]:
    """Which class each row is in, and the rows of each. Of numbers: those with a value, and those without; of categories the common ones each, the rarer ones together."""
    gap = feature.codes < 0
    if feature.numbers is not None:
        gap = gap | ~np.isfinite(feature.numbers)
        raw = gap.astype(np.int64)
    else:
        raw = np.where(gap, len(feature.unique), feature.codes)
        size = np.bincount(raw[kept], weights[kept], minlength=len(feature.unique) + 1)
        rank = np.empty(len(size), dtype=np.int64)
        rank[np.argsort(-size, kind="stable")] = np.arange(len(size))
        raw = np.minimum(rank[raw], MAX_CLASSES)
    present = np.unique(raw[kept])
    of_row = np.searchsorted(present, raw).clip(0, len(present) - 1)
    return of_row.astype(np.int64), [kept[of_row[kept] == k] for k in range(len(present))]


def _predictors(rows: WeightedRows, given: tuple[int, ...], drawn: Mapping[int, Ints]) -> Floats:
    """Columns as numbers, (rows, predictors): standardised numbers with a flag for missing values, and indicators of the common categories."""
    parts: list[Floats] = []
    for position in given:
        feature, at = rows.feature(position), drawn.get(position, slice(None))
        if feature.numbers is None:
            codes = np.where(feature.codes < 0, len(feature.unique), feature.codes)
            size = np.bincount(codes, rows.weights, minlength=len(feature.unique) + 1)
            common = np.argsort(-size, kind="stable")[: min(MAX_ONE_HOT, int((size > 0).sum()))]
            parts.append((codes[at][:, None] == common[None, :]).astype(np.float64))
            continue
        known = np.isfinite(feature.numbers)
        w = np.where(known, rows.weights, 0.0)
        if not w.sum() > 0:
            continue
        x = np.where(known, feature.numbers, 0.0)
        mean = float(w @ x) / w.sum()
        spread = float(np.sqrt(w @ (x - mean) ** 2 / w.sum())) or 1.0
        parts.append(np.where(known, (x - mean) / spread, 0.0)[at][:, None])
        if not known.all():
            parts.append((~known).astype(np.float64)[at][:, None])
    return np.column_stack(parts) if parts else np.zeros((len(rows), 0))


def _relative_weights(w: Floats) -> Floats | None:
    """Weights with the mean 1; None where all are equal, which boosting fits ten times as fast."""
    return None if len(w) == 0 or np.ptp(w) <= 1e-12 * w.max() else w / w.mean()


def _boosting_threads(rows: int) -> AbstractContextManager[Any]:
    """One thread for scikit-learn's boosting of few rows; the numbers are the same with any number of threads."""
    return one_library_thread("openmp") if rows < ONE_THREAD_ROWS else nullcontext()


def _fit_mean(P: Floats, y: Floats, w: Floats, classes: int, seed: int) -> Any:
    """A regression of numbers, as a function of predictors: ridge, and boosting of what it leaves."""
    del classes
    from sklearn.ensemble import HistGradientBoostingRegressor
    from sklearn.linear_model import RidgeCV

    share = _relative_weights(w)
    centre = float(np.average(y, weights=w)) if len(w) else 0.0
    if P.shape[1] == 0 or len(y) < 2 * FOLDS or not np.ptp(y) > 0:
        return lambda Q: np.full((len(Q), 1), centre)
    ridge = RidgeCV(alphas=np.array(RIDGE_PENALTIES) * len(y)).fit(P, y, sample_weight=share)
    left = y - ridge.predict(P)
    if len(y) < MIN_BOOSTED_ROWS or not np.ptp(left) > 1e-9 * np.ptp(y):
        return lambda Q: np.asarray(ridge.predict(Q))[:, None]
    boosted = HistGradientBoostingRegressor(
        max_iter=100, max_leaf_nodes=15, early_stopping=True, n_iter_no_change=5, random_state=seed % 2**32
    )
    with _boosting_threads(len(y)):
        boosted.fit(P, left, sample_weight=share)

    def means(Q: Floats) -> Floats:
        with _boosting_threads(len(Q)):
            rest = boosted.predict(Q)
        return np.asarray(ridge.predict(Q) + rest)[:, None]

    return means


def _fit_classes(P: Floats, y: Ints, w: Floats, classes: int, seed: int) -> Any:
    """Probabilities of classes, as a function of predictors, (rows, classes); a class that was not seen keeps a small one."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.linear_model import LogisticRegression

    seen = np.unique(y)
    prior = (np.bincount(y, w, minlength=classes) + w.mean() / classes) / (w.sum() + w.mean())
    if P.shape[1] == 0 or len(seen) < 2:
        return lambda Q: np.repeat(prior[None], len(Q), axis=0)
    share = _relative_weights(w)
    if len(y) >= MIN_BOOSTED_ROWS and len(seen) <= MAX_BOOSTED_CLASSES:
        model = HistGradientBoostingClassifier(
            max_iter=100,
            max_leaf_nodes=15,
            early_stopping=len(y) // len(seen) > 50,
            n_iter_no_change=5,
            random_state=seed % 2**32,
        )
    else:
        model = LogisticRegression(C=1.0, max_iter=300)
    with _boosting_threads(len(y)):
        model.fit(P, y, sample_weight=share)

    def chances(Q: Floats) -> Floats:
        out = np.zeros((len(Q), classes))
        with _boosting_threads(len(Q)):
            out[:, seen] = model.predict_proba(Q)
        floor = 1.0 / (len(y) + classes)
        return np.asarray((1 - floor) * out + floor * prior)

    return chances
