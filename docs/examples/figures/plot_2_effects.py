"""
Effects
=======

How predictions move with a feature (:func:`whybox.effects`), and which features act together
(:func:`whybox.interactions`, :func:`whybox.regions`).
"""

from sklearn.datasets import load_diabetes
from sklearn.ensemble import GradientBoostingRegressor

import whybox as wb

X, y = load_diabetes(return_X_y=True, as_frame=True, scaled=False)
model = GradientBoostingRegressor(random_state=0).fit(X, y)

# %%
# Partial dependence, with the interval of the mean and the share of rows off the data
wb.effects(model, X)["bmi"].plot.curve()

# %%
# Several features on one scale
wb.effects(model, X, ["bmi", "bp", "s5", "age"]).plot.grid()

# %%
# Each row's own curve
wb.effects(model, X, ["bmi"], "ice")["bmi"].plot.curve()

# %%
# Accumulated local effects, for features that depend on each other
wb.effects(model, X, ["s1"], "ale")["s1"].plot.curve()

# %%
# Two features together
wb.effects(model, X, [("bmi", "bp")])["bmi", "bp"].plot.curve()

# %%
# The size of the interaction of each pair
wb.interactions(model, X).plot.heatmap()
