"""
Attributions
============

What each feature adds to predictions (:func:`whybox.explain`).
"""

from sklearn.datasets import load_diabetes
from sklearn.ensemble import GradientBoostingRegressor

import whybox as wb

X, y = load_diabetes(return_X_y=True, as_frame=True, scaled=False)
model = GradientBoostingRegressor(random_state=0).fit(X, y)
e = wb.explain(model, X)

# %%
# All rows, one dot a row
e.plot.beeswarm()

# %%
# One row, from the base to its prediction
e[7].plot.waterfall()

# %%
# One feature, over its values
e.plot.scatter("bmi")

# %%
# Mean absolute values
e.plot.bar()

# %%
# Rows side by side, ordered by likeness
e[:100].plot.heatmap()
