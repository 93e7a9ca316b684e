"""``partial_dependence`` of scikit-learn: its arguments and its Bunch, answered by :func:`whybox.effects`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from whybox.api.effects import effects
from whybox.compat.columns import names_of_columns
from whybox.compat.refused import refuse
from whybox.data.table import Table, as_table, is_missing
from whybox.errors import Argument, OptionError, did_you_mean
from whybox.explanation.explanation import Explanation
from whybox.methods.importance.scorers import is_classifier

__all__ = [
    "KINDS",
    "DependenceQuestion",
    "column_deciles",
    "column_position",
    "is_categorical",
    "partial_dependence",
]

KINDS: Final = ("average", "individual", "both")
RESPONSES: Final = ("auto", "predict_proba", "decision_function")
_RECURSION: Final = "it averages along the paths of the training rows. Leave it out: the mean over the rows given is exact here, and fast for trees."


def partial_dependence(
    estimator: Any,
    X: Any,
    features: Any,
    *,
    sample_weight: Any = None,
    categorical_features: Any = None,
    feature_names: Any = None,
    response_method: str = "auto",
    percentiles: tuple[float, float] = (0.05, 0.95),
    grid_resolution: int = 100,
    custom_values: Mapping[Any, Any] | None = None,
    method: str = "auto",
    kind: str = "average",
) -> Any:
    """Return the partial dependence on one feature, or on two together; arguments are those of scikit-learn.

    Args:
        features: a name or position, a list of one or two of these, one such list in a list, or a mask of columns.
        method: ``"auto"`` and ``"brute"`` are the mean over the rows of X. ``"recursion"`` is refused.
            Others as of ``sklearn.inspection.partial_dependence``.

    Returns:
        Bunch of ``grid_values``, a list of arrays; ``average``, (outputs, points, ...); ``individual``, (outputs, rows, points, ...); and ``explanation``, the
        curve of :func:`whybox.effects`, with its errors and evidence.

    Raises:
        OptionError: an argument that is not honoured or not known; others as :func:`whybox.effects`.
    """
    table = as_table(X)
    names = names_of_columns(feature_names, table.names)
    entry = tuple(column_position(names, f) for f in _as_list(features, len(names)))
    question = DependenceQuestion(
        estimator=estimator,
        table=table,
        names=names,
        categorical=is_categorical(names, categorical_features),
        sample_weight=sample_weight,
        response_method=response_method,
        percentiles=percentiles,
        grid_resolution=grid_resolution,
        custom_values=custom_values,
        method=method,
    )
    return question.answer([entry], [kind])[0]


def is_categorical(names: Sequence[Any], categorical_features: Any) -> list[bool]:
    """Return for each column whether it is categorical, as scikit-learn takes it: a mask, or names or positions.

    Raises:
        OptionError: an empty list, a mask of another length, or an unknown column.
    """
    if categorical_features is None:
        return [False] * len(names)
    given = np.asarray(categorical_features)
    if not given.size or (given.dtype.kind == "b" and given.size != len(names)):
        raise OptionError(
            Argument("categorical_features", example="..."), f" must name columns, or be a mask of all {len(names):,}; leave it out where there are none."
        )  # fmt: skip
    if given.dtype.kind == "b":
        return [bool(v) for v in given]
    chosen = {column_position(names, f) for f in given.tolist()}
    return [p in chosen for p in range(len(names))]


def column_deciles(table: Table, position: int) -> npt.NDArray[np.float64]:
    """Return the nine deciles of a column, as scikit-learn has them."""
    return _quantiles(table[table.names[position]], np.arange(0.1, 1.0, 0.1))


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class DependenceQuestion:
    """What partial dependence is asked for, but for the features: the arguments of scikit-learn.

    Attributes:
        names: of the columns. categorical: for each column, whether it is. n_jobs: threads of tree ensembles. Others as of :func:`partial_dependence`.
    """

    estimator: Any
    table: Table
    names: list[Any]
    categorical: list[bool]
    sample_weight: Any
    response_method: str
    percentiles: tuple[float, float]
    grid_resolution: int
    custom_values: Mapping[Any, Any] | None
    method: str
    n_jobs: int | None = None

    def answer(self, entries: Sequence[tuple[int, ...]], kinds: Sequence[str]) -> list[Any]:
        """Return a Bunch for each entry, a column or two by position, and its kind.

        Raises:
            OptionError: as of :func:`partial_dependence`.
        """
        self._check(entries, kinds)
        axes = {p: self._axis(p) for p in dict.fromkeys(p for entry in entries for p in entry)}
        individual = [k != "average" for k in kinds]
        curves: dict[tuple[bool, tuple[int, ...]], Explanation] = {}
        for rows in sorted(set(individual)):
            asked = list(dict.fromkeys(e for e, each in zip(entries, individual, strict=True) if each == rows))
            model, scale = self._model(recursive=not rows)
            found = effects(
                model, self.table, [tuple(map(self._column, e)) for e in asked], "ice" if rows else "pdp",
                grid={self._column(p): axes[p].tolist() for e in asked for p in e},
                scale=scale, sample_weight=None if rows else self.sample_weight, n_jobs=self.n_jobs,
            )  # fmt: skip
            curves |= {(rows, entry): found[i] for i, entry in enumerate(asked)}
        return [
            self._bunch(curves[rows, entry], [axes[p] for p in entry], kind)
            for entry, rows, kind in zip(entries, individual, kinds, strict=True)
        ]

    def _column(self, position: int) -> Any:
        """A column by its name where it has one: the model may have its columns in another order than X."""
        name = self.table.names[position]
        return name if self.table.named and isinstance(name, str) else position

    def _check(self, entries: Sequence[tuple[int, ...]], kinds: Sequence[str]) -> None:
        for name, given, known in (
            ("method", self.method, ("auto", "brute")),
            ("response_method", self.response_method, RESPONSES),
            *(("kind", kind, KINDS) for kind in kinds),
        ):
            if given == "recursion":
                refuse("method='recursion'", _RECURSION)
            if given not in known:
                raise OptionError(Argument(name, given), " is not known.", known=known)
        for entry in entries:
            if len(entry) not in (1, 2) or len(set(entry)) != len(entry):
                refuse(
                    f"partial dependence on {len(entry)} features together", "give one feature, or two different ones."
                )
        p = self.percentiles
        if len(p) != 2 or not 0 <= p[0] < p[1] <= 1:
            raise OptionError(Argument("percentiles", p), " must be two increasing shares from 0 to 1.")
        if self.grid_resolution <= 1:
            raise OptionError(Argument("grid_resolution", self.grid_resolution), " must be at least 2.")

    def _model(self, *, recursive: bool) -> tuple[Any, str | None]:
        """What to ask :func:`whybox.effects` about, and on which scale."""
        estimator, wanted = self.estimator, self.response_method
        if not hasattr(estimator, "predict"):
            return estimator, None
        if not is_classifier(estimator):
            if wanted != "auto":
                raise OptionError(Argument("response_method", wanted), " is for classifiers; leave it out.")
            return estimator, "response"
        if wanted == "auto":
            by_recursion = recursive and self.method == "auto" and self.sample_weight is None and _recurses(estimator)
            has_probability = hasattr(estimator, "predict_proba") and not by_recursion
            wanted = "predict_proba" if has_probability else "decision_function"
        if not hasattr(estimator, wanted):
            raise OptionError(
                Argument("response_method", wanted), f": a {type(estimator).__name__} has no such method; leave it out."
            )
        return getattr(estimator, wanted), None

    def _axis(self, position: int) -> npt.NDArray[Any]:
        """The points of one column, as scikit-learn chooses them."""
        given = {column_position(self.names, key): points for key, points in (self.custom_values or {}).items()}
        if position in given:
            points = [*given[position]]
            return np.array(points, dtype=object if any(isinstance(v, str) for v in points) else None)
        cells = self.table[self.table.names[position]]
        missing = np.array([is_missing(v) for v in cells.tolist()])
        different = _different(cells[~missing])
        if self.categorical[position] or len(different) + bool(missing.any()) < self.grid_resolution:
            gap = [None if different.dtype == object else np.nan] * bool(missing.any())
            return np.array([*different, *gap], dtype=different.dtype if not gap else None)
        low, high = _quantiles(cells, self.percentiles).tolist()
        if np.allclose(low, high):
            raise OptionError(
                Argument("percentiles", self.percentiles), f" of {self.names[position]!r} are the same number; choose others farther apart."
            )  # fmt: skip
        return np.linspace(low, high, num=self.grid_resolution)

    def _bunch(self, curve: Explanation, axes: list[npt.NDArray[Any]], kind: str) -> Any:
        from sklearn.utils import Bunch

        values, dims = curve.values, list(curve.dims)
        for dim, axis in zip(("point", "point_2"), axes, strict=False):
            values = values.take(_places(np.asarray(curve.coords[dim]), axis), axis=dims.index(dim))
        values = np.moveaxis(values, dims.index("output"), 0) if "output" in dims else values[None]
        bunch = Bunch(grid_values=axes, explanation=curve)
        if kind != "average":
            bunch["individual"] = values
        if kind == "both":
            values = np.average(values, axis=1, weights=self.sample_weight)
        if kind != "individual":
            bunch["average"] = values
        return bunch


def _recurses(estimator: Any) -> bool:
    """Whether scikit-learn would walk down the trees of this classifier, and so answer in log-odds."""
    from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier

    boosted = isinstance(estimator, GradientBoostingClassifier) and estimator.init is None
    return boosted or isinstance(estimator, HistGradientBoostingClassifier)


def _as_list(features: Any, width: int) -> list[Any]:
    """One feature or a list, or a mask of columns, as a list of names or positions."""
    if isinstance(features, (str, int, np.integer)):
        return [features]
    listed = [*features]
    if len(listed) == 1 and isinstance(listed[0], (list, tuple)):  # [("age", "bmi")], as a display takes it
        listed = [*listed[0]]
    if listed and all(isinstance(f, (bool, np.bool_)) for f in listed):
        if len(listed) != width:
            raise OptionError(
                Argument("features", example="..."), f": a mask needs one entry for each of {width:,} columns."
            )
        return [p for p, chosen in enumerate(listed) if chosen]
    return listed


def column_position(names: Sequence[Any], feature: Any) -> int:
    """The position of a column by its name or position.

    Raises:
        OptionError: no such column.
    """
    if feature in names:
        return names.index(feature)
    if isinstance(feature, (int, np.integer)) and 0 <= feature < len(names):
        return int(feature)
    raise OptionError(Argument("features"), f": there is no column {feature!r}.{did_you_mean(feature, names)}")


def _different(cells: npt.NDArray[Any]) -> npt.NDArray[Any]:
    try:
        return np.unique(cells)
    except TypeError:
        refuse("a column of several types", "make its values texts or numbers; wb.effects(model, X) takes it as it is.")


def _quantiles(cells: npt.NDArray[Any], shares: Any) -> npt.NDArray[np.float64]:
    """Quantiles of the numbers of a column, as scikit-learn computes them.

    Raises:
        OptionError: the column holds no numbers.
    """
    from scipy.stats.mstats import mquantiles

    if cells.dtype.kind not in "fiub":
        raise OptionError(
            "a column of texts or dates has no quantiles: name it in ", Argument("categorical_features"), "."
        )
    known = cells[~np.isnan(cells)] if cells.dtype.kind == "f" else cells
    return np.asarray(mquantiles(known, prob=shares), dtype=np.float64)


def _places(points: npt.NDArray[Any], wanted: npt.NDArray[Any]) -> npt.NDArray[np.intp]:
    """Where the wanted values stand among the points of a curve, which has each once, in order."""
    if points.dtype.kind in "fiu":
        far = np.abs(points.astype(np.float64)[:, None] - wanted.astype(np.float64))
        gap = np.isnan(points.astype(np.float64))
        return np.where(
            np.isnan(wanted.astype(np.float64)), gap.argmax(), np.where(gap[:, None], np.inf, far).argmin(axis=0)
        )
    position = {None if is_missing(v) else v: i for i, v in enumerate(points.tolist())}
    return np.array([position[None if is_missing(v) else v] for v in wanted.tolist()], dtype=np.intp)
