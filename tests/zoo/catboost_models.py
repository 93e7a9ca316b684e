"""CatBoost's kinds of models."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from zoo.base import X, binary, case, categories, data, holes, simple, three, two, y


def _cb_contrib(model: Any, rows: Any) -> np.ndarray:
    import catboost as cb

    cats = model.get_cat_feature_indices()
    out = np.asarray(model.get_feature_importance(cb.Pool(rows, cat_features=cats), type="ShapValues"))
    return np.moveaxis(out, 1, -1) if out.ndim == 3 else out


def register() -> None:
    import catboost as cb

    few = {
        "iterations": 10,
        "depth": 3,
        "verbose": 0,
        "allow_writing_files": False,
        "random_seed": 0,
        "thread_count": 1,
    }
    cats = ["age", "bp"]

    def reg(
        name: str,
        rows: Callable[[], Any] = X,
        target: Callable[[], Any] = y,
        contrib: Any = _cb_contrib,
        verdict: str = "exact",
        **params: Any,
    ) -> None:
        simple(
            f"CatBoostRegressor, {name}",
            "CatBoost",
            lambda: cb.CatBoostRegressor(**{**few, **params}),
            rows,
            target,
            contrib=contrib,
            verdict=verdict,
        )

    def clf(
        name: str,
        rows: Callable[[], Any] = X,
        target: Callable[[], Any] = binary,
        contrib: Any = _cb_contrib,
        **params: Any,
    ) -> None:
        simple(
            f"CatBoostClassifier, {name}",
            "CatBoost",
            lambda: cb.CatBoostClassifier(**{**few, **params}),
            rows,
            target,
            contrib=contrib,
        )

    text = lambda: categories(kind="text")
    for loss in (
        "RMSE",
        "MAE",
        "Quantile:alpha=0.3",
        "MAPE",
        "Poisson",
        "LogCosh",
        "Huber:delta=5",
        "Tweedie:variance_power=1.5",
        "Expectile:alpha=0.3",
        "Lq:q=3",
        "Cox",
        "RMSEWithUncertainty",
        "MultiQuantile:alpha=0.1,0.9",
    ):
        # CatBoost explains the mean only, of a mean and a variance
        reg(loss.split(":")[0], loss_function=loss, contrib=None if "Uncertainty" in loss else _cb_contrib)

    def scaled() -> Any:
        class Scaled(cb.CatBoostRegressor):  # type: ignore[misc,unused-ignore]
            def fit(self, *args: Any, **more: Any) -> Any:
                super().fit(*args, **more)
                self.set_scale_and_bias(0.5, 20.0)
                return self

        return Scaled(**few)

    simple("CatBoostRegressor, scale and bias", "CatBoost", scaled, X, y, contrib=None)
    reg("MultiRMSE", target=two, loss_function="MultiRMSE")
    reg("nan_mode=Min", rows=holes, nan_mode="Min")
    reg("nan_mode=Max", rows=holes, nan_mode="Max")
    # CatBoost's own contributions of trees that are not symmetric are wrong (catboost issue 1703), so they are no witness here
    reg("Depthwise", rows=holes, grow_policy="Depthwise", contrib=None)
    reg("Lossguide", rows=holes, grow_policy="Lossguide", contrib=None)
    # its contributions of categories follow the training order's counters, not those that predict
    reg("categories, one-hot", rows=text, cat_features=cats, one_hot_max_size=200)
    for kind in ("Borders", "Buckets", "BinarizedTargetMeanValue", "Counter"):
        reg(
            f"categories, {kind} counters",
            rows=text,
            cat_features=cats,
            one_hot_max_size=2,
            simple_ctr=[kind],
            max_ctr_complexity=1,
        )
    reg("categories combined", rows=text, cat_features=cats, one_hot_max_size=2, max_ctr_complexity=2, contrib=None)
    reg(
        "categories combined with every column",
        rows=text,
        cat_features=cats,
        one_hot_max_size=2,
        simple_ctr=["Counter"],
        combinations_ctr=["Counter"],
        depth=5,
        iterations=60,
        max_ctr_complexity=4,
        verdict="all columns mixed into one player",
    )
    clf("Logloss")
    clf("CrossEntropy", loss_function="CrossEntropy")
    clf("Focal", loss_function="Focal:focal_alpha=0.3;focal_gamma=2")
    clf("MultiClass", target=three)
    clf("MultiClassOneVsAll", target=three, loss_function="MultiClassOneVsAll")
    clf(
        "MultiLogloss",
        target=lambda: np.column_stack([binary(), (data().bmi > 26).astype(int)]),
        loss_function="MultiLogloss",
    )
    clf(
        "MultiClass, categories, Lossguide",
        rows=text,
        target=three,
        cat_features=cats,
        grow_policy="Lossguide",
        max_ctr_complexity=1,
        contrib=None,
    )
    sums = [
        ("a sum of regressors", "to_regressor", cb.CatBoostRegressor, data().target),
        ("a sum of classifiers", "to_classifier", cb.CatBoostClassifier, three()),
    ]
    for name, convert, kind, target in sums:

        def build(convert: str = convert, kind: Any = kind, target: Any = target) -> tuple[Any, Any]:
            members = [kind(**few | {"depth": depth}).fit(X(), np.asarray(target)) for depth in (2, 4)]
            return getattr(cb, convert)(cb.sum_models(members, weights=[0.3, 0.7])), X()

        case(f"sum_models, {name}", "CatBoost")(build)
    simple(
        "CatBoostRanker",
        "CatBoost",
        lambda: cb.CatBoostRanker(**few),
        target=three,
        fit=lambda: {"group_id": np.repeat(np.arange(34), 13)},
        contrib=_cb_contrib,
    )
