"""Words of texts: split, left out or replaced, counted straight from masks."""

import re
import warnings

import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import make_pipeline

from whybox.errors import InputError, OptionError
from whybox.methods.common.words.evaluate import as_counter
from whybox.methods.common.words.masked_texts import TextWriter
from whybox.methods.common.words.split import CHARACTERS, as_texts, split_text
from whybox.methods.common.words.text_model import as_text_model

HEBREW = "שלום עולם, שלום!"
TEXTS = [
    "Don't stop, don't! Stop the U.S. bus at 5 o'clock.",
    "  two\tlines\nof words \u2014 and\u00a0more words  ",
    HEBREW,
    "Crème brûlée, crème fraîche; \N{GREEK CAPITAL LETTER OMICRON}\N{GREEK CAPITAL LETTER SIGMA} \N{GREEK CAPITAL LETTER SIGMA}'x ½ ﬁne",
    "under_score a-b-c x@y.org http://a.b/c?d=e&f I a b",
    "e\u0301te\u0301 étés 😀 ok 😀ok",
]
LEARNED = [" ".join(TEXTS), "the quick brown fox", "words and more words", "stop the bus don stop creme fraiche"]


def written_plainly(words, present):
    absent = words.mask_string or ""
    return "".join(p if k < 0 or present[k] else absent for p, k in zip(words.pieces, words.player_of, strict=True))


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"by_position": True, "mask_string": "UNK"},
        {"tokenizer": CHARACTERS},
        {"tokenizer": r"\s+", "mask_string": "[MASK]"},
        {"tokenizer": str.split},
        {"tokenizer": re.compile(r"[ ,.]+")},
    ],
)
def test_texts_are_written_as_their_pieces_say(text, options):
    words = split_text(text, **options)
    assert "".join(words.pieces) == text
    for word, (start, stop) in zip(words.words, words.spans, strict=True):
        assert text[start:stop] == word
    present = np.random.default_rng(0).random((40, words.n_words)) < 0.6
    present[0], present[1] = True, False
    writer = TextWriter(words)
    written = writer(present)
    assert written == [written_plainly(words, row) for row in present] == [*writer(present[:5]), *writer(present[5:])]
    assert written[0] == text


def test_many_words_fill_several_groups():
    words = split_text(" ".join(f"w{i % 50}" for i in range(203)))
    present = np.random.default_rng(0).random((50, words.n_words)) < 0.5
    assert TextWriter(words)(present) == [written_plainly(words, row) for row in present]


def test_words_are_split_as_lime_splits_them():
    assert split_text(TEXTS[0]).words[:4] == ("Don", "t", "stop", "don")  # in reading order, each once, case kept
    assert split_text("a b a", by_position=True).words == ("a", "b", "a")
    assert split_text(HEBREW).words == ("שלום", "עולם")
    assert split_text("e\u0301a👨\u200d👩\u200d👧🇩🇪🇫🇷👍🏽!", CHARACTERS).words == (
        "e\u0301",
        "a",
        "👨\u200d👩\u200d👧",
        "🇩🇪",
        "🇫🇷",
        "👍🏽",
        "!",
    )


def test_words_of_a_tokenizer_of_networks():
    def tokenizer(text):
        spans = [m.span() for m in re.finditer(r"\w{1,3}|[^\w\s]", text)]
        words = [text[:a].count(" ") for a, _ in spans]
        return {
            "ids": [0, *range(1, len(spans) + 1)],
            "tokens": ["[CLS]", *(text[a:b] for a, b in spans)],
            "word_ids": [None, *words],
            "offsets": [(0, 0), *spans],
            "special_tokens_mask": [1, *[0] * len(spans)],
        }

    assert split_text("understanding tokens now", tokenizer).words == ("understanding", "tokens", "now")


def test_rows_that_are_no_texts_are_named():
    assert as_texts("one") == ("one",)
    assert as_texts(np.array(["a", "b"])) == ("a", "b")
    with pytest.raises(InputError, match="row 1 is a float"):
        as_texts(["a", float("nan")])
    with pytest.raises(InputError, match="no text"):
        as_texts([])
    with pytest.raises(InputError, match="row 7 is empty"):
        split_text(" \n", row=7)
    with pytest.raises(InputError, match=r"row 0 has no words \('😀!'\).*tokenizer='characters'"):
        split_text("😀!")
    assert split_text("😀!", CHARACTERS).n_words == 2


@pytest.mark.parametrize(
    ("tokenizer", "message"),
    [
        ("(", "no regular expression"),
        (3, "must be a regular expression"),
        (lambda text: text.lower().split(), "does not have"),
        (lambda text: text, "must return a list"),
    ],
)
def test_tokenizers_that_cannot_be_used(tokenizer, message):
    with pytest.raises(OptionError, match=message):
        split_text("Some Text", tokenizer)


def fitted(vectorizer):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return make_pipeline(vectorizer, LogisticRegression()).fit(LEARNED, [0, 1, 1, 0])


