"""Explainers of texts that are kept, ``whybox explain --text``, and the bar of the words of several texts."""

import inspect
import json
import pickle

import joblib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import polars as pl
import pyarrow.parquet as pq
import pytest
import sklearn.cluster
import sklearn.linear_model
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

import whybox as wb
from whybox.cli.main import main
from whybox.errors import InputError, LimitError, ModelMismatchError, OptionError
from whybox.explainers import ExactShap, Lime, PartitionShap, SampledShap
from whybox.methods.shap.options import ShapOptions
from whybox.methods.shap.text_options import ShapTextOptions

TEXTS = ["Clusters of samples: mean shift", "a linear model and a ridge penalty", "samples"]
CLASSES = {"exact_shap": ExactShap, "sampled_shap": SampledShap, "partition_shap": PartitionShap}


def fitted():
    texts, topics = [], []
    for topic, module in {"cluster": sklearn.cluster, "linear": sklearn.linear_model}.items():
        for name in module.__all__:
            if text := inspect.getdoc(getattr(module, name)):
                texts.append(text[:300])
                topics.append(topic)
    return make_pipeline(TfidfVectorizer(), LogisticRegression(C=10)).fit(texts, topics)


@pytest.fixture(scope="module")
def model():
    return fitted()


def bytes_of(e):
    evidence = {k: v for k, v in e.evidence.to_dict().items() if k not in ("seconds", "created")}
    arrays = [e.values, e.prediction, e.std_error, *(array for _, array in e.extras.values())]
    return [None if a is None else np.asarray(a).tolist() for a in arrays], json.dumps(evidence, default=str)


@pytest.mark.parametrize("method", CLASSES)
@pytest.mark.parametrize("options", [{}, {"output": "predicted", "max_evals": 300, "tol": 0.0, "by_position": True}])
def test_an_explainer_that_is_kept_gives_the_bytes_of_the_function(model, method, options):
    explainer = CLASSES[method](model, **options)
    expected = bytes_of(wb.explain(model, TEXTS, method=method, **options))
    by_object = CLASSES[method](model, None, ShapTextOptions(method=method, **options))
    for kept in (explainer, explainer, pickle.loads(pickle.dumps(explainer)), by_object):
        assert str(bytes_of(kept(TEXTS))) == str(expected)
    np.testing.assert_array_equal(explainer(TEXTS[1])[0].values, explainer(TEXTS)[1].values)
    assert repr(explainer) == f"{CLASSES[method].__name__}(Pipeline, of texts)"
    plan = explainer.plan(TEXTS)
    assert (plan.method_id, plan.rows) == (f"shap.{method}", 3)
    assert plan.model_calls == wb.plan(wb.explain, model, TEXTS, method=method, **options).model_calls


@pytest.mark.parametrize("method", CLASSES)
def test_a_pipeline_and_its_function_of_strings_have_the_same_values(model, method):
    text = inspect.getdoc(sklearn.linear_model.Ridge)[:160]
    options = {"max_evals": 2**14 if method == "exact_shap" else 900, "tol": 0.0}
    text = " ".join(text.split()[:12]) if method == "exact_shap" else text
    read = CLASSES[method](model, **options)(text)
    strings = CLASSES[method](lambda texts: model.predict_proba(texts)[:, 1], **options)(text)
    assert "word counts from masks" in " ".join(read.evidence.notes)
    assert "texts as strings" in " ".join(strings.evidence.notes)
    np.testing.assert_allclose(read.values, strings.values, rtol=0, atol=1e-13)
    assert (read.std_error is None) == (strings.std_error is None) == (method != "sampled_shap")
    if method == "sampled_shap":
        np.testing.assert_allclose(read.std_error, strings.std_error, rtol=0, atol=1e-13)


@pytest.mark.parametrize("kind", [ExactShap, Lime])
def test_the_model_is_read_once_and_asked_whether_it_is_the_same(kind):
    class Counted:
        def __init__(self):
            self.asked, self.factor = [], 1.0

        def __call__(self, texts):
            self.asked.append(list(texts))
            return [self.factor * (len(text) + 1) for text in texts]

    function = Counted()
    explainer = kind(function)
    explainer(TEXTS)
    first = sum(map(len, function.asked))
    explainer(TEXTS)
    assert sum(map(len, function.asked)) == 2 * first  # one text to learn what it returns, then one to compare
    function.factor = 2.0
    with pytest.raises(ModelMismatchError, match="answers otherwise than when this explainer read it"):
        explainer(TEXTS)


