"""whybox.compat.shap: names, arguments and shapes of shap, with the values of whybox."""

from __future__ import annotations

import ast
import copy
import pickle
import subprocess
import sys
from itertools import combinations
from math import comb
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xgboost
from sklearn.ensemble import GradientBoostingRegressor, RandomForestClassifier
from sklearn.linear_model import LinearRegression, Ridge

import whybox as wb
from compat_models import (
    BOOSTED,
    FLOWERS,
    FOREST,
    KIND,
    LIGHT,
    LOGISTIC,
    MODELS,
    NEAREST,
    OF_THREE,
    ROWS,
    SMALL,
    TRAIN,
    X,
    Y,
    near,
    rising,
    threefold,
    waves,
)
from whybox.compat import shap
from whybox.errors import InputError, LimitError, ModelMismatchError, OptionError, UnsupportedModelError

SRC = Path(wb.__file__).parent


def by_definition(worth, d):
    """Shapley values of a game of d players from all its coalitions."""
    out = []
    for i in range(d):
        total = 0.0
        for size in range(d):
            for others in combinations([j for j in range(d) if j != i], size):
                total = total + (worth({*others, i}) - worth(set(others))) / (d * comb(d - 1, size))
        out.append(total)
    return np.array(out)


@pytest.fixture(scope="module")
def explained():
    return shap.TreeExplainer(BOOSTED)(X.iloc[:40])


@pytest.fixture(scope="module")
def of_three():
    return shap.TreeExplainer(OF_THREE["forest"].fit(FLOWERS, KIND))(FLOWERS.iloc[::5])


def test_outputs_of_binary_classifiers():
    assert shap.TreeExplainer(FOREST).shap_values(ROWS).shape == (5, 6, 2)
    assert shap.TreeExplainer(BOOSTED).shap_values(ROWS).shape == (5, 6)
    assert shap.TreeExplainer(FOREST).shap_values(ROWS.iloc[0]).shape == (6, 2)
    assert shap.TreeExplainer(MODELS["regression"]).expected_value.shape == (1,)  # as in shap
    near(shap.TreeExplainer(FOREST).shap_values(ROWS)[..., 1], wb.explain(FOREST, ROWS).values)
    near(shap.TreeExplainer(BOOSTED, TRAIN).shap_values(ROWS), wb.explain(BOOSTED, ROWS, TRAIN).values)
    near(shap.TreeExplainer(BOOSTED, TRAIN).expected_value, wb.explain(BOOSTED, ROWS, TRAIN).base)
    near(wb.explainers.TreeShap(BOOSTED).base, wb.explain(BOOSTED, ROWS).base)


def test_lists_of_older_code():
    with shap.old_shapes():
        forest = shap.TreeExplainer(FOREST)
        values = forest.shap_values(ROWS)
        assert isinstance(values, list)
        assert [v.shape for v in values] == [(5, 6), (5, 6)]
        assert forest.shap_interaction_values(ROWS)[1].shape == (5, 6, 6)
        light = shap.TreeExplainer(LIGHT)
        near(light.shap_values(ROWS)[0], -light.shap_values(ROWS)[1])
        assert light.expected_value.shape == (2,)
        assert isinstance(shap.TreeExplainer(LIGHT, TRAIN).shap_values(ROWS), np.ndarray)
        assert len(shap.KernelExplainer(LOGISTIC.predict_proba, TRAIN).shap_values(ROWS)) == 2
        assert isinstance(forest(ROWS), shap.Explanation)
    assert shap.TreeExplainer(LIGHT).shap_values(ROWS).shape == (5, 6)
    assert shap.TreeExplainer(FOREST).shap_values(ROWS).shape == (5, 6, 2)


