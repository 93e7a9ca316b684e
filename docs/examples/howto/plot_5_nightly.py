"""
A nightly job
=============

Every night new rows are scored. The job explains them from the model *file*, keeps the numbers with their evidence,
and fails loudly if the file and its reading disagree.
"""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import xgboost
from sklearn.datasets import load_diabetes

import whybox as wb

X, y = load_diabetes(return_X_y=True, as_frame=True, scaled=False)
model = xgboost.XGBRegressor(n_estimators=60, max_depth=3).fit(X[:350], y[:350])
model.save_model("model.json")
X[350:].assign(patient=np.arange(350, len(X))).to_parquet("tonight.parquet")

# %%
# From the shell
# --------------
#
# One command a result. It writes whole files or none, and its exit code says what went
# wrong: 3 the data, 4 the model, 5 the model's own predict disagrees with our reading
# of the file (then nothing is written).


def shell(command):
    """Run a command as the job does, with the Python of this page; show what it prints."""
    words = [sys.executable, "-m", *command.split()]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    print(f"$ {command}\n{done.stdout}{done.stderr}exit code {done.returncode}\n")


shell("whybox plan explain model.json tonight.parquet")
shell("whybox explain model.json tonight.parquet --id patient -o shap.parquet")
shell("whybox explain model.json no_such_file.parquet -o more.parquet")

# %%
# The result is one column a feature, then the base and the prediction. The evidence is
# in the file's metadata.

pd.read_parquet("shap.parquet").head(3)

# %%
# From Python, with an explainer that is kept
# -------------------------------------------
#
# A kept explainer reads and verifies the model once. `save` writes all of a result,
# evidence included; such a file cannot run code when it is loaded, and later versions
# of whybox read it.

explainer = wb.explainers.TreeShap("model.json")
for night in range(2):
    rows = X[350 + 40 * night : 390 + 40 * night]
    explainer(rows).save(f"night_{night}.whybox")

# %%
# In the morning
# --------------
#
# Parts of one model join into one explanation, with their row labels.

parts = [wb.load(path) for path in sorted(Path().glob("night_*.whybox"))]
both = wb.concat(parts)
both.plot.beeswarm()

# %%

print(both.evidence)
