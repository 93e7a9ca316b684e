"""Trees under a product law: against predictions of every combination of values, and the native kernel against the specification."""

from __future__ import annotations

import pickle
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

import zoo
from ensembles import random_ensemble, random_rows
from whybox.data.table import as_table
from whybox.errors import InputError, OptionError, UnsupportedModelError
from whybox.kernels import product_law, reference
from whybox.kernels.compiled_trees import forced_kernel, instruction_sets
from whybox.kernels.predict import raw_outputs
from whybox.kernels.product_law import PlayerLaw, ProductLaw, expected_outputs
from whybox.kernels.value_intervals import interval_edges, interval_index
from whybox.models.trees import TreeEnsemble

EXACT = [c for c in zoo.CASES if c.verdict == "exact"]
CASES = [
    dict(),
    dict(depth=6, trees=2),
    dict(outputs=3),
    dict(outputs=3, vector=True, depth=4),
    dict(depth=0),
    dict(chain=True, depth=9, columns=3),
    dict(columns=1, depth=5),
    dict(spread=1000, columns=2),
]
each_set = pytest.mark.parametrize("name", [s.name for s in instruction_sets()])
SHARES = [(0.5, 0.5), (0.9, 0.1), (1e-13, 1.0), (1.0, 1e-13), (1.0, 1e-200), (1e-200, 1.0)]  # q and 1 - q


class Laws:
    """Laws of each player with an own and an other part, on few of its points."""

    def __init__(self, seed, share=(0.5, 0.5)):
        self.rng = np.random.default_rng(seed)
        self.share = share
        self.players, self.own, self.other, self.points = [], [], [], []

    def add(self, columns, points, laws, *, edges=None, classes=None, n_classes=None):
        """Points are atoms, or values of the column with their classes."""
        own, other = (self.parts(laws, len(points)) for _ in range(2))
        q, rest = self.share
        mass, derivative = q * own + rest * other, own - other
        self.own.append(own)
        self.other.append(other)
        self.points.append(points)
        if edges is None:
            self.players.append(PlayerLaw(columns, mass, derivative, atoms=points))
            return
        tables = np.zeros((2, laws, n_classes))
        for k, c in enumerate(classes):
            tables[0][:, c] += mass[:, k]
            tables[1][:, c] += derivative[:, k]
        self.players.append(PlayerLaw(columns, *tables, edges=edges))

    def parts(self, laws, n):
        """Masses of which some are zero, adding up to one."""
        out = self.rng.random((laws, n)) * (self.rng.random((laws, n)) < 0.7)
        out[:, 0] += 1e-3
        return out / out.sum(axis=1, keepdims=True)

    def add_values(self, e, column, values, laws):
        """A numeric column, by classes of values."""
        edges = interval_edges(e, column)
        classes = interval_index(e, column, values)
        self.add((column,), values[:, None], laws, edges=edges, classes=classes, n_classes=len(edges) + 2)

    def rows(self, n):
        return np.column_stack([self.rng.integers(0, law.n_laws, n) for law in self.players])


def by_enumeration(e, laws, law_of):
    """Expectation, and the difference between expectations under a player's own and other law, from predictions of all combinations."""
    combinations = list(product(*(range(len(p)) for p in laws.points)))
    at = np.array(combinations)
    X = np.zeros((len(at), e.inputs.width))
    for j, law in enumerate(laws.players):
        X[:, list(law.columns)] = laws.points[j][at[:, j]]
    predictions = raw_outputs(e, np.ascontiguousarray(X))
    q, rest = laws.share
    expected, differences = [], []
    for row in law_of:
        parts = [np.array([t[j][k] for t in (laws.own, laws.other)])[:, at[:, j]] for j, k in enumerate(row)]
        masses = [q * own + rest * other for own, other in parts]
        expected.append(np.prod(masses, axis=0) @ predictions)
        differences.append([])
        for j, (own, other) in enumerate(parts):
            others = np.prod([np.ones(len(at)), *masses[:j], *masses[j + 1 :]], axis=0)
            differences[-1].append((own * others) @ predictions - (other * others) @ predictions)
    return np.array(expected), np.array(differences)


