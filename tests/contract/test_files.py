"""Model files: the same numbers as the live model, and damaged ones refused without harm."""

from __future__ import annotations

import gzip
import json
import pickle

import joblib
import numpy as np
import pandas as pd
import pytest

import whybox as wb
import zoo
from damage import damaged, library_says, reshaped
from whybox.adapters import adapt as load_model_file
from whybox.errors import ModelFileError, UnknownFieldError, UnsupportedModelError, UntrustedPickleError, WhyboxError
from whybox.kernels import tree_shap
from whybox.models.linear import Linear

FILES = {"XGBoost": ("json", "ubj"), "LightGBM": ("txt",), "CatBoost": ("json", "cbm")}
CASES = [(c, e) for c in zoo.CASES if c.verdict == "exact" for e in FILES.get(c.library, ())]


def write(case, path):
    model, rows = zoo.built(case.name)
    if case.library == "CatBoost":
        model.save_model(str(path), format=path.suffix[1:])
    else:
        getattr(model, "booster_", model).save_model(path)
    return model, rows


@pytest.mark.parametrize(
    ("case", "ending"),
    [c for c in CASES if c[1] != "cbm"],
    ids=lambda v: v if isinstance(v, str) else f"{v.library}: {v.name}",
)
def test_a_file_gives_the_same_numbers_as_the_live_model(case, ending, tmp_path):
    model, rows = write(case, tmp_path / f"model.{ending}")
    background = rows[40:50] if case.no_path else None
    if case.name.startswith("XGBClassifier, gblinear"):
        with pytest.raises(UnsupportedModelError, match="versions of XGBoost disagree"):
            load_model_file(tmp_path / f"model.{ending}", verify=False)
        return
    adapted = load_model_file(tmp_path / f"model.{ending}", verify=False)
    live = wb.explain(model, rows[:20], background, spot_checks=0)
    filed = wb.explain(adapted, rows[:20], background)
    if "missing=0" in case.name:
        return  # `missing` belongs to the estimator; the file does not know it
    assert filed.shape == live.shape
    assert np.abs(filed.values - live.values).max() <= 1e-12 * max(1, np.abs(live.values).max())
    assert np.abs(filed.base - live.base).max() <= 1e-12 * max(1, np.abs(live.base).max())


# one of each library, whose processes are started as for a user and not forked
STARTED = ("XGBClassifier, early stopping", "LGBMRegressor, random forest", "CatBoostClassifier, MultiClass")


@pytest.mark.parametrize(
    "name",
    [
        "XGBClassifier, early stopping",
        "LGBMRegressor, random forest",
        "CatBoostRegressor, categories, one-hot",
        "XGBRegressor, gblinear",
        "CatBoostClassifier, MultiClass",
    ],
)
def test_files_are_verified_by_their_library_in_another_process(name, tmp_path, library_answers, request):
    library_answers.clear()
    if name in STARTED:
        request.getfixturevalue("started_processes")
    case = next(c for c in zoo.CASES if c.name == name)
    for ending in FILES[case.library]:
        _, rows = write(case, tmp_path / f"model.{ending}")
        got = wb.explain(str(tmp_path / f"model.{ending}"), rows[:5], rows[40:50])
        assert "in a process of its own" in got.evidence.verdict["against"]
        assert got.evidence.verdict["rows"] > 100


def test_early_stopping_in_files(tmp_path):
    case = next(c for c in zoo.CASES if c.name == "XGBClassifier, early stopping")
    model, rows = case.build()  # of its own, since it is changed below
    model.save_model(tmp_path / "model.json")
    adapted = load_model_file(tmp_path / "model.json")
    assert adapted.rounds_used == (model.best_iteration + 1, model.get_booster().num_boosted_rounds())
    assert np.allclose(wb.explain(adapted, rows[:9]).prediction, model.predict(rows[:9], output_margin=True), atol=1e-6)
    model.get_booster().set_attr(scikit_learn=None)
    model.get_booster().save_model(tmp_path / "booster.json")
    bare = load_model_file(tmp_path / "booster.json")
    assert bare.rounds_used is None
    assert "best_iteration" in bare.notes[0]


