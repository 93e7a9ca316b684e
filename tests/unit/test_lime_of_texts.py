"""``wb.lime`` of texts: what it takes and refuses, and that its result is an explanation like any other."""

import inspect
import pickle
from dataclasses import fields
from functools import partial

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import sklearn.cluster
import sklearn.linear_model
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import make_pipeline

import whybox as wb
from whybox.errors import EmptyDataError, InputError, OptionError, UnsupportedModelError
from whybox.explainers import Lime
from whybox.methods.lime.options import LimeOptions
from whybox.methods.lime.text_options import LimeTextOptions
from whybox.methods.lime.text_plan import plan_texts
from whybox.methods.registry import find, options_of


def docstrings(module):
    found = (inspect.getdoc(getattr(module, name)) for name in module.__all__)
    return [text[:600] for text in found if text]


TEXTS = {"linear": docstrings(sklearn.linear_model), "cluster": docstrings(sklearn.cluster)}
SHORT = ["clusters of the samples", "a linear model and a ridge penalty", "samples"]
MODELS = {
    "naive Bayes of counts": (CountVectorizer(), MultinomialNB()),
    "logistic regression of tf-idf": (TfidfVectorizer(sublinear_tf=True, stop_words="english"), LogisticRegression(C=20)),
    "forest of counts": (CountVectorizer(max_features=200), RandomForestClassifier(10, random_state=0)),
}  # fmt: skip


def fitted(*steps):
    texts = [text for group in TEXTS.values() for text in group]
    return make_pipeline(*steps).fit(texts, [name for name, group in TEXTS.items() for _ in group])


@pytest.fixture(scope="module")
def model():
    return fitted(*MODELS["logistic regression of tf-idf"])


@pytest.fixture(scope="module")
def text():
    return TEXTS["linear"][0]


@pytest.fixture(scope="module")
def e(model, text):
    return wb.lime(model, [text, *SHORT], max_evals=300)


def lime_fit(predict, text, words, width=25.0):
    """lime's own weighted regression over every way to leave out words, as its samples come infinitely often."""
    d = len(words)
    present = np.array([[bool(code >> j & 1) for j in range(d)] for code in range(2**d - 1)])
    written = []
    for mask in present:
        found = text
        for word in (w for w, kept in zip(words, mask, strict=True) if not kept):
            found = " ".join(t for t in found.split() if t != word)
        written.append(found)
    sizes = present.sum(axis=1)
    distance = 100 * (1 - np.sqrt(sizes / d))
    chance = np.array([1 / (d * len(sizes[sizes == s])) for s in sizes])
    weight = np.sqrt(chance * np.exp(-(distance**2) / (2 * width**2)))
    columns = np.column_stack([np.ones(len(present)), present])
    outputs = predict(written)
    return np.linalg.lstsq(columns * weight[:, None], outputs * weight, rcond=None)[0][1:]


@pytest.mark.parametrize("name", MODELS)
def test_a_short_text_has_the_limit_of_lime_exactly(name):
    pipeline = fitted(*MODELS[name])
    short = "a linear model and its ridge penalty for samples"
    e = wb.lime(pipeline, short, output="linear", scale="probability")
    assert e.evidence.exact
    assert e.std_error is None
    assert e.dims == ("row", "word")
    assert e.coords["word"].tolist() == short.split()
    expected = lime_fit(lambda texts: pipeline.predict_proba(texts)[:, 1], short, short.split())
    np.testing.assert_allclose(e.values[0], expected, atol=1e-12)
    of_strings = wb.lime(pipeline.predict_proba, short, output="linear")
    np.testing.assert_allclose(of_strings.values, e.values, atol=1e-14)


@pytest.mark.parametrize("name", MODELS)
def test_a_pipeline_and_its_function_of_strings_have_the_same_values(name, text):
    pipeline = fitted(*MODELS[name])
    read = wb.lime(pipeline, text, max_evals=200)
    strings = wb.lime(lambda texts: pipeline.predict_proba(texts)[:, 1], text, max_evals=200)
    assert "word counts from masks" in " ".join(read.evidence.notes)
    assert read.evidence.verdict["against"] == "Pipeline.predict_proba on 6 texts with some words left out"
    assert read.evidence.agreement < 1e-12
    assert strings.evidence.verdict["against"] == "nothing: the model itself was evaluated"
    assert "texts as strings (the model is a function of texts)" in " ".join(strings.evidence.notes)
    np.testing.assert_allclose(read.values, strings.values, rtol=0, atol=1e-13)
    np.testing.assert_allclose(read.std_error, strings.std_error, rtol=0, atol=1e-13)


