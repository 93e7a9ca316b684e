"""Which output is explained: labels of every type, held against the column of the library's own predict_proba."""

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from catboost import CatBoostClassifier
from lightgbm import LGBMClassifier
from sklearn.ensemble import (
    BaggingClassifier,
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    VotingClassifier,
)
from sklearn.neighbors import KNeighborsClassifier
from sklearn.tree import DecisionTreeClassifier

import whybox as wb
from whybox.core.label_choice import matching_positions, output_position
from whybox.errors import OptionError, UnsupportedModelError
from whybox.kernels import tree_shap
from whybox.models.registry import as_model
from whybox.reporting.contents import SECTIONS
from whybox.reporting.performance import measure_performance

mpl.use("Agg")

LABELS = {
    "negative": [-1, 0],
    "-1 and 1": [-1, 1],
    "floats": [1.0, 2.0],
    "three floats": [-2.0, 1.0, 3.0],
    "from one": [1, 2, 3],
    "from zero": [0, 1, 2],
    "with gaps": [0, 5, 2**40],
    "booleans": [False, True],
    "text": ["no", "yes"],
    "digits as text": ["0", "1"],
    "digits as text, from one": ["1", "2", "3"],
    "leading zeros": ["00", "01", "1"],
    "a truth as text": ["False", "None", "True"],
}
MODELS = {
    "forest": lambda: RandomForestClassifier(7, max_depth=4, random_state=0),
    "tree": lambda: DecisionTreeClassifier(max_depth=4, random_state=0),
    "GradientBoosting": lambda: GradientBoostingClassifier(n_estimators=4, random_state=0),
    "HistGradientBoosting": lambda: HistGradientBoostingClassifier(max_iter=4, random_state=0),
    "LightGBM": lambda: LGBMClassifier(n_estimators=4, verbose=-1),
    "CatBoost": lambda: CatBoostClassifier(iterations=4, verbose=0, allow_writing_files=False),
}


def fitted(model, labels):
    rng = np.random.default_rng(len(labels))
    X = rng.normal(size=(150, 3))
    place = np.digitize(X[:, 0] + 0.3 * X[:, 1], [-0.2, 0.6][: len(labels) - 1])
    return model.fit(X, np.array(labels)[place]), X


def asked(labels):
    """Everything that a user could give for a class of these labels."""
    for label in labels:
        yield label
        yield np.array(labels)[labels.index(label)]
        yield str(label)
    yield from range(-2, len(labels) + 2)
    yield from (np.int64(0), np.int64(1), np.float64(1), 0.0, 1.0, 2.0, True, False, np.True_, np.False_, np.array(0))


def meant(labels, output):
    """The position that is meant, found by types alone: the label of that type, else text, else a position; "?" where two are possible."""
    output = output.item() if isinstance(output, (np.generic, np.ndarray)) else output
    if isinstance(output, str):
        number = None if output not in ("-1", "0", "1", "2", "3", "5", "1.0", "2.0", "1099511627776") else float(output)
        found = [i for i, v in enumerate(labels) if str(v) == output]
        return set(found) or {i for i, v in enumerate(labels) if not isinstance(v, (str, bool)) and v == number}
    if isinstance(output, bool):
        found = {i for i, v in enumerate(labels) if str(v) == str(output)}
        whole = {str(v) for v in labels} <= {"0", "1"}
        return found or ({int(output)} if whole else set())
    number = {str(output), str(int(output))} if output == int(output) else {str(output)}
    found = {
        i
        for i, v in enumerate(labels)
        if (not isinstance(v, str) and v == output) or (isinstance(v, str) and v in number)
    }
    if not found and all(isinstance(v, str) for v in labels) and output in (0, 1):
        found = {i for i, v in enumerate(labels) if v == str(bool(output))}
    place = {output} if isinstance(output, int) and 0 <= output < len(labels) else set()
    return found | place


