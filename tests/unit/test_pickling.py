"""Explanations, effects, evidence and explainers sent to other processes and back."""

from __future__ import annotations

import copy
import io
import pickle
from functools import partial

import cloudpickle
import joblib
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from sklearn.ensemble import RandomForestRegressor

import whybox as wb
import zoo
from whybox.data.table import as_table
from whybox.errors import MissingDependencyError, NonFiniteError, OptionError

ROWS = 4000


@pytest.fixture(scope="module")
def frame():
    X = np.random.default_rng(0).normal(size=(ROWS, 8))
    return pd.DataFrame(X, columns=[f"c{i}" for i in range(8)])


@pytest.fixture(scope="module")
def forest(frame):
    return RandomForestRegressor(3, max_depth=4, random_state=0).fit(frame, frame["c0"] * frame["c1"])


def kinds_of_rows(frame):
    return {
        "numpy": frame.to_numpy(),
        "pandas": frame,
        "pandas, permuted": frame.sample(frac=1.0, random_state=0),
        "polars": pl.DataFrame(frame),
        "pyarrow": pa.Table.from_pandas(frame),
        "pyarrow, a slice": pa.Table.from_pandas(pd.concat([frame, frame, frame])).slice(5, ROWS),
    }


def through(x):
    return pickle.loads(pickle.dumps(x))


@pytest.mark.parametrize("name", kinds_of_rows(pd.DataFrame({"x": np.zeros(1)})))
def test_explanations_come_back_whole_and_small(frame, name):
    rows = kinds_of_rows(frame)[name]
    model = RandomForestRegressor(3, max_depth=4, random_state=0).fit(
        frame.to_numpy() if name == "numpy" else frame, frame["c0"]
    )
    e = wb.explain(model, rows)
    sent = pickle.dumps(e)
    assert len(sent) <= 1.2 * (e.values.nbytes + frame.to_numpy().nbytes)
    back = pickle.loads(sent)
    for field in ("values", "base", "prediction"):
        assert getattr(back, field).tobytes() == getattr(e, field).tobytes()
        assert not getattr(back, field).flags.writeable
    assert (back.kind, back.dims, back.units, back.evidence) == (e.kind, e.dims, e.units, e.evidence)
    assert dict(back.players) == dict(e.players)
    assert list(back.coords) == list(e.coords)
    for dim in e.coords:
        assert back.coords[dim].dtype == e.coords[dim].dtype
        assert back.coords[dim].tolist() == e.coords[dim].tolist()
    assert type(back.data.native) is type(e.data.native)
    assert np.array_equal(back.data.matrix(), e.data.matrix())
    assert back.to_frame(library="pandas").equals(e.to_frame(library="pandas"))
    # a row brings itself along, not the table that it was cut from
    for cut in (e[7], e[5:8], e[[1, 9]]):
        assert len(pickle.dumps(cut)) < 6000
        assert np.array_equal(through(cut).data.matrix(), cut.data.matrix())
        assert through(cut).coords["row"].tolist() == cut.coords["row"].tolist()


def test_rows_cut_from_a_long_text_column_leave_it_behind():
    words = pa.table({"text": [f"a long text, number {i}, that fills the buffer" for i in range(10_000)]})
    cut = as_table(words.slice(17, 1))
    assert len(pickle.dumps(cut)) < 2000
    assert through(cut).column(0).values.tolist() == ["a long text, number 17, that fills the buffer"]
    assert len(pickle.dumps(words.slice(17, 1))) > 100_000  # what pyarrow itself would send


def test_categories_and_dates_come_back_as_they_were():
    arrow = pa.table(
        {
            "day": pa.array(np.array(["2024-01-05", None], dtype="datetime64[us]")),
            "word": pa.array(["b", "a"]).dictionary_encode(),
        }
    )
    frame = pd.DataFrame({"word": pd.Categorical(["b", "a"], categories=["b", "a", "never"])}, index=["r", "s"])
    assert through(as_table(arrow)).native.equals(arrow)
    back = through(as_table(frame))
    assert back.column(0).categories == ("b", "a", "never")
    assert back.row_labels.tolist() == ["r", "s"]


def test_every_kind_of_explanation(forest, frame):
    rows = frame[:30]
    for e in (
        wb.explain(forest, rows, order=2),
        wb.importance(forest, rows),
        wb.interactions(forest, rows, ["c0", "c1"]),
        wb.explain(forest, rows)[0, "c1"],
        wb.importance(zoo.built("LGBMClassifier, multiclass")[0], method="impurity"),
    ):
        back = through(e)
        assert back.values.tobytes() == e.values.tobytes()
        assert back.evidence == e.evidence
        assert {k: (d, a.tobytes()) for k, (d, a) in back.extras.items()} == {
            k: (d, a.tobytes()) for k, (d, a) in e.extras.items()
        }