def test_texts_come_as_a_text_a_list_an_array_or_a_column(model):
    expected = wb.lime(model, SHORT)
    one = wb.lime(model, SHORT[1])
    assert one.coords["word"].tolist() == ["a", "linear", "model", "and", "ridge", "penalty"]
    np.testing.assert_array_equal(one.values[0], expected[1].values)
    frame = pd.DataFrame({"text": SHORT}, index=[7, 8, 9])
    same = [
        tuple(SHORT), np.array(SHORT), np.array(SHORT, dtype=object), frame["text"], frame["text"].astype("string"), frame["text"].astype("category"),
        pd.Index(SHORT), pl.Series(SHORT), pa.array(SHORT), pa.chunked_array([SHORT]), np.array(SHORT, dtype=np.dtypes.StringDType()),
    ]  # fmt: skip
    for texts in same:
        np.testing.assert_array_equal(wb.lime(model, texts).values, expected.values)


def test_the_explainer_is_kept_and_pickled(model):
    explain = wb.explainers.Lime(model, max_evals=300, seed=2)
    expected = wb.lime(model, SHORT, max_evals=300, seed=2)
    for kept in (explain, pickle.loads(pickle.dumps(explain)), wb.explainers.Lime(model, None, LimeTextOptions(max_evals=300, seed=2))):  # fmt: skip
        np.testing.assert_array_equal(kept(SHORT).values, expected.values)
    assert repr(explain) == "Lime(Pipeline, of texts)"
    assert {o.name for o in options_of(find("lime", "words"))} <= {*inspect.signature(wb.lime).parameters}


def test_a_text_has_the_same_numbers_wherever_it_stands(model, text):
    """lime#67, #231, #486: the same row twice differs."""
    first = wb.lime(model, [text, SHORT[0], text], max_evals=200)
    np.testing.assert_array_equal(first[0].values, first[2].values)
    np.testing.assert_array_equal(first[0].std_error, wb.lime(model, text, max_evals=200)[0].std_error)
    assert (wb.lime(model, text, max_evals=200, seed=1).values != first[0].values).any()


def test_intervals_cover_the_exact_values(model):
    words = [word for word in " ".join(TEXTS["cluster"]).split() if word.isalpha()]
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(words, 11)) for _ in range(30)]
    exact = wb.lime(model, texts, max_evals=2200)
    drawn = wb.lime(model, texts, max_evals=250, tol=0)
    assert exact.evidence.exact
    assert not drawn.evidence.exact
    counts = (np.isfinite(exact.values) & (np.abs(exact.values) > 1e-9)) & (drawn.std_error > 0)
    low, high = drawn.interval
    covered = ((low <= exact.values) & (exact.values <= high))[counts]
    assert covered.size > 60
    assert 0.9 < covered.mean() < 0.99


class Words:
    """A model that counts words of its own, and keeps the texts it was given."""

    def __init__(self, *words):
        self.words, self.given = words, []

    def __call__(self, texts):
        self.given += texts
        return [float(sum(text.count(word) for word in self.words)) for text in texts]


def test_a_text_without_words_is_refused_before_the_model_is_evaluated():
    """lime: an error deep inside NumPy for an empty text."""
    counted = Words("good")
    for texts, words in (("", "row 0 is empty"), (["a", " \n"], "row 1 is empty"), (["a", "... !"], "row 1 has no words")):  # fmt: skip
        with pytest.raises(InputError, match=words):
            wb.lime(counted, texts)
    with pytest.raises(InputError, match="row 1 is a float, not a text"):
        wb.lime(counted, ["a good one", np.nan])
    assert counted.given == []
    assert float(wb.lime(counted, "... good", tokenizer=r"\s+")[0, "good"]) == pytest.approx(1.0)


