"""LIME of texts: what it asks of a model, what it refuses, and the explanation it returns."""

import numpy as np
import pandas as pd
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

import whybox as wb
from whybox.adapters.sklearn import word_counts
from whybox.errors import InputError, ModelMismatchError, NonFiniteError, OptionError, UnsupportedModelError
from whybox.methods.lime.text_options import LimeTextOptions
from whybox.methods.lime.text_result import text_result
from whybox.methods.lime.texts import explain_texts
from whybox.methods.registry import of_id

TOPICS = {
    "sport": "ball goal team match player score win league cup referee kick pass field",
    "food": "bread cheese soup salt oven taste recipe cook butter plate sugar spoon flour",
    "law": "court judge appeal claim statute contract clause party evidence trial counsel verdict order",
}


@pytest.fixture(scope="module")
def pipeline():
    rng = np.random.default_rng(0)
    texts, topics = [], []
    for topic, words in TOPICS.items():
        for _ in range(30):
            texts.append(" ".join(rng.choice(words.split(), 8)) + " the a of and in")
            topics.append(topic)
    return make_pipeline(TfidfVectorizer(sublinear_tf=True), LogisticRegression(C=10.0)).fit(texts, topics)


@pytest.fixture(scope="module")
def text():
    return "The judge and the court: a party, a claim, an appeal of the order in evidence; the team and the cheese, a recipe and the league cup."


class Counting:
    """A model that remembers the texts it was given."""

    def __init__(self, model):
        self.model, self.calls = model, []

    def __call__(self, texts):
        assert isinstance(texts, list)
        self.calls.append(list(texts))
        return self.model(texts)


def test_a_pipeline_that_is_read_has_the_coefficients_of_its_strings(pipeline, text):
    settings = LimeTextOptions(max_evals=800, tol=0)
    read = explain_texts(pipeline, text, settings).rows[0]
    strings = explain_texts(Counting(pipeline.predict_proba), text, settings).rows[0]
    assert "word counts" in read.reading
    assert "strings" in strings.reading
    np.testing.assert_allclose(read.fit.values, strings.fit.values, rtol=0, atol=2e-15)
    np.testing.assert_allclose(read.fit.std_error, strings.fit.std_error, rtol=0, atol=2e-15)
    largest = read.words.words[int(np.argmax(read.fit.values[:, 1]))]
    assert largest in TOPICS["law"].split()


def test_each_different_text_is_evaluated_once_within_the_budget(pipeline, text):
    model = Counting(pipeline.predict_proba)
    row = explain_texts(model, text, LimeTextOptions(max_evals=300, batch_size=37, tol=0)).rows[0]
    given = [t for call in model.calls for t in call]
    assert row.spent <= 300
    assert len(given) == row.spent  # with the one to learn what the model returns
    assert max(map(len, model.calls)) <= 37
    assert len(given) - len(set(given)) <= 7  # the checks
    assert row.distinct == len(set(given))


def test_draws_end_when_the_largest_are_settled(pipeline, text):
    def judged(texts):
        return [2.0 * ("judge" in t) + ("court" in t) * ("claim" in t) * ("team" in t) for t in texts]

    early = explain_texts(judged, text, LimeTextOptions(top=1, max_evals=4000)).rows[0]
    late = explain_texts(pipeline, text, LimeTextOptions(tol=1e-9, max_evals=600)).rows[0]
    assert early.converged
    assert early.spent < 1000
    assert early.certificates[0].certified >= 1
    assert early.words.words[early.certificates[0].order[0]] == "judge"
    assert not late.converged
    assert late.spent > 550


def test_the_same_seed_gives_the_same_numbers_whatever_the_other_rows(pipeline, text):
    settings = LimeTextOptions(max_evals=300, seed=3)
    alone = explain_texts(pipeline, [text, "a court"], settings).rows[0]
    again = explain_texts(pipeline, [text, "cheese and bread in the oven of the court"], settings).rows[0]
    other = explain_texts(pipeline, [text], LimeTextOptions(max_evals=300, seed=4)).rows[0]
    np.testing.assert_array_equal(alone.fit.values, again.fit.values)
    assert (alone.fit.values != other.fit.values).any()


