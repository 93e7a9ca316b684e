"""Permutation importance of trees compares every row with the model's own predict, by the outputs that the pairs of rows give anyway."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import whybox as wb
import zoo
from whybox.errors import InputError, ModelMismatchError
from whybox.models.losses import Loss
from whybox.models.registry import as_model


def spoiled(model, row, output):
    """The model as it is read, whose own predict moved by a thousandth in one row and output."""
    read = as_model(model)
    own = read.own_predict

    def predict(table):
        predictions = own.predict(table).copy()
        if len(predictions) > row:
            predictions[row, output] += 1e-3
        return predictions

    return replace(read, own_predict=replace(own, predict=predict))


@pytest.mark.parametrize("loss", ["squared", Loss("cubic", "cubes", lambda y, p: np.abs(y - p) ** 3)])
@pytest.mark.parametrize("output", [0, 1])
def test_the_outputs_of_all_rows_are_compared_with_the_models_own(loss, output):
    """Also the output that the loss does not read, and before spot checks; what is found is the agreement of the evidence."""
    model, rows = zoo.built("DecisionTreeRegressor, several outputs")
    name = as_model(model).outputs.names[0]
    options = {"output": name, "loss": loss, "role": "held-out"}
    e = wb.importance(model, rows, zoo.y(), **options)
    assert 0.0 <= e.evidence.agreement <= 1e-9
    with pytest.raises(ModelMismatchError, match="row 200 of 442 compared"):
        wb.importance(spoiled(model, 200, output), rows, zoo.y(), **options)


def test_rows_that_the_library_refuses_are_refused_before_the_pairs(monkeypatch):
    model, X = zoo.built("RandomForestRegressor")
    read = as_model(model)

    def refuse(table):
        raise RuntimeError("no such rows")

    monkeypatch.setattr("whybox.methods.importance.permutation_of_trees.TreePairs.pair_differences", None)
    with pytest.raises(InputError, match="own predict refuses these rows"):
        wb.importance(replace(read, own_predict=replace(read.own_predict, predict=refuse)), X, zoo.y())