def test_texts_of_one_word_stop_words_and_repeated_words(model):
    one = wb.lime(model, "ridge")
    assert one.evidence.exact
    assert float(one[0, "ridge"]) == pytest.approx(float(model.predict_proba(["ridge"])[0, 1] - model.predict_proba([""])[0, 1]))  # fmt: skip
    stops = wb.lime(model, "the of and it")  # the vectorizer leaves all of them out
    assert np.abs(stops.values).max() < 1e-12
    assert np.isnan(stops.extras["r_squared"][1]).all()
    assert stops.evidence.exact
    text = "good, bad; good - Good"
    together = wb.lime(Words("good"), text)
    assert together.coords["word"].tolist() == ["good", "bad", "Good"]
    np.testing.assert_allclose(together.values[0], [2.0, 0.0, 0.0], atol=1e-12)
    apart = wb.lime(Words("good"), text, by_position=True)
    assert apart.coords["word"].tolist() == ["good", "bad", "good", "Good"]
    np.testing.assert_allclose(apart.values[0], [1.0, 0.0, 1.0, 0.0], atol=1e-12)
    with pytest.raises(OptionError, match="2 entries of the axis word are called 'good'"):
        apart[0, "good"]


def test_unicode_and_html(tmp_path):
    text = "<b>Größe</b> & 日本 é\N{COMBINING ACUTE ACCENT} \N{FAMILY} $x$ \ud800 <script>alert(1)</script>"
    e = wb.lime(Words("Größe", "日本"), text, tokenizer=r"\s+")
    np.testing.assert_allclose(float(e[0, "日本"]), 1.0, atol=1e-12)
    page = e._repr_html_()
    assert "<script>" not in page
    assert "&lt;b&gt;Größe" in page
    assert len(page) < 20_000
    assert e.extras["text"][1].tolist() == [text]
    e.save(tmp_path / "e.whybox")
    assert wb.load(tmp_path / "e.whybox").extras["word"][1].tolist() == e.extras["word"][1].tolist()
    characters = wb.lime(Words("本"), "日\0本", tokenizer="characters")
    assert characters.coords["word"].tolist() == ["日", "\0", "本"]
    np.testing.assert_allclose(characters.values[0], [0, 0, 1], atol=1e-12)


def test_what_stands_for_an_absent_word(model):
    counted = Words("good")
    wb.lime(counted, "a good film", mask_string="UNKWORDZ")
    assert "UNKWORDZ good UNKWORDZ" in counted.given
    assert all(len(text.split()) == 3 for text in counted.given)
    with pytest.raises(OptionError, match="mask_string=3 must be a text"):
        wb.lime(model, SHORT, mask_string=3)


TABLE_OPTIONS = {
    "y": [1, 0, 1], "discretizer": "quartile", "neighbourhood": "lime", "players": {"a": ["b"]}, "background_weight": [1.0], "n_jobs": 1, "spot_checks": 0,
}  # fmt: skip


def test_options_of_tables_are_refused_by_name(model):
    of_tables = {f.name for f in fields(LimeOptions)} - {f.name for f in fields(LimeTextOptions)}
    assert set(TABLE_OPTIONS) == of_tables
    for name, value in TABLE_OPTIONS.items():
        with pytest.raises(OptionError, match=f"{name} is an option of tables, and these are texts"):
            wb.lime(model, SHORT, **{name: value})
    with pytest.raises(OptionError, match="background is an option of tables"):
        wb.lime(model, SHORT, SHORT)
    for wrong, words in (
        ({"method": "exact"}, "'words' is the only one"),
        ({"method": LimeOptions()}, "has options of tables"),
        ({"kernel_width": [10, 25]}, "takes one width"),
        ({"kernel_width": np.sqrt}, "kernel of your own"),
        ({"toknizer": None}, "Did you mean 'tokenizer'"),
        ({"bow": False}, "no option here: write by_position=True"),
        ({"num_features": 10}, "no option here: every word has a value. top says"),
        ({"split_expression": " "}, "no option here: write tokenizer="),
        ({"tol": -1}, "tol"),
        ({"max_evals": 10}, "max_evals=10 is too small"),
    ):
        with pytest.raises(OptionError, match=words):
            wb.lime(model, SHORT, **wrong)


def test_options_of_texts_are_refused_for_tables():
    rows = np.random.default_rng(0).normal(size=(20, 2))
    for name in ("tokenizer", "by_position", "mask_string", "batch_size"):
        with pytest.raises(OptionError, match=f"{name} is an option of texts, and X is a table"):
            wb.lime(lambda r: r.sum(axis=1), rows, rows, **{name: None})
        with pytest.raises(OptionError, match=f"{name} is an option of texts"):
            wb.explainers.Lime(lambda r: r.sum(axis=1), rows, **{name: None})


