from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier, RandomForestRegressor

import whybox as wb
from whybox.cli.main import main
from whybox.errors import OptionError
from whybox.kernels import compiled_trees


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(300, 7)), columns=list("abcdefg"))
    return X, (X.a * X.b + X.c * X.d + X.e > 0).to_numpy() + (X.f > 1).to_numpy()


MODELS = {
    "shallow": GradientBoostingClassifier(n_estimators=8, max_depth=2, random_state=0),
    "deep, several classes": RandomForestClassifier(n_estimators=5, random_state=0),
    "stumps: no pairs at all": GradientBoostingClassifier(n_estimators=8, max_depth=1, random_state=0),
}


def check(model, X, background=None, **options):
    """The terms are the matrices, each pair's two halves together; what is left out of them is zero."""
    matrices = wb.explain(model, X, background, order=2, **options)
    terms = wb.explain(model, X, background, order=2, sparse=True, **options)
    names = matrices.feature_names
    d = len(names)
    assert terms.kind == "attribution"
    assert terms.feature_names[:d] == names
    rest = matrices.values.copy()
    np.testing.assert_allclose(terms.values[:, :d], rest[:, range(d), range(d)], rtol=0, atol=1e-12)
    rest[:, range(d), range(d)] = 0
    for at, name in enumerate(terms.feature_names[d:], start=d):
        i, j = (names.index(n) for n in name.split(" \N{MULTIPLICATION SIGN} "))
        np.testing.assert_allclose(terms.values[:, at], 2 * rest[:, i, j], rtol=0, atol=1e-12)
        rest[:, i, j] = rest[:, j, i] = 0
        assert terms.players[name] == terms.players[names[i]] + terms.players[names[j]]
    assert not rest.any()
    np.testing.assert_allclose(terms.base + terms.values.sum(axis=1), terms.prediction, rtol=0, atol=1e-9)
    return terms


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("interventional", [False, True])
def test_terms_are_the_matrices_without_their_zeros(data, kind, interventional):
    X, y = data
    model = MODELS[kind].fit(X, y)
    terms = check(model, X[:20], X[50:60] if interventional else None)
    assert (len(terms.feature_names) == 7) == (kind == "stumps: no pairs at all")


@pytest.mark.parametrize("kernel", ["pattern tables", "lane walk", "pair walk"])
def test_every_kernel_gives_them(data, kernel):
    X, y = data
    with compiled_trees.forced_kernel(kernel=kernel):
        check(
            MODELS["shallow"].fit(X, y), X[:10], X[50:60] if kernel == "pair walk" else None, players={"ab": ["a", "b"]}
        )


def test_one_class_of_several(data):
    X, y = data
    check(MODELS["deep, several classes"].fit(X, y), X[:5], output=1)


def test_terms_take_less_memory_than_matrices():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 400))
    model = RandomForestRegressor(2, max_depth=3, random_state=0).fit(X, X[:, 0] * X[:, 1])
    terms = wb.explain(model, X, order=2, sparse=True)
    assert 400 < terms.shape[1] < 450


@pytest.mark.parametrize(
    "options", [{"sparse": "yes"}, {"order": 2, "sparse": 1}, {"order": 2, "sparse": True, "scale": "probability"}]
)
def test_sparse_is_refused_where_it_says_nothing(data, options):
    X, y = data
    model = GradientBoostingClassifier(n_estimators=3, max_depth=2, random_state=0).fit(X, y > 0)
    with pytest.raises(OptionError, match="sparse"):
        wb.explain(model, X[:3], X[:5], **options)


def test_a_column_called_as_a_pair(data):
    X, y = data
    X = X.rename(columns={"g": "a \N{MULTIPLICATION SIGN} b"})
    model = RandomForestClassifier(5, random_state=0).fit(X, y)
    with pytest.raises(OptionError, match="rename"):
        wb.explain(model, X[:3], order=2, sparse=True)


def test_on_the_command_line(data, tmp_path):
    xgboost = pytest.importorskip("xgboost")
    X, y = data
    xgboost.XGBRegressor(n_estimators=5, max_depth=3).fit(X, y).save_model(tmp_path / "model.json")
    X.to_parquet(tmp_path / "rows.parquet")
    asked = [
        "explain",
        str(tmp_path / "model.json"),
        str(tmp_path / "rows.parquet"),
        "-o",
        str(tmp_path / "out.parquet"),
    ]
    assert main([*asked, "--order", "2", "--sparse", "--n-jobs", "1", "--dtype", "float64", "--no-verify"]) == 0
    written = pd.read_parquet(tmp_path / "out.parquet")
    assert "a \N{MULTIPLICATION SIGN} b" in written.columns
    assert len(written) == len(X)
    assert main([*asked, "--sparse", "--no-verify"]) == 0
    assert "prediction" in pd.read_parquet(tmp_path / "out.parquet").columns


def test_pictures_tell_terms_of_long_names_apart(data):
    import matplotlib.pyplot as plt

    X, y = data
    X = X.rename(columns={c: f"a rather long column name, the one called {c}" for c in X.columns})
    terms = wb.explain(MODELS["shallow"].fit(X, y > 0), X[:5], order=2, sparse=True)
    ax = terms[0].plot.waterfall(max_display=30)
    labels = [text.get_text().replace("\n", " ").split(" = ")[0] for text in ax.get_yticklabels()]
    assert len(set(labels)) == len(labels) > 7
    for label in labels:
        assert all(half.endswith(tuple("abcdefg")) for half in label.split(" \N{MULTIPLICATION SIGN} "))
    plt.close("all")


@pytest.mark.parametrize(
    "options", [{"order": 2}, {"order": 2, "sparse": True}, {"order": 2, "output": 1}, {"output": 1}]
)
def test_all_rows_of_a_call_go_through_the_compiled_trees_together(monkeypatch, options):
    """Trees that are too large to be kept are compiled again each time: for 32 rows at a time, that was nearly all of a call."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 5))
    model = RandomForestClassifier(3, random_state=0).fit(X, (X[:, 0] * X[:, 1] > 0) + 1 * (X[:, 2] > 0))
    together, add_values = [], compiled_trees.CompiledTrees.add_values

    def counted(self, rows, out, **given):
        together.append(len(rows))
        return add_values(self, rows, out, **given)

    monkeypatch.setattr(compiled_trees.CompiledTrees, "add_values", counted)
    wb.explain(model, X, **options)
    assert 300 in together
    assert 32 not in together  # what a batch begins with
