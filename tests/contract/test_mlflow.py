"""mlflow: pyfunc models evaluated and unwrapped, evaluation with numbers of whybox, an explanation logged with its evidence and read back."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.ensemble import GradientBoostingRegressor

import whybox as wb

mlflow = pytest.importorskip("mlflow")
pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # mlflow's own, and of what it imports
]


@pytest.fixture(scope="module")
def fitted():
    from sklearn.datasets import load_diabetes

    X, y = load_diabetes(return_X_y=True, as_frame=True, scaled=False)
    X = X[["age", "bmi", "bp", "s5"]]
    return GradientBoostingRegressor(n_estimators=10, random_state=0).fit(X, y), X, y


@pytest.fixture
def tracking(tmp_path, monkeypatch):
    """A store of files, which needs no database."""
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.chdir(tmp_path)
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri((tmp_path / "runs").as_uri())
    mlflow.set_experiment("explained")
    yield
    mlflow.set_tracking_uri(before)


def logged(model):
    import mlflow.sklearn

    with mlflow.start_run():
        info = mlflow.sklearn.log_model(
            model, name="model", serialization_format="cloudpickle", pip_requirements=["scikit-learn"]
        )
    return info.model_uri


def test_a_pyfunc_is_evaluated_and_the_model_inside_is_read(fitted, tracking):
    model, X, y = fitted
    pyfunc = mlflow.pyfunc.load_model(logged(model))
    right = wb.explain(model, X[:5], X[:40])
    e = wb.explain(pyfunc, X[:5], X[:40])
    assert e.evidence.method_id == "shap.exact_shap"
    np.testing.assert_allclose(e.values, right.values, atol=1e-10)
    assert wb.effects(pyfunc, X[:40], ["bmi"])["bmi"].values.shape
    assert wb.importance(pyfunc, X[:60], y[:60]).feature_names == tuple(X.columns)
    read = wb.explain(pyfunc.get_raw_model(), X[:5], X[:40])
    assert read.evidence.method_id == "shap.tree_shap"
    np.testing.assert_array_equal(read.values, right.values)


def test_an_explanation_is_logged_with_its_evidence_and_read_back(fitted, tracking, tmp_path):
    model, X, _ = fitted
    e = wb.explain(model, X[:5], X[:40])
    with mlflow.start_run() as run:
        e.save("explanation.whybox")
        wb.report(model, X[:30], "report.html")
        mlflow.log_artifact("explanation.whybox")
        mlflow.log_artifact("report.html")
        mlflow.log_dict(e.evidence.to_dict(), "evidence.json")
        mlflow.log_figure(e[0].plot.waterfall().figure, "waterfall.svg")
        mlflow.log_table(e.to_frame(), "values.json")
    store = tmp_path / "read"
    mlflow.artifacts.download_artifacts(run_id=run.info.run_id, dst_path=str(store))
    again = wb.load(store / "explanation.whybox")
    np.testing.assert_array_equal(again.values, e.values)
    assert json.loads((store / "evidence.json").read_text()) == json.loads(json.dumps(again.evidence.to_dict()))
    assert "<svg" in (store / "waterfall.svg").read_text()
    assert "<html" in (store / "report.html").read_text()


def test_evaluation_takes_numbers_of_whybox(fitted, tracking):
    from mlflow.models import evaluate, make_metric

    model, X, y = fitted
    rows, uri = X[:60], logged(model)

    def reliance(predictions, targets):  # mlflow calls it with one row first, to try it
        found = wb.importance(model, rows, y[:60])
        return mlflow.metrics.MetricValue(
            aggregate_results=dict(zip(found.feature_names, found.values.tolist(), strict=True))
        )

    def explanation(eval_df, builtin_metrics, artifacts_dir):
        e = wb.explain(model, rows, X)
        return {"attributions": e.to_frame(), "evidence": e.evidence.to_dict()}

    with mlflow.start_run() as run:
        result = evaluate(
            uri,
            rows.assign(target=y[:60]),
            targets="target",
            model_type="regressor",
            extra_metrics=[make_metric(eval_fn=reliance, greater_is_better=True, name="importance")],
            custom_artifacts=[explanation],
            evaluator_config={"log_model_explainability": False},
        )
    right = wb.importance(model, rows, y[:60].to_numpy())
    assert result.metrics["importance/bmi"] == pytest.approx(float(right["bmi"]))
    values = wb.explain(model, rows, X).to_frame()
    np.testing.assert_allclose(result.artifacts["attributions"].content["bmi"], values["bmi"])
    assert result.artifacts["evidence"].content["exact"] is True
    names = {a.path for a in mlflow.artifacts.list_artifacts(run_id=run.info.run_id)}
    assert {"attributions.csv", "evidence.json"} <= names
