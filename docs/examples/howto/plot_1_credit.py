"""
A credit model, end to end
==========================

A bank scores applications. We train a model, ask what it has learned, explain one refusal, and write the report that
goes into the file.

**The data are made**, so that we know the truth: the risk of default depends on income, debt and past arrears, and
`postcode` is a copy of income with noise. Nothing else matters.
"""

from textwrap import fill

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import train_test_split

import whybox as wb

rng = np.random.default_rng(0)
n = 4000
income = np.exp(rng.normal(10.3, 0.5, n)).round(-2)
X = pd.DataFrame(
    {
        "income": income,
        "debt": (income * rng.beta(2, 5, n)).round(-2),
        "arrears": rng.poisson(0.4, n),
        "age": rng.integers(18, 75, n),
        "postcode": (
            np.argsort(np.argsort(income + rng.normal(0, 4000, n))) // 40
        ).astype(int),
        "months_at_bank": rng.integers(0, 240, n),
    }
)
log_odds = (
    -2.5
    + 9 * (X["debt"] / X["income"] - 0.3)
    + 1.8 * X["arrears"]
    - 2.5 * np.log(X["income"] / 30000)
)
y = np.where(rng.random(n) < 1 / (1 + np.exp(-log_odds)), "default", "paid")
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
model = HistGradientBoostingClassifier(
    max_iter=80, max_leaf_nodes=8, random_state=0
).fit(X_train, y_train)
accuracy, of_always_paid = model.score(X_test, y_test), (y_test == "paid").mean()
print(f"accuracy {accuracy:.2f}, of always 'paid' {of_always_paid:.2f}")

# %%
# What does the model use?
# ------------------------
#
# Permutation importance says how much worse predictions get if a feature's values come
# from other rows; *conditional* importance says what the feature adds to the others. Both are taken on
# training rows too: what is worth much there and nothing on held-out rows was learnt by
# heart. The findings say in words that other columns tell most of what income tells (the
# postcode does), and that age, postcode and months_at_bank were learnt by heart.

agreement = wb.importance(
    model,
    X_test,
    y_test,
    method=["permutation", "conditional"],
    train=(X_train, y_train),
    role="held-out",
)
agreement.plot.agreement()
for finding in agreement.findings:
    print(fill(finding, 80, subsequent_indent="    "))

# %%
# In which direction?
# -------------------
#
# Partial dependence is exact for trees. The band is the 95 % interval of the mean over
# rows; the bars below show where rows would be moved to places without data. Income and
# postcode depend on each other, so we ask for accumulated local effects of these.

wb.effects(model, X_test, ["debt", "arrears"], output="default").plot.grid()

# %%

wb.effects(model, X_test, ["income", "postcode"], "ale", output="default").plot.grid()

# %%
# Why was this application refused?
# ---------------------------------
#
# Absent features take their values from paid loans: the question is what sets this
# applicant apart from those.

paid = X_train[y_train == "paid"].sample(200, random_state=0)
risk = model.predict_proba(X_test)[:, list(model.classes_).index("default")]
refused = X_test.iloc[np.argsort(-risk)[:20]]  # say the bank refuses these
e = wb.explain(model, refused, background=paid, output="default", scale="probability")
e[0].plot.waterfall()

# %%
# The four main reasons of each refusal as a table, and the evidence of the numbers:

print(e.top(4).head(8))
print(e.evidence)

# %%
# A rule says the same in another way: as long as its conditions hold, the model nearly
# always decides as it did.

rule = wb.anchors(model, refused[:1], X_train)
rule[0].plot.rule()

# %%
# The page for the file
# ---------------------
#
# One HTML file that works offline: what the model is, how well it does, what matters,
# and single decisions.

summary = wb.report(
    model,
    X_test,
    "credit.html",
    y=y_test,
    role="held-out",
    rows=[X_test.index.get_loc(refused.index[0])],
)

# %%
# What this does not tell
# -----------------------
#
# These numbers are about the *model*, not about the world: that a feature moves the
# score does not mean that changing it changes the risk. See :doc:`/docs/limits`.
