"""The library of a model file is asked about rows of an answer in a process of its own: mixed rows, set values, missing ones; its crash is no crash of ours."""

import pickle
from dataclasses import replace

import numpy as np
import pytest

import whybox as wb
from whybox.adapters.files import subprocess_predict
from whybox.adapters.files.load import know_library
from whybox.data.table import as_table
from whybox.kernels import tree_shap
from whybox.models.columns_read import narrow_to_columns_read
from whybox.models.file_library import ask_library
from whybox.models.registry import as_model
from whybox.models.trees import LESS_EQUAL, MISSING_LEFT


def _numbers(seed=0, rows=200):
    draw = np.random.default_rng(seed)
    X = draw.integers(-3, 4, (rows, 4)) / 2.0  # values on thresholds
    y = X[:, 0] * X[:, 1] + X[:, 2] + draw.normal(size=rows) / 10
    X[draw.random(X.shape) < 0.1] = np.nan
    return X, y


def _unverified(path):
    """Read a file whose library is asked about rows of an answer alone, which saves a process."""
    return know_library(path, as_model(path, verify=False))


NAMES = ("x.json", "l.txt", "forest.txt", "cats.json")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """name -> file, table aligned with its model (mixed rows, rows with a column set to a threshold), what the library answers."""
    import catboost
    import lightgbm
    import pandas as pd
    import xgboost

    folder = tmp_path_factory.mktemp("files")
    X, y = _numbers()
    xgboost.XGBRegressor(n_estimators=12, max_depth=3).fit(X, y).save_model(folder / "x.json")
    quiet = {"verbose": -1, "n_estimators": 10, "min_child_samples": 5}
    lightgbm.LGBMRegressor(**quiet).fit(X, y).booster_.save_model(folder / "l.txt")
    forest = {"boosting_type": "rf", "bagging_freq": 1, "bagging_fraction": 0.5}
    lightgbm.LGBMClassifier(**quiet, **forest).fit(X, y > 0).booster_.save_model(folder / "forest.txt")
    frame = pd.DataFrame({"a": X[:, 0], "s": np.where(y > 0, "p", "q"), "b": X[:, 2], "i": np.arange(len(X)) % 4})
    model = catboost.CatBoostRegressor(iterations=10, depth=3, verbose=0, cat_features=["s", "i"]).fit(frame, y)
    pool = catboost.Pool(frame, cat_features=["s", "i"])
    model.save_model(folder / "cats.json", format="json", pool=pool)
    mixed = np.where(np.random.default_rng(1).random(X.shape) < 0.5, X, X[::-1])
    mixed_frame = frame.assign(s=frame["s"].to_numpy()[::-1], i=2)
    asked = {}
    for name in NAMES:
        model = _unverified(folder / name)
        rows = mixed_frame.copy() if name == "cats.json" else mixed.copy()
        thresholds = model.threshold[(model.left >= 0) & (model.feature == 0)]
        if name == "cats.json":
            rows["a"] = np.where(np.arange(len(rows)) < 40, thresholds[0], rows["a"])
        else:
            rows[:40, 0] = np.resize(thresholds, 40)
        table = model.inputs.align_table(as_table(rows))[0]
        asked[name] = folder / name, model, table, ask_library(model, table)
    return asked


def _ours(model, table):
    raw = tree_shap.predict(model, model.inputs.matrix(table))
    return raw if model.file_library.own_predict.scale == "raw" else model.outputs.link(raw)


@pytest.mark.parametrize("name", NAMES)
def test_the_library_answers_about_mixed_rows_once(files, name):
    _, model, table, answer = files[name]
    assert answer.predictions.shape == (len(table), 1)
    assert np.abs(answer.predictions - _ours(model, table)).max() < 1e-5
    assert answer.call_name.startswith("by asking ")
    assert answer.call_name.endswith(" in a process of its own")
    for copy in (model, narrow_to_columns_read(model), replace(model), pickle.loads(pickle.dumps(model))):
        later = ask_library(copy, table)
        assert later.predictions is None
        assert "earlier answer" in later.call_name