def test_cbm_needs_catboost(tmp_path, monkeypatch):
    zoo.built("CatBoostRegressor, RMSE")[0].save_model(str(tmp_path / "m.cbm"))
    monkeypatch.setattr("whybox.adapters.files.subprocess_predict.find_spec", lambda name: None)
    with pytest.raises(wb.errors.MissingDependencyError, match=r"pip install 'whybox\[catboost\]'"):
        load_model_file(tmp_path / "m.cbm")


def test_without_the_library_the_evidence_says_so(tmp_path, monkeypatch):
    model, rows = zoo.built("XGBRegressor, reg:squarederror")
    model.save_model(tmp_path / "m.json")
    monkeypatch.setattr("whybox.adapters.files.subprocess_predict.find_spec", lambda name: None)
    evidence = wb.explain(tmp_path / "m.json", rows[:3]).evidence
    assert "read without its library" in evidence.verdict["against"]
    assert evidence.residual_against == "our reading of the model file"


def test_pickles_are_refused_until_trusted(tmp_path):
    model, rows = zoo.built("RandomForestRegressor")
    joblib.dump(model, tmp_path / "a.joblib")
    joblib.dump(model, tmp_path / "b.joblib", compress=3)
    (tmp_path / "c.pkl").write_bytes(pickle.dumps(model))
    (tmp_path / "d.model").write_bytes(gzip.compress(pickle.dumps(model)))
    for path in sorted(tmp_path.iterdir()):
        with pytest.raises(UntrustedPickleError, match="runs whatever code"):
            wb.explain(path, rows[:2])
    for path in [*sorted(tmp_path.glob("*.*b")), tmp_path / "c.pkl"]:
        assert np.array_equal(
            wb.explain(load_model_file(path, trust_pickle=True), rows[:2]).values, wb.explain(model, rows[:2]).values
        )
    (tmp_path / "evil.pkl").write_bytes(pickle.dumps(_RemoteCode()))
    with pytest.raises(UntrustedPickleError, match="_RemoteCode|system"):
        load_model_file(tmp_path / "evil.pkl")
    assert not (tmp_path / "ran").exists()


class _RemoteCode:
    def __reduce__(self):
        import os

        return os.system, ("touch ran",)


@pytest.mark.parametrize(
    "name",
    [
        "RandomForestClassifier, 3 classes, sample weights",
        "HistGradientBoostingRegressor, categories by dtype",
        "Pipeline, one-hot and ordinal",
        "GradientBoostingClassifier, exponential",
        "IsolationForest",
    ],
)
def test_skops(name, tmp_path):
    from skops import io

    model, rows = zoo.built(name)
    io.dump(model, tmp_path / "m.skops")
    assert np.array_equal(wb.explain(tmp_path / "m.skops", rows[:4]).values, wb.explain(model, rows[:4]).values)
    data = (tmp_path / "m.skops").read_bytes()
    (tmp_path / "cut.skops").write_bytes(data[: len(data) // 2])
    with pytest.raises(ModelFileError):
        load_model_file(tmp_path / "cut.skops")


def test_skops_with_foreign_types(tmp_path):
    from skops import io

    io.dump(zoo.built("XGBRegressor, reg:squarederror")[0], tmp_path / "m.skops")
    with pytest.raises(ModelFileError, match="allow-list.*xgboost"):
        load_model_file(tmp_path / "m.skops")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"hello", "none of the model files"),
        (b"{}", "neither an XGBoost nor a CatBoost"),
        (b"[1, 2]", "none of the model files"),
        (b'{"learner": 3', "not valid JSON"),
        (b'{"learner": {}, "version": [3, 0, 0]}', "missing"),
        (b'{"learner": {}, "version": [9, 0, 0]}', "saved by XGBoost 9.0.0"),
        (b"tree\nversion=v9\n\nend of trees\n", "format is 'v9'"),
        (b"tree\n", "truncated"),
        (b'{"a":' * 5000, "nested|not valid"),
        (b"{L" + b"\x00" * 7 + b"\xff", "ends inside"),
        (b'{"tree_info": [], "feature_names": []}', "dump_model"),
        (b"binf\0\0", "old binary"),
        (b'{"learner": 1, "learner": 2, "version": [3]}', "twice"),
        (b"CBM1junk", "CatBoost itself refuses|crashed"),
    ],
)
def test_what_is_not_a_model_file(tmp_path, content, words):
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match=words):
        load_model_file(path)
    with pytest.raises(ModelFileError, match="is not a file"):
        load_model_file(tmp_path)


