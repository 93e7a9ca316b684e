"""Expectation of a tree ensemble when its columns are independent, and its derivative for every player: trees under a product law.

Every player has a law: a mass for each class of values that the model treats alike, or for each atom. The specification is in reference.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, final

import numpy as np
import numpy.typing as npt

from whybox.core.progress import timed_batches
from whybox.data.table import Floats
from whybox.errors import InputError, OptionError, UnsupportedModelError
from whybox.kernels import reference
from whybox.kernels.value_intervals import interval_edges
from whybox.models.trees import TreeEnsemble

__all__ = ["PlayerLaw", "expected_outputs"]

Ints = npt.NDArray[np.int64]
MAX_RATIO: Final = 1e290  # of a derivative to its mass: beyond it, products of masses lose the derivative
TOTAL_ROUNDING: Final = 1e-9  # how far masses may add up to something else than one


@final
@dataclass(frozen=True, eq=False)
class PlayerLaw:
    """How the values of one player are distributed, and the derivative of that distribution.

    A player is a numeric column with a mass for each class of values (`edges`), or any columns with a mass for each atom (`atoms`). One of the two is
    given. A player has several laws where its distribution depends on the row; each row takes one of them.

    Attributes:
        columns: the player's model columns.
        mass: (laws, classes) or (laws, atoms), not negative, in each law adding up to one.
        derivative: the same shape, in each law adding up to zero; of any sign, and zero where the mass is zero.
        edges: (classes - 2,) of the column, as :func:`value_intervals.interval_edges` returns them. Class i holds the values above ``edges[i - 1]`` and up
            to ``edges[i]``; the last class but one all values above the last edge; the last one NaN (:func:`value_intervals.interval_index`).
        atoms: (atoms, columns), values in model columns.
    """

    columns: tuple[int, ...]
    mass: Floats
    derivative: Floats
    edges: Floats | None = None
    atoms: Floats | None = None

    @property
    def n_laws(self) -> int:
        """How many laws the player has."""
        return len(self.mass)

    def points(self) -> Floats:
        """Return a value of each class, or the atoms: (points, columns)."""
        if self.atoms is not None:
            return np.ascontiguousarray(self.atoms, dtype=np.float64)
        return np.append(np.asarray(self.edges, dtype=np.float64), [np.inf, np.nan])[:, None]


def expected_outputs(
    e: TreeEnsemble, laws: Sequence[PlayerLaw], law_of: Ints, *, threads: int = 1
) -> tuple[Floats, Floats]:
    """Expectation of the raw outputs when players are independent, and its derivative for each player.

    The expectation is a product of masses in every leaf. Where every mass M of player j changes by t D, its derivative D, the expectation
    changes by t times the derivative that is returned, since it is linear in each player's masses. With ``M = q own + (1 - q) other`` and ``D = own - other``,
    the derivative is the expectation under the player's own law less the expectation under its other law.

    Args:
        e: the model.
        laws: one for each player. Every column that the model reads belongs to one of them.
        law_of: (rows, players), which law of each player each row takes.
        threads: rows are shared between them; the numbers do not depend on it.

    Returns:
        The expectation (rows, outputs), base included, and the derivative (rows, players, outputs).

    Raises:
        UnsupportedModelError: leaves are linear functions, which need means and not only masses.
        OptionError, InputError: the laws are not those of this model, or are no laws; `law_of` is out of range.
    """
    laws = tuple(laws)
    _check_model(e, laws)
    for law in laws:
        _check_law(e, law)
    law_of = _checked_law_of(laws, law_of)
    if threads < 1:
        raise OptionError("threads must be at least 1.")
    expected = np.empty((len(law_of), len(e.base_values)))
    derivative = np.empty((len(law_of), len(laws), len(e.base_values)))
    columns, points = [law.columns for law in laws], [law.points() for law in laws]
    mass, slopes = [law.mass for law in laws], [law.derivative for law in laws]
    for some in timed_batches(len(law_of), description="expected outputs"):
        expected[some], derivative[some] = reference.product_law(e, columns, points, mass, slopes, law_of[some])
    return expected, derivative


def _check_model(e: TreeEnsemble, laws: Sequence[PlayerLaw]) -> None:
    if e.has_linear_leaves:
        raise UnsupportedModelError(
            "this model's leaves are linear functions: their expectation needs means of columns and not only masses. Take a method that samples."
        )
    columns = [c for law in laws for c in law.columns]
    if len(set(columns)) != len(columns):
        raise OptionError("a model column belongs to the laws of two players; give it to one of them.")
    if any(not 0 <= c < e.inputs.width for c in columns):
        raise OptionError(
            f"a law has a column that the model does not have; columns count from 0 to {e.inputs.width - 1}."
        )
    without = np.setdiff1d(e.columns_read, np.array(columns, dtype=np.int64))
    if len(without):
        raise OptionError(f"the model reads column {int(without[0])}, which has no law; give every column a law.")


def _check_law(e: TreeEnsemble, law: PlayerLaw) -> None:
    which = f"the law of columns {list(law.columns)}"
    if (law.edges is None) == (law.atoms is None) or not law.columns:
        raise OptionError(f"{which} needs columns, and either the edges of classes or atoms.")
    if law.edges is not None and (
        len(law.columns) > 1 or not np.array_equal(interval_edges(e, law.columns[0]), law.edges)
    ):
        raise OptionError(
            f"{which} has edges of classes that are not those of the model; take interval_edges of one column."
        )
    if law.atoms is not None and (law.atoms.ndim != 2 or law.atoms.shape[1] != len(law.columns)):
        raise OptionError(f"{which} has atoms of shape {law.atoms.shape}; it must be (atoms, {len(law.columns)}).")
    n_points = len(law.points())
    if (
        law.mass.ndim != 2
        or law.mass.shape[1] != n_points
        or law.derivative.shape != law.mass.shape
        or not law.mass.size
    ):
        raise OptionError(
            f"{which} must have masses and derivatives of shape (laws, {n_points}), and at least one law."
        )
    if not (np.isfinite(law.derivative).all() and (law.mass >= 0).all()):
        raise OptionError(f"{which} has a mass that is negative or not a number, or a derivative that is not finite.")
    size = np.abs(law.derivative)
    if (size > MAX_RATIO * law.mass).any():
        raise OptionError(f"{which} has a derivative where the mass is zero or nearly so; take a wider kernel.")
    totals = np.abs(law.mass.sum(axis=1) - 1), np.abs(law.derivative.sum(axis=1))
    if (totals[0] > TOTAL_ROUNDING).any() or (totals[1] > TOTAL_ROUNDING * (1 + size.sum(axis=1))).any():
        raise OptionError(f"{which} has masses that do not add up to one, or derivatives that do not add up to zero.")


def _checked_law_of(laws: Sequence[PlayerLaw], law_of: Ints) -> Ints:
    law_of = np.ascontiguousarray(law_of, dtype=np.int64)
    if law_of.ndim != 2 or law_of.shape[1] != len(laws):
        raise InputError(f"law_of must be (rows, {len(laws)}), a law of each player.")
    if ((law_of < 0) | (law_of >= np.array([law.n_laws for law in laws], dtype=np.int64))).any():
        raise InputError("law_of names a law that its player does not have.")
    return law_of
