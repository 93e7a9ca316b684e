"""
Single rows
===========

A linear model near a row (:func:`whybox.lime`), a rule that keeps its class (:func:`whybox.anchors`), and the words of
a text.
"""

from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

import whybox as wb

X, y = load_breast_cancer(return_X_y=True, as_frame=True)
forest = RandomForestClassifier(50, min_samples_leaf=3, random_state=0).fit(
    X[100:], y[100:]
)

# %%
# The features that decide near the row, with what speaks against a linear model there
wb.lime(forest, X[:3], X[100:])[0].plot.local()

# %%
# Conditions that keep the class, with precision and coverage
wb.anchors(forest, X[:1], X[100:])[0].plot.rule()

# %%
# A text, word by word. The eight texts are made.
texts = ["good plot and great cast", "great fun", "a good film", "great, simply great"]
texts += ["dull plot and bad cast", "no fun", "a bad film", "dull, simply dull"]
reviews = make_pipeline(TfidfVectorizer(), LogisticRegression(C=10)).fit(
    texts, [1] * 4 + [0] * 4
)
wb.explain(reviews, ["a great film with a dull plot"]).plot.words(0)