def test_fields_from_the_future_are_errors(tmp_path):
    model, _ = zoo.built("XGBRegressor, reg:squarederror")
    model.save_model(tmp_path / "m.json")
    good = json.loads((tmp_path / "m.json").read_text())
    for change in ("learner", "tree", "objective", "booster"):
        doc = json.loads(json.dumps(good))
        learner = doc["learner"]
        if change == "learner":
            learner["monotone_link"] = 1
        elif change == "tree":
            learner["gradient_booster"]["model"]["trees"][0]["split_bias"] = [0]
        elif change == "objective":
            learner["objective"]["name"] = "reg:newloss"
        else:
            learner["gradient_booster"]["name"] = "gbforest"
        (tmp_path / "m.json").write_text(json.dumps(doc))
        with pytest.raises(UnknownFieldError):
            load_model_file(tmp_path / "m.json")
    zoo.built("LGBMRegressor, regression")[0].booster_.save_model(tmp_path / "m.txt")
    text = (tmp_path / "m.txt").read_text().replace("\nobjective=regression", "\nleaf_noise=1\nobjective=regression")
    (tmp_path / "m.txt").write_text(text)
    with pytest.raises(UnknownFieldError, match="leaf_noise"):
        load_model_file(tmp_path / "m.txt")


def test_what_follows_the_trees_of_lightgbm_is_known_or_an_error(tmp_path):
    """Sections and lines are; names of parameters are a record of the training, which LightGBM itself does not read when it predicts."""
    zoo.built("LGBMRegressor, regression")[0].booster_.save_model(tmp_path / "m.txt")
    text, path = (tmp_path / "m.txt").read_text(), tmp_path / "n.txt"
    rows = zoo.X()[:5]
    path.write_text(text.replace("\n[max_depth:", "\n[zz_unknown: 1]\n[max_depth:"))
    whole, other = (load_model_file(p) for p in (tmp_path / "m.txt", path))
    assert np.array_equal(wb.explain(other, rows).values, wb.explain(whole, rows).values)
    for old, new, error in (
        ("\nparameters:", "\ncalibration:\na=1\n\nparameters:", UnknownFieldError),
        ("\n[max_depth:", "\nmax_depth=3\n[max_depth:", UnknownFieldError),
        ("\npandas_categorical:", "\nscale=2\npandas_categorical:", UnknownFieldError),
        ("\npandas_categorical:", "\npandas_categorical:null\npandas_categorical:", ModelFileError),
    ):
        assert old in text
        path.write_text(text.replace(old, new))
        with pytest.raises(error, match="after its trees"):
            load_model_file(path)


