"""The examples of lime's README and tutorials run with only the import changed; their data are those of scikit-learn, or drawn, as theirs are downloaded."""

import re
import sys
import types

import matplotlib.pyplot as plt
import pytest

from whybox.errors import OptionError

IRIS = """
import lime
import lime.lime_tabular
iris = sklearn.datasets.load_iris()
train, test, labels_train, labels_test = sklearn.model_selection.train_test_split(iris.data, iris.target, train_size=0.80)
rf = sklearn.ensemble.RandomForestClassifier(n_estimators=20)
rf.fit(train, labels_train)
explainer = lime.lime_tabular.LimeTabularExplainer(train, feature_names=iris.feature_names, class_names=iris.target_names, discretize_continuous=True)
i = np.random.randint(0, test.shape[0])
exp = explainer.explain_instance(test[i], rf.predict_proba, num_features=2, top_labels=1)
exp.show_in_notebook(show_table=True, show_all=False)
exp.show_in_notebook(show_table=True, show_all=True)
shown = len(exp.as_list(exp.available_labels()[0]))
assert shown == 2
"""
CATEGORIES = """
import lime.lime_tabular
codes = np.random.randint(0, 3, (200, 4))
labels = (codes[:, 0] == codes[:, 1]).astype(int)
names = ['cap', 'odor', 'ring', 'gill']
categorical_names = {j: np.array(['a', 'b', 'c']) for j in range(4)}
encoder = sklearn.preprocessing.OneHotEncoder().fit(codes)
rf = sklearn.ensemble.RandomForestClassifier(n_estimators=20).fit(encoder.transform(codes), labels)
predict_fn = lambda x: rf.predict_proba(encoder.transform(x))
explainer = lime.lime_tabular.LimeTabularExplainer(codes, class_names=['edible', 'poisonous'], feature_names=names, categorical_features=range(4),
                                                   categorical_names=categorical_names, kernel_width=3, verbose=False)
exp = explainer.explain_instance(codes[0], predict_fn, num_features=4)
exp.show_in_notebook()
assert all('=' in name for name, _ in exp.as_list())
"""
NUMBERS_AND_CATEGORIES = """
import lime.lime_tabular
train = np.column_stack([np.random.rand(200, 2), np.random.randint(0, 3, 200)])
labels = (train[:, 0] + (train[:, 2] == 1) > 1).astype(int)
encoder = sklearn.compose.make_column_transformer((sklearn.preprocessing.OneHotEncoder(), [2]), remainder='passthrough').fit(train)
gbtree = sklearn.ensemble.GradientBoostingClassifier(n_estimators=10).fit(encoder.transform(train), labels)
predict_fn = lambda x: gbtree.predict_proba(encoder.transform(x)).astype(float)
explainer = lime.lime_tabular.LimeTabularExplainer(train, feature_names=['age', 'hours', 'job'], class_names=['<=50K', '>50K'], categorical_features=[2],
                                                   categorical_names={2: ['clerk', 'nurse', 'smith']}, kernel_width=3)
exp = explainer.explain_instance(train[1], predict_fn, num_features=5)
exp.show_in_notebook(show_all=False)
"""
REGRESSION = """
import lime
import lime.lime_tabular
boston = sklearn.datasets.load_diabetes(scaled=False)
train, test, labels_train, labels_test = sklearn.model_selection.train_test_split(boston.data, boston.target, train_size=0.80, test_size=0.20)
rf = sklearn.ensemble.RandomForestRegressor(n_estimators=10, max_depth=6).fit(train, labels_train)
categorical_features = np.argwhere(np.array([len(set(boston.data[:, x])) for x in range(boston.data.shape[1])]) <= 10).flatten()
explainer = lime.lime_tabular.LimeTabularExplainer(train, feature_names=boston.feature_names, class_names=['price'], categorical_features=categorical_features,
                                                   verbose=True, mode='regression')
exp = explainer.explain_instance(test[25], rf.predict, num_features=5)
exp.show_in_notebook(show_table=True)
assert len(exp.as_list()) == 5
"""
TEXTS = """
from lime.lime_text import LimeTextExplainer
from lime import lime_text
from sklearn.pipeline import make_pipeline
news = ['from: a church with god and faith', 'host of the posting: there is no god', 'god is not in this text about atheism', 'faith and church'] * 3
vectorizer = sklearn.feature_extraction.text.TfidfVectorizer(lowercase=False)
train_vectors = vectorizer.fit_transform(news)
rf = sklearn.ensemble.RandomForestClassifier(n_estimators=10).fit(train_vectors, [1, 0, 0, 1] * 3)
c = make_pipeline(vectorizer, rf)
explainer = LimeTextExplainer(class_names=['atheism', 'christian'])
exp = explainer.explain_instance(news[1], c.predict_proba, num_features=6)
assert len(exp.as_list()) == 6
fig = exp.as_pyplot_figure()
exp.show_in_notebook(text=False)
exp.save_to_file('oi.html')
exp.show_in_notebook(text=True)
"""
CLASSES_OF_TEXTS = """
from lime.lime_text import LimeTextExplainer
from sklearn.pipeline import make_pipeline
news = ['a god of old', 'a sale of cars', 'a launch of rockets'] * 4
c = make_pipeline(sklearn.feature_extraction.text.TfidfVectorizer(), sklearn.naive_bayes.MultinomialNB(alpha=.01)).fit(news, [0, 1, 2] * 4)
explainer = LimeTextExplainer(class_names=['religion', 'forsale', 'space'])
exp = explainer.explain_instance(news[0], c.predict_proba, num_features=6, labels=[0, 2])
for label in (0, 2):
    print('\\n'.join(map(str, exp.as_list(label=label))))
exp = explainer.explain_instance(news[0], c.predict_proba, num_features=6, top_labels=2)
assert len(exp.available_labels()) == 2
exp.show_in_notebook(text=news[0], labels=(0,))
"""
PICTURES = """
from lime import lime_image
from lime.wrappers.scikit_image import SegmentationAlgorithm
from skimage.segmentation import mark_boundaries
digits = sklearn.datasets.load_digits()
images = np.stack([np.kron(digits.images[i], np.ones((3, 3))) for i in range(2)])
images = np.stack([images] * 3, axis=-1) / 16
knn = sklearn.neighbors.KNeighborsClassifier().fit(digits.data[:300], digits.target[:300])
predict = lambda x: knn.predict_proba(16 * x[:, ::3, ::3, 0].reshape(len(x), -1))
explainer = lime_image.LimeImageExplainer(verbose=False)
explanation = explainer.explain_instance(images[0].astype('double'), predict, top_labels=5, hide_color=0, num_samples=200)
temp, mask = explanation.get_image_and_mask(explanation.top_labels[0], positive_only=True, num_features=5, hide_rest=True)
plt.imshow(mark_boundaries(temp / 2 + 0.5, mask))
temp, mask = explanation.get_image_and_mask(explanation.top_labels[0], positive_only=False, num_features=1000, hide_rest=False, min_weight=0.1)
ind = explanation.top_labels[0]
dict_heatmap = dict(explanation.local_exp[ind])
heatmap = np.vectorize(dict_heatmap.get)(explanation.segments)
plt.imshow(heatmap, cmap='RdBu', vmin=-heatmap.max(), vmax=heatmap.max())
segmenter = SegmentationAlgorithm('quickshift', kernel_size=1, max_dist=200, ratio=0.2)
explanation = explainer.explain_instance(images[1], classifier_fn=predict, top_labels=10, hide_color=0, num_samples=200, segmentation_fn=segmenter)
segmenter = SegmentationAlgorithm('slic', n_segments=20, compactness=1, sigma=1)
explanation = explainer.explain_instance(images[1], classifier_fn=predict, top_labels=6, hide_color=0, num_samples=200, segmentation_fn=segmenter)
"""
PICK = """
from lime import submodular_pick
import lime.lime_tabular
X, y = sklearn.datasets.load_iris(return_X_y=True)
rf = sklearn.ensemble.RandomForestClassifier(n_estimators=10).fit(X, y)
explainer = lime.lime_tabular.LimeTabularExplainer(X, feature_names=['a', 'b', 'c', 'd'], class_names=['s', 'e', 'i'], discretize_continuous=False)
sp_obj = submodular_pick.SubmodularPick(explainer, X, rf.predict_proba, sample_size=20, num_features=4, num_exps_desired=2)
[exp.as_pyplot_figure(label=exp.available_labels()[0]) for exp in sp_obj.sp_explanations]
W = pd.DataFrame([dict(this.as_list(this.available_labels()[0])) for this in sp_obj.explanations])
assert W.shape == (20, 4)
"""
RECURRENT = """
from lime import lime_tabular
explainer = lime_tabular.RecurrentTabularExplainer(np.zeros((5, 3, 2)), feature_names=['a', 'b'])
"""