def test_lists_of_a_block_are_those_of_its_thread():
    from threading import Thread

    from whybox.compat.shap.list_form import lists_are_asked

    seen = {}
    look = lambda name: seen.update({name: lists_are_asked()})

    def elsewhere(name):
        thread = Thread(target=look, args=(name,))
        thread.start()
        thread.join()

    with shap.old_shapes():
        look("in the block")
        elsewhere("in another thread")
        shap.old_shapes(False)
        look("switched inside")
    look("after the block")
    switch = shap.old_shapes()
    elsewhere("written for the program")
    with switch:
        pass
    look("at the end")
    names = ("in the block", "written for the program")
    assert [name for name, asked in seen.items() if asked] == list(names)
    assert len(seen) == 6


def test_all_background_rows_count_unless_fewer_are_asked_for():
    near(shap.TreeExplainer(BOOSTED, X).shap_values(ROWS), wb.explain(BOOSTED, ROWS, X).values)
    near(shap.Explainer(BOOSTED, X)(ROWS).values, wb.explain(BOOSTED, ROWS, X).values)
    drawn = shap.sample(X, 30)
    few = shap.maskers.Independent(X, max_samples=30)
    near(shap.TreeExplainer(BOOSTED, few).shap_values(ROWS), wb.explain(BOOSTED, ROWS, drawn).values)


def test_kmeans_weighs_the_background_of_trees():
    means = shap.kmeans(X, 5)
    expected = wb.explain(BOOSTED, ROWS, pd.DataFrame(means.data, columns=X.columns), background_weight=means.weights)
    near(shap.TreeExplainer(BOOSTED, means).shap_values(ROWS), expected.values)


def test_interactions_with_a_background_add_up():
    e = shap.TreeExplainer(BOOSTED, TRAIN)
    pairs = e.shap_interaction_values(ROWS)
    near(pairs.sum(axis=2), e.shap_values(ROWS))
    assert np.abs(pairs).max() > 0


def test_probabilities_and_losses_of_trees():
    e = shap.TreeExplainer(BOOSTED, TRAIN, model_output="probability")(ROWS)
    near(e.values.sum(axis=1) + e.base_values, BOOSTED.predict_proba(ROWS)[:, 1])
    both = shap.TreeExplainer(BOOSTED, TRAIN, model_output="predict_proba")(ROWS)
    near(both.values[..., 1], e.values)
    loss = shap.TreeExplainer(BOOSTED, TRAIN, model_output="log_loss")(ROWS, Y[:5])
    proba = BOOSTED.predict_proba(ROWS)[np.arange(5), Y[:5]]
    near(loss.values.sum(axis=1) + loss.base_values, -np.log(proba), 1e-5)
    with pytest.raises(OptionError, match="truth of each row"):
        shap.TreeExplainer(BOOSTED, TRAIN, model_output="log_loss").shap_values(ROWS)


def test_the_link_is_that_of_the_mean():
    """By the definition: the worth of features is the log-odds of the mean probability."""

    def worth(present, row):
        mixed = SMALL[:9].copy()
        mixed[:, sorted(present)] = row[sorted(present)]
        mean = rising(mixed).mean()
        return np.log(mean / (1 - mean))

    rows = SMALL[30:32]
    expected = [by_definition(lambda present, row=row: worth(present, row), 4) for row in rows]
    near(shap.KernelExplainer(rising, SMALL[:9], link="logit").shap_values(rows), expected, 1e-9)
    exact = shap.ExactExplainer(rising, SMALL[:9], link=shap.links.logit, linearize_link=False)(rows)
    near(exact.values, expected, 1e-9)
    near(exact.base_values, [worth(set(), rows[0])] * 2, 1e-9)
    with pytest.raises(OptionError, match="linearize_link=False"):
        shap.ExactExplainer(rising, SMALL[:9], link=shap.links.logit)