def random_laws(e, seed, *, share=(0.5, 0.5), laws=3, points=4):
    """One player a column, and one of two columns where there are enough."""
    out = Laws(seed, share)
    columns = e.inputs.width
    first = 0
    if columns > 2:
        out.add((2, 0), random_rows(seed, points, 2), laws)
        first = 1
    for c in range(first, columns):
        if c == 2:
            continue
        values = random_rows(seed + c, points, 1)[:, 0]
        if c % 2:
            out.add_values(e, c, values, laws)
        else:
            out.add((c,), values[:, None], laws)
    return out


def near(got, want, scale, tolerance=1e-13):
    assert got.shape == want.shape
    assert np.isfinite(got).all()
    assert np.abs(got - want).max() <= tolerance * scale


@pytest.mark.parametrize("case", range(len(CASES)))
@pytest.mark.parametrize("seed", range(3))
def test_against_predictions_of_every_combination(case, seed):
    """Every flag, NaN, category sets, vector leaves, players of two columns, masses that are zero."""
    e = random_ensemble(seed, **CASES[case])
    laws = random_laws(e, seed + 10)
    law_of = laws.rows(5)
    expected, differences = by_enumeration(e, laws, law_of)
    got, slopes = expected_outputs(e, laws.players, law_of)
    scale = np.max(e.rounding_scale)
    near(got, expected, scale)
    near(slopes, differences, scale)
    assert np.abs(differences).max() > 0 or CASES[case].get("depth") == 0


@pytest.mark.parametrize("share", SHARES, ids=str)
def test_a_share_next_to_zero_or_one_costs_no_accuracy(share):
    for seed in range(4):
        e = random_ensemble(seed, depth=5)
        laws = random_laws(e, seed + 20, share=share)
        law_of = laws.rows(4)
        expected, differences = by_enumeration(e, laws, law_of)
        got, slopes = expected_outputs(e, laws.players, law_of)
        near(got, expected, np.max(e.rounding_scale))
        near(slopes, differences, np.max(e.rounding_scale))


@pytest.mark.parametrize("case", EXACT, ids=lambda c: f"{c.library}: {c.name}")
def test_every_kind_of_model(case):
    model = zoo.adapted(case.name)
    if not isinstance(model, TreeEnsemble) or model.has_linear_leaves:
        pytest.skip("no tree ensemble with constant leaves")
    table = model.inputs.align_table(as_table(zoo.built(case.name)[1]))[0]
    X = model.inputs.matrix(table.rows(np.array([3, 77, 120, 200])))
    laws = Laws(len(case.name))
    source = [s[0] if s else -1 for s in model.inputs.source_columns]
    for player in sorted(set(source)):
        columns = tuple(np.flatnonzero(np.array(source) == player).tolist())
        if len(columns) == 1:
            laws.add_values(model, columns[0], np.ascontiguousarray(X[:, columns[0]]), 3)
        else:
            laws.add(columns, np.ascontiguousarray(X[:, list(columns)]), 3)
    law_of = laws.rows(3)
    expected, differences = by_enumeration(model, laws, law_of)
    got, slopes = expected_outputs(model, laws.players, law_of)
    near(got, expected, np.max(model.rounding_scale), 1e-12)
    near(slopes, differences, np.max(model.rounding_scale), 1e-12)


def by_specification(e, laws, law_of):
    tables = ([getattr(law, name) for law in laws] for name in ("columns", "mass", "derivative"))
    columns, mass, derivative = tables
    return reference.product_law(e, columns, [law.points() for law in laws], mass, derivative, law_of)


@each_set
@pytest.mark.parametrize("case", range(len(CASES)))
@pytest.mark.parametrize("n_laws", [1, 4, 5, 8, 9, 16, 17, 40])
def test_native_kernel_equals_the_specification(case, n_laws, name):
    """Tables of 4, 8 and 16 laws, and players with more, alone and beside others that have few."""
    e = random_ensemble(case, **CASES[case])
    laws = random_laws(e, case + 5, laws=n_laws, points=9)
    if n_laws > 16 and len(laws.players) > 1:
        first = laws.players[0]
        laws.players[0] = replace(first, mass=first.mass[:3], derivative=first.derivative[:3])
    law_of = laws.rows(45)
    want = by_specification(e, laws.players, law_of)
    with forced_kernel(instructions=name):
        got = expected_outputs(e, laws.players, law_of)
    scale = np.max(e.rounding_scale)
    near(got[0], want[0], scale, 1e-14)
    near(got[1], want[1], scale * np.max([np.abs(law.derivative).sum(axis=1).max() for law in laws.players]), 1e-14)


