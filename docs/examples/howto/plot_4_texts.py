"""
Texts
=====

Which words made the classifier decide as it did? The texts are real: the docstrings of scikit-learn, about clustering
or about linear models.
"""

import inspect

import sklearn.cluster
import sklearn.linear_model
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline

import whybox as wb

texts, topics = [], []
for topic, module in {
    "cluster": sklearn.cluster,
    "linear": sklearn.linear_model,
}.items():
    for name in module.__all__:
        if text := inspect.getdoc(getattr(module, name)):
            texts.append(" ".join(text[:300].split()))
            topics.append(topic)
model = make_pipeline(TfidfVectorizer(), LogisticRegression(C=10))
right = cross_val_score(model, texts, topics, cv=5).mean()
model.fit(texts, topics)
print(f"{right:.0%} right in cross-validation")

# %%
# What does each word add?
# ------------------------
#
# Shapley values of words: a word that is absent is left out of the text. Short texts
# are exact, longer ones have standard errors.

questions = [
    "Ridge regression with a robust loss",
    "Find groups of points in dense regions",
    texts[0],
]
e = wb.explain(model, questions)
e

# %%

e.plot.words(1)

# %%

e[1].plot.waterfall()

# %%
# Do words belong together?
# -------------------------
#
# Owen values share the credit among neighbouring words, which suits phrases.

phrases = wb.explain(model, questions[:2], method="partition_shap")
phrases[1].plot.bar()

# %%
# LIME, with errors
# -----------------
#
# :func:`whybox.lime` fits a linear model of which words are there. Bars whose order is
# not settled are pale.

local = wb.lime(model, questions)
local.plot.local(2)

# %%
# A table, for whatever comes next:

print(e.to_frame().head())