def _fuzz(library, name, ending, folder, count, seed):
    """Return how many damaged files were refused, accepted and agreed with, accepted where the library itself refuses or dies."""
    rng = np.random.default_rng(seed)
    case = next(c for c in zoo.CASES if c.name == name)
    good = folder / f"good.{ending}"
    _, rows = write(case, good)
    data = good.read_bytes()
    document = json.loads(data) if ending == "json" else None
    accepted, refused = {}, 0
    for i in range(count):
        path = folder / f"{i}.{ending}"
        path.write_bytes(
            json.dumps(reshaped(document, rng)).encode() if document is not None and i % 2 else damaged(data, rng)
        )
        try:
            accepted[path] = load_model_file(path, verify=False)
        except WhyboxError:
            refused += 1
    numbers = np.asarray(rows, dtype=np.float32).astype(float)[:60]
    numbers = np.concatenate([numbers, np.where(np.random.default_rng(0).random(numbers.shape) < 0.3, 0.0, numbers)])
    wrong, unknown, agreed = [], 0, 0
    says = library_says(library, list(accepted), numbers, folder) if accepted else {}
    for path, model in accepted.items():
        theirs = says[path]
        if isinstance(theirs, str):
            unknown += 1
            continue
        if theirs.shape[1] != len(model.outputs.names) or model.inputs.width != numbers.shape[1]:
            wrong.append((path.name, "shape"))
            continue
        ours = model.raw_outputs(numbers) if isinstance(model, Linear) else tree_shap.predict(model, numbers)
        ours = model.outputs.link(ours) if library == "lightgbm" and not (model.tree_weight == 1).all() else ours
        room = (
            1e-5 * np.max(model.rounding_scale if not isinstance(model, Linear) else model.rounding_scale(numbers))
            + 1e-9
        )
        off = np.nanmax(np.abs(ours - theirs)) if not (np.isnan(theirs) & np.isnan(ours)).all() else 0
        if off <= room:
            agreed += 1
        else:
            wrong.append((path.name, float(off)))
    return refused, agreed, unknown, wrong


FUZZED = [
    ("xgboost", "XGBRegressor, missing values", "json"),
    ("xgboost", "XGBClassifier, multi:softprob", "ubj"),
    ("xgboost", "XGBRegressor, dart", "json"),
    ("xgboost", "XGBRegressor, vector leaves", "ubj"),
    ("lightgbm", "LGBMRegressor, missing values", "txt"),
    ("lightgbm", "LGBMClassifier, multiclass", "txt"),
    ("lightgbm", "LGBMRegressor, linear leaves", "txt"),
    ("catboost", "CatBoostRegressor, nan_mode=Max", "json"),
    ("catboost", "CatBoostRegressor, Lossguide", "json"),
    ("catboost", "CatBoostClassifier, MultiClass", "json"),
]


def _check_fuzz(result):
    refused, agreed, unknown, wrong = result
    assert not wrong, wrong
    assert refused > agreed + unknown  # most damage is seen
    return refused, agreed, unknown


@pytest.mark.parametrize(("library", "name", "ending"), FUZZED)
def test_damaged_files_are_refused_or_right(library, name, ending, tmp_path):
    _check_fuzz(_fuzz(library, name, ending, tmp_path, 60, 1))


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("library", "name", "ending"), FUZZED)
def test_many_damaged_files_are_refused_or_right(library, name, ending, seed, tmp_path, capsys):
    result = _check_fuzz(_fuzz(library, name, ending, tmp_path, 600, 100 + seed))
    with capsys.disabled():
        print(
            f"\n{name} ({ending}): {result[0]} refused, {result[1]} accepted as the library reads them, {result[2]} accepted where the library refuses or dies"
        )


def test_a_file_that_the_library_refuses_is_refused_when_verified(tmp_path):
    """Damage that our parser cannot see, but the library does: the default, verified, load refuses it."""
    model, _ = zoo.built("XGBRegressor, reg:squarederror")
    model.save_model(tmp_path / "m.json")
    doc = json.loads((tmp_path / "m.json").read_text())
    doc["learner"]["learner_model_param"]["boost_from_average"] = "perhaps"
    (tmp_path / "m.json").write_text(json.dumps(doc))
    assert isinstance(load_model_file(tmp_path / "m.json", verify=False).kind, str)
    with pytest.raises(ModelFileError, match="XGBoost itself refuses|crashed|xgboost itself refuses"):
        load_model_file(tmp_path / "m.json")


def test_names_in_files_are_matched(tmp_path):
    model, rows = zoo.built("LGBMRegressor, blanks in names, extra trees, monotone")
    model.booster_.save_model(tmp_path / "m.txt")
    got = wb.explain(tmp_path / "m.txt", rows[rows.columns[::-1]][:5])
    assert got.feature_names == tuple(rows.columns)
    assert np.array_equal(got.values, wb.explain(model, rows[:5]).values)
    with pytest.raises(wb.errors.ColumnsError, match="lacks column 'blood_pressure'"):
        wb.explain(tmp_path / "m.txt", pd.DataFrame(rows).drop(columns="blood pressure")[:5])
