"""Networks that skorch trains: evaluated through its predict, mapped through the module that it holds."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import whybox as wb
from whybox.errors import UnsupportedModelError

torch = pytest.importorskip("torch")
skorch = pytest.importorskip("skorch")

NAMES = ["mean radius", "mean texture", "worst area", "worst concavity"]


class Net(torch.nn.Module):
    def __init__(self, outputs=2, softmax=True):
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Dropout(0.2), torch.nn.Linear(8, outputs)
        )
        self.softmax = softmax

    def forward(self, X):
        out = self.layers(X)
        return out.softmax(dim=-1) if self.softmax else out


def as_float32(rows):
    return np.asarray(rows, dtype=np.float32)


@pytest.fixture(scope="module")
def data():
    from sklearn.datasets import load_breast_cancer

    X, y = load_breast_cancer(return_X_y=True, as_frame=True)
    return X[NAMES], y.to_numpy()


@pytest.fixture(scope="module")
def pipeline(data):
    """Frames in, float32 inside: how a network is given a table with names."""
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, StandardScaler

    torch.manual_seed(0)
    net = skorch.NeuralNetClassifier(Net, max_epochs=3, lr=0.05, verbose=0)
    return make_pipeline(StandardScaler(), FunctionTransformer(as_float32), net).fit(*data)


def test_a_classifier_answers_with_its_probabilities_by_the_names_of_the_frame(data, pipeline):
    X, y = data
    e = wb.explain(pipeline, X[:5], X[:40])
    assert e.feature_names == tuple(NAMES)
    assert e.units == "probability"
    np.testing.assert_allclose(e.prediction, pipeline.predict_proba(X[:5])[:, 1], atol=1e-7)
    np.testing.assert_allclose(e.base, pipeline.predict_proba(X[:40])[:, 1].mean(), atol=1e-7)
    curve = wb.effects(pipeline, X[:30], ["worst area"])["worst area"]
    changed = X[:30].assign(**{"worst area": curve.grid[1]})
    np.testing.assert_allclose(curve.values[1], pipeline.predict_proba(changed)[:, 1].mean(), atol=1e-7)
    assert wb.importance(pipeline, X[:60], y[:60]).feature_names == tuple(NAMES)
    assert wb.lime(pipeline, X[:1], X[:60]).feature_names


KINDS = {
    "logits": lambda: skorch.NeuralNetClassifier(
        Net, module__softmax=False, criterion=torch.nn.CrossEntropyLoss, max_epochs=2, verbose=0
    ),
    "one output": lambda: skorch.NeuralNetBinaryClassifier(
        Net, module__outputs=1, module__softmax=False, max_epochs=2, verbose=0
    ),
    "regression": lambda: skorch.NeuralNetRegressor(
        Net, module__outputs=1, module__softmax=False, max_epochs=2, verbose=0
    ),
}


@pytest.mark.parametrize("name", KINDS)
def test_arrays_of_float32_go_in_as_they_are(data, name):
    X, y = as_float32((data[0] - data[0].mean()) / data[0].std()), data[1]
    truth = {"logits": y, "one output": y.astype(np.float32), "regression": as_float32(y)[:, None]}[name]
    torch.manual_seed(0)
    net = KINDS[name]().fit(X, truth)
    e = wb.explain(net, X[:5], X[:40])
    expected = net.predict(X[:5])[:, 0] if name == "regression" else net.predict_proba(X[:5])[:, 1]
    np.testing.assert_allclose(e.prediction, expected, atol=1e-7)


def test_maps_are_of_the_module_inside(data, pipeline):
    X = as_float32(pipeline[:-1].transform(data[0][:4]))
    net = pipeline[-1]
    with pytest.raises(UnsupportedModelError, match=r"net\.module_\.eval\(\)"):
        wb.saliency(net, X)
    e = wb.saliency(net.module_.eval(), X, target=1)
    inputs = torch.tensor(X, requires_grad=True)
    net.module_(inputs)[:, 1].sum().backward()
    np.testing.assert_allclose(e.values, inputs.grad.numpy(), rtol=1e-5, atol=1e-7)


def test_explainers_are_copied_with_the_network(data, pipeline):
    X = data[0]
    explainer = wb.explainers.ExactShap(pipeline, X[:20])
    for again in (copy.deepcopy(explainer), pickle.loads(pickle.dumps(explainer))):
        np.testing.assert_array_equal(again(X[:3]).values, explainer(X[:3]).values)