def test_a_pipeline_that_is_trained_again_is_noticed():
    pipeline = fitted()
    explainer = SampledShap(pipeline)
    explainer(TEXTS)
    pipeline.fit(TEXTS * 3, [0, 1, 2] * 3)
    with pytest.raises((ModelMismatchError, InputError)):
        explainer(TEXTS)


def test_columns_of_texts_of_any_kind(model):
    explainer = PartitionShap(model)
    expected = explainer(TEXTS).values
    frame = pd.DataFrame({"text": TEXTS}, index=[5, 6, 7])
    for column in (tuple(TEXTS), np.array(TEXTS), frame["text"], pl.Series(TEXTS), pl.DataFrame({"t": TEXTS})["t"]):
        np.testing.assert_array_equal(explainer(column).values, expected)
    for table in (frame, pl.DataFrame({"t": TEXTS}), {"text": TEXTS}):
        with pytest.raises(InputError, match="this explainer has no background, so it explains texts"):
            explainer(table)
    with pytest.raises(InputError, match="row 1 is empty"):
        explainer(["a", ""])
    with pytest.raises(InputError, match="row 1 is a NoneType"):
        explainer(["a", None])


@pytest.mark.parametrize("texts", [b"good", [b"good", b"bad"], np.array([b"good", b"bad"])])
def test_bytes_are_refused_with_how_to_decode_them(model, texts):
    for call in (Lime(model), ExactShap(model), lambda X: wb.lime(model, X), lambda X: wb.explain(model, X)):
        with pytest.raises(InputError, match="these are bytes, and texts are strings; decode them"):
            call(texts)


def test_many_words_and_other_alphabets(model):
    long = " ".join(f"word{k} cluster" if k % 9 == 0 else f"w{k}" for k in range(500))
    for method in ("sampled_shap", "partition_shap"):
        with pytest.raises(LimitError, match="predictions at least"):
            wb.explain(model, long, method=method, max_evals=400)
        e = wb.explain(model, long, method=method, max_evals=8_000 if method == "sampled_shap" else 20_000)
        np.testing.assert_allclose(e.base + e.values.sum(), e.prediction[0], atol=1e-9)
    other = wb.explain(
        lambda texts: [float(t.count("日本")) for t in texts], "Größe 日本 \N{FAMILY} é", tokenizer=r"\s+"
    )
    np.testing.assert_allclose(other.values[0], [0, 1, 0, 0], atol=1e-12)


def test_what_is_of_tables_or_of_another_method_is_refused(model):
    rows = np.random.default_rng(0).normal(size=(30, 2))
    forest = RandomForestClassifier(2, random_state=0).fit(rows, rows[:, 0] > 0)
    with pytest.raises(OptionError, match="absent by taking the values of background rows"):
        ExactShap(forest)
    with pytest.raises(InputError, match=r"For texts make one without: SampledShap\(model\)"):
        SampledShap(forest, rows)(TEXTS)
    with pytest.raises(InputError, match="takes texts, and this is a table"):
        PartitionShap(model, rows)
    with pytest.raises(OptionError, match="tokenizer is an option of texts"):
        ExactShap(forest, rows, tokenizer="characters")
    with pytest.raises(OptionError, match="is not what ExactShap computes"):
        ExactShap(model, method="sampled_shap")
    with pytest.raises(OptionError, match="is not what SampledShap computes"):
        SampledShap(model, None, ShapTextOptions(method="exact_shap"))
    for kind in (SampledShap, Lime):
        with pytest.raises(OptionError, match="players is an option of tables, and these are texts"):
            kind(model, players={"a": ["b"]})
        with pytest.raises(OptionError, match="max_evalz= is no option here. Did you mean 'max_evals'"):
            kind(model, max_evalz=3)
    with pytest.raises(OptionError, match="masker= is no option here: words are left out, or replaced by mask_string"):
        wb.explain(model, TEXTS, masker=None)
    with pytest.raises(OptionError, match="has options of tables"):
        wb.explain(model, TEXTS, method=ShapOptions())
    with pytest.raises(AttributeError, match="each text has a hierarchy of its own"):
        _ = PartitionShap(model).hierarchy
    with pytest.raises(OptionError, match="explains rows of a table"):
        PartitionShap(forest, rows).hierarchy_of("a text")
    with pytest.raises(InputError, match=r"a report is about rows of a table.*wb\.explain\(model, texts\)"):
        wb.report(model, TEXTS, "never.html")


