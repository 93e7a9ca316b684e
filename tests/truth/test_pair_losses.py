"""Losses of all pairs of rows, added up natively, against the same losses of whole curves."""

from __future__ import annotations

import numpy as np
import pytest

from ensembles import ensemble, random_ensemble, random_rows, random_tree
from whybox.errors import OptionError
from whybox.kernels import compiled_trees, effects, pair_losses
from whybox.kernels.pair_losses import LOSS_KINDS, PairRows, RowLoss
from whybox.models.links import Link
from whybox.models.losses import as_loss
from whybox.models.trees import LESS_EQUAL, MISSING_LEFT

CASES = [
    dict(),
    dict(depth=6, trees=2, columns=5),
    dict(depth=0),
    dict(chain=True, depth=9, columns=3),
    dict(columns=1),
    dict(depth=9, trees=2, columns=6),
]
LINKS = {"identity": "identity", "logistic": "sigmoid", "exp": "exp", "softmax": "softmax"}
EVERY_LOSS = [
    *((kind, link, 1) for kind in LOSS_KINDS[:6] for link in ("identity", "logistic", "exp")),
    ("poisson", "exp", 1),
    *((kind, link, outputs) for kind in LOSS_KINDS[3:6] for link in ("identity", "softmax") for outputs in (2, 3)),
]
POSSIBLE = [one for one in EVERY_LOSS if not (one[0] in LOSS_KINDS[3:6] and one[1] == "exp")]
each_set = pytest.mark.parametrize("name", [s.name for s in compiled_trees.instruction_sets()])


def some_players(columns):
    """One player a column, and one of two columns where there are enough."""
    return [(c,) for c in range(columns)] if columns < 4 else [(2, 0), *((c,) for c in range(3, columns))]


def problem_of(e, rows, kind, outputs, seed, *, single=False):
    """Rows that are the points of every player too, some of them twice, and what belongs to them."""
    rng = np.random.default_rng(seed)
    X = random_rows(seed + 1, rows, e.inputs.width)
    X[1] = X[0]
    groups = [(c,) for c in range(e.inputs.width)] if single else some_players(e.inputs.width)
    levels = [effects.PlayerPoints(g, np.ascontiguousarray(X[:, list(g)])) for g in groups]
    truth = rng.integers(0, max(outputs, 2), rows) if kind in LOSS_KINDS[3:6] else rng.gamma(2.0, size=rows)
    weights, point_weights = rng.random((2, rows)) * (rng.random((2, rows)) < 0.8)
    watched = np.column_stack([rng.integers(0, n, 40) for n in (rows, len(levels), rows)])
    own = np.repeat(np.arange(rows, dtype=np.int32)[:, None], len(levels), axis=1)
    return X, levels, PairRows(truth.astype(np.float64), weights, own, [point_weights] * len(levels), watched)


def by_curves(e, levels, X, loss, rows):
    """Whole curves, and the losses of models/losses.py."""
    link = Link(LINKS[loss.link], loss.scale)
    kind = f"pinball({loss.level})" if loss.kind == "pinball" else loss.kind
    function, of_classes = as_loss(kind).function, loss.kind in LOSS_KINDS[3:6]
    n, out = len(X), []
    for player in levels:
        raw = effects.individual_curves(e, player, X)[..., loss.first_output : loss.first_output + loss.outputs]
        predictions = link(raw).reshape(-1, loss.outputs)
        truth = np.repeat(rows.truth, n)
        if not of_classes:
            losses = function(truth, predictions[:, 0])
        elif loss.outputs == 1:
            losses = function(truth.astype(int), np.column_stack([1 - predictions, predictions]))
        else:
            losses = function(truth.astype(int), predictions)
        losses = losses.reshape(n, n)
        out.append((raw, losses - np.diag(losses)[:, None]))
    return out


def check(e, X, levels, rows, loss, **options):
    got = pair_losses.pair_losses(e, effects.NativeGrid(e, levels), X, loss, rows, **options)
    every = by_curves(e, levels, X, loss, rows)
    # the log of a probability near 0, found as one less a probability, is known less well than its logit
    tolerance = 1e-9 if loss.kind == "log" and loss.outputs == 1 else 1e-11
    for j, (_, differences) in enumerate(every):
        scale = tolerance * (1 + np.abs(differences).max()) * len(X)
        assert np.abs(got.of_row[:, j] - differences @ rows.point_weights[j]).max() <= scale
        assert np.abs(got.at_points[j] - rows.weights @ differences).max() <= scale
    for k, (row, player, point) in enumerate(rows.watched.tolist()):
        raw, differences = every[player]
        assert np.abs(got.watched_outputs[k] - raw[row, point]).max() <= 1e-13 * bool(options.get("at_changes"))
        assert abs(got.watched_differences[k] - differences[row, point]) <= tolerance * (1 + np.abs(differences).max())
        if point == row:
            assert got.watched_differences[k] == 0.0
    return got


@each_set
@pytest.mark.parametrize("one", POSSIBLE, ids=lambda one: "-".join(map(str, one)))
def test_every_loss_behind_every_link(one, name, monkeypatch):
    monkeypatch.setattr(pair_losses, "fastest_instructions", lambda: name)
    kind, link, outputs = one
    e = random_ensemble(3, depth=4, outputs=outputs)
    X, levels, rows = problem_of(e, 27, kind, outputs, 5)
    check(e, X, levels, rows, RowLoss(kind, link, 1.7 if link != "identity" else 1.0, 0.3, outputs=outputs))