def test_effects_keep_what_they_know_without_the_model(forest, frame):
    points = [-1.3, 0.2, 0.9]
    for kind in ("pdp", "ale", "anova"):
        curves = wb.effects(forest, frame[:200], ["c0", "c1"], kind, grid=5)
        back = through(curves)
        assert list(back) == ["c0", "c1"]
        assert back.library == curves.library
        assert back["c1"].values.tobytes() == curves["c1"].values.tobytes()
        assert np.allclose(back["c0"].at(points), curves["c0"].at(points), rtol=1e-12, atol=1e-15)
    asked = wb.effects(lambda t: np.asarray(t)[:, 0], frame[:50], ["c0"], grid=3)
    with pytest.raises(OptionError, match="asks the model again"):
        through(asked)["c0"].at(points)


def test_many_curves_are_small_too(forest, frame):
    curves = wb.effects(forest, frame[:2000], ["c0", "c1"], "ice", grid=40)
    own = sum(e.values.nbytes for e in curves.values()) + frame[:2000].to_numpy().nbytes
    assert len(pickle.dumps(curves)) <= 1.2 * own
    deep = RandomForestRegressor(20, max_depth=8, random_state=0).fit(frame, frame["c0"])
    some = wb.effects(deep, frame[:100], ["c0"], "ice", grid=5)
    with pytest.raises(OptionError, match=r"not pickled .* save\(\)"):
        through(some)["c0"].at([0.0])  # its steps are many more numbers than the curves


def test_deep_copies_share_the_model_alone(forest, frame):
    e = wb.effects(forest, frame[:50], ["c0"], "ice", grid=4)["c0"]
    other = copy.deepcopy(e)
    assert other.values is not e.values
    assert not other.values.flags.writeable
    assert other.data.native is not e.data.native
    assert np.array_equal(other.values, e.values)
    assert np.array_equal(other.at([0.3]), e.at([0.3]))
    assert copy.copy(e) is e
    both = copy.deepcopy([e, e])
    assert both[0] is both[1]
    assert copy.deepcopy(wb.effects(forest, frame[:50], ["c0"], grid=4))["c0"].at([0.3]).shape == (1,)


@pytest.mark.parametrize(
    "name",
    [
        "RandomForestRegressor",
        "LGBMRegressor, regression",
        "LGBMClassifier, multiclass",
        "CatBoostRegressor, RMSE",
        "MultiOutputRegressor",
        "VotingClassifier, soft, weights",
    ],
)
@pytest.mark.parametrize("options", [{}, {"order": 2}, {"background": 20}], ids=str)
def test_explainers_go_on_where_they_were(name, options):
    model, rows = zoo.built(name)
    given = {**options, **({"background": rows[:20]} if "background" in options else {})}
    explainer = wb.explainers.TreeShap(model, **given)
    uses = 2 if options else 4  # before it was used, and after: more rows make other kernels worth their tables
    for use in range(uses):
        back = through(explainer)
        others = [back] if use < uses - 1 else [through(back), copy.deepcopy(explainer)]
        want = explainer(rows[:50])
        for other in others:
            got = other(rows[:50])
            assert got.values.tobytes() == want.values.tobytes()
            assert got.evidence.kernel == want.evidence.kernel
        explainer(rows[:300])


def test_an_explainer_from_a_better_processor_is_compiled_anew(monkeypatch):
    from whybox.kernels import compiled_trees

    model, rows = zoo.built("RandomForestRegressor")
    explainer = wb.explainers.TreeShap(model)
    want = explainer(rows[:200])
    sent = pickle.dumps(explainer)
    assert compiled_trees.fastest_instructions() in want.evidence.kernel
    plain = compiled_trees.instruction_sets()[-1:]  # which every processor has
    monkeypatch.setattr(compiled_trees, "_available_sets", lambda: plain)
    got = pickle.loads(sent)(rows[:200])
    assert "plain" in got.evidence.kernel
    assert np.allclose(got.values, want.values, rtol=1e-12, atol=1e-12)


def test_joblib_with_processes(frame):
    joblib = pytest.importorskip("joblib")
    model, rows = zoo.built("RandomForestRegressor")
    explainer = wb.explainers.TreeShap(model)
    whole = explainer(rows)
    parts = [rows[i : i + 100] for i in range(0, len(rows), 100)]
    with joblib.parallel_config("loky", n_jobs=2):
        by_explainer = joblib.Parallel()(joblib.delayed(explainer)(part) for part in parts)
        by_function = joblib.Parallel()(joblib.delayed(wb.explain)(model, part) for part in parts)
        curves = joblib.Parallel()(joblib.delayed(wb.effects)(model, rows[:50], [f], grid=4) for f in ("age", "bmi"))
        # rows over a megabyte reach the workers as memory maps
        big = np.tile(rows.to_numpy(), (60, 1))
        mapped = joblib.Parallel()(joblib.delayed(_explained)(model, big[i:]) for i in (0, len(big) - 5))
    for made in (by_explainer, by_function):
        assert np.allclose(np.concatenate([e.values for e in made]), whole.values, rtol=1e-12, atol=1e-12)
        assert [r for e in made for r in e.coords["row"].tolist()] == rows.index.tolist()
    assert [list(c) for c in curves] == [["age"], ["bmi"]]
    assert np.allclose(mapped[0].values[: len(rows)], whole.values, rtol=1e-12, atol=1e-12)
    assert len(pickle.dumps(mapped[1])) < 6000