def test_a_table_for_a_model_of_texts_is_refused(model):
    table = pd.DataFrame({"review": SHORT})
    searched = GridSearchCV(make_pipeline(CountVectorizer(), LogisticRegression()), {}, cv=2).fit(
        SHORT * 4, [0, 1, 1] * 4
    )
    for each in (model, model.predict_proba, searched):
        with pytest.raises(InputError, match=r"takes texts, and this is a table.*X\['review'\]"):
            wb.lime(each, table, table)
    with pytest.raises(InputError, match="takes texts"):
        wb.explainers.Lime(model, table)
    with pytest.raises(InputError, match="give it rows like those of training"):
        wb.explainers.Lime(model)(table)


@pytest.mark.parametrize("name", ["char", "chars", "character"])
def test_a_name_for_characters_is_no_expression(model, name):
    with pytest.raises(OptionError, match=f"tokenizer='{name}' is read as.* write tokenizer='characters'"):
        wb.lime(model, SHORT, tokenizer=name)


@pytest.mark.parametrize("nothing", [[], (), np.array([], dtype=object), pd.Series([], dtype=object)])
def test_no_texts_are_refused_as_such(model, nothing):
    for call in (partial(wb.lime, model), Lime(model), partial(wb.plan, wb.lime, model)):
        with pytest.raises(EmptyDataError, match="there are no texts: X is empty"):
            call(nothing)


def test_a_raw_scale_that_a_model_of_texts_does_not_have_is_said(model):
    said = "scale='raw': no additive scale of this model is known, so values are of its probabilities."
    assert said in wb.lime(model, SHORT[:1], scale="raw").evidence.notes
    assert said not in wb.lime(model, SHORT[:1]).evidence.notes


def test_texts_for_a_model_of_tables_are_refused(tmp_path):
    X = np.random.default_rng(0).normal(size=(30, 2))
    forest = RandomForestClassifier(2, random_state=0).fit(X, X[:, 0] > 0)
    for each, name in ((forest, "RandomForestClassifier"), (forest.predict_proba, "method"), (str(tmp_path / "m.json"), "the file m.json")):  # fmt: skip
        with pytest.raises(InputError, match=f"takes the columns of a table.*|{name}"):
            wb.lime(each, SHORT)
    with pytest.raises(OptionError, match="draws values of features from a background"):
        wb.explainers.Lime(forest)
    row = pd.DataFrame({"age": [1.0, 2.0], "city": ["Rome", "Bern"]}).iloc[0]
    with pytest.raises(InputError, match="X has one dimension; pass two"):  # a row of a table is no list of texts
        wb.lime(lambda rows: np.ones(len(rows)), row, X)
    explain = wb.explainers.Lime(forest, X)
    with pytest.raises(InputError, match="For texts make one without"):
        explain(SHORT)
    with pytest.raises(UnsupportedModelError, match="gives labels of classes"):
        wb.lime(fitted(*MODELS["naive Bayes of counts"]).predict, SHORT)
    with pytest.raises(InputError, match="a report is about rows of a table, and these are texts"):
        wb.report(fitted(*MODELS["naive Bayes of counts"]), SHORT, tmp_path / "r.html")


def test_one_text_has_its_own_words(e):
    assert e.coords["word"].tolist() == list(range(e.shape[1]))
    one = e[2]
    assert one.dims == ("word",)
    assert one.coords["word"].tolist() == ["a", "linear", "model", "and", "ridge", "penalty"]
    assert float(e[2, "ridge"]) == float(one["ridge"]) == float(e.sel(row=2, word="ridge")) == e.values[2, 4]
    assert one.ordered(1).tolist() == [int(np.abs(one.values).argmax())]
    assert e[:2, :3].shape == (2, 3)
    assert e[[2]].shape == (1, e.shape[1])
    assert np.isnan(e.values[2, 6:]).all()
    start, end = (one.extras[name][1] for name in ("start", "end"))
    assert [SHORT[1][a:b] for a, b in zip(start, end, strict=True)] == one.coords["word"].tolist()


