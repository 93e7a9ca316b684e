"""Permutation importance against a loop over all pairs of rows that asks the model's own predict, against shuffles, and against the spread over samples."""

import numpy as np
import pytest

import whybox as wb
import zoo
from whybox.api.importance import _problem
from whybox.methods.importance.loss_problem import resolve_loss_problem
from whybox.methods.importance.options import ImportanceOptions
from whybox.models.mixed_rows import mix_cells


def all_pairs(model, X, y, player, **options):
    """The mean over ordered pairs of different rows of the increase of the loss, row by row through the model's own predict."""
    made = resolve_loss_problem(_problem(model, X, y, ImportanceOptions(method="permutation", **options)))
    own, link = made.model.own_predict, made.model.outputs.link
    members = made.players.members[made.players.names.index(player)]

    def losses(table):
        predictions = own.predict(table)
        if own.scale == "raw" and made.selection.scale != "raw":
            predictions = link(predictions)
        return made.losses(made.selection.levels(predictions))

    n, w, table = len(made), made.weights, made.table
    before, total, norm = losses(table), 0.0, 0.0
    for j in range(n):
        taken = np.zeros((n, table.width), dtype=bool)
        taken[:, list(members)] = True
        donors = table.rows(np.full(n, j))
        mixed = mix_cells(table, donors, taken)
        mixed = table.with_columns_from(donors, list(members)) if mixed is None else mixed
        others = w * (np.arange(n) != j)
        total += w[j] * (others @ (losses(mixed) - before))
        norm += w[j] * others.sum()
    return total / norm


def truth_of(model, rows, seed):
    """A truth that has nothing to do with the model: some of its classes, or numbers; None where it has neither."""
    draw = np.random.default_rng(seed)
    from whybox.models.losses import class_labels
    from whybox.models.registry import as_model

    outputs = as_model(model).outputs
    labels = class_labels(outputs)
    if labels is not None:
        return draw.choice(labels, len(rows)), ("log", "brier", "zero_one")
    if len(outputs.names) > 1 or outputs.negative_class is not None:
        return None, ()
    return draw.gamma(2.0, size=len(rows)), ("squared", "absolute", "pinball(0.9)")


@pytest.mark.parametrize("name", [case.name for case in zoo.CASES if case.verdict == "exact"])
def test_of_every_kind_of_tree_model_it_is_the_mean_over_all_pairs(name):
    model, rows = zoo.built(name)
    rows = rows[:14]
    y, losses = truth_of(model, rows, 1)
    if y is None:
        pytest.skip("several outputs, or no probabilities")
    loss = losses[len(name) % 3]
    e = wb.importance(model, rows, y, loss=loss)
    for player in e.feature_names[:: max(1, len(e.feature_names) // 2)]:
        want = all_pairs(model, rows, y, player, loss=loss)
        scale = max(abs(want), float(e.extras["baseline_loss"][1]))
        assert e.evidence.exact
        assert abs(float(e[player]) - want) <= 2e-6 * scale