def weighted(params, x):
    """A function of JAX that can be found by its name, as pickle wants it."""
    import jax.numpy as jnp

    return jnp.tanh(x @ params["w"])


def networks(folder):
    """Networks of every library, as people hand them over."""
    import torch

    from whybox.models.registry import as_network

    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2)).eval()
    program = torch.export.export(net, (torch.zeros(2, 3),), dynamic_shapes=({0: torch.export.Dim("rows")},))
    torch.export.save(program, folder / "net.pt2")
    yield net
    yield as_network(net)
    yield wb.networks.exported(folder / "net.pt2")
    jax = pytest.importorskip("jax")
    yield wb.networks.jax(weighted, {"w": jax.numpy.asarray(np.linspace(-1, 1, 6, dtype=np.float32).reshape(3, 2))})
    equinox = pytest.importorskip("equinox")
    yield equinox.nn.Linear(3, 2, key=jax.random.PRNGKey(0))


def test_explainers_of_networks_before_and_after_use(tmp_path):
    """Networks of every library, and every method with a module: an explainer holds the two side by side."""
    x = np.random.default_rng(0).normal(size=(3, 3)).astype(np.float32)
    first, *more = networks(tmp_path)
    pairs = [(first, method) for method in ("gradient", "integrated_gradients", "shapley")]
    for net, method in [*pairs, *((net, "gradient") for net in more)]:
        explainer = wb.explainers.Saliency(net, method, spot_checks=None if net is first else 0)
        before = through(explainer)
        want = explainer(x, 1)
        for other in (before, through(through(explainer)), copy.deepcopy(explainer)):
            got = other(x, 1)
            assert got.values.tobytes() == want.values.tobytes()
            assert got.evidence.fingerprints == want.evidence.fingerprints
        assert through(want).values.tobytes() == want.values.tobytes()


def test_a_program_takes_its_parameters_along_as_they_are(tmp_path):
    import torch

    *_, program = (net for net, _ in zip(networks(tmp_path), range(3), strict=False))
    with torch.no_grad():
        next(program.module.parameters()).mul_(2)
    x = np.ones((2, 3), dtype=np.float32)
    want = wb.saliency(program, x, 0)
    for other in (through(program), copy.deepcopy(program)):
        assert wb.saliency(other, x, 0).values.tobytes() == want.values.tobytes()
        assert other.fingerprint == program.fingerprint


def _explained(model, rows):
    return wb.explain(model, pd.DataFrame(rows, columns=zoo.X().columns))


def test_checks_and_errors_come_back():
    from whybox.checks.result import Check, Checks

    checks = Checks((Check("g", "n", "pass", 1.0, "why"),), {"rows": 1})
    assert through(checks).rows == checks.rows
    assert dict(copy.deepcopy(checks).about) == {"rows": 1}
    for error in (
        MissingDependencyError("tqdm", "a bar", "all"),
        NonFiniteError("{row} is odd", row=3),
        OptionError("no"),
    ):
        assert str(through(error)) == str(error)
        assert vars(through(error)) == vars(error)
        assert type(through(error)) is type(error)


def by_joblib(obj):
    file = io.BytesIO()
    joblib.dump(obj, file)
    file.seek(0)
    return joblib.load(file)


WAYS = {
    **{f"pickle {p}": partial(lambda p, obj: pickle.loads(pickle.dumps(obj, p)), p) for p in range(2, 6)},
    "cloudpickle": lambda obj: pickle.loads(cloudpickle.dumps(obj)),
    "joblib": by_joblib,
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
}


@pytest.mark.parametrize("way", WAYS)
def test_results_and_explainers_by_every_way_of_copying(frame, forest, way):
    rows = frame[:20]
    e = wb.explain(forest, rows[:4], rows)
    effects, plan = wb.effects(forest, rows, ["c0"]), wb.plan(wb.explain, forest, rows)
    for result in (e, e[0], e[:, "c1"], effects["c0"], wb.importance(forest, rows), wb.lime(forest, rows[:2], rows)):
        back = WAYS[way](result)
        assert back.values.tobytes() == result.values.tobytes()
        assert (repr(back), back.evidence) == (repr(result), result.evidence)
    assert WAYS[way](effects)["c0"].values.tobytes() == effects["c0"].values.tobytes()
    assert repr(WAYS[way](plan)) == repr(plan)
    for explainer in (wb.explainers.TreeShap(forest, rows), wb.explainers.ExactShap(forest, rows)):
        assert WAYS[way](explainer)(rows[:3]).values.tobytes() == explainer(rows[:3]).values.tobytes()