def test_tables_hold_words_that_are_there(e):
    table = e.to_frame()
    assert table.columns[:3].tolist() == ["row", "word", "local"]
    assert len(table) == np.isfinite(e.values).sum()
    assert table["word"].tolist() == [w for w in e.extras["word"][1].reshape(-1) if w]
    assert {"std_error", "interval_low", "rank", "start", "end", "r_squared"} <= {*table}
    assert "text" not in table
    assert e.to_frame(library="polars").shape[0] == e.to_arrow().num_rows == len(table)
    assert e[1].to_frame()["word"].tolist() == ["clusters", "of", "the", "samples"]
    assert e.to_xarray().sizes["word"] == e.shape[1]
    with pytest.raises(OptionError, match="texts has no wide layout"):
        e.to_frame(layout="wide")


def test_what_is_saved_and_pickled_comes_back(e, tmp_path):
    e.save(tmp_path / "e.whybox")
    for other in (wb.load(tmp_path / "e.whybox"), pickle.loads(pickle.dumps(e))):
        np.testing.assert_array_equal(other.values, e.values)
        np.testing.assert_array_equal(other[1].coords["word"], e[1].coords["word"])
        assert other.extras["occurrences"][1].tolist() == e.extras["occurrences"][1].tolist()
        assert other.evidence.method_id == "lime.words"
        assert other._repr_html_() == e._repr_html_()


def test_texts_explained_in_parts_are_those_of_one_call(model, text, e):
    parts = [wb.lime(model, each, max_evals=300) for each in ([SHORT[1]], [text, SHORT[0]], [SHORT[2]])]
    joined, whole = wb.concat(parts), wb.lime(model, [SHORT[1], text, SHORT[0], SHORT[2]], max_evals=300)
    np.testing.assert_array_equal(joined.values, whole.values)
    np.testing.assert_array_equal(joined.std_error, whole.std_error)
    for name, (dims, array) in whole.extras.items():
        assert joined.extras[name][0] == dims
        # the first text of a call is asked twice more, to learn what the model returns
        more = [0, 2, 0, 2] if name == "predictions" else 0
        np.testing.assert_array_equal(joined.extras[name][1], array + more if np.any(more) else array)
    assert not joined.evidence.exact
    assert joined[0].to_frame().equals(whole[0].to_frame())
    with pytest.raises(OptionError, match="settings differs"):
        wb.concat([parts[0], wb.lime(model, SHORT, max_evals=300, kernel_width=10)])


def test_few_texts_show_the_words_that_matter():
    texts = ["good good film", "a good film", "bad song", "bad, long", "nothing"]
    e = wb.lime(Words("good", "bad"), texts)
    picked = wb.submodular_pick(e, 2, top=1)
    assert sorted(picked.coords["row"].tolist()) == [0, 2]
    np.testing.assert_allclose(picked.extras["pick_coverage"][1][-1], 1.0, atol=1e-6)
    several = wb.lime(fitted(*MODELS["naive Bayes of counts"]), SHORT, output="all")
    with pytest.raises(OptionError, match=r"has several.*pick one: e\[\.\.\., 'cluster'\]"):
        wb.submodular_pick(several)
    assert len(wb.submodular_pick(several[..., 1], 2)) == 2


def colors(ax):
    """The ground of each word that has one."""
    written = {t.get_position(): t.get_text() for t in ax.texts}
    return {written[p.get_x(), p.get_y() + 0.4]: p.get_facecolor() for p in ax.patches}


@pytest.mark.parametrize("style", ["default", "dark_background"])
def test_words_are_drawn_on_coloured_grounds(style):
    with plt.style.context(style):
        e = wb.lime(
            lambda texts: [t.count("good") - 0.5 * t.count("bad") for t in texts],
            ["A good, bad\nand good $film", "bad"],
        )
        ax = e.plot.words(0)
        grounds = colors(ax)
        assert set(grounds) == {"good", "bad"}
        assert grounds["good"][0] > grounds["good"][2]
        assert grounds["bad"][2] > grounds["bad"][0]
        written = [t.get_text() for t in ax.texts]
        assert [t for t in written if t in ("A", "good", ",", "bad", "and", r"\$", "film")] == ["A", "good", ",", "bad", "and", "good", r"\$", "film"]  # fmt: skip
        assert ax.get_title(loc="left") == "Row 0"
        assert "prediction 1.5, local model 1.5, R squared 1" in written
        assert "red adds to the output" in ax.get_xlabel()
        bars = e.plot.local(0, max_display=2)
        assert [t.get_text() for t in bars.get_yticklabels()] == ["good", "bad"]
        assert "3 smaller words are left out" in bars.get_xlabel()
        plt.close("all")