@each_set
@pytest.mark.parametrize("case", range(len(CASES)))
def test_every_way_through_trees(case, name, monkeypatch):
    """Missing values, categories, players of two columns, one leaf, one column."""
    monkeypatch.setattr(pair_losses, "fastest_instructions", lambda: name)
    for seed in range(2):
        e = random_ensemble(seed, **CASES[case])
        for n in (1, 21):
            X, levels, rows = problem_of(e, max(n, 2), "squared", 1, seed)
            check(e, X, levels, rows, RowLoss("squared"))


def numeric_ensemble(seed, columns=4, depth=4, outputs=1, vector=False):
    """Trees whose splits compare a column with a threshold, missing values to either side, so that paths can be followed in lists."""
    rng = np.random.default_rng(seed)
    width = outputs if vector else 1
    output = dict if vector else (lambda: {"output": int(rng.integers(outputs))})
    flags = (LESS_EQUAL, MISSING_LEFT, 0)
    return ensemble(
        [random_tree(rng, columns, depth, width, categorical=False, flags=f, **output()) for f in flags],
        columns,
        outputs,
    )


@each_set
@pytest.mark.parametrize("one", POSSIBLE, ids=lambda one: "-".join(map(str, one)))
def test_losses_only_where_curves_change(one, name, monkeypatch):
    monkeypatch.setattr(pair_losses, "fastest_instructions", lambda: name)
    kind, link, outputs = one
    e = numeric_ensemble(3, depth=4, outputs=outputs)
    X, levels, rows = problem_of(e, 83, kind, outputs, 5, single=True)
    loss = RowLoss(kind, link, 1.7 if link != "identity" else 1.0, 0.3, outputs=outputs)
    check(e, X, levels, rows, loss, at_changes=True)


@pytest.mark.parametrize(
    "case", [dict(depth=9, columns=6), dict(depth=0), dict(columns=1, depth=7), dict(outputs=3, vector=True)]
)
def test_changes_of_every_shape_of_tree(case):
    e = numeric_ensemble(1, **case)
    first = 2 if "outputs" in case else 0
    for n in (2, 70):
        X, levels, rows = problem_of(e, n, "squared", 1, 8, single=True)
        check(e, X, levels, rows, RowLoss("squared", first_output=first), at_changes=True)


def test_splits_that_no_list_follows_are_refused():
    e = next(
        e
        for e in map(random_ensemble, range(20))
        if not effects.NativeGrid(e, problem_of(e, 5, "squared", 1, 0)[1]).native.has_path_lists()
    )
    X, levels, rows = problem_of(e, 5, "squared", 1, 0)
    with pytest.raises(ValueError, match="no list of paths"):
        pair_losses.pair_losses(e, effects.NativeGrid(e, levels), X, RowLoss("squared"), rows, at_changes=True)


@pytest.mark.parametrize("first", [0, 2])
def test_one_output_of_several(first):
    e = random_ensemble(1, outputs=3)
    X, levels, rows = problem_of(e, 19, "absolute", 1, 2)
    check(e, X, levels, rows, RowLoss("absolute", first_output=first))


@pytest.mark.parametrize("at_changes", [False, True])
def test_threads_change_no_bit(at_changes, monkeypatch):
    monkeypatch.setattr(pair_losses, "CHUNK_ROWS", 16)
    e = numeric_ensemble(4, depth=5)
    X, levels, rows = problem_of(e, 70, "squared", 1, 3, single=True)
    options = {"at_changes": at_changes}
    one, three = (check(e, X, levels, rows, RowLoss("squared"), threads=threads, **options) for threads in (1, 3))
    assert one.of_row.tobytes() == three.of_row.tobytes()
    assert [a.tobytes() for a in one.at_points] == [a.tobytes() for a in three.at_points]


def test_probabilities_of_0_and_1_lose_what_the_clip_says():
    """Behind the logistic link, far beyond where a probability is 0 or 1 in float64."""
    e = random_ensemble(3, depth=3)
    X, levels, rows = problem_of(e, 20, "log", 1, 5)
    got = pair_losses.pair_losses(e, effects.NativeGrid(e, levels), X, RowLoss("log", "logistic", scale=1e4), rows)
    largest = -np.log(np.finfo(np.float64).eps)
    differences = got.watched_differences[got.watched_differences != 0.0]
    assert len(differences)
    assert np.isin(np.round(differences / largest, 9), [-1.0, 0.0, 1.0]).mean() > 0.5
    assert (np.abs(differences) <= largest).all()


def test_what_cannot_be_is_refused():
    e = random_ensemble(0)
    X, levels, rows = problem_of(e, 5, "squared", 1, 0)
    grid = effects.NativeGrid(e, levels)
    for loss in (RowLoss("poisson"), RowLoss("cubed"), RowLoss("squared", "cauchit")):
        with pytest.raises(OptionError, match="loss"):
            pair_losses.pair_losses(e, grid, X, loss, rows)
    with pytest.raises(OptionError, match="threads"):
        pair_losses.pair_losses(e, grid, X, RowLoss("squared"), rows, threads=0)
    with pytest.raises(ValueError, match="no such loss"):
        pair_losses.pair_losses(e, grid, X, RowLoss("squared", first_output=1), rows)
