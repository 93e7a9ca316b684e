"""Backgrounds: ``sample``, ``kmeans``, and what the explainers take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np

from whybox.compat.columns import rows_at
from whybox.data.table import Floats

__all__ = ["Background", "DenseData", "as_background", "kmeans", "rows_as", "sample"]


@final
class DenseData:
    """Rows with weights, as :func:`kmeans` returns them.

    Attributes:
        data: (rows, features). group_names: of the features. weights: of the rows; they add up to 1.
    """

    def __init__(self, data: Any, group_names: Any, groups: Any = None, weights: Any = None) -> None:
        self.data = np.asarray(data)
        self.group_names = list(group_names)
        self.groups = [np.array([j]) for j in range(len(self.group_names))] if groups is None else groups
        given = np.ones(len(self.data)) if weights is None else np.asarray(weights, dtype=np.float64)
        if len(self.group_names) != self.data.shape[1] or len(given) != len(self.data):
            raise ValueError("there is one name for each column of the data, and one weight for each row.")
        self.weights = given / given.sum()
        self.transposed = False
        self.groups_size = len(self.groups)


@final
@dataclass(frozen=True, eq=False)
class Background:
    """Rows that absent features take their values from.

    Attributes:
        rows: as they were passed; None: there are none. weights: of the rows, or None. clustering: of the features, a linkage matrix, or None.
        most_counted: at most how many rows shap would use, which bounds the predictions of an estimate. correlated: absent features follow from the present ones.
    """

    rows: Any = None
    weights: Any = None
    clustering: Any = None
    most_counted: int = 0
    correlated: bool = False

    def __len__(self) -> int:
        return 0 if self.rows is None else int(self.rows.shape[0])


CUT_BY_SHAP: Final = 100  # rows that shap's tabular maskers keep where nobody says how many


def as_background(data: Any, *, cut: int | None = None) -> Background:
    """Return the background that some data mean: rows, rows with weights, or a masker.

    Args:
        data: array, frame, sparse matrix, one row, what :func:`kmeans` returns, a masker, or None. cut: how many rows shap would use of rows that are none of a
            masker; None: all.
    """
    if data is None or isinstance(data, Background):
        return data or Background()
    if callable(getattr(data, "background", None)):  # a masker
        of_masker: Background = data.background()
        return of_masker
    if isinstance(data, DenseData):
        return Background(data.data, data.weights, most_counted=len(data.data))
    rows = _table_of(data)
    count = int(rows.shape[0])
    return Background(rows, most_counted=count if cut is None else min(count, cut))


def rows_as(X: Any, like: Any) -> tuple[Any, bool]:
    """Return rows in the kind of table that the background is, and whether they are one row.

    Args:
        X: array, frame, series, sparse matrix, or what whybox takes for rows. like: the rows of the background; None: any kind will do.
    """
    single = getattr(X, "ndim", 2) == 1 and not isinstance(X, str)
    rows = _table_of(X)
    if like is None or not hasattr(rows, "shape"):
        return rows, single
    if hasattr(like, "iloc") and isinstance(rows, np.ndarray) and rows.shape[1] == like.shape[1]:
        rows = _in_types_of(type(like)(rows, columns=like.columns), like)
    elif isinstance(like, np.ndarray) and hasattr(rows, "iloc"):
        rows = rows.to_numpy()
    elif single and hasattr(like, "iloc") and set(rows.columns) == set(like.columns):
        rows = _in_types_of(rows, like)  # a row of a frame has one dtype for all its cells
    return rows, single


def _in_types_of(rows: Any, like: Any) -> Any:
    """A frame in the types of another one; numbers that a type cannot hold, 2.5 in a column of whole numbers, stay as they are."""
    types = like.dtypes.to_dict()
    return rows.astype({name: kind if _holds(kind, rows[name]) else np.float64 for name, kind in types.items()})


def _holds(kind: Any, cells: Any) -> bool:
    if not isinstance(kind, np.dtype) or kind.kind not in "biuf":
        return True
    numbers = np.asarray(cells, dtype=np.float64)
    with np.errstate(all="ignore"):  # what it cannot hold
        return np.array_equal(numbers.astype(kind).astype(np.float64), numbers, equal_nan=True)


def _table_of(data: Any) -> Any:
    """One row as a table of one row; what is a table already, as it is."""
    if getattr(data, "ndim", 2) != 1:
        return data
    if hasattr(data, "to_frame"):  # a series of pandas
        return data.to_frame().T.infer_objects()
    return np.asarray(data)[None, :]


def sample(X: Any, nsamples: int = 100, random_state: int = 0) -> Any:
    """Return some rows, drawn without replacement: those that shap draws.

    Args:
        X: array, frame or sparse matrix; a list of such. nsamples: how many rows; all, where there are fewer. random_state: seed of the draw.
    """
    count = X.shape[0] if hasattr(X, "shape") else len(X)
    if count <= nsamples:
        return X
    order = np.arange(count)
    np.random.RandomState(random_state).shuffle(order)
    return rows_at(X, order[:nsamples])


def kmeans(X: Any, k: int, round_values: bool = True) -> DenseData:  # as shap has it
    """Return `k` means of the rows, each with the share of the rows that it stands for; explainers weigh them so.

    Args:
        X: array or frame of numbers, missing ones taken as the mean of their column. k: how many means. round_values: whether each value of a mean is moved to
            the nearest value that its column has.
    """
    from sklearn.cluster import KMeans
    from sklearn.impute import SimpleImputer

    names = X.columns if hasattr(X, "columns") else [str(j) for j in range(X.shape[1])]
    rows = SimpleImputer(strategy="mean").fit_transform(X.to_numpy() if hasattr(X, "to_numpy") else X)
    found = KMeans(n_clusters=k, random_state=0, n_init=10).fit(rows)
    centres: Floats = np.array(found.cluster_centers_)
    if round_values:
        for j in range(rows.shape[1]):
            column = rows[:, j].toarray().ravel() if hasattr(rows, "toarray") else rows[:, j]
            centres[:, j] = column[np.abs(column[:, None] - centres[None, :, j]).argmin(axis=0)]
    return DenseData(centres, names, None, np.bincount(found.labels_, minlength=k).astype(np.float64))
