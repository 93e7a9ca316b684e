"""The methods for models of tables, as data: attributions, effects, interactions, regions and importance."""

from __future__ import annotations

from typing import Any, Final

from whybox.methods.method_spec import MethodSpec

__all__ = ["TABLE_METHODS"]

_TABLE_FIGURES: Final = ("bar", "beeswarm", "waterfall", "scatter", "heatmap")
_INTERVENTIONAL: Final = "interventional: every row keeps its other values"
_SHAP_OPTIONS: Final = "whybox.methods.shap.options:ShapOptions"
_EFFECTS_OPTIONS: Final = "whybox.methods.effects.options:"
_LOSS_OPTIONS: Final = (
    "loss", "train", "role", "players", "output", "scale", "sample_weight", "response_method", "level", "spot_checks",
)  # fmt: skip  # that every importance by a loss takes
_LOSS_FIELDS: Final[dict[str, Any]] = {"quantity": "increase of the loss", "exact": False, "figures": ("dots", "bar")}
_LUNDBERG: Final = "Lundberg et al., Nature Machine Intelligence 2 (2020), doi:10.1038/s42256-019-0138-9"


def _effect(id: str, title: str, summary: str, reference: str, name: str, **more: Any) -> MethodSpec:  # noqa: A002  # the name of the field
    """A kind of effect; `name` of its class in methods/effects/kinds.py."""
    shared = {"estimand": _INTERVENTIONAL, "figures": ("curve", "grid"), "section": "effects", "command": "effects"}
    return MethodSpec(
        id=id,
        family="effects",
        title=title,
        summary=summary,
        reference=reference,
        run=f"whybox.methods.effects.kinds:{name}",
        options=_EFFECTS_OPTIONS + "EffectsOptions",
        **(shared | more),
    )


def _importance(id: str, run: str, plan: str, **more: Any) -> MethodSpec:  # noqa: A002  # the name of the field
    """A method of importance; `run` is ``"file:function"`` in methods/importance, `plan` a function of the same file."""
    shared = {"figures": ("bar", "dots"), "section": "importance", "command": "importance"}
    folder = "whybox.methods.importance."
    return MethodSpec(
        id=id,
        family="importance",
        run=folder + run,
        plan=f"{folder}{run.partition(':')[0]}:{plan}",
        options=folder + "options:ImportanceOptions",
        **(shared | more),
    )


