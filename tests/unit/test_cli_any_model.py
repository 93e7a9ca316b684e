"""`whybox explain` and its plan, of estimators that are not read."""

from __future__ import annotations

import joblib
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.svm import SVR

import whybox as wb
from whybox.cli.main import main

RNG = np.random.default_rng(0)
TABLE = pd.DataFrame(
    {"age": RNG.integers(18, 80, 60), "city": RNG.choice(["A", "B", "C"], 60), "size": RNG.normal(size=60)}
)
MODEL = make_pipeline(make_column_transformer((OneHotEncoder(), ["city"]), remainder="passthrough"), SVR()).fit(
    TABLE, TABLE["age"] * (TABLE["city"] == "A")
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("any")
    joblib.dump(MODEL, folder / "svr.joblib")
    TABLE[:5].assign(customer=list("abcde")).to_csv(folder / "rows.csv", index=False)
    TABLE[20:40].to_csv(folder / "background.csv", index=False)
    return folder


def run(folder, *more, command=("explain",), background=True):
    given = ["--background", str(folder / "background.csv")] if background else []
    return main([*command, str(folder / "svr.joblib"), str(folder / "rows.csv"), "--trust-pickle", *given, *more])


def test_attributions_of_a_pickled_estimator(folder, capsys):
    out = folder / "out.parquet"
    assert run(folder, "-o", str(out), "--id", "customer", "--seed", "3", "--tol", "0.01") == 0
    got = pq.read_table(out).to_pandas()
    expected = wb.explain(MODEL, TABLE[:5], TABLE[20:40])
    assert got["customer"].tolist() == list("abcde")
    np.testing.assert_allclose(got[list(TABLE)].to_numpy(), expected.values, atol=1e-9)
    np.testing.assert_allclose(got["base_value"], expected.base)
    assert "5 rows x 3 features" in capsys.readouterr().out


def test_interactions_with_their_errors(folder, capsys):
    out = folder / "pairs.parquet"
    more = ("--order", "2", "--errors", "--method", "sampled_shap", "--max-evals", "400")
    assert run(folder, "-o", str(out), *more) == 0
    got = pq.read_table(out).to_pandas()
    expected = wb.explain(MODEL, TABLE[:5], TABLE[20:40], "sampled_shap", order=2, max_evals=400)
    np.testing.assert_allclose(got["interaction"], expected.values.reshape(-1), atol=1e-9)
    np.testing.assert_allclose(got["std_error"], expected.std_error.reshape(-1), atol=1e-9)
    assert (got["std_error"] > 0).any()
    assert "median standard error" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "says", "code"),
    [
        (("--l1-reg", "3"), "no feature is left out of an estimate", 2),
        (("--max-evals", "20"), "more than --max-evals 20. Raise it", 2),
        (("--method", "tree_shap"), "SVR with kernel='rbf' is not a linear function", 4),
        (("--method", "kernel_shap"), "--method kernel_shap is not known here; write --method sampled_shap", 2),
        (("--method", "kernle"), "--method kernle is not known", 2),
        (("--sparse",), "does not take 'sparse'", 2),
        (("--tol", "7"), "--tol 7", 2),
    ],
)
def test_what_is_refused_is_named_as_it_is_typed(folder, capsys, more, says, code):
    assert run(folder, "-o", str(folder / "none.csv"), "--id", "customer", *more) == code
    assert says in capsys.readouterr().err
    assert not (folder / "none.csv").exists()


def test_without_a_background_the_message_says_to_pass_one(folder, capsys):
    assert (
        run(folder, "-o", str(folder / "none.csv"), "--id", "customer", background=False) == 4
    )  # the model is not read
    assert "absent features take, --background FILE" in capsys.readouterr().err


