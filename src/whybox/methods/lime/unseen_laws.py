"""Exact values of cells that the background never has, in tree ensembles: laws that hold such a cell, beside the laws of the rows."""

from __future__ import annotations

from typing import Final, final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.kernels.product_law import PlayerLaw, ProductLaw
from whybox.kernels.value_intervals import interval_index
from whybox.methods.common.columns import Ints

__all__ = ["UnseenLaws"]

MAX_LAWS_KEPT: Final = 16  # of a player, those of the rows included
_Key = tuple[int, object]  # the law of the row, and the class of values that the cell belongs to, or the cell itself


@final
class UnseenLaws:
    """Laws of cells that the background never has. Those of earlier calls are kept with their tables, because such cells come again.

    Args:
        law: the laws of the rows.
    """

    def __init__(self, law: ProductLaw) -> None:
        self.law = law
        self._cells: list[dict[_Key, Floats]] = [{} for _ in law.laws]
        self._laws = list(law.laws)
        self._product = law

    def values(self, matrix: Floats, law_of: Ints, is_unseen: npt.NDArray[np.bool_], *, threads: int) -> Floats:
        """Return the mean with the cell less the mean with cells of the background, for each unseen cell in order of rows, (cells, outputs).

        A derivative does not depend on the masses of its own player, so an even mixture of the two stands there.

        Args:
            matrix: (rows, model columns). law_of: (rows, players), the laws of the rows. is_unseen: (rows, players). threads: rows are shared between them.
        """
        rows, players = np.nonzero(is_unseen)
        chosen, changed = law_of[rows], False
        for i in np.unique(players).tolist():
            here = np.flatnonzero(players == i)
            cells = matrix[rows[here]][:, list(self.law.laws[i].columns)]
            keys = self._keys(i, cells, chosen[here, i])
            changed |= self._add(i, dict(zip(keys, cells, strict=True)))
            position = {key: self.law.laws[i].n_laws + at for at, key in enumerate(self._cells[i])}
            chosen[here, i] = [position[key] for key in keys]
        if changed:
            self._product = ProductLaw(self.law.ensemble, self._laws)
        slopes = self._product.expected_outputs(chosen, threads=threads)[1]
        return np.asarray(slopes[np.arange(len(rows)), players])

    def _keys(self, i: int, cells: Floats, law_of: Ints) -> list[_Key]:
        """What tells cells of a player apart."""
        law = self.law.laws[i]
        if law.edges is None:
            return [(of, cell.tobytes()) for of, cell in zip(law_of.tolist(), cells, strict=True)]
        classes = interval_index(self.law.ensemble, law.columns[0], cells[:, 0])
        return list(zip(law_of.tolist(), classes.tolist(), strict=True))

    def _add(self, i: int, cells: dict[_Key, Floats]) -> bool:
        """Make laws of cells that have none yet; return whether there were any."""
        known, law = self._cells[i], self.law.laws[i]
        if cells.keys() <= known.keys():
            return False
        if law.n_laws + len(known | cells) > MAX_LAWS_KEPT:
            known = {}  # as many as that are not kept from call to call
        self._cells[i] = known | cells
        law_of = np.array([of for of, _ in self._cells[i]], dtype=np.int64)
        self._laws[i] = _with_cells(self.law, law, np.stack(list(self._cells[i].values())), law_of)
        return True


def _with_cells(product: ProductLaw, law: PlayerLaw, cells: Floats, law_of: Ints) -> PlayerLaw:
    """A law for each cell beside the laws that there are."""
    atoms, mass, derivative = law.atoms, law.mass, law.derivative
    if law.edges is not None:
        own = np.zeros((len(cells), mass.shape[1]))
        own[np.arange(len(cells)), interval_index(product.ensemble, law.columns[0], cells[:, 0])] = 1.0
    else:
        assert atoms is not None  # noqa: S101  # one of the two
        added = np.zeros((law.n_laws, len(cells)))
        mass, derivative = np.concatenate([mass, added], axis=1), np.concatenate([derivative, added], axis=1)
        own = np.concatenate([np.zeros((len(cells), len(atoms))), np.eye(len(cells))], axis=1)
        atoms = np.concatenate([atoms, cells])
    other = mass[law_of]
    return PlayerLaw(
        law.columns,
        np.concatenate([mass, 0.5 * (own + other)]),
        np.concatenate([derivative, own - other]),
        law.edges,
        atoms,
    )
