"""LightGBM's kinds of models."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from zoo.base import X, binary, case, categories, holes, simple, three, y, zeros


def _lgb_contrib(model: Any, rows: Any) -> np.ndarray:
    out = np.asarray(model.predict(rows, pred_contrib=True))
    d = rows.shape[1] + 1
    return out if out.shape[1] == d else np.moveaxis(out.reshape(len(out), -1, d), 1, -1)


def register() -> None:
    import lightgbm as lgb

    few = {"n_estimators": 10, "num_leaves": 8, "min_child_samples": 5, "verbose": -1, "random_state": 0, "n_jobs": 1}
    more = {"contrib": _lgb_contrib}

    def reg(
        name: str,
        rows: Callable[[], Any] = X,
        target: Callable[[], Any] = y,
        fit: Any = None,
        contrib: Any = _lgb_contrib,
        no_path: bool = False,
        **params: Any,
    ) -> None:
        simple(
            f"LGBMRegressor, {name}",
            "LightGBM",
            lambda: lgb.LGBMRegressor(**{**few, **params}),
            rows,
            target,
            fit,
            contrib=contrib,
            no_path=no_path,
        )

    def clf(
        name: str,
        rows: Callable[[], Any] = X,
        target: Callable[[], Any] = binary,
        fit: Any = None,
        contrib: Any = _lgb_contrib,
        **params: Any,
    ) -> None:
        simple(
            f"LGBMClassifier, {name}",
            "LightGBM",
            lambda: lgb.LGBMClassifier(**{**few, **params}),
            rows,
            target,
            fit,
            contrib=contrib,
        )

    for objective in (
        "regression",
        "regression_l1",
        "huber",
        "fair",
        "poisson",
        "quantile",
        "mape",
        "gamma",
        "tweedie",
    ):
        reg(objective, objective=objective)
    reg("cross_entropy", target=binary, objective="cross_entropy")
    reg("cross_entropy_lambda", target=binary, objective="cross_entropy_lambda")
    reg("reg_sqrt", reg_sqrt=True)
    reg("missing values", rows=holes)
    reg("zero_as_missing", rows=zeros, zero_as_missing=True)
    reg("use_missing=False", rows=holes, use_missing=False)
    reg("dart", boosting_type="dart")
    reg("goss", data_sample_strategy="goss")
    # LightGBM's own contributions of a random forest are the sum over trees, its predictions the mean
    reg(
        "random forest",
        boosting_type="rf",
        bagging_freq=1,
        bagging_fraction=0.6,
        contrib=lambda m, r: _lgb_contrib(m, r) / 10,
    )
    reg("linear leaves", linear_tree=True, contrib=None, no_path=True)
    reg("linear leaves, missing values", rows=holes, linear_tree=True, contrib=None, no_path=True)
    reg("categories", rows=categories, min_data_per_group=5, cat_smooth=1.0, max_cat_to_onehot=2)
    reg(
        "ordered categories among plain ones",
        rows=lambda: categories().assign(bp=lambda d: d.bp.cat.as_ordered()),
        min_data_per_group=5,
    )
    reg(
        "categories of numbers",
        rows=lambda: X().assign(bp=lambda d: (d.bp // 2).astype(int)),
        fit={"categorical_feature": ["bp"]},
        min_data_per_group=5,
        cat_smooth=1.0,
    )
    reg(
        "blanks in names, extra trees, monotone",
        rows=lambda: X().rename(columns={"bp": "blood pressure"}),
        extra_trees=True,
        monotone_constraints=[0, 0, 1, 0, 1],
        contrib=None,
    )
    clf("binary, text classes", target=lambda: np.array(["no", "yes"])[binary()])
    clf("binary, sigmoid=2, unbalanced", sigmoid=2.0, is_unbalance=True)
    clf("multiclass", target=three)
    clf("multiclassova", target=three, objective="multiclassova")
    clf("categories", rows=categories, min_data_per_group=5)
    clf(
        "early stopping",
        fit=lambda: {
            "eval_set": [(X()[:80], np.random.default_rng(3).integers(0, 2, 80))],
            "callbacks": [lgb.early_stopping(2, verbose=False)],
        },
        n_estimators=60,
    )
    simple("LGBMRanker", "LightGBM", lambda: lgb.LGBMRanker(**few), target=three, fit={"group": [221, 221]}, **more)

    @case("LGBMRegressor, missing values only when explained", "LightGBM", contrib=_lgb_contrib)
    def _() -> tuple[Any, Any]:
        return lgb.LGBMRegressor(**few).fit(X(), y()), holes()

    @case("Booster (lightgbm.train), custom objective", "LightGBM", contrib=_lgb_contrib)
    def _() -> tuple[Any, Any]:
        own = lambda p, d: (p - d.get_label(), np.ones_like(p))
        return lgb.train(
            {"objective": own, "verbose": -1, "num_leaves": 6, "num_threads": 1}, lgb.Dataset(X(), y()), 8
        ), X()