@pytest.mark.parametrize("kind", LABELS)
@pytest.mark.parametrize("name", MODELS)
def test_the_class_asked_for_is_the_column_of_the_models_own_predict(name, kind):
    labels = LABELS[kind]
    model, X = fitted(MODELS[name](), labels)
    read, own = as_model(model), model.predict_proba(X[:3])
    raw = np.log(own) if own.min() > 0 else own
    every = np.asarray(wb.explain(read, X[:3]).prediction)
    for output in asked(labels):
        want = meant(labels, output)
        if len(want) != 1:
            with pytest.raises(OptionError, match="output="):
                wb.explain(read, X[:3], output=output)
            continue
        (column,) = want
        e = wb.explain(read, X[:3], output=output, spot_checks=0)
        got = np.asarray(e.prediction)
        if e.units == "probability":
            assert np.allclose(got, own[:, column]), output
        elif len(labels) == 2:
            assert np.allclose(got, raw[:, column] - raw[:, 1 - column]), output
        else:  # softmax: margins are the log of probabilities but for a constant a row
            assert np.allclose(got - every.mean(axis=1), raw[:, column] - raw.mean(axis=1)), output


@pytest.mark.parametrize("labels", [[-1, 0], [1.0, 2.0], [1, 2, 3], ["0", "1"], [False, True]])
def test_a_model_that_is_asked_takes_the_same_labels(labels):
    model, X = fitted(KNeighborsClassifier(5), labels)
    moved = X[:10].copy()
    moved[:, 0] = 0.5
    own = model.predict_proba(moved).mean(axis=0)
    for output in asked(labels):
        want = meant(labels, output)
        if len(want) != 1:
            with pytest.raises(OptionError, match="output="):
                wb.effects(model, X[:10], 0, output=output)
            continue
        curve = wb.effects(model, X[:10], 0, output=output, grid={0: [0.5]})[0]
        assert np.allclose(curve.values, own[next(iter(want))]), output


def test_every_verb_and_figure_refuses_what_could_be_two():
    model, X = fitted(RandomForestClassifier(5, random_state=0), [1, 2, 3])
    e = wb.explain(model, X[:5])
    for ask in (
        lambda o: wb.explain(model, X[:2], output=o),
        lambda o: wb.explain(model, X[:2], X[:9], output=o, order=2),
        lambda o: wb.plan(wb.explain, model, 10, output=o),
        lambda o: wb.importance(model, X[:5], output=o),
        lambda o: wb.effects(model, X[:20], 0, output=o),
        lambda o: wb.plan(wb.effects, model, X[:20], 0, output=o),
        lambda o: wb.interactions(model, X[:20], output=o),
        lambda o: wb.regions(model, X[:50], 0, output=o),
        lambda o: e.plot.beeswarm(output=o),
        lambda o: e[0].plot.waterfall(output=o),
        lambda o: e.plot.bar(output=o),
    ):
        for output in (1, np.int64(2)):
            with pytest.raises(
                OptionError, match=f"output='{output}' for the output called so, output='{output + 1}' for"
            ):
                ask(output)
        for output in ("1", 3, 1.0, np.float64(2)):
            ask(output)
    assert wb.importance(model, X[:5], output=2.0).coords.get("output", ["2"])[0] == "2"


@pytest.mark.usefixtures("unwritten_pictures")
def test_a_report_takes_the_label(tmp_path):
    model, X = fitted(RandomForestClassifier(5, random_state=0), [1, 2, 3])
    e = wb.report(model, X[:30], tmp_path / "r.html", output=2.0, sections=SECTIONS[:4])
    assert np.allclose(e.prediction, model.predict_proba(X[:30])[:, 1])
    with pytest.raises(OptionError, match="output='2'"):
        wb.report(model, X[:30], tmp_path / "s.html", output=2)


