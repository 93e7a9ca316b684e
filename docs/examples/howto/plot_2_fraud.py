"""
A fraud model with categories
=============================

Few payments are fraud, most features are categories, and what matters is how two of them come together. LightGBM
reads categories as they are, and so does whybox: a category is never turned into a number that you have to decode.

**The data are made**: payments at night are fraud more often if, and only if, they come from abroad.
"""

import lightgbm
import numpy as np
import pandas as pd

import whybox as wb

rng = np.random.default_rng(1)
n = 12_000
X = pd.DataFrame(
    {
        "amount": np.exp(rng.normal(3.5, 1, n)).round(2),
        "hour": rng.integers(0, 24, n),
        "country": pd.Categorical(rng.choice(["home", "abroad"], n, p=[0.85, 0.15])),
        "shop": pd.Categorical(
            rng.choice(["food", "fuel", "travel", "games", "gifts"], n)
        ),
        "card": pd.Categorical(rng.choice(["chip", "stripe", "online"], n)),
    }
)
night = (X["hour"] < 6).to_numpy()
abroad = (X["country"] == "abroad").to_numpy()
log_odds = (
    -5.2
    + 3.2 * (night & abroad)
    + 1.5 * (X["shop"] == "gifts")
    + 0.6 * np.log(X["amount"] / 33)
)
fraud = (rng.random(n) < 1 / (1 + np.exp(-log_odds))).astype(int)
model = lightgbm.LGBMClassifier(
    n_estimators=60, num_leaves=8, n_jobs=1, verbose=-1, random_state=0
).fit(X[:8000], fraud[:8000])
held, truth = X[8000:], fraud[8000:]
print(f"{fraud.mean():.1%} of payments are fraud")

# %%
# Which features matter? With few positives, average precision says more than accuracy or
# the area under the ROC curve.

importance = wb.importance(
    model, held[:2000], truth[:2000], scoring="average_precision", role="held-out"
)
importance.plot.dots()

# %%
# What each feature does to single payments
# -----------------------------------------
#
# Values are exact, in log-odds. The categories of a row stand in the figure as they are
# written.

e = wb.explain(model, held[:1000])
e.plot.beeswarm()

# %%

suspicious = int(np.argmax(e.prediction))
e[suspicious].plot.waterfall()

# %%
# Which features act together?
# ----------------------------
#
# `h_squared` is the share of the joint effect of two features that is no sum of their
# own effects.

pairs = wb.interactions(model, held[:500])
pairs.plot.heatmap()

# %%
# :func:`whybox.regions` finds the groups of rows in which the hour acts alike. It
# should find the country.

regions = wb.regions(model, held[:2000], "hour", depth=1)
print(list(regions))
regions.plot.grid()

# %%
# A category that nobody has seen
# -------------------------------
#
# A shop that was not in training goes the way that LightGBM sends it, and the evidence
# counts and names it.

new = held[:3].copy()
new["shop"] = new["shop"].cat.add_categories("crypto")
new.loc[new.index[0], "shop"] = "crypto"
print("\n".join(wb.explain(model, new).evidence.notes))
