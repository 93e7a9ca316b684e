"""``wb.concat``: explanations of different rows as one, or refused."""

import dataclasses

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

import whybox as wb
import zoo
from whybox.errors import OptionError
from whybox.explainers import TreeShap

X = pd.DataFrame(load_iris().data, columns=list("abcd"), index=[f"flower {i}" for i in range(150)])
Y = load_iris().target
MODEL = RandomForestClassifier(6, random_state=0).fit(X, Y)


def same(one, other, rtol=0.0):
    assert one.dims == other.dims
    assert one.units == other.units
    assert one.kind == other.kind
    for name in ("values", "base", "prediction", "std_error"):
        a, b = getattr(one, name), getattr(other, name)
        assert (a is None) == (b is None)
        assert a is None or np.allclose(a, b, rtol=rtol, atol=rtol, equal_nan=True), name
    for dim in other.coords:
        assert one.coords[dim].tolist() == other.coords[dim].tolist(), dim
    assert dict(one.players) == dict(other.players)
    assert one.extras.keys() == other.extras.keys()
    for name, (dims, array) in other.extras.items():
        assert one.extras[name][0] == dims
        assert np.array_equal(one.extras[name][1], array)


@pytest.mark.parametrize("options", [{}, {"order": 2}, {"output": 1}, {"order": 2, "sparse": True}], ids=str)
@pytest.mark.parametrize("library", ["pandas", "numpy"])
def test_batches_are_the_whole(options, library):
    rows = X if library == "pandas" else X.to_numpy()
    model = MODEL if library == "pandas" else RandomForestClassifier(6, random_state=0).fit(rows, Y)
    explain = TreeShap(model, **options)
    parts = [explain(rows[i : i + 40]) for i in range(0, 150, 40)]
    whole = explain(rows)
    joined = wb.concat(parts)
    same(joined, whole, 1e-12)  # few rows may take another kernel than many
    assert joined.evidence.rows == 150
    assert joined.evidence.seconds == sum(p.evidence.seconds for p in parts)
    assert joined.evidence.residual == max(p.evidence.residual for p in parts)
    assert np.array_equal(np.asarray(joined.data), np.asarray(whole.data))
    same(wb.concat(p for p in parts), joined)
    assert wb.concat(parts[0]).shape == parts[0].shape


def test_the_joined_one_does_all_that_explanations_do(tmp_path):
    explain = TreeShap(MODEL, output=0)
    joined = wb.concat([explain(X[:10]), explain(X[10:25])])
    assert joined.sel(row="flower 12").prediction == explain(X[12:13]).prediction[0]
    assert joined.to_frame().index.tolist() == X.index[:25].tolist()
    joined.save(tmp_path / "e.whybox")
    same(wb.load(tmp_path / "e.whybox"), joined)
    joined.plot.beeswarm()


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow", "numpy"])
def test_saved_parts_join_with_each_other_and_with_fresh_ones(library, tmp_path):
    rows = X if library == "pandas" else pl.DataFrame(X) if library == "polars" else pa.table(dict(X))
    rows = X.to_numpy() if library == "numpy" else rows
    parts = [wb.explain(MODEL, rows[a : a + 20] if library != "pyarrow" else rows.slice(a, 20)) for a in (0, 20)]
    for i, part in enumerate(parts):
        part.save(tmp_path / f"{i}.whybox")
    first, second = (wb.load(tmp_path / f"{i}.whybox") for i in range(2))
    fresh = wb.concat(parts)
    for joined in (wb.concat([first, second]), *([] if library == "numpy" else [wb.concat([first, parts[1]])])):
        same(joined, fresh)
        assert joined.data.names == fresh.data.names or library == "numpy"
        assert list(joined.data[25].values()) == list(fresh.data[25].values())
        assert joined.to_frame().shape[0] == 40


