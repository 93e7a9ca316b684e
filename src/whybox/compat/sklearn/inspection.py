"""The names of ``sklearn.inspection``, and ``plot_partial_dependence`` as it was before scikit-learn 1.2, answered by whybox.

Partial dependence and ICE are those of the rows given, to rounding; permutation importance is that of rounds in which every row gets the value of another one.
docs/from_sklearn.md says what is honoured, what is refused and what differs on purpose.
"""

from __future__ import annotations

from typing import Final

from whybox.compat.refused import refused_class
from whybox.compat.sklearn.dependence import partial_dependence
from whybox.compat.sklearn.dependence_display import PartialDependenceDisplay, plot_partial_dependence
from whybox.compat.sklearn.importance import permutation_importance

__all__ = [
    "DecisionBoundaryDisplay",
    "PartialDependenceDisplay",
    "partial_dependence",
    "permutation_importance",
    "plot_partial_dependence",
]

DecisionBoundaryDisplay: Final = refused_class(
    "DecisionBoundaryDisplay",
    "a boundary explains nothing about a model of more than two columns. Import it from sklearn.inspection, or call wb.effects(model, X, [(0, 1)]) for the mean "
    "prediction over two columns, and its .plot().",
)