@pytest.mark.parametrize("fault", ["a leaf", "< for <=", "NaN the other way"])
@pytest.mark.parametrize("name", NAMES)
def test_a_fault_of_the_reading_differs_from_the_library(files, name, fault):
    _, model, table, answer = files[name]
    if fault == "a leaf":
        values = model.leaf_values.copy()
        values[::10] += 0.01 * (1 + np.abs(values[::10]))
        wrong = replace(model, leaf_values=values)
    else:
        flags = model.flags.copy()
        flags[(model.left >= 0) & (model.feature == 0)] ^= LESS_EQUAL if fault == "< for <=" else MISSING_LEFT
        wrong = replace(model, flags=flags)
    assert np.abs(answer.predictions - _ours(wrong, table)).max() > 1e-4


def test_a_library_that_is_not_installed_is_said(files, monkeypatch):
    path, _, table, _ = files["x.json"]
    monkeypatch.setattr("whybox.adapters.files.subprocess_predict.find_spec", lambda name: None)
    model = as_model(path)
    answer = ask_library(model, table)
    assert answer.predictions is None
    assert answer.call_name == "xgboost is not installed"


@pytest.mark.parametrize("name", NAMES)
def test_without_verification_no_library_is_started(files, name, monkeypatch):
    path, _, table, _ = files[name]
    monkeypatch.setattr(subprocess_predict, "_run_program", lambda *arguments, **options: pytest.fail("started"))
    model = as_model(path, verify=False)
    answer = ask_library(model, table)
    assert answer.predictions is None
    assert "is not asked without verification of the file" in answer.call_name
    e = wb.explain(model, table.rows(np.arange(8)).native)
    assert "without verification of the file" in " ".join(e.evidence.notes)


@pytest.mark.parametrize("loads", ["", "import xgboost\n"])  # a process that is started; in tests, one that is forked
@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("import os; os.abort()", "crashed"),
        ("raise ValueError('no such thing')", "no such thing"),
        ("import time; time.sleep(60)", "did not finish"),
    ],
)
def test_a_crash_of_the_library_is_a_reason_and_no_error(files, monkeypatch, program, reason, loads):
    path, _, table, _ = files["x.json"]
    model = _unverified(path)
    monkeypatch.setitem(subprocess_predict._PROGRAM_TEXTS, "xgboost", loads + program)
    monkeypatch.setattr("whybox.adapters.files.library_predict.MAX_SECONDS", 0.5 if "sleep" in program else 60)
    answer = ask_library(model, table)
    assert answer.predictions is None
    assert reason in answer.call_name


def test_a_file_that_changed_is_not_asked(files, tmp_path):
    path, _, table, _ = files["x.json"]
    copy = tmp_path / "x.json"
    copy.write_bytes(path.read_bytes())
    model = _unverified(copy)
    copy.write_bytes(path.read_bytes() + b" ")
    answer = ask_library(model, table)
    assert answer.predictions is None
    assert "has changed since it was read" in answer.call_name


def test_wide_rows_are_asked_by_the_columns_that_are_read(tmp_path):
    import xgboost

    draw = np.random.default_rng(0)
    X = draw.normal(size=(60, 2100))
    xgboost.XGBRegressor(n_estimators=5, max_depth=2).fit(X, X[:, 1500] * X[:, 3]).save_model(tmp_path / "wide.json")
    model = _unverified(tmp_path / "wide.json")
    table = model.inputs.align_table(as_table(X))[0]
    assert np.abs(ask_library(model, table).predictions - _ours(model, table)).max() < 1e-5


def test_live_models_have_no_library_of_a_file():
    from sklearn.tree import DecisionTreeRegressor

    X, y = _numbers()
    model = as_model(DecisionTreeRegressor(max_depth=2).fit(np.nan_to_num(X), y))
    assert ask_library(model, as_table(X)) is None