def test_a_class_called_as_a_scale_is_a_class_and_all_alone_is_refused():
    model, X = fitted(RandomForestClassifier(5, random_state=0), ["all", "probability", "raw"])
    with pytest.raises(OptionError, match="output=0, for the one called so"):
        wb.explain(model, X[:2], output="all")
    own = model.predict_proba(X[:2])
    for at, name in enumerate(("all", "probability", "raw")):
        for scale in (None, "raw", "probability", "response"):
            for output in (at, name)[: 1 if name == "all" else 2]:
                got = wb.explain(model, X[:2], output=output, scale=scale)
                assert got.coords["output"].tolist() == [name]
                assert np.allclose(got.prediction, own[:, at])


@pytest.mark.parametrize("word", ["raw", "probability", "response"])
def test_a_scale_given_as_an_output_is_refused_with_the_option_to_use(word):
    model, X = fitted(RandomForestClassifier(5, random_state=0), ["no", "yes"])
    for verb in (wb.explain, wb.importance, wb.effects, wb.interactions):
        with pytest.raises(OptionError, match=f"write scale='{word}'"):
            verb(model, X[:5], output=word)
    with pytest.raises(OptionError, match=f"write scale='{word}'"):
        wb.regions(lambda rows: rows[:, 0], X[:30], 0, output=word)


@pytest.mark.parametrize(
    ("scale", "says"),
    [
        ("yes", "write output='yes'"),
        ("all", "write output='all'"),
        ("probabilty", "Did you mean"),
        (1, "Known"),
        (np.ones(2), "not a scale"),
    ],
)
def test_what_is_no_scale_is_refused(scale, says):
    model, X = fitted(RandomForestClassifier(5, random_state=0), ["no", "yes"])
    with pytest.raises(OptionError, match=says):
        wb.explain(model, X[:2], scale=scale)


def test_slices_by_label():
    model, X = fitted(ExtraTreesClassifier(5, random_state=0), [1, 2, 3])
    e, own = wb.explain(model, X[:4]), model.predict_proba(X[:4])
    for label in ("1", 1, 1.0, np.int64(1), "1.0"):
        assert np.allclose(e.sel(output=label).prediction, own[:, 0])
    assert np.allclose(e[..., "1"].prediction, own[:, 0])
    assert np.allclose(e[..., 1].prediction, own[:, 1])  # a position, as in numpy
    assert np.allclose(e.sel(output=[3, "1"]).prediction, own[:, [2, 0]])
    with pytest.raises(OptionError, match="0 is not there"):
        e.sel(output=0)
    for truth in (True, np.False_):
        with pytest.raises(OptionError, match="no position"):
            e[..., truth]


def test_large_numbers_are_told_apart():
    names = [str(2**53), str(2**53 + 1), "1e300"]
    assert matching_positions(2**53 + 1, names) == [1]
    assert matching_positions(2.0**53, names) == [0]
    assert matching_positions(1e300, names) == [2]
    assert matching_positions(10**300, names) == []  # 1e300 is not quite that
    assert matching_positions(float("nan"), names) == []


def test_labels_that_write_one_number_twice():
    with pytest.raises(
        OptionError, match="2 outputs are called so; write the label as text: output='1.0' or output='1.00'"
    ):
        output_position("output", 1, ["1.0", "1.00", "x"])
    assert output_position("output", "1.00", ["1.0", "1.00", "x"]) == 1
    assert output_position("output", "01", ["1", "2"]) is None
    with pytest.raises(OptionError, match="2 outputs are called so"):
        output_position("output", "a", ["a", "a"])


