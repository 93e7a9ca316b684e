"""``shap.Cohorts``: explanations of groups of rows, by name."""

from __future__ import annotations

from typing import Any, final

import numpy as np

from whybox.errors import OptionError

__all__ = ["Cohorts", "cohorts_of"]


@final
class Cohorts:
    """Explanations by name; slices and operations go to each of them.

    Attributes:
        cohorts: name -> Explanation.
    """

    def __init__(self, **cohorts: Any) -> None:
        self.cohorts: dict[str, Any] = dict(cohorts)

    def __getitem__(self, key: Any) -> Cohorts:
        return Cohorts(**{name: each[key] for name, each in self.cohorts.items()})

    def __getattr__(self, name: str) -> Cohorts:
        if name.startswith("_") or name == "cohorts":
            raise AttributeError(name)
        return Cohorts(**{own: getattr(each, name) for own, each in self.cohorts.items()})

    def __call__(self, *args: Any, **kwargs: Any) -> Cohorts:
        """Call what each holds: ``cohorts.mean(0)``."""
        return Cohorts(**{name: each(*args, **kwargs) for name, each in self.cohorts.items()})

    def __len__(self) -> int:
        return len(self.cohorts)

    def __repr__(self) -> str:
        sizes = [getattr(each, "shape", ()) for each in self.cohorts.values()]
        return f"<Cohorts object with {len(self)} cohorts of sizes: {sizes}>"


def cohorts_of(e: Any, cohorts: Any) -> Cohorts:
    """Split the rows of an explanation.

    Args:
        e: values of rows and features. cohorts: one label a row; or a number: the leaves of a regression tree of the rows' values, so many at most.

    Raises:
        OptionError: there are several outputs, or `cohorts` is neither.
    """
    if e.values.ndim != 2:
        raise OptionError("cohorts are of one output; pick it first: e[..., 1].cohorts(2).")
    if isinstance(cohorts, (int, np.integer)) and not isinstance(cohorts, bool):
        labels = _leaf_names(e, int(cohorts))
    elif isinstance(cohorts, (list, tuple, np.ndarray)) or hasattr(cohorts, "to_numpy"):
        labels = np.asarray(cohorts)
    else:
        raise OptionError(f"cohorts are a number, or one label a row; this is {cohorts!r}.")
    if labels.shape != (len(e),):
        raise OptionError(f"there are {len(e)} rows and {labels.size} labels of cohorts.")
    return Cohorts(**{str(name): e[labels == name] for name in np.unique(labels)})


def _leaf_names(e: Any, most: int) -> Any:
    """The conditions on the path of each row through a tree that predicts its values."""
    from sklearn.tree import DecisionTreeRegressor

    tree = DecisionTreeRegressor(max_leaf_nodes=most, random_state=0).fit(e.data, e.values)
    nodes, names = tree.tree_, [str(name) for name in e.feature_names]
    paths = tree.decision_path(e.data).toarray() > 0
    out = []
    for path, row in zip(paths, np.asarray(e.data), strict=True):
        parts = [
            f"{names[nodes.feature[k]]} {'<=' if row[nodes.feature[k]] <= nodes.threshold[k] else '>'} {nodes.threshold[k]:.6g}"
            for k in np.flatnonzero(path)
            if nodes.feature[k] >= 0
        ]
        out.append(" & ".join(parts))
    return np.array(out)