def test_parts_of_one_explanation_count_once_and_keep_their_order():
    e = wb.explain(MODEL, X)
    back = wb.concat([e[100:], e[:100]])
    assert back.coords["row"].tolist() == [*X.index[100:], *X.index[:100]]
    assert back.evidence == e.evidence
    assert np.array_equal(back.values[50:], e.values[:100])
    same(wb.concat([e[:100], e[100:]]), e)
    array = wb.explain(RandomForestRegressor(2).fit(X.to_numpy(), Y), X.to_numpy())
    same(wb.concat([array[:60], array[60:]]), array)
    assert wb.concat([array[[5]], array[[2]]]).coords["row"].tolist() == [5, 2]


def test_maps_of_networks():
    net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3)).eval()
    rows = X.to_numpy(np.float32)
    for method in ("gradient", "integrated_gradients"):
        parts = [wb.saliency(net, rows[i : i + 5], 1, method) for i in (0, 5)]
        joined = wb.concat(parts)
        assert joined.shape == (10, 4)
        assert np.array_equal(joined.values[5:], parts[1].values)
        assert joined.evidence.passes["forward"] == sum(p.evidence.passes["forward"] for p in parts)
        assert joined.coords["row"].tolist() == list(range(10))
    for name in ("base", "converged", "completeness_error"):
        assert joined.extras[name][1].shape == (10,)
    assert joined.base_values.shape == (10,)
    mixed = wb.saliency(net, rows[:5], 1, "integrated_gradients", baseline=1.0)
    with pytest.raises(OptionError, match="estimand differs"):
        wb.concat([joined, mixed])


OTHER = RandomForestClassifier(6, random_state=1).fit(X, Y)
E = wb.explain(MODEL, X[:10])


@pytest.mark.parametrize(
    ("others", "says"),
    [
        (list, "nothing to join"),
        (lambda: [E, wb.explain(OTHER, X[10:20])], "base differs"),
        (lambda: [E, wb.explain(MODEL, X[10:20], order=2)], "kind differ"),
        (lambda: [E, wb.explain(MODEL, X[10:20], output=1)], "axes differ"),
        (lambda: [E[..., "0"], wb.explain(MODEL, X[10:20], output=1)], "axis 'output' differ"),
        (lambda: [E, wb.explain(MODEL, X[10:20], X[::10])], "base differs"),
        (lambda: [E, wb.explain(MODEL, X[10:20], index="banzhaf")], "index differs"),
        (lambda: [E, wb.explain(MODEL, X[10:20], players={"ab": ["a", "b"]})], "players differ"),
        (lambda: [E, wb.explain(MODEL, X[10:20])[:, ["b", "a", "c", "d"]]], "axis 'feature' differ"),
        (lambda: [E, E[3]], "keep it with a list or slice"),
        (lambda: [E, dataclasses.replace(E, data=None)], "rows' own values differ"),
        (lambda: [E, dataclasses.replace(E, std_error=np.ones(E.shape))], "standard errors differ"),
        (lambda: [wb.importance(MODEL, X)], "taken over all rows together"),
        (lambda: [wb.interactions(MODEL, X[:20])], "taken over all rows together"),
        (lambda: [wb.effects(MODEL, X[:20], "a", "ice")["a"]], "taken over all rows together"),
        (lambda: [wb.effects(MODEL, X[:20], "a")], "pass all rows to wb.effects"),
        (lambda: [E, 3], "this is int"),
        (lambda: wb.effects(MODEL, X[:20], "a"), "this is Effects. Effects are taken over all rows together"),
    ],
)
def test_what_does_not_belong_together_is_refused(others, says):
    with pytest.raises(OptionError, match=says):
        wb.concat(others())


def test_a_mistake_is_named_briefly():
    rows = zoo.X()
    explain = wb.explainers.TreeShap(zoo.built("RandomForestRegressor")[0])
    with pytest.raises(OptionError, match=r"^rows of pandas and of numpy cannot be joined; use one kind of table"):
        wb.concat([explain(rows[:3]), explain(rows[3:6].to_numpy())])
    with pytest.raises(OptionError, match=r"^concat joins a list of explanations; this is NoneType"):
        wb.concat(None)