def test_estimates_have_errors_that_cover_the_exact_values():
    draw = np.random.default_rng(1)
    train, rows = draw.normal(size=(6, 11)), draw.normal(size=(6, 11))
    function = lambda a: a[:, 0] * a[:, 1] * a[:, 2] + np.maximum(a, 0).prod(axis=1) + a.sum(axis=1) ** 2 / 9
    exact = wb.explain(function, rows, train, "exact").values
    e = shap.KernelExplainer(function, train)(rows, nsamples=150)
    assert e.error_std.shape == e.values.shape == (6, 11)
    assert np.array_equal(e.error_std, e.std_error)
    inside = (e.lower_bounds <= exact) & (exact <= e.upper_bounds)
    assert 0.88 <= inside.mean() <= 1
    finer = shap.KernelExplainer(function, train)(rows, nsamples=450)  # all that was given is spent
    assert finer.error_std.mean() < 0.75 * e.error_std.mean()
    near(shap.SamplingExplainer(function, train).shap_values(rows[:1], nsamples=2_000), exact[:1], 0.2)
    linked = shap.KernelExplainer(lambda a: 1 / (1 + np.exp(-function(a) / 9)), train[:5], link="logit")(
        rows[:1], nsamples=300
    )
    assert (linked.error_std >= 0).all()
    assert linked.error_std.max() > 0


def test_too_few_predictions_name_the_argument_of_shap():
    train = np.zeros((1, 200))
    with pytest.raises(LimitError, match="nsamples of shap is 20 predictions"):
        shap.KernelExplainer(lambda a: a.sum(axis=1), train).shap_values(np.ones((30, 200)), nsamples=20)
    with pytest.raises(LimitError, match="max_evals of shap"):
        shap.ExactExplainer(lambda a: a.sum(axis=1), train)(np.ones((1, 200)))
    for bad in (0, "many", True, 2.5):
        with pytest.raises(OptionError, match="positive whole number"):
            shap.KernelExplainer(waves, SMALL).shap_values(SMALL[:1], nsamples=bad)
        with pytest.raises(OptionError, match="positive whole number"):
            shap.Explainer(waves, SMALL)(SMALL[:1], max_evals=bad)


def test_explainer_becomes_the_class_that_fits():
    functions = {"ExactExplainer": SMALL, "PermutationExplainer": np.ones((3, 12))}
    for name, rows in functions.items():
        assert type(shap.Explainer(waves, rows)).__name__ == name
    assert isinstance(shap.Explainer(BOOSTED), shap.TreeExplainer)
    assert isinstance(shap.Explainer(LOGISTIC, TRAIN), shap.LinearExplainer)
    assert isinstance(shap.Explainer(NEAREST.predict_proba, TRAIN), shap.Explainer)
    assert isinstance(shap.Explainer(waves, SMALL, algorithm="partition"), shap.PartitionExplainer)
    assert shap.explainers.Tree is shap.TreeExplainer
    near(
        shap.Explainer(NEAREST.predict_proba, TRAIN)(ROWS).values,
        wb.explain(NEAREST, ROWS, TRAIN, "exact", output="all").values,
    )
    near(shap.Explainer(NEAREST, TRAIN)(ROWS).values, wb.explain(NEAREST, ROWS, TRAIN, "exact").values)
    with pytest.raises(UnsupportedModelError, match=r"background|rows"):
        shap.Explainer(waves)
    with pytest.raises(UnsupportedModelError, match="LogisticRegression"):
        shap.TreeExplainer(LOGISTIC)
    with pytest.raises(UnsupportedModelError, match="XGBClassifier"):
        shap.LinearExplainer(BOOSTED, TRAIN)


def test_owen_values_of_a_hierarchy():
    masker = shap.maskers.Partition(SMALL)
    assert masker.clustering.shape == (3, 4)
    expected = wb.explain(threefold, SMALL[:2], SMALL, "partition_shap", hierarchy=masker.clustering).values
    for explainer in (shap.PartitionExplainer, shap.ExactExplainer, shap.PermutationExplainer):
        near(explainer(threefold, masker)(SMALL[:2], max_evals=4000).values, expected)
    assert np.abs(expected - wb.explain(threefold, SMALL[:2], SMALL).values).max() > 1e-3


