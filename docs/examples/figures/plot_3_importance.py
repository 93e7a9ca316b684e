"""
Importance
==========

Which features matter (:func:`whybox.importance`).
"""

from sklearn.datasets import load_diabetes
from sklearn.ensemble import RandomForestRegressor
from sklearn.model_selection import train_test_split

import whybox as wb

X, y = load_diabetes(return_X_y=True, as_frame=True, scaled=False)
X_train, X, y_train, y = train_test_split(X, y, random_state=0)
model = RandomForestRegressor(40, min_samples_leaf=5, random_state=0).fit(
    X_train, y_train
)

# %%
# With intervals; hollow: the same on training rows
wb.importance(model, X, y, train=(X_train, y_train), role="held-out").plot.dots()

# %%
# Methods beside each other, as shares of each method's largest value
wb.importance(
    model,
    X,
    y,
    method=["permutation", "conditional", "shap", "impurity"],
    role="held-out",
).plot.agreement()