def test_a_plan_of_rows_and_of_their_number(folder, capsys):
    assert run(folder, command=("plan", "explain")) == 0
    of_rows = capsys.readouterr().out
    assert of_rows.startswith("ExactShap: 5 rows; exact")
    assert "all coalitions" in of_rows
    background = ["--background", str(folder / "background.csv")]
    assert main(["plan", "explain", str(folder / "svr.joblib"), "5", "--trust-pickle", *background]) == 0
    of_number = capsys.readouterr().out
    assert next(line for line in of_number.splitlines() if "calls" in line) == next(
        line for line in of_rows.splitlines() if "calls" in line
    )


# the loss of each row


@pytest.fixture(scope="module")
def with_truth(folder):
    truth = (TABLE["age"] > 40).map({True: "old", False: "young"})
    numbers = LogisticRegression().fit(TABLE[["age", "size"]], truth)
    joblib.dump(numbers, folder / "classes.joblib")
    rows = TABLE[["age", "size"]].assign(kind=truth)
    rows[:5].assign(customer=list("abcde")).to_csv(folder / "truth.csv", index=False)
    rows[20:40].to_csv(folder / "truth_background.csv", index=False)
    return numbers, TABLE[["age", "size"]], truth.to_numpy()


def run_loss(folder, *more, command=("explain",), rows="truth.csv"):
    given = ["--background", str(folder / "truth_background.csv")]
    return main([*command, str(folder / "classes.joblib"), str(folder / rows), "--trust-pickle", *given, *more])


def test_the_loss_of_each_row(folder, with_truth, capsys):
    model, rows, truth = with_truth
    out = folder / "loss.parquet"
    assert run_loss(folder, "-o", str(out), "--id", "customer", "--loss", "log", "--target", "kind") == 0
    got = pq.read_table(out).to_pandas()
    expected = wb.explain(model, rows[:5], rows[20:40], loss="log", y=truth[:5])
    assert list(got) == ["customer", "age", "size", "base_value", "prediction"]
    np.testing.assert_allclose(got[["age", "size"]].to_numpy(), expected.values, atol=1e-9)
    np.testing.assert_allclose(got["base_value"], expected.base_values)
    np.testing.assert_allclose(got["prediction"], expected.prediction)
    said = capsys.readouterr().out
    assert "5 rows x 2 features, in log loss, nats" in said
    assert "Attributions add up to the loss within" in said


def test_the_plan_of_a_loss(folder, with_truth, capsys):
    plan = ("plan", "explain")
    assert run_loss(folder, "--loss", "log", "--target", "kind", "--id", "customer", "-o", "x.csv", command=plan) == 2
    capsys.readouterr()
    assert run_loss(folder, "--loss", "log", "--target", "kind", command=plan, rows="truth_background.csv") == 0
    assert "ExactShap: 20 rows" in capsys.readouterr().out
    number = [*plan, str(folder / "classes.joblib"), "1000", "--trust-pickle", "--loss", "log"]
    number += ["--background", str(folder / "truth_background.csv")]
    assert main(number) == 0
    assert "1,000 rows" in capsys.readouterr().out
    assert main([*number, "--target", "kind"]) == 2
    assert "only their number is given" in capsys.readouterr().err
    del with_truth


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--loss", "log"), "compares predictions with the truth: pass --target"),
        (("--target", "kind"), "is used where its loss is explained: pass --loss"),
        (("--loss", "log", "--target", "kinds"), "is not a column of"),
        (("--loss", "log", "--target", "age"), "is a column that the model reads"),
        (("--loss", "logg", "--target", "kind"), "Did you mean 'log'"),
        (("--loss", "squared", "--target", "kind"), "is of numbers; this model predicts probabilities of classes"),
        (("--loss", "log", "--target", "kind", "--method", "partition_shap"), "does not take 'loss'"),
    ],
)
def test_refused_losses(folder, with_truth, capsys, more, says):
    assert run_loss(folder, "-o", str(folder / "no.csv"), *more) == 2
    assert says in " ".join(capsys.readouterr().err.split())
    assert not (folder / "no.csv").exists()
    del with_truth