def test_rows_come_as_series_arrays_frames_and_sparse_matrices():
    from scipy.sparse import csr_matrix

    e = shap.KernelExplainer(LOGISTIC.predict_proba, TRAIN)
    whole = e.shap_values(ROWS)
    near(e.shap_values(ROWS.iloc[1]), whole[1])
    near(e.shap_values(ROWS.to_numpy()), whole)
    near(e.shap_values(ROWS.to_numpy()[1]), whole[1])
    near(
        shap.KernelExplainer(lambda a: LOGISTIC.predict_proba(pd.DataFrame(a, columns=X.columns)), TRAIN).shap_values(
            ROWS
        ),
        whole,
    )
    assert shap.TreeExplainer(BOOSTED)(xgboost.DMatrix(ROWS)).data.shape == (5, 6)
    model = Ridge().fit(csr_matrix(X.to_numpy()), Y)
    names = [f"word {j}" for j in range(6)]
    sparse = shap.Explainer(model, csr_matrix(TRAIN.to_numpy()), feature_names=names)(csr_matrix(ROWS.to_numpy()))
    near(sparse.values, (ROWS.to_numpy() - TRAIN.to_numpy().mean(axis=0)) * model.coef_, 1e-9)
    assert sparse.feature_names == names
    assert sparse.to_whybox().feature_names == tuple(names)
    with pytest.raises(InputError, match="6 features and 2 names"):
        shap.TreeExplainer(BOOSTED, feature_names=["a", "b"])(ROWS)


def test_mean_of_a_linear_model_is_all_it_needs():
    model = LinearRegression().fit(X, Y)
    expected = wb.explain(model, ROWS, TRAIN).values
    for masker in (TRAIN, (TRAIN.mean(), TRAIN.cov()), shap.maskers.Independent({"mean": TRAIN.mean().to_numpy()})):
        near(shap.LinearExplainer(model, masker).shap_values(ROWS), expected)
        near(shap.LinearExplainer((model.coef_, model.intercept_), masker).shap_values(ROWS), expected)
    follows = shap.LinearExplainer(model, shap.maskers.Impute(TRAIN)).shap_values(ROWS)
    near(follows, wb.explain(model, ROWS, TRAIN, "linear_shap_correlated").values)
    with pytest.raises(InputError, match="2 coefficients and 6 columns"):
        shap.LinearExplainer(([1.0, 2.0], 0.0), TRAIN)
    with pytest.raises(OptionError, match="LinearExplainer takes it"):
        shap.ExactExplainer(waves, shap.maskers.Impute(SMALL))


def test_an_explanation_keeps_its_evidence_through_slices(explained, of_three):
    assert explained.to_whybox().evidence.exact
    picked = of_three[3:6, :, "versicolor" if "versicolor" in of_three.output_names else 1].to_whybox()
    assert picked.evidence.exact
    assert picked.shape == (3, 4)
    assert not explained.abs.mean(0).to_whybox().evidence.exact
    assert explained.abs.mean(0).op_history == ["size", "mean over rows"]
    kept = pickle.loads(pickle.dumps(explained))  # our own
    assert np.array_equal(kept.values, explained.values)
    assert kept.to_whybox().evidence.exact
    other = copy.copy(explained)
    other.feature_names = list("abcdef")
    other.display_data = np.full((40, 6), "x", dtype=object)
    assert explained.feature_names[0] == X.columns[0]
    assert other.to_whybox().feature_names == tuple("abcdef")
    assert copy.deepcopy(other)[:, "c"].values.shape == (40,)
    with pytest.raises(IndexError, match="no name"):
        explained[:, "nothing"]
    with pytest.raises(IndexError, match="3 indices"):
        explained[0, 0, 0]
    with pytest.raises(AttributeError, match="nothing"):
        explained.nothing  # noqa: B018


def test_explanations_from_arrays():
    values = shap.TreeExplainer(BOOSTED).shap_values(ROWS)
    one = shap.Explanation(values[0], base_values=np.array([0.5]), data=ROWS.iloc[0])
    assert one.feature_names == list(X.columns)
    assert one.to_whybox().dims == ("feature",)
    several = shap.Explanation(np.zeros((5, 6, 2)), base_values=np.zeros((5, 2)), data=ROWS, output_names=["no", "yes"])
    assert several[..., "yes"].shape == (5, 6)
    assert shap.Explanation(several).shape == (5, 6, 2)
    assert repr(several).startswith(".values =")
    with pytest.raises(InputError, match="no attributions"):
        shap.Explanation(np.zeros((5, 6)), base_values=np.zeros(3), data=ROWS)
    with pytest.raises(InputError, match="needs values"):
        shap.Explanation(None)