def test_a_wrong_reading_is_an_error(pipeline, text, monkeypatch):
    read = word_counts.read_word_counts

    def wrong(model, method):
        found = read(model, method)
        weigh = found.predict.weigh
        weigh.transformer.idf_ = weigh.transformer.idf_ * np.where(np.arange(found.n_columns) == 3, 1.001, 1.0)
        return found

    monkeypatch.setattr(word_counts, "read_word_counts", wrong)
    rare = " ".join(pipeline[0].get_feature_names_out())
    with pytest.raises(ModelMismatchError, match="Pass a function instead"):
        explain_texts(pipeline, rare)


def test_models_whose_outputs_are_not_of_the_text_are_refused(text):
    rng = np.random.default_rng(0)
    with pytest.raises(UnsupportedModelError, match="changes when it is evaluated again"):
        explain_texts(lambda texts: rng.random(len(texts)), text)
    with pytest.raises(UnsupportedModelError, match="changes when it is evaluated again"):
        explain_texts(lambda texts: [len(t) / max(map(len, texts)) for t in texts], text)


@pytest.mark.parametrize(
    ("model", "error", "message"),
    [
        (lambda texts: ["spam" for _ in texts], wb.errors.DtypeError, "not numbers"),
        (lambda texts: np.zeros(3), InputError, r"shape \(3,\) for 1 rows"),
        (lambda texts: [1 / (len(t) > 80) for t in texts], InputError, "raised ZeroDivisionError for a list of"),
        (lambda texts: [np.nan if len(t) < 80 else 1.0 for t in texts], NonFiniteError, "NaN or infinity"),
        (len, InputError, "one number a row"),
        (3, UnsupportedModelError, "cannot be called"),
    ],
)
def test_models_that_cannot_be_used(model, error, message, text):
    with pytest.raises(error, match=message):
        explain_texts(model, text)


def test_labels_of_classes_are_no_numbers(pipeline, text):
    with pytest.raises(UnsupportedModelError, match="gives labels of classes"):
        explain_texts(pipeline.predict, text)


def test_options_and_rows_are_checked_before_the_model_is_called(text):
    model = Counting(lambda texts: np.zeros(len(texts)))
    with pytest.raises(InputError, match="row 1 is empty"):
        explain_texts(model, [text, ""])
    with pytest.raises(OptionError, match="max_evals=20 is too small: row 0"):
        explain_texts(model, text, LimeTextOptions(max_evals=20))
    for wrong in ({"top": 0}, {"kernel_width": -1.0}, {"alpha": -1.0}, {"level": 2}, {"max_evals": 1.5}, {"tol": -1}):
        with pytest.raises(OptionError):
            LimeTextOptions(**wrong)
    assert model.calls == []


def test_an_output_is_chosen_by_its_name(pipeline, text):
    every = explain_texts(pipeline, text, LimeTextOptions(max_evals=200, tol=0)).rows[0]
    law = explain_texts(pipeline, text, LimeTextOptions(max_evals=200, tol=0, output="law")).rows[0]
    own = explain_texts(pipeline, [text, "bread and cheese"], LimeTextOptions(max_evals=200, tol=0, output="predicted"))
    assert law.label == ("law",)
    assert every.label == ("food", "law", "sport")
    assert [row.label for row in own.rows] == [("law",), ("food",)]
    np.testing.assert_allclose(law.prediction, every.prediction[1:2])
    with pytest.raises(OptionError, match="not an output"):
        explain_texts(pipeline, text, LimeTextOptions(output="art"))


def test_a_model_that_does_not_vary_has_no_fit(text):
    row = explain_texts(lambda texts: np.full(len(texts), 0.3), text, LimeTextOptions(max_evals=200)).rows[0]
    assert np.abs(row.fit.values).max() < 1e-12
    assert np.isnan(row.fit.r_squared).all()
    assert set(row.certificates[0].rank.tolist()) == {1}