def change_imports(source):
    source = re.sub(r"^import lime(\.\w+)?$", "from whybox.compat import lime", source, flags=re.MULTILINE)
    return re.sub(r"^from lime\b", "from whybox.compat.lime", source, flags=re.MULTILINE)


SETUP = """
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import sklearn.compose, sklearn.datasets, sklearn.ensemble, sklearn.feature_extraction.text, sklearn.model_selection, sklearn.naive_bayes
import sklearn.neighbors, sklearn.preprocessing
np.random.seed(1)
"""


@pytest.fixture(autouse=True)
def notebook(monkeypatch, tmp_path):
    """An IPython that shows nothing."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(version_info=(9, 0), get_ipython=lambda: None))
    monkeypatch.setitem(sys.modules, "IPython.display", types.SimpleNamespace(HTML=str, display=lambda _: None))
    monkeypatch.setattr("matplotlib.layout_engine.ConstrainedLayoutEngine.execute", lambda self, figure: None)
    yield
    plt.close("all")


def run(source):
    exec(compile(SETUP + change_imports(source), "example of lime", "exec"), {})  # noqa: S102  # the text above


@pytest.mark.parametrize(
    "source", [IRIS, CATEGORIES, NUMBERS_AND_CATEGORIES, REGRESSION, TEXTS, CLASSES_OF_TEXTS, PICK]
)
def test_an_example_of_lime_runs(source):
    run(source)


def test_the_examples_of_pictures_run():
    pytest.importorskip("skimage")
    run(PICTURES)


def test_the_example_of_recurrent_networks_is_refused():
    with pytest.raises(OptionError, match="wb.saliency"):
        run(RECURRENT)
