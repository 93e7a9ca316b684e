"""Anchors of rows with offsets: each rule is that of a function that has the row's offset inside, which draws the same rows."""

from __future__ import annotations

import pickle

import lightgbm
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import xgboost
from scipy.special import expit, softmax
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression

import whybox as wb
from whybox.cli.main import main
from whybox.errors import InputError, ModelMismatchError, NonFiniteError, OptionError, UnsupportedModelError
from whybox.explainers import Anchors
from whybox.methods.anchors.evaluate import DrawEvaluator
from whybox.models.registry import as_model

RNG = np.random.default_rng(0)
X = pd.DataFrame(RNG.normal(size=(300, 4)), columns=list("abcd"))
OFFSET, THREE = RNG.normal(size=300), RNG.normal(size=(300, 3))
OFFSET[4] = OFFSET[1]  # rows of equal offsets
YES = (X["a"] + X["b"] * X["c"] + OFFSET > 0).astype(int)
KIND = np.digitize(X["a"] + RNG.normal(size=300), [-0.5, 0.5])
SMALL = {"n_estimators": 20, "max_depth": 3}
TWO = xgboost.XGBClassifier(base_score=0.3, **SMALL).fit(X, YES, base_margin=OFFSET)
SEVERAL = xgboost.XGBClassifier(n_estimators=5, max_depth=2).fit(X, KIND, base_margin=THREE)
LEAVES = lightgbm.LGBMClassifier(n_estimators=15, verbose=-1).fit(X, YES, init_score=OFFSET)
LINEAR = LogisticRegression().fit(X, YES)
ROWS, SOME = X[:6], OFFSET[:6]
CASES = {
    "two classes": (TWO, OFFSET, lambda t, o: TWO.predict_proba(t, base_margin=np.full(len(t), o))),
    "three classes": (SEVERAL, THREE, lambda t, o: SEVERAL.predict_proba(t, base_margin=np.tile(o, (len(t), 1)))),
    "lightgbm": (LEAVES, OFFSET, lambda t, o: expit(LEAVES.predict(t, raw_score=True) + o)),
    "linear": (LINEAR, OFFSET, lambda t, o: expit(LINEAR.decision_function(t) + o)),
}  # fmt: skip


def as_classes(shares):
    return shares if shares.ndim == 2 else np.column_stack([1 - shares, shares])


@pytest.mark.parametrize("case", CASES)
def test_each_rule_is_that_of_the_model_with_the_offset(case):
    model, offset, own = CASES[case]
    options = {"precision": 0.85, "seed": 3}
    e = wb.anchors(model, ROWS, X, offset=offset[:6], **options)
    plain = wb.anchors(model, ROWS, X, **options)
    assert list(e.extras["rule"][1]) != list(plain.extras["rule"][1])  # offsets do count
    for i in range(6):
        predict = lambda t, i=i: as_classes(own(t, offset[i]))
        one = wb.anchors(predict, ROWS[i : i + 1], X, **options)
        for name in ("rule", "precision", "precision_interval", "coverage", "certified", "draws", "step"):
            np.testing.assert_array_equal(e.extras[name][1][i], one.extras[name][1][0])
        assert e.extras["label"][1][i] == str(predict(ROWS[i : i + 1]).argmax())
        np.testing.assert_allclose(e.prediction[i], predict(ROWS[i : i + 1]).max(), atol=1e-6)
    assert e.evidence.spot_checks.numbers > 0
    assert e.evidence.settings["offset_inside_link"] == model_word(model)
    np.testing.assert_array_equal(e.extras["offset"][1], offset[:6])


def model_word(model):
    rule = as_model(model).offset_rule
    return "offset" if rule is None else rule.name


def test_a_class_that_is_asked_for():
    e = wb.anchors(SEVERAL, ROWS[:3], X, offset=THREE[:3], output=2, precision=0.85)
    for i in range(3):
        predict = lambda t, i=i: SEVERAL.predict_proba(t, base_margin=np.tile(THREE[i], (len(t), 1)))
        one = wb.anchors(predict, ROWS[i : i + 1], X, output=2, precision=0.85)
        assert e.extras["rule"][1][i] == one.extras["rule"][1][0]
        is_it = softmax(np.log(predict(ROWS[i : i + 1])), axis=1).argmax() == 2
        assert e.extras["label"][1][i] == ("2" if is_it else "not 2")