def test_more_words_than_draws(pipeline):
    long = " ".join(f"w{i}" for i in range(400)) + " court judge"
    row = explain_texts(pipeline, long, LimeTextOptions(max_evals=300, output="law", tol=0)).rows[0]
    assert np.isfinite(row.fit.values).all()
    assert row.fit.std_error.min() > 0.0


def test_the_explanation_has_words_in_reading_order(pipeline, text, tmp_path):
    spec = of_id("lime.words")
    found = explain_texts(pipeline, [text, "a court", "oven"], LimeTextOptions(max_evals=400))
    e = text_result(found, spec=spec, seconds=1.0)
    assert e.dims == ("row", "word", "output")
    assert e.shape == (3, found.rows[0].words.n_words, 3)
    assert np.isnan(e.values[1, 2:]).all()
    assert e.extras["word"][1][1, :3].tolist() == ["a", "court", ""]
    start, stop = e.extras["start"][1][0, 1], e.extras["end"][1][0, 1]
    assert text[start:stop] == e.extras["word"][1][0, 1] == "judge"
    assert e.std_error[1, :2].max() == 0.0  # enumerated
    low, high = e.interval
    assert ((low <= e.values) | np.isnan(e.values)).all()
    assert ((high >= e.values) | np.isnan(e.values)).all()
    np.testing.assert_allclose(
        e.extras["local_prediction"][1],
        e.extras["intercept"][1] + np.nansum(e.values, axis=1),
    )
    assert any("word counts from masks" in note for note in e.evidence.notes)
    assert "judge" in e[..., "law"]._repr_html_()
    e.save(tmp_path / "texts.whybox")
    loaded = wb.load(tmp_path / "texts.whybox")
    np.testing.assert_array_equal(loaded.values, e.values)
    assert loaded.extras["word"][1].tolist() == e.extras["word"][1].tolist()
    assert e[0].extras["text"][1] == text
    assert len(e.to_frame()) == np.isfinite(e.values).sum()
    one = text_result(explain_texts(pipeline, text, LimeTextOptions(max_evals=400, output="predicted")), spec=spec)
    assert one.dims == ("row", "word")
    assert float(one[0, "judge"]) > 0.0
    assert one.extras["label"][1].tolist() == ["law"]


def test_a_text_service_is_called_in_its_batches(text):
    sizes = []

    def service(texts):
        sizes.append(len(texts))
        return [float(len(t)) for t in texts]

    explain_texts(wb.RemoteModel(service, batch_size=50), text, LimeTextOptions(max_evals=200, tol=0))
    assert max(sizes) <= 50
    assert sum(sizes) > 150


class TextClassificationPipeline:
    """What whybox sees of a pipeline of transformers: its predict and a plain call return the best label only."""

    def __call__(self, texts, top_k=1):
        scores = [min(0.1 * text.count("good"), 1.0) for text in texts]
        found = [[{"label": "good", "score": s}, {"label": "bad", "score": 1 - s}] for s in scores]
        return [sorted(each, key=lambda entry: -entry["score"])[: top_k or None] for each in found]

    def predict(self, texts):
        return self(texts)

    def forward(self, inputs):
        raise AssertionError


TextClassificationPipeline.__module__ = "transformers.pipelines.text_classification"


def test_a_pipeline_of_transformers_is_asked_for_all_labels():
    pipeline = TextClassificationPipeline()
    e = wb.lime(pipeline, ["a good film, good", "good " * 7])
    assert e.output_names == ("bad", "good")
    np.testing.assert_allclose(e.values[0, :3, 1], [0.0, 0.2, 0.0], atol=1e-12)
    np.testing.assert_allclose(e.values[..., 0], -e.values[..., 1], atol=1e-12)
    with pytest.raises(InputError, match="takes texts, and this is a table"):
        wb.lime(pipeline, pd.DataFrame({"review": ["a good film"]}))


def test_a_model_that_takes_no_empty_text_is_given_something_in_its_place():
    def strict(texts):
        return [len(text.split()[0]) for text in texts]

    with pytest.raises(InputError, match=r"IndexError.*mask_string="):
        wb.lime(strict, "one word")
    assert np.isfinite(wb.lime(strict, "one word", mask_string="UNK").values).all()