def test_cohorts(explained):
    halves = explained.cohorts(["low" if i % 2 else "high" for i in range(40)])
    assert sorted(halves.cohorts) == ["high", "low"]
    near(halves.abs.mean(0).cohorts["low"].values, np.abs(explained.values[1::2]).mean(axis=0))
    assert halves[..., 0].cohorts["high"].shape == (20,)
    assert sum(len(e) for e in explained.cohorts(3).cohorts.values()) == 40
    assert "cohorts" in repr(halves)
    for wrong, words in (("a", "number"), ([1, 2], "40 rows and 2")):
        with pytest.raises(OptionError, match=words):
            explained.cohorts(wrong)


def test_operations_for_later(explained):
    chain = shap.Explanation.abs.mean(0).argsort.flip[:2]
    assert repr(chain) == "Explanation.abs.mean(0).argsort.flip[slice(None, 2, None)]"
    largest = np.argsort(-np.abs(explained.values).mean(axis=0), kind="stable")[:2]
    assert explained[:, chain].feature_names == [explained.feature_names[j] for j in largest]
    assert np.array_equal(chain.apply(explained).values, largest)


def test_texts():
    def good(texts):
        return [text.split().count("good") * (0.3 if "not" in text.split() else 1.0) for text in texts]

    e = shap.Explainer(good, shap.maskers.Text())(["a good film", "not good"])
    own = wb.explain(good, ["a good film", "not good"], method="partition_shap")
    assert [len(v) for v in e.values] == [3, 2]
    near(e[0].values, own[0].values)
    assert list(e[1].data) == ["not", "good"]
    assert e.shape == (2, None)
    near(e.base_values, own.base_values)
    masked = shap.ExactExplainer(good, shap.maskers.Text(r"\W+", mask_token="..."))(["not good"])[0]
    near(masked.values, wb.explain(good, "not good", method="exact", mask_string="...", tokenizer=r"\W+")[0].values)
    with pytest.raises(OptionError, match="wb.saliency"):
        shap.maskers.Image("blur(3,3)", (8, 8))


def test_explainers_are_kept_and_pickled():
    e = pickle.loads(pickle.dumps(shap.TreeExplainer(BOOSTED, TRAIN)))  # our own
    near(e.shap_values(ROWS), shap.TreeExplainer(BOOSTED, TRAIN).shap_values(ROWS))
    calls = []

    def counted(rows):
        calls.append(len(rows))
        return waves(rows)

    kernel = shap.KernelExplainer(counted, SMALL)
    first = kernel.shap_values(SMALL[:2])
    once = sum(calls)
    near(kernel.shap_values(SMALL[:2]), first)
    assert sum(calls) < 2 * once  # the background is not evaluated again
    with pytest.raises(OptionError, match="pickle"):
        kernel.save("file")


def test_a_base_is_a_number_of_numpy():
    boosted = GradientBoostingRegressor(n_estimators=2, random_state=0).fit(X, Y)
    for explainer in (
        shap.TreeExplainer(boosted, TRAIN),
        shap.KernelExplainer(waves, SMALL),
        shap.KernelExplainer(lambda rows: 1 / (1 + np.exp(-waves(rows))), SMALL[:2], link="logit"),
    ):
        assert explainer.expected_value.item() == float(explainer.expected_value)


def test_labels_of_classes_are_not_explained():
    classifier = RandomForestClassifier(2, random_state=0).fit(X, Y > 0)
    for explainer in (shap.Explainer, shap.KernelExplainer):
        with pytest.raises(UnsupportedModelError, match="pass the method that gives probabilities"):
            explainer(classifier.predict, X)(X.iloc[:1])