def test_a_bar_sums_the_words_of_several_texts():
    def judged(texts):
        return [2.0 * t.count("good") - t.count("bad") + 0.5 * t.count("long") for t in texts]

    e = wb.explain(judged, ["good and bad", "bad", "a long song, long"], by_position=True)
    ax = e.plot.bar(max_display=3)
    assert [t.get_text() for t in ax.get_yticklabels()] == ["good", "bad", "long", "3 others, summed"]
    np.testing.assert_allclose([bar.get_width() for bar in ax.patches], [2 / 3, 2 / 3, 1 / 3, 0.0], atol=1e-12)
    assert "over 3 texts, 0 where a text has not the word" in ax.get_xlabel()
    one = e[0].plot.bar()
    assert "texts" not in one.get_xlabel()
    assert [t.get_text() for t in one.get_yticklabels()] == ["good", "bad", "and"]
    with pytest.raises(OptionError, match=r"those of several by plot\.bar"):
        e.plot.beeswarm()
    plt.close("all")


def test_a_bar_of_sampled_words_has_intervals(model):
    e = wb.explain(model, [TEXTS[1], " ".join(f"linear{k} model" for k in range(20))], max_evals=400, output="all")
    ax = e.plot.bar(output="linear")
    assert "95 % intervals" in ax.get_xlabel()
    assert len(ax.lines) + len(ax.collections) > 0
    assert e.plot.bar().get_legend() is not None
    plt.close("all")


@pytest.fixture(scope="module")
def folder(tmp_path_factory, model):
    path = tmp_path_factory.mktemp("explain")
    joblib.dump(model, path / "pipeline.joblib")
    pd.DataFrame({"key": range(4), "review": [*TEXTS, ""]}).to_csv(path / "texts.csv", index=False)
    pd.DataFrame({"review": [*TEXTS, " ".join(TEXTS) * 3]}).to_parquet(path / "texts.parquet")
    return path


def run(folder, *arguments, verb=("explain",)):
    words = [a.replace("@", f"{folder}/") if a.startswith("@") else a for a in arguments]
    return main([*verb, *words])


OF_TEXTS = ("--text", "review", "--trust-pickle")


def test_texts_of_a_column_go_into_a_file(folder, model, capsys):
    arguments = ("@pipeline.joblib", "@texts.parquet", *OF_TEXTS, "--rows", "2,0", "--method", "partition_shap")
    assert run(folder, *arguments, "-o", "@words.parquet") == 0
    assert capsys.readouterr().out.startswith(f"{folder / 'words.parquet'}: PartitionShap: 2 of 4 rows x 5 words at most, in probability")  # fmt: skip
    e = wb.explain(model, [TEXTS[2], TEXTS[0]], method="partition_shap")
    table = pq.read_table(folder / "words.parquet")
    assert table["row"].to_pylist() == [2, 0, 0, 0, 0, 0]
    assert table["word"].to_pylist() == ["samples", "Clusters", "of", "samples", "mean", "shift"]
    np.testing.assert_array_equal(table["attribution"], e.to_frame()["attribution"])
    assert json.loads(pq.read_metadata(folder / "words.parquet").metadata[b"whybox"])["evidence"]["method_id"] == "shap.partition_shap"  # fmt: skip
    assert run(folder, *arguments[:-2], "--output", "linear", "-o", "@words.whybox") == 0
    saved = wb.load(folder / "words.whybox")
    assert saved.coords["row"].tolist() == [2, 0]
    np.testing.assert_array_equal(saved.values, wb.explain(model, [TEXTS[2], TEXTS[0]], output="linear").values)


