"""Small models with categories, of every library, and their own predictions of frames of text."""

from __future__ import annotations

import catboost as cb
import lightgbm as lgb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import xgboost as xgb
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, TargetEncoder

from whybox.cli.main import main

RNG = np.random.default_rng(0)
N = 240
WORDS = {
    "leading zeros": ["01234", "00777", "99999"],
    "booleans": ["True", "False"],
    "dates": ["2020-01-01", "2021-05-05", "2022-01-01"],
    "times": ["10:00", "11:30"],
    "exponents": ["1e3", "2e3"],
    "whole numbers": ["1", "2", "10"],
    "blanks": ["red", "NA", "None"],
}
LIBRARIES = ["lightgbm", "xgboost", "catboost", "catboost counters"]


def rows(words):
    which, x = RNG.integers(0, len(words), N), RNG.normal(size=N)
    cells = np.array(words, dtype=object)[which]
    return pd.DataFrame({"c": cells, "x": x}), which * 5.0 + x


def catboost(**more):
    return cb.CatBoostRegressor(iterations=4, depth=3, verbose=0, allow_writing_files=False, **more)


def trained(library, frame, y):
    """A fitted model and its own predict of a frame of text."""
    if library.startswith("catboost"):
        options = (
            {"one_hot_max_size": 1, "max_ctr_complexity": 1} if "counters" in library else {"one_hot_max_size": 10}
        )
        model = catboost(**options).fit(frame, y, cat_features=["c"])
        return model, model.predict
    dtype = pd.CategoricalDtype(sorted(frame.c.unique()))
    model = (
        lgb.LGBMRegressor(n_estimators=5, min_child_samples=5, verbose=-1)
        if library == "lightgbm"
        else xgb.XGBRegressor(n_estimators=5, max_depth=3, enable_categorical=True)
    )
    model.fit(frame.astype({"c": dtype}), y)
    return model, lambda f: model.predict(f.astype({"c": dtype}))


def saved(library, model, folder):
    path = folder / {"lightgbm": "m.txt", "xgboost": "m.json"}.get(library, "m.cbm")
    (model.booster_ if library == "lightgbm" else model).save_model(str(path))
    return path


PIPELINES = {
    "one-hot": OneHotEncoder(handle_unknown="ignore"),
    "ordinal": OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
    "target": TargetEncoder(),
    "imputed": make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore")),
}


def pipeline(name, frame, y):
    if name == "hist gradient boosting":
        return HistGradientBoostingRegressor(max_iter=3, categorical_features=["c"]).fit(frame, y)
    step = make_column_transformer((PIPELINES[name], ["c"]), remainder="passthrough")
    return make_pipeline(step, RandomForestRegressor(3, random_state=0)).fit(frame, y)


def as_library(frame, library):
    if library == "pyarrow":
        return pa.Table.from_pandas(frame, preserve_index=False)
    return pl.from_pandas(frame) if library == "polars" else frame


def explain_file(model, data, folder, *more):
    code = main(["explain", str(model), str(data), "-o", str(folder / "o.parquet"), "--no-verify", *more])
    return pd.read_parquet(folder / "o.parquet") if code == 0 else code