def test_the_shared_sample_is_evaluated_once(monkeypatch):
    made = []
    own = DrawEvaluator.outputs

    def counted(self, sources, *, what):
        made.append((what, len(sources)))
        return own(self, sources, what=what)

    monkeypatch.setattr(DrawEvaluator, "outputs", counted)
    explain = Anchors(TWO, X, precision=0.85)
    explain(ROWS, offset=SOME)
    explain(ROWS, offset=SOME + 1)
    assert [count for what, count in made if "shared" in what] == [explain.pool_draws]


def test_given_kept_and_planned(tmp_path):
    options = {"precision": 0.85}
    e = wb.anchors(TWO, ROWS, X, offset=SOME, **options)
    with_column = X.assign(o=OFFSET)[["a", "o", "b", "c", "d"]]
    same = wb.anchors(TWO, with_column[:6], with_column, offset="o", **options)
    assert list(same.extras["rule"][1]) == list(e.extras["rule"][1])
    explain = Anchors(TWO, X, **options)
    parts = [explain(ROWS[:2], offset=SOME[:2]), explain(ROWS[2:], offset=SOME[2:])]
    joined = wb.concat(parts)
    assert list(joined.extras["rule"][1]) == list(e.extras["rule"][1])
    np.testing.assert_array_equal(joined.extras["offset"][1], SOME)
    again = pickle.loads(pickle.dumps(explain))(ROWS, offset=SOME)
    assert list(again.extras["rule"][1]) == list(e.extras["rule"][1])
    e.save(tmp_path / "kept.whybox")
    np.testing.assert_array_equal(wb.load(tmp_path / "kept.whybox").extras["offset"][1], SOME)
    data = xgboost.DMatrix(ROWS, base_margin=SOME)
    np.testing.assert_allclose(wb.anchors(TWO, data, X, **options).prediction, e.prediction, atol=1e-6)
    plan = wb.plan(wb.anchors, TWO, ROWS, X, offset=SOME, **options)
    assert plan.model_calls >= e.evidence.model_calls
    assert "predictions of single rows" in str(plan)


def test_a_wrong_base_score_is_found():
    from dataclasses import replace

    read = as_model(TWO)
    wrong = replace(read, offset_rule=replace(read.offset_rule, replaced=np.zeros(1)))
    with pytest.raises(ModelMismatchError, match=r"row \d+ with its offset"):
        wb.anchors(wrong, ROWS, X, offset=SOME)


@pytest.mark.parametrize(
    ("model", "offset", "error", "says"),
    [
        (TWO, SOME[:3], InputError, r"offset has the shape \(3,\) for 6 rows"),
        (TWO, [np.inf, *SOME[1:]], NonFiniteError, "missing or infinite for 1 row, the first being row 0"),
        (TWO, "a", OptionError, "offset='a' is a column that the model reads"),
        (TWO, pd.Series(SOME, index=ROWS.index)[::-1], InputError, "row labels of X in another order"),
        (lambda t: (t["a"] > 0).astype(int), SOME, UnsupportedModelError, "Write the offset into the function"),
        (RandomForestClassifier(3).fit(X, YES), SOME, UnsupportedModelError, "its trees give probabilities"),
    ],
)
def test_refused(model, offset, error, says):
    with pytest.raises(error, match=says):
        wb.anchors(model, ROWS, X, offset=offset)


def test_the_command(tmp_path, capsys):
    TWO.save_model(tmp_path / "model.ubj")
    X.assign(o=OFFSET).to_csv(tmp_path / "rows.csv", index=False)
    X.to_csv(tmp_path / "train.csv", index=False)

    def run(*more, command=("anchors",)):
        files = [str(tmp_path / name) for name in ("model.ubj", "rows.csv")]
        given = ["--background", str(tmp_path / "train.csv"), "--rows", "4,1", "--precision", "0.85"]
        return main([*command, *files, *given, *more, "--no-verify"])

    assert run("--offset", "o", "-o", str(tmp_path / "out.parquet")) == 0
    got = pq.read_table(tmp_path / "out.parquet").to_pandas()
    expected = wb.anchors(TWO, X.iloc[[4, 1]], X, offset=OFFSET[[4, 1]], precision=0.85)
    assert list(dict.fromkeys(got["rule"])) == list(dict.fromkeys(expected.extras["rule"][1]))
    assert "has the offset of that row" in capsys.readouterr().out
    assert run("--offset", "o", command=("plan", "anchors")) == 0
    assert run("--offset", "a") != 0
    assert "is a column that the model reads" in capsys.readouterr().err
