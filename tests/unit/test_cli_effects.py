from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

import whybox as wb
import zoo
from whybox.cli.main import main


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("cli")
    model, rows = zoo.built("LGBMRegressor, regression")
    model.booster_.save_model(path / "model.txt")
    rows.assign(w=np.linspace(1, 2, len(rows))).to_parquet(path / "rows.parquet")
    return path


def run(folder, *arguments):
    return main([a.replace("@", f"{folder}/") if a.startswith("@") else a for a in arguments])


def test_effects_are_written_with_their_evidence(folder, capsys):
    assert run(folder, "effects", "@model.txt", "@rows.parquet", "-o", "@out.parquet") == 0
    said = capsys.readouterr().out
    assert "Partial dependence of 5 features over 442 rows" in said
    assert "interventional" in said
    table = pd.read_parquet(folder / "out.parquet")
    model, rows = zoo.built("LGBMRegressor, regression")
    ours = wb.effects(model, rows)
    assert np.allclose(table["effect"], np.concatenate([e.values for e in ours.values()]))
    assert {"feature", "value", "level", "std_error", "off_data"} <= set(table)
    meta = json.loads(pq.read_metadata(folder / "out.parquet").metadata[b"whybox"])
    assert set(meta["evidence"]) == set(zoo.COLUMNS)


def test_features_pairs_kinds_and_weights(folder):
    arguments = ("--feature", "bmi,s5", "--feature", "bmi", "--kind", "ale", "--grid", "6", "--sample-weight", "w")
    assert run(folder, "effects", "@model.txt", "@rows.parquet", "-o", "@out.csv", *arguments) == 0
    table = pd.read_csv(folder / "out.csv")
    assert set(table["feature_2"].dropna()) == {"s5"}
    model, rows = zoo.built("LGBMRegressor, regression")
    ours = wb.effects(model, rows, "bmi", "ale", grid=6, sample_weight=np.linspace(1, 2, len(rows)))["bmi"]
    assert np.allclose(table[table["feature_2"].isna()]["effect"], ours.values)
    assert run(folder, "effects", "@model.txt", "@rows.parquet", "-o", "@out.parquet", "--grid", "thresholds") == 0


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--kind", "pdb"), 2),
        (("--feature", "bmy"), 2),
        (("--sample-weight", "v"), 2),
        (("--grid", "1"), 2),
        (("--grid", "many"), 2),
    ],
)
def test_wrong_usage_has_its_code_and_writes_nothing(folder, capsys, arguments, code):
    assert run(folder, "effects", "@model.txt", "@rows.parquet", "-o", "@no.parquet", *arguments) == code
    assert capsys.readouterr().err.startswith("whybox: ")
    assert not (folder / "no.parquet").exists()


def test_what_it_costs_to_ask_a_model_is_said_before(folder, capsys):
    import joblib
    from sklearn.decomposition import PCA
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.pipeline import make_pipeline

    model = make_pipeline(PCA(2), RandomForestRegressor(5, random_state=0)).fit(zoo.X(), zoo.y())
    joblib.dump(model, folder / "mixed.joblib")
    arguments = ("@mixed.joblib", "@rows.parquet", "--no-verify", "--trust-pickle", "--feature", "bmi", "--grid", "5")
    assert run(folder, "effects", *arguments, "-o", "@mixed.csv") == 0
    said = capsys.readouterr().err
    plan = wb.plan(wb.effects, model, zoo.X(), "bmi", grid=5)
    assert f"whybox: {plan.predictions:,} predictions of the model, about " in said
    assert run(folder, "plan", "effects", *arguments) == 0
    assert f"{plan.predictions:,} predictions" in capsys.readouterr().out


def test_a_trusted_pickle_that_is_not_read_is_evaluated(tmp_path, capsys):
    import joblib
    from sklearn.linear_model import RidgeClassifier
    from sklearn.svm import SVR

    X = zoo.X()[["bmi", "bp"]][:60]
    for model in (SVR().fit(X, X["bmi"] * X["bp"]), RidgeClassifier().fit(X, X["bmi"] > 0)):
        joblib.dump(model, tmp_path / "model.joblib")
        X.assign(w=np.linspace(1, 2, len(X))).to_parquet(tmp_path / "rows.parquet")
        command = ("effects", "@model.joblib", "@rows.parquet", "-o", "@out.csv", "--sample-weight", "w")
        assert run(tmp_path, *command) == 4  # pickles run code: only when trusted
        assert run(tmp_path, *command, "--trust-pickle") == 0
        assert "not read" in capsys.readouterr().out
        ours = wb.effects(model, X, sample_weight=np.linspace(1, 2, len(X)))
        table = pd.read_csv(tmp_path / "out.csv")
        assert np.allclose(table["effect"], np.concatenate([e.values for e in ours.values()]))
        assert run(tmp_path, "plan", *command[:3], "--trust-pickle") == 0
    joblib.dump({"no": "model"}, tmp_path / "model.joblib")
    assert run(tmp_path, *command, "--trust-pickle") == 4


def test_threads_change_nothing(folder):
    for jobs in ("1", "2"):
        name = f"@jobs{jobs}.csv"
        assert run(folder, "effects", "@model.txt", "@rows.parquet", "--no-verify", "-o", name, "--n-jobs", jobs) == 0
    assert (folder / "jobs1.csv").read_bytes() == (folder / "jobs2.csv").read_bytes()
    assert run(folder, "effects", "@model.txt", "@rows.parquet", "--no-verify", "-o", "@no.csv", "--n-jobs", "0") == 2