TABLE_METHODS: Final = (
    MethodSpec(
        id="tree_shap",
        family="shap",
        title="TreeShap",
        summary="exact Shapley values, or another index, of a tree ensemble",
        reference=_LUNDBERG,
        run="whybox.methods.shap.explainers:TreeShap",
        options=_SHAP_OPTIONS,
        needs=("trees",),
        takes=("background",),
        additive=True,
        figures=_TABLE_FIGURES,
        section="attributions",
        command="explain",
        cost="half to four predicts at depth 6, more for deeper trees",
    ),
    MethodSpec(
        id="linear_shap",
        family="shap",
        title="LinearShap",
        summary="exact Shapley values of a linear model: weight times distance from the background mean",
        reference="Strumbelj and Kononenko, Knowledge and Information Systems 41 (2014)",
        run="whybox.methods.shap.explainers:LinearShap",
        options=_SHAP_OPTIONS,
        needs=("linear", "background"),
        additive=True,
        figures=_TABLE_FIGURES,
        section="attributions",
        command="explain",
        cost="less than one predict",
    ),
    MethodSpec(
        id="rescaled",
        family="shap",
        title="TreeShap, rescaled",
        summary="attributions of the additive scale, scaled to add up on the other side of a link: an approximation",
        reference=_LUNDBERG,
        run="whybox.methods.shap.explainers:TreeShap",
        options=_SHAP_OPTIONS,
        needs=("trees", "background"),
        exact=False,
        additive=True,
        figures=_TABLE_FIGURES,
        section="attributions",
        command="explain",
        cost="one walk of the trees a background row",
    ),
    _effect(
        "pdp",
        "Partial dependence",
        "the mean prediction over the rows, with the feature set to each point",
        "Friedman, Annals of Statistics 29 (2001)",
        "PartialDependence",
        quantity="mean prediction",
        signed=False,
    ),
    _effect(
        "ice",
        "Individual conditional expectation",
        "each row's own curve",
        "Goldstein et al., Journal of Computational and Graphical Statistics 24 (2015)",
        "IndividualCurves",
        quantity="prediction",
        signed=False,
    ),
    _effect(
        "c-ice",
        "Individual conditional expectation, each curve less its first point",
        "each row's own curve, less its first point",
        "Goldstein et al., Journal of Computational and Graphical Statistics 24 (2015)",
        "CentredCurves",
        quantity="prediction, less its first",
    ),
    _effect(
        "d-ice",
        "Individual conditional expectation, slopes",
        "the slope of each row's own curve",
        "Goldstein et al., Journal of Computational and Graphical Statistics 24 (2015)",
        "CurveSlopes",
        quantity="slope",
    ),
    _effect(
        "ale",
        "Accumulated local effects",
        "local changes of the prediction, accumulated and centred at zero; for features that depend on each other",
        "Apley and Zhu, Journal of the Royal Statistical Society B 82 (2020), doi:10.1111/rssb.12377",
        "AccumulatedLocalEffects",
        estimand="local: every row keeps its other values and moves inside its own interval",
        quantity="accumulated effect",
    ),
    _effect(
        "marginal",
        "Mean prediction by value",
        "the mean prediction of the rows that have the value",
        "Apley and Zhu, Journal of the Royal Statistical Society B 82 (2020), as marginal plots",
        "MeanByValue",
        estimand="observational: rows as they are",
        quantity="mean prediction",
        signed=False,
    ),
    _effect(
        "anova",
        "Functional ANOVA component",
        "what a feature adds to the mean prediction, or a pair to what its features add alone",
        "Friedman and Popescu, Annals of Applied Statistics 2 (2008); Hiabu, Meyer and Wright, AISTATS 2023",
        "AnovaComponents",
        quantity="added to the mean",
    ),
    MethodSpec(
        id="friedman_h",
        family="interactions",
        title="Friedman's H and the size of interactions",
        summary="the size of the interaction of each pair of features, and its share of their joint effect",
        reference="Friedman and Popescu, Annals of Applied Statistics 2 (2008)",
        run="whybox.methods.effects.interactions:find_interactions",
        options=_EFFECTS_OPTIONS + "InteractionsOptions",
        estimand=_INTERVENTIONAL,
        quantity="size of the interaction",
        signed=False,
        figures=("heatmap",),
        section="effects",
    ),
    MethodSpec(
        id="regional",
        family="regions",
        title="Partial dependence in a region",
        summary="partial dependence in regions of the rows in which a feature acts alike",
        reference="Herbinger et al., Journal of Machine Learning Research 25 (2024)",
        run="whybox.methods.effects.regions:find_regions",
        options=_EFFECTS_OPTIONS + "RegionsOptions",
        estimand=_INTERVENTIONAL,
        quantity="mean prediction",
        signed=False,
        figures=("curve", "grid"),
    ),
    _importance(
        id="permutation",
        title="Permutation importance",
        summary="how much the mean loss grows when a feature's values come from another row; exact, over all pairs of rows, for tree ensembles that are read",
        reference="Breiman, Machine Learning 45 (2001); Fisher, Rudin and Dominici, Journal of Machine Learning Research 20 (2019)",
        run="permutation:permutation",
        plan="plan_permutation",
        option_names=(*_LOSS_OPTIONS, "scoring", "n_jobs", "tol", "max_evals", "seed"),
        needs=("predict", "y"),
        takes=("train",),
        estimand="how much worse are this model's predictions without knowing the feature, if its values come without regard to the other features?",
        **_LOSS_FIELDS,
        cost="of trees about one walk a row; of any other model as many predictions a row as `max_evals` allows, 200 by default",
    ),
    _importance(
        id="conditional",
        title="Conditional importance",
        summary="how much the mean loss grows when the part of a feature that the others do not explain comes from another row, with a test",
        reference="Watson and Wright, Machine Learning 110 (2021), doi:10.1007/s10994-021-06030-6",
        run="conditional:conditional",
        plan="plan_conditional",
        option_names=(*_LOSS_OPTIONS, "max_evals", "seed"),
        needs=("predict", "y"),
        takes=("train",),
        estimand="how much worse are this model's predictions without the information that the feature adds to the others?",
        **_LOSS_FIELDS,
        cost="a model of each feature, and as many predictions a row as `max_evals` allows, 200 by default",
    ),
    _importance(
        id="drop_column",
        title="Importance by dropping columns",
        summary="how much the mean loss grows when the model is trained again without a feature, with a test",
        reference="Lei et al., Journal of the American Statistical Association 113 (2018), doi:10.1080/01621459.2017.1307116",
        run="drop_column:drop_column",
        plan="plan_drop_column",
        option_names=(*_LOSS_OPTIONS, "fit"),
        needs=("predict", "y", "train"),
        estimand="how much worse is a model of this kind that is trained without the feature?",
        **_LOSS_FIELDS,
        section=None,
        cost="a training for each feature",
    ),
    _importance(
        id="sage",
        title="SAGE: Shapley values of the loss",
        summary="how much each feature takes off the mean loss, by Shapley values of the game on the loss; exact for few features, else estimated",
        reference="Covert, Lundberg and Lee, NeurIPS 33 (2020), arXiv:2004.00668",
        run="sage:sage",
        plan="plan_sage",
        option_names=(*_LOSS_OPTIONS, "background", "background_weight", "tol", "max_evals", "seed"),
        needs=("predict", "y"),
        takes=("train", "background"),
        estimand="how much does each feature take off the loss of a model that knows none, shared out over all sets of known features?",
        **(_LOSS_FIELDS | {"quantity": "share of the decrease of the loss"}),
        cost="as many predictions a row as `max_evals` allows, 200 by default, each coalition of features with every background row",
    ),
    _importance(
        id="shap",
        title="Mean |TreeShap| over the rows",
        summary="mean absolute attribution over the rows",
        reference=_LUNDBERG,
        run="mean_abs_shap:mean_abs_shap",
        plan="plan_mean_abs_shap",
        option_names=("background", "background_weight", "output", "scale", "players", "n_jobs", "spot_checks"),
        takes=("background",),
        quantity="mean |attribution|",
        signed=False,
        cost="one explanation",
    ),
    _importance(
        id="impurity",
        title="Impurity decrease in training",
        summary="share of the impurity decrease (gain) in training",
        reference="Breiman et al., Classification and Regression Trees (1984)",
        run="impurity:impurity_importance",
        plan="plan_impurity",
        option_names=("players",),
        needs=("trees",),
        estimand="none: nothing is removed",
        quantity="share of impurity decrease",
        signed=False,
        cost="nothing: it is read from the model",
    ),
)  # fmt: skip