def test_words_and_pairs_are_printed(folder, capsys):
    assert run(folder, "@pipeline.joblib", "@texts.parquet", *OF_TEXTS) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("ExactShap: 3 of 4 rows x 6 words at most, in probability\n  row 0, output linear: ")
    assert "and 1 more row; -o FILE explains and writes all" in printed
    assert run(folder, "@pipeline.joblib", "@texts.parquet", *OF_TEXTS, "--rows", "1", "--order", "2") == 0
    assert "\n    linear \N{MULTIPLICATION SIGN} model" in capsys.readouterr().out
    assert run(folder, "@pipeline.joblib", "@texts.parquet", *OF_TEXTS, "--rows", "1", "--index", "banzhaf") == 0
    assert "this index does not add up" in capsys.readouterr().out


def test_what_words_are_is_said_by_options(folder, model):
    given = {"tokenizer": r"[\s:]+", "by_position": True, "mask_string": "word", "batch_size": 3, "level": 0.9}
    typed = (
        "--tokenizer",
        given["tokenizer"],
        "--by-position",
        "--mask-string",
        "word",
        "--batch-size",
        "3",
        "--level",
        "0.9",
    )
    assert (
        run(folder, "@pipeline.joblib", "@texts.parquet", *OF_TEXTS, "--rows", "0-2", *typed, "-o", "@words.whybox")
        == 0
    )
    saved, e = wb.load(folder / "words.whybox"), wb.explain(model, TEXTS, **given)
    np.testing.assert_array_equal(saved.values, e.values)
    assert saved.evidence.settings == e.evidence.settings
    assert (e.evidence.settings["words"], e.evidence.settings["mask_string"]) == (given["tokenizer"], "word")


def test_what_texts_cost_is_planned(folder, model, capsys):
    assert run(folder, "@pipeline.joblib", "@texts.parquet", *OF_TEXTS, "--rows", "0-2", verb=("plan", "explain")) == 0
    plan = wb.plan(wb.explain, model, TEXTS)
    assert f"calls     about {plan.model_calls:,.0f} rows" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--text", "review"), 4, "--trust-pickle"),
        (("--trust-pickle", "-o", "@x.csv"), 3, "the model takes texts: --text COLUMN says which column"),
        (("--trust-pickle", "-o", "@x.csv", "--rows", "1"), 2, "--rows is an option of texts"),
        (("--trust-pickle", "-o", "@x.csv", "--by-position"), 2, "--by-position is an option of texts"),
        (("--trust-pickle",), 2, "required: -o/--out"),
        ((*OF_TEXTS, "--rows", "3"), 3, "the text of row 3 of texts.csv is missing"),
        ((*OF_TEXTS, "--rows", "9"), 3, "there is no row 9"),
        ((*OF_TEXTS, "--rows", "1", "-o", "@x.html"), 2, "the result is a file of type"),
        ((*OF_TEXTS, "--rows", "2,1", "--method", "exact", "--max-evals", "40"), 2, "row 1 has 6 words"),
        ((*OF_TEXTS, "--rows", "1", "--max-evals", "20"), 2, "row 1 has 6 words"),
        ((*OF_TEXTS, "--rows", "0,1", "--order", "2"), 2, "--order 2 takes one text at a time"),
        ((*OF_TEXTS, "--background", "@texts.csv"), 2, "--background is an option of tables, and --text explains texts"),
        ((*OF_TEXTS, "--id", "key"), 2, "--id is an option of tables"),
        ((*OF_TEXTS, "--layout", "long"), 2, "--layout is an option of tables"),
        ((*OF_TEXTS, "--errors"), 2, "--errors is an option of tables"),
        ((*OF_TEXTS, "--n-jobs", "2"), 2, "--n-jobs is an option of tables"),
        ((*OF_TEXTS, "--method", "tree_shap"), 2, "--method tree_shap is no method of texts"),
        (("--trust-pickle", "--text", "reviews"), 2, "--text reviews is not a column of"),
    ],
)  # fmt: skip
def test_mistakes_about_texts_are_named(folder, capsys, arguments, code, words):
    assert run(folder, "@pipeline.joblib", "@texts.csv", *arguments) == code
    err = capsys.readouterr().err
    assert words in err
    assert err.count("\n") == 1
