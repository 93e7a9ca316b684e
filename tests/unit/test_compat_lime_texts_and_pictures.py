"""whybox.compat.lime of texts and pictures. Rows of docs/from_lime.md."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline

import whybox as wb
from whybox.compat.lime.lime_image import LimeImageExplainer
from whybox.compat.lime.lime_text import IndexedCharacters, IndexedString, LimeTextExplainer
from whybox.compat.lime.submodular_pick import SubmodularPick
from whybox.compat.lime.wrappers.scikit_image import SegmentationAlgorithm
from whybox.core.progress import DELAY, NEVER, _delay, no_progress_bars, progress_of_parts
from whybox.errors import WhyboxError

TEXTS = [
    "the good film was good and long",
    "bad bad film",
    "a long dull plot",
    "good acting, fine plot",
    "dull and bad",
]
PIPELINE = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(TEXTS, [1, 0, 0, 1, 0])
DIGITS = load_digits()
NEIGHBOURS = KNeighborsClassifier().fit(DIGITS.data[:300], DIGITS.target[:300])
STRIPES = np.arange(64).reshape(8, 8) // 8


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def classify(images):
    return NEIGHBOURS.predict_proba(images[..., 0].reshape(len(images), -1))


def test_words_have_the_numbers_of_wb_lime():
    exp = LimeTextExplainer(class_names=["bad", "good"]).explain_instance(
        TEXTS[0], PIPELINE.predict_proba, num_features=3
    )
    e = wb.lime(PIPELINE, TEXTS[0], output="all", alpha=1)[0]
    order = np.argsort(-np.abs(e.values[:, 1]))[:3]
    assert exp.local_exp[1] == [(j, e.values[j, 1]) for j in order]
    assert exp.as_list() == [(str(e.coords["word"][j]), e.values[j, 1]) for j in order]
    assert exp.as_list(positions=True)[0][0] == "good_4-18"
    assert exp.intercept[1] == e.extras["intercept"][1][1]
    np.testing.assert_allclose(exp.predict_proba, PIPELINE.predict_proba(TEXTS[:1])[0])
    assert exp.domain_mapper.indexed_string.inverse_removing([1]) == "the  film was  and long"
    assert len(exp.as_pyplot_figure().axes[0].get_yticklabels()) == 3
    assert "good" in exp.as_html(text=True)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"bow": False}, ["the", "good", "film", "was", "good", "and", "long"]),
        ({"bow": False, "mask_string": "UNK"}, ["the", "good", "film", "was", "good", "and", "long"]),
        ({"char_level": True}, list(dict.fromkeys(TEXTS[0]))),
        ({"split_expression": r"\s*film\s*"}, ["the good", "was good and long"]),
        ({"split_expression": str.split}, ["the", "good", "film", "was", "and", "long"]),
    ],
)
def test_words_are_as_asked_for(options, words):
    seen = []

    def classifier_fn(texts):
        seen.extend(texts)
        return PIPELINE.predict_proba(texts)

    exp = LimeTextExplainer(**options).explain_instance(TEXTS[0], classifier_fn, labels=(0, 1), num_features=50)
    assert [word for word, _ in sorted(exp.as_map()[1])] == list(range(len(words)))
    text = exp.domain_mapper.indexed_string
    assert [text.word(i) for i in range(text.num_words())] == words == text.inverse_vocab
    if not options.get("bow", True):
        mask = options.get("mask_string", "UNKWORDZ")
        assert any(mask in each for each in seen)
        assert text.inverse_removing([0]) == TEXTS[0].replace("the", mask)


def test_indexed_strings():
    text = IndexedString("a b a", bow=False)
    assert (text.raw_string(), text.num_words(), text.string_position(2).tolist()) == ("a b a", 3, [4])
    assert IndexedString("a b a").string_position(0).tolist() == [0, 4]
    assert IndexedCharacters("aba", bow=False).inverse_removing([1]) == "a\0a"


def test_texts_are_picked():
    picked = SubmodularPick(LimeTextExplainer(), TEXTS, PIPELINE.predict_proba, method="full", num_exps_desired=2)
    assert len(picked.sp_explanations) == len(set(picked.V)) == 2


@pytest.fixture(scope="module")
def seven():
    image = DIGITS.images[7].astype(np.uint8)
    return LimeImageExplainer(), image


def test_segments_have_the_numbers_of_wb_saliency(seven):
    explainer, image = seven
    labelled = STRIPES * 3 + 2  # numbers with gaps
    exp = explainer.explain_instance(image, classify, top_labels=3, hide_color=0, num_samples=300, segmentation_fn=lambda _: labelled)  # fmt: skip
    picture = np.stack([image] * 3, axis=-1)
    label = exp.top_labels[0]
    names = [str(k) for k in range(10)]
    e = wb.saliency(
        classify, picture[None], str(label), "lime", parts=labelled, baseline=np.zeros_like(picture)[None], samples=300, alpha=1.0, channel_axis=-1, output_names=names
    )  # fmt: skip
    assert label == 7
    found = dict(exp.local_exp[label])
    np.testing.assert_allclose([found[s] for s in np.unique(labelled)], e.extras["part"][1].reshape(-1))
    assert exp.intercept[label] == pytest.approx(float(e.extras["intercept"][1].reshape(-1)[0]))
    assert np.isnan(list(found.values())).sum() == 0
    heat = np.vectorize(found.get)(exp.segments)
    assert heat.shape == (8, 8)
    assert exp.as_pyplot_figure(label) is not None
    assert "<svg" in exp.as_html(labels=[label])


def test_masks_mark_segments(seven):
    explainer, image = seven
    exp = explainer.explain_instance(image, classify, hide_color=0, num_samples=300, segmentation_fn=lambda _: STRIPES)
    label = exp.top_labels[0]
    weights = exp.local_exp[label]
    best = next(s for s, w in weights if w > 0)
    shown, mask = exp.get_image_and_mask(label, num_features=1, hide_rest=True)
    assert (mask == (best == STRIPES)).all()
    assert (shown[best != STRIPES] == 0).all()
    shown, mask = exp.get_image_and_mask(label, positive_only=False, num_features=100, min_weight=1e-4)
    assert {int(m) for m in np.unique(mask)} <= {-1, 0, 1}
    for segment, weight in weights:
        expected = 0 if abs(weight) < 1e-4 else 1 if weight > 0 else -1
        assert (mask[segment == STRIPES] == expected).all()
    assert (shown[mask == 1][:, 1] == image.max()).all()
    against, mask = exp.get_image_and_mask(label, positive_only=False, negative_only=True)
    assert (against == exp.image).all()
    with pytest.raises(WhyboxError, match="give one of them"):
        exp.get_image_and_mask(label, negative_only=True)


def test_an_absent_segment_has_its_mean_colour_in_batches_and_types_of_the_caller(seven):
    explainer, _ = seven
    picture, seen = np.random.default_rng(0).integers(0, 200, (6, 6, 3)).astype(np.uint8), []

    def classifier_fn(images):
        seen.append(images)
        return images.reshape(len(images), -1).mean(axis=1)[:, None] / 255 * [1, -1] + [0, 1]

    halves = np.arange(36).reshape(6, 6) // 18
    exp = explainer.explain_instance(
        picture, classifier_fn, num_samples=50, batch_size=2, segmentation_fn=lambda _: halves, progress_bar=False
    )
    images = np.concatenate(seen)
    assert max(map(len, seen)) == 2
    assert images.dtype == np.uint8
    means = [picture[halves == s].mean(axis=0).astype(np.uint8) for s in (0, 1)]
    assert any((image[halves == 1] == means[1]).all() for image in images)
    assert exp.explanation.evidence.exact
    assert exp.top_labels == [1, 0]


def test_bars_are_hidden_where_asked():
    with no_progress_bars():
        with progress_of_parts(3, description="parts") as update:
            update(1)
        assert _delay.get() == NEVER
    with no_progress_bars(hidden=False):
        assert _delay.get() == DELAY
    assert _delay.get() == DELAY


def test_seeds_of_pictures(seven):
    _, image = seven
    options = {
        "labels": (7,),
        "top_labels": None,
        "hide_color": 0,
        "num_samples": 40,
        "segmentation_fn": lambda _: STRIPES,
    }
    first, same, other, seeded = (
        explainer.explain_instance(image, classify, **options, **more).local_exp[7]
        for explainer, more in (
            (LimeImageExplainer(random_state=1), {}),
            (LimeImageExplainer(), {"random_seed": 1}),
            (LimeImageExplainer(), {}),
            (LimeImageExplainer(random_state=np.random.RandomState(0)), {}),
        )
    )
    assert first == same
    assert first != other
    assert seeded != other


def test_segmentations_by_name(seven):
    explainer, _ = seven
    pytest.importorskip("skimage")
    picture = np.random.default_rng(0).random((24, 24, 3))
    for name, options in (
        ("quickshift", {"kernel_size": 1, "max_dist": 200, "ratio": 0.2, "random_seed": 1}),
        ("felzenszwalb", {"scale": 10}),
        ("slic", {"n_segments": 5, "compactness": 1, "sigma": 1}),
    ):
        assert SegmentationAlgorithm(name, **options)(picture).shape == (24, 24)
    exp = explainer.explain_instance(picture, lambda images: images.mean(axis=(1, 2)), num_samples=100)
    assert exp.segments.shape == (24, 24)
    with pytest.raises(WhyboxError, match="is not known"):
        SegmentationAlgorithm("watershed")
    with pytest.raises(WhyboxError, match="no argument of slic"):
        SegmentationAlgorithm("slic", colour=1)


@pytest.mark.parametrize(
    ("call", "advice"),
    [
        (lambda image: LimeImageExplainer(kernel=np.exp), "kernel_width"),
        (lambda image: LimeImageExplainer().explain_instance(np.moveaxis(image, -1, 0), classify), "moveaxis"),
        (lambda image: LimeImageExplainer().explain_instance(image, classify, distance_metric="l2"), "leave it out"),
        (
            lambda image: LimeImageExplainer().explain_instance(image, classify, segmentation_fn=lambda _: STRIPES[:4]),
            "shape",
        ),
        (
            lambda image: LimeImageExplainer().explain_instance(
                image, classify, num_samples=5, segmentation_fn=lambda _: STRIPES
            ),
            "too few",
        ),
        (lambda image: SubmodularPick(LimeImageExplainer(), [image], classify), "LimeTabularExplainer"),
    ],
)
def test_what_is_not_honoured_raises_with_what_to_do(call, advice):
    with pytest.raises(WhyboxError, match=advice):
        call(np.stack([DIGITS.images[0]] * 3, axis=-1))