COUNTED = {
    "counts": CountVectorizer(),
    "binary": CountVectorizer(binary=True, dtype=np.float32),
    "case": CountVectorizer(lowercase=False),
    "accents": CountVectorizer(strip_accents="unicode"),
    "ascii": TfidfVectorizer(strip_accents="ascii", norm=None),
    "stop words": TfidfVectorizer(stop_words="english", max_features=12),
    "sublinear": TfidfVectorizer(sublinear_tf=True, norm="l1"),
    "no idf": TfidfVectorizer(use_idf=False, binary=True),
    "single precision": TfidfVectorizer(dtype=np.float32),
    "apostrophes": CountVectorizer(token_pattern=r"(?u)\b\w[\w']*\b"),
    "all but white space": TfidfVectorizer(token_pattern=r"\S+"),
}


@pytest.mark.parametrize("name", COUNTED)
@pytest.mark.parametrize("options", [{}, {"by_position": True, "mask_string": "UNK"}, {"tokenizer": r"\s+"}])
def test_counts_from_masks_are_those_of_written_texts(name, options):
    pipeline = fitted(COUNTED[name])
    compared = 0
    for text in TEXTS:
        words = split_text(text, **options)
        counter = as_counter(words, as_text_model(pipeline, text))
        if isinstance(counter, str):
            assert "touch each other" in counter
            continue
        present = np.random.default_rng(1).random((40, words.n_words)) < np.linspace(0.0, 1.0, 40)[:, None]
        np.testing.assert_array_equal(
            counter.model.predict(counter.matrix(present)), pipeline.predict_proba(TextWriter(words)(present))
        )
        compared += 1
    assert compared >= 5


@pytest.mark.parametrize(
    ("pipeline", "reason"),
    [
        (fitted(CountVectorizer(ngram_range=(1, 2))), "n-grams of up to 2 words"),
        (fitted(TfidfVectorizer(analyzer="char")), "counts characters"),
        (fitted(CountVectorizer(analyzer=str.split)), "analyzer of its own"),
        (fitted(CountVectorizer(tokenizer=str.split, token_pattern=None)), "tokenizer of its own"),
        (fitted(CountVectorizer(preprocessor=str.upper)), "preprocessor of its own"),
        (fitted(HashingVectorizer(n_features=16)), "HashingVectorizer, is no CountVectorizer"),
        (fitted(CountVectorizer(token_pattern=r"\w+ \w+")), "do not end where white space is"),
        (lambda texts: [len(t) for t in texts], "function of texts"),
    ],
)
def test_other_models_are_given_texts_and_the_reason_is_said(pipeline, reason):
    words = split_text("the quick brown bus")
    assert reason in as_counter(words, as_text_model(pipeline, words.text))


def test_a_subclass_is_not_read():
    class Own(CountVectorizer):
        def build_analyzer(self):
            return lambda text: text.split()[:2]

    words = split_text("the quick brown bus")
    assert "is no CountVectorizer" in as_counter(words, as_text_model(fitted(Own()), words.text))


def test_outputs_have_the_names_of_the_model():
    text = "the quick bus"
    texts = ["bus stop", "quick fox", "more words"]
    two = make_pipeline(CountVectorizer(), MultinomialNB()).fit(texts, ["no", "yes", "yes"])
    three = make_pipeline(CountVectorizer(), LogisticRegression()).fit(texts, [3, 4, 5])
    number = make_pipeline(CountVectorizer(), Ridge()).fit(texts, [1.0, 2.0, 3.0])
    binary = as_text_model(two, text)
    assert (binary.outputs.names, binary.outputs.negative_class) == (("yes",), "no")
    np.testing.assert_array_equal(binary(texts)[:, 0], two.predict_proba(texts)[:, 1])
    assert as_text_model(three, text).outputs.names == ("3", "4", "5")
    assert as_text_model(three.decision_function, text).outputs.raw_units == "decision function"
    assert as_text_model(number, text)(texts).shape == (3, 1)
    assert as_text_model(two.predict_proba, text).outputs.names == ("yes",)
    assert as_text_model(lambda t: np.zeros((len(t), 2)), text).outputs.names == ("output 0", "output 1")


def test_answers_with_labels_are_read_by_label():
    def classify(texts):  # sorted by score, as transformers does
        scores = [{"good": 1.0 / (1 + len(t)), "bad": 1.0 - 1.0 / (1 + len(t))} for t in texts]
        return [[{"label": k, "score": s[k]} for k in sorted(s, key=s.get, reverse=True)] for s in scores]

    model = as_text_model(classify, "")
    assert model.outputs.names == ("bad", "good")
    np.testing.assert_allclose(model(["", "abc"]), [[0.0, 1.0], [0.75, 0.25]])
    best = as_text_model(lambda texts: [max(c, key=lambda e: e["score"]) for c in classify(texts)], "")
    with pytest.raises(InputError, match="top_k=None"):
        best(["", "abc"])
    assert as_text_model(lambda texts: [{"label": "LABEL_0", "score": 2.0} for _ in texts], "")(["a"]).tolist() == [
        [2.0]
    ]