def test_targets_of_networks():
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    net = torch.nn.Linear(4, 3).eval()
    x, W = torch.randn(2, 4), net.weight.detach().numpy()
    names = ["3", "1", "0"]
    assert np.allclose(wb.saliency(net, x, 1, output_names=names).values, np.tile(W[1], (2, 1)))
    assert np.allclose(wb.saliency(net, x, 3, output_names=names).values, np.tile(W[0], (2, 1)))
    assert np.allclose(wb.saliency(net, x, "0", output_names=names).values, np.tile(W[2], (2, 1)))
    assert np.allclose(wb.saliency(net, x, 2, output_names=names).values, np.tile(W[2], (2, 1)))
    assert np.allclose(wb.saliency(net, x, [1, 2], output_names=names).values, W[[1, 2]])
    for target in (0, np.int64(0), [1, 0]):
        with pytest.raises(
            OptionError, match="target='0' for the output called so, target='3' for the one at position 0"
        ):
            wb.saliency(net, x, target, output_names=names)
    with pytest.raises(OptionError, match="target='-1' for the output called so, target='1'"):
        wb.saliency(net, x, -1, output_names=["-1", "0", "1"])
    assert np.allclose(wb.saliency(net, x, -1).values, np.tile(W[2], (2, 1)))


@pytest.mark.parametrize("label", [0, 5, "a", True])
@pytest.mark.parametrize(
    "make",
    [
        lambda: HistGradientBoostingClassifier(max_iter=2),
        lambda: LGBMClassifier(n_estimators=2, verbose=-1),
        lambda: BaggingClassifier(DecisionTreeClassifier(), 2),
        lambda: VotingClassifier([("t", DecisionTreeClassifier())], voting="soft"),
    ],
)
def test_a_classifier_that_saw_one_class_is_refused(make, label):
    """Its raw score would be about a class that is not there, under the name of the one that is."""
    X = np.random.default_rng(0).normal(size=(60, 2))
    model = make().fit(X, np.full(60, label))
    with pytest.raises(UnsupportedModelError, match="saw one class only"):
        wb.explain(model, X[:3])
    curve = wb.effects(model, X[:10], 0, grid={0: [0.0]})[0]  # it is asked, about probabilities
    assert np.allclose(np.sort(curve.values.ravel()), np.sort(model.predict_proba(X[:1])[0]))
    assert curve.units == "probability"


def test_one_class_of_a_forest_is_certain():
    X = np.random.default_rng(0).normal(size=(60, 2))
    e = wb.explain(RandomForestClassifier(2).fit(X, np.full(60, 5)), X[:3], output=5)
    assert e.prediction.tolist() == [1, 1, 1]
    assert not e.values.any()


def test_a_model_of_several_targets_that_is_asked_names_target_and_class():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(80, 2))
    model = KNeighborsClassifier(5).fit(X, np.column_stack([rng.choice([1, 2], 80), rng.choice([-1, 0, 3], 80)]))
    moved = X[:10].copy()
    moved[:, 0] = 0.5
    two, three = (p.mean(axis=0) for p in model.predict_proba(moved))
    found = wb.effects(model, X[:10], 0, grid={0: [0.5]})[0]
    assert found.output_names == ("y0=2", "y1=-1", "y1=0", "y1=3")
    assert np.allclose(found.values[0], [two[1], *three])
    assert wb.effects(model, X[:10], 0, grid={0: [0.5]}, output="y1=0")[0].values == pytest.approx(three[1])


@pytest.mark.parametrize("labels", [[-1, 0], [1.0, 2.0], [1, 2, 3], ["01", "1"], [False, True]])
@pytest.mark.usefixtures("unwritten_pictures")
def test_scores_of_a_report_match_the_truth_by_label(labels, tmp_path):
    model, X = fitted(RandomForestClassifier(5, max_depth=3, random_state=0), labels)
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    truth = np.array(labels)[np.digitize(X[:, 0], [-0.2, 0.6][: len(labels) - 1])]
    read = as_model(model)
    found = measure_performance(read, tree_shap.predict(read, X), truth)
    assert {name: value for name, value, _ in found.scores}["Accuracy"] == pytest.approx(
        (model.predict(X) == truth).mean()
    )
    told = [s for s in SECTIONS if s.anchor in ("performance", "decisions")]
    wb.report(model, frame.assign(truth=truth), tmp_path / "r.html", y="truth", sections=told)