def test_rows_are_checked_whatever_check_additivity_says():
    model = GradientBoostingRegressor(n_estimators=5, random_state=0).fit(X, Y)
    e = shap.TreeExplainer(model)
    e.shap_values(ROWS, check_additivity=False)
    model.fit(X, -Y)
    with pytest.raises(ModelMismatchError):
        e.shap_values(ROWS, check_additivity=False)


def test_unknown_names_and_arguments():
    with pytest.raises(AttributeError, match="nothing"):
        shap.nothing  # noqa: B018
    with pytest.raises(AttributeError, match="nothing"):
        shap.plots.nothing  # noqa: B018
    with pytest.raises(AttributeError, match="nothing"):
        shap.explainers.nothing  # noqa: B018
    with pytest.raises(TypeError, match="alpah"):
        shap.plots.beeswarm(None, alpah=1)
    with pytest.raises(TypeError, match="n_samples"):
        shap.KernelExplainer(waves, SMALL).shap_values(SMALL, n_samples=3)
    with pytest.raises(TypeError, match="evals"):
        shap.Explainer(waves, SMALL)(SMALL, evals=3)
    with pytest.raises(OptionError, match="'raw', 'probability', 'log_loss'"):
        shap.TreeExplainer(BOOSTED, model_output="margins")
    with pytest.raises(TypeError, match="link"):
        shap.KernelExplainer(waves, SMALL, link=3)
    assert {"TreeExplainer", "save_html", "plots", "initjs"} <= set(dir(shap))
    for name in shap.__all__:
        assert getattr(shap, name) is not None


def test_the_layer_never_imports_shap_and_loads_nothing_before_it_is_used():
    for path in (SRC / "compat" / "shap").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not [name for name in names if name.split(".")[0] == "shap"], path
    program = "import sys; from whybox.compat import shap; dir(shap); print(*(m for m in ('numpy', 'sklearn', 'matplotlib', 'shap') if m in sys.modules))"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.split() == []


def test_arguments_that_change_nothing_else_are_honoured():
    from whybox.core import progress

    delays = []

    def watched(rows):
        delays.append(progress._delay.get())  # there is no terminal to look at
        return waves(rows)

    shap.KernelExplainer(watched, SMALL).shap_values(SMALL[:1], silent=True)
    shap.Explainer(watched, SMALL)(SMALL[:1], silent=True)
    assert delays[-1] == progress.NEVER
    shap.KernelExplainer(watched, SMALL).shap_values(SMALL[:1], gc_collect=True)
    assert delays[-1] == progress.DELAY
    sizes = []

    def sized(rows):
        sizes.append(len(rows))
        return rising(rows)

    for link, more in ((shap.links.identity, {}), (shap.links.logit, {"linearize_link": False})):
        e = shap.ExactExplainer(sized, SMALL[:6], link=link, **more)
        e(SMALL[:1])
        sizes.clear()
        e(SMALL[:1], batch_size=12)
        assert max(sizes) <= 12
    with pytest.raises(OptionError, match="a link with a hierarchy"):
        shap.ExactExplainer(rising, shap.maskers.Partition(SMALL), link=shap.links.logit, linearize_link=False)
    near(
        shap.PartitionExplainer(threefold, SMALL)(SMALL[:1]).values,
        shap.PartitionExplainer(threefold, shap.maskers.Partition(SMALL))(SMALL[:1]).values,
    )
    with pytest.raises(InputError, match="columns of numbers"):
        shap.maskers.Partition(pd.DataFrame({"a": ["x", "y"], "b": [1, 2]}))
    named = shap.Explainer(LOGISTIC.predict_proba, TRAIN, output_names=["no", "yes"])(ROWS)
    assert named[..., "yes"].shape == (5, 6)
    linked = shap.Explainer(
        LOGISTIC.predict_proba, TRAIN[:3], link=shap.links.logit, linearize_link=False, output_names=["no", "yes"]
    )
    assert linked(ROWS[:1])[..., "yes"].shape == (1, 6)