@each_set
@pytest.mark.parametrize("n_laws", [3, 7, 40])
def test_numbers_of_a_row_do_not_depend_on_other_rows_nor_on_threads(n_laws, name, monkeypatch):
    e = random_ensemble(6, trees=7, depth=6, columns=4, outputs=2)
    laws = random_laws(e, 3, laws=n_laws, points=12)
    law_of = laws.rows(150)
    with forced_kernel(instructions=name):
        together = expected_outputs(e, laws.players, law_of, threads=3)
        # few laws of a player are in a table; the same rows with laws of their own are not
        single = [
            expected_outputs(e, [only(law, k) for law, k in zip(laws.players, row, strict=True)], 0 * row[None])
            for row in law_of[:20]
        ]
        monkeypatch.setattr(product_law, "MAX_TABLE_BYTES", 1)  # one tree at a time
        kept = ProductLaw(e, laws.players)
        apart = [
            kept.expected_outputs(law_of[some], threads=2) for some in (slice(0, 1), slice(1, 70), slice(70, None))
        ]
    for k in range(2):
        assert np.concatenate([part[k] for part in apart]).tobytes() == together[k].tobytes()
        assert np.concatenate([part[k] for part in single]).tobytes() == together[k][:20].tobytes()


def only(law, k):
    """A player with one of its laws."""
    return replace(law, mass=law.mass[[k]], derivative=law.derivative[[k]])


def test_kept_laws_are_pickled_and_give_the_same_numbers():
    e = random_ensemble(2, depth=5)
    laws = random_laws(e, 4)
    law_of = laws.rows(9)
    kept = ProductLaw(e, laws.players)
    first = kept.expected_outputs(law_of)
    again = pickle.loads(pickle.dumps(kept)).expected_outputs(law_of)
    for k in range(2):
        assert first[k].tobytes() == kept.expected_outputs(law_of)[k].tobytes() == again[k].tobytes()


def test_a_model_without_splits_and_no_rows():
    e = random_ensemble(0, depth=0, trees=2)
    expected, slopes = expected_outputs(e, [], np.zeros((3, 0), dtype=np.int64))
    assert expected.tobytes() == np.repeat(raw_outputs(e, np.zeros((1, 4))), 3, axis=0).tobytes()
    assert slopes.shape == (3, 0, 1)
    laws = random_laws(e, 4)
    assert expected_outputs(e, laws.players, laws.rows(0))[1].shape == (0, 3, 1)


def test_bad_laws_are_refused():
    e = random_ensemble(1, columns=2, depth=4)
    laws = random_laws(e, 2)
    first, second = laws.players
    law_of = np.zeros((1, 2), dtype=np.int64)
    refused = [
        ([first], "no law"),
        ([first, replace(first, mass=first.mass)], "two players"),
        ([first, replace(second, columns=(7,))], "does not have"),
        ([first, replace(second, edges=np.array([12345.0]))], "edges"),
        ([first, replace(second, edges=None)], "either"),
        ([first, replace(second, mass=second.mass[:, 1:])], "shape"),
        ([first, replace(second, mass=second.mass - 1)], "negative"),
        ([first, replace(second, mass=second.mass * 2)], "add up"),
        ([first, replace(second, derivative=second.derivative + np.where(second.mass > 0, 1, 0))], "add up"),
        ([first, replace(second, derivative=second.derivative * np.nan)], "finite"),
        ([replace(first, mass=np.where(np.arange(4) == 0, 1.0, 0.0) + 0 * first.mass), second], "wider kernel"),
        ([replace(first, atoms=np.zeros((4, 2))), second], "atoms"),
    ]
    for wrong, words in refused:
        with pytest.raises(OptionError, match=words):
            expected_outputs(e, wrong, law_of[:, : len(wrong)])
    for wrong_rows in (law_of[:, :1], law_of - 1, law_of + 3):
        with pytest.raises(InputError, match="law"):
            expected_outputs(e, [first, second], wrong_rows)
    with pytest.raises(OptionError, match="threads"):
        expected_outputs(e, [first, second], law_of, threads=0)
    with pytest.raises(UnsupportedModelError, match="linear functions"):
        expected_outputs(random_ensemble(0, linear=True), [], law_of[:, :0])
