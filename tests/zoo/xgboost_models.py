"""XGBoost's kinds of models."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from zoo.base import X, binary, case, categories, data, holes, simple, three, two, y, zeros


def _xgb_contrib(model: Any, rows: Any) -> np.ndarray:
    import xgboost as xgb

    b = model.get_booster() if hasattr(model, "get_booster") else model
    best = (
        getattr(model, "best_iteration", None)
        if hasattr(model, "get_booster") and model.early_stopping_rounds
        else None
    )
    missing = getattr(model, "missing", np.nan)
    d = xgb.DMatrix(rows, enable_categorical=True, missing=np.nan if missing is None else missing)
    out = b.predict(d, pred_contribs=True, iteration_range=(0, 0) if best is None else (0, best + 1))
    return np.moveaxis(out, 1, -1) if out.ndim == 3 else out


def register() -> None:
    import xgboost as xgb

    few = {"n_estimators": 10, "max_depth": 4, "random_state": 0}
    more = {"single": True, "contrib": _xgb_contrib}

    def reg(name: str, rows: Callable[[], Any] = X, target: Callable[[], Any] = y, **params: Any) -> None:
        simple(f"XGBRegressor, {name}", "XGBoost", lambda: xgb.XGBRegressor(**{**few, **params}), rows, target, **more)

    def clf(name: str, rows: Callable[[], Any] = X, target: Callable[[], Any] = binary, **params: Any) -> None:
        simple(
            f"XGBClassifier, {name}", "XGBoost", lambda: xgb.XGBClassifier(**{**few, **params}), rows, target, **more
        )

    for objective in ("squarederror", "squaredlogerror", "pseudohubererror", "absoluteerror", "gamma", "tweedie"):
        reg(f"reg:{objective}", objective=f"reg:{objective}")
    reg("reg:quantileerror, 2 levels", objective="reg:quantileerror", quantile_alpha=np.array([0.1, 0.9]))
    reg("count:poisson", objective="count:poisson")
    reg("survival:cox", objective="survival:cox")
    reg("binary:logitraw", target=binary, objective="binary:logitraw")
    reg("reg:logistic", target=lambda: y() / 400, objective="reg:logistic")
    reg("missing values", rows=holes)
    reg("missing=0", rows=zeros, missing=0.0)
    reg("dart", booster="dart", rate_drop=0.4, skip_drop=0.2)
    reg("boosted forests", num_parallel_tree=3, subsample=0.7)
    reg("several targets", target=two)
    reg(
        "several quantiles and targets",
        target=y,
        objective="reg:quantileerror",
        quantile_alpha=np.array([0.2, 0.5, 0.8]),
        base_score=120.0,
    )
    reg("categories, partitioned", rows=categories, enable_categorical=True, max_cat_to_onehot=1, min_child_weight=0)
    reg("categories, one at a time", rows=categories, enable_categorical=True, max_cat_to_onehot=1000)
    reg("loss-guided, pruned", grow_policy="lossguide", max_leaves=9, max_depth=0, gamma=200.0)
    reg("exact, pruned", tree_method="exact", gamma=5000.0)
    clf("binary:logistic")
    clf("base_score, scale_pos_weight", base_score=0.2, scale_pos_weight=3.0)
    clf("binary:hinge", objective="binary:hinge")
    clf("multi:softprob", target=three)
    clf("multi:softmax, missing values", target=three, rows=holes, objective="multi:softmax")
    clf("several labels", target=lambda: np.column_stack([binary(), (data().bmi > 26).astype(int)]))
    simple("XGBRFRegressor", "XGBoost", lambda: xgb.XGBRFRegressor(**few), **more)
    simple("XGBRFClassifier", "XGBoost", lambda: xgb.XGBRFClassifier(**few), target=binary, **more)
    simple(
        "XGBRanker",
        "XGBoost",
        lambda: xgb.XGBRanker(**few),
        target=three,
        fit=lambda: {"qid": np.repeat([0, 1], 221)},
        **more,
    )
    simple(
        "XGBRegressor, vector leaves",
        "XGBoost",
        lambda: xgb.XGBRegressor(multi_strategy="multi_output_tree", **few),
        target=two,
        single=True,
    )
    simple(
        "XGBClassifier, vector leaves",
        "XGBoost",
        lambda: xgb.XGBClassifier(multi_strategy="multi_output_tree", **few),
        target=three,
        single=True,
    )
    simple(
        "XGBClassifier, early stopping",
        "XGBoost",
        lambda: xgb.XGBClassifier(**{**few, "n_estimators": 60, "early_stopping_rounds": 2}),
        target=binary,
        fit=lambda: {"eval_set": [(X()[:80], np.random.default_rng(3).integers(0, 2, 80))], "verbose": False},
        **more,
    )
    simple(
        "XGBRegressor, gblinear",
        "XGBoost",
        lambda: xgb.XGBRegressor(n_estimators=10, booster="gblinear"),
        single=True,
        no_path=True,
    )
    simple(
        "XGBClassifier, gblinear, 3 classes, missing values",
        "XGBoost",
        lambda: xgb.XGBClassifier(n_estimators=10, booster="gblinear"),
        rows=holes,
        target=three,
        single=True,
        no_path=True,
    )

    @case("Booster (xgboost.train), custom objective", "XGBoost", single=True, contrib=_xgb_contrib)
    def _() -> tuple[Any, Any]:
        d = xgb.DMatrix(X(), label=y())
        return xgb.train(
            {"max_depth": 3, "base_score": 100.0}, d, 8, obj=lambda p, m: (p - m.get_label(), np.ones_like(p))
        ), X()

    @case("Booster, survival:aft", "XGBoost", single=True, contrib=_xgb_contrib)
    def _() -> tuple[Any, Any]:
        d = xgb.DMatrix(X())
        d.set_float_info("label_lower_bound", y())
        d.set_float_info("label_upper_bound", y() + 10)
        return xgb.train({"objective": "survival:aft", "max_depth": 3}, d, 8), X()