def test_what_speaks_against_a_picture_stands_above_it():
    e = wb.lime(lambda texts: [float(("good" in t) != ("bad" in t)) for t in texts], ["good and bad"])
    for draw in (e.plot.words, e.plot.local):
        bold = [t.get_text() for t in draw(0).texts if t.get_fontweight() == "bold"]
        assert any(t.startswith("R squared 0.") and t.endswith("a linear model describes little here") for t in bold)
    assert "a linear model describes little here" in e._repr_html_()
    assert any("R squared is below 0.5 for 1 of 1 texts" in note for note in e.evidence.notes)
    long = wb.lime(lambda texts: np.array([len(t) for t in texts], dtype=float), " ".join(f"word{i}" for i in range(700)), max_evals=100)  # fmt: skip
    assert "more words of the text are not drawn" in long.plot.words().get_xlabel()
    assert len(long._repr_html_()) < 200_000
    plt.close("all")


def test_other_figures_name_those_of_texts(e):
    assert dir(e.plot) == ["local", "words"]
    for name in ("bar", "beeswarm", "heatmap", "waterfall"):
        with pytest.raises(OptionError, match=r"plot\.words, on coloured grounds, and by plot\.local"):
            getattr(e.plot, name)()
    with pytest.raises(OptionError, match=r"row=9: there are 4 texts"):
        e.plot.words(9)
    with pytest.raises(OptionError, match="beside"):
        e.plot.local(0, beside=e[0])
    assert mpl.get_backend().lower() == "agg"


def test_every_class_has_values_and_a_label():
    """lime#106, #97, #165: KeyError 1 where another class is on top."""
    three = ["alpha beta", "gamma delta", "omega psi"]
    several = make_pipeline(CountVectorizer(), MultinomialNB()).fit(three, ["a", "b", "c"])
    e = wb.lime(several, ["alpha gamma", "omega"])
    assert e.output_names == ("a", "b", "c")
    np.testing.assert_allclose(e.values[0].sum(axis=-1)[:2], 0.0, atol=1e-12)
    for output in "abc":
        assert np.isfinite(e[0, :, output].values).all()
        assert e[0, :, output]._repr_html_()
        assert e[..., output].plot.local(1) is not None
    own = wb.lime(several, ["alpha gamma gamma", "omega"], output="predicted")
    assert own.extras["label"][1].tolist() == ["b", "c"]
    assert float(own[0, "gamma"]) > 0
    plt.close("all")


def test_answers_with_labels_have_an_output_for_each():
    """As text-classification pipelines of transformers answer."""

    def classify(texts):
        return [
            [{"label": "bad", "score": 1 - 0.1 * t.count("good")}, {"label": "good", "score": 0.1 * t.count("good")}]
            for t in texts
        ]

    e = wb.lime(classify, ["a good film, good"], output="good")
    assert float(e[0, "good"]) == pytest.approx(0.2)
    assert e.units == "probability"


def test_a_plan_says_how_many_predictions_it_takes_at_most(model, text):
    for texts, exact in (([SHORT[1], SHORT[2]], True), ([text, SHORT[0]], False)):
        counted = Counted(model.predict_proba)
        plan = plan_texts(counted, LimeTextOptions(max_evals=400), texts)
        planned, counted.count = counted.count, 0
        e = wb.lime(counted, texts, max_evals=400)
        assert (plan.exact, plan.exact) == (e.evidence.exact, exact)
        assert (plan.method_id, plan.rows) == (e.evidence.method_id, 2)
        assert e.evidence.model_calls <= plan.model_calls <= 800
        assert counted.count <= plan.model_calls + 1  # one to learn what the model returns
        assert planned < 1_000
        assert np.isfinite(plan.seconds)
        assert "at most" in str(plan)
        assert ("draws stop" in str(plan)) is not exact
    planned = wb.plan(wb.lime, model, [text, SHORT[0]], max_evals=400)
    assert (planned.method_id, planned.model_calls, planned.exact) == (plan.method_id, plan.model_calls, False)
    with pytest.raises(OptionError, match="discretizer is an option of tables"):
        wb.plan(wb.lime, model, SHORT, discretizer="decile")
    with pytest.raises(InputError, match="row 1 is empty"):
        plan_texts(model, LimeTextOptions(), ["a", ""])


class Counted:
    """A model that counts the texts it is given."""

    def __init__(self, model):
        self.model, self.count = model, 0

    def __call__(self, texts):
        self.count += len(texts)
        return self.model(texts)
