"""Groups of features that depend on each other, found from the rows: the players of ``players="auto"``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from whybox.data.table import Floats
from whybox.errors import Argument, InputError
from whybox.methods.common.dependence import dependence
from whybox.methods.common.rows import WeightedRows

__all__ = ["dependence_groups"]

MIN_RATIO: Final = 0.5  # between features of one group
MAX_COLUMNS: Final = 2000  # whose pairs are looked at


def dependence_groups(rows: WeightedRows, tied: Sequence[tuple[int, ...]] = ()) -> tuple[dict[str, list[str]], Floats]:
    """Return groups of columns that depend on each other, and the tree that they are cut from.

    The dependence of two columns is the larger of their two correlation ratios: the share of one's variance, of ranks, classes and missing values, that lies
    between ten ranges of the other, less what chance gives (see `methods/common/dependence.py`). Single linkage joins columns by their largest dependence;
    the tree is cut where that falls below 0.5.

    Args:
        rows: of which those with a positive weight count. tied: positions of columns that a model mixes, which are in one group in any case.

    Returns:
        Name -> columns of each group of two or more, named after its members; and the linkage as ``scipy.cluster.hierarchy`` has it, (columns - 1, 4), with 1 less
        the dependence as distance.

    Raises:
        InputError: too many columns to compare all pairs.
    """
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    kept = (
        rows
        if (rows.weights > 0).all()
        else WeightedRows(rows.table.rows(rows.weights > 0), rows.weights[rows.weights > 0])
    )
    width = kept.table.width
    if width > MAX_COLUMNS:
        raise InputError(
            Argument("players", "auto"),
            f" compares every pair of columns; these rows have {width:,}, and {MAX_COLUMNS:,} are allowed. Name the groups: ",
            Argument("players", example="{...}"), ".",
        )  # fmt: skip
    if width < 2:
        return {}, np.empty((0, 4))
    distances = 1.0 - dependence([kept.feature(p) for p in range(width)])
    np.fill_diagonal(distances, 0.0)
    tree = linkage(squareform(distances, checks=False), method="single")
    group_of = fcluster(tree, 1.0 - MIN_RATIO, criterion="distance")
    for columns in tied:
        group_of[np.isin(group_of, group_of[list(columns)])] = group_of[columns[0]]
    groups = {}
    for group in dict.fromkeys(group_of.tolist()):
        names = [kept.table.names[i] for i in np.flatnonzero(group_of == group)]
        if len(names) > 1:
            groups[" + ".join(names)] = names
    return groups, tree
