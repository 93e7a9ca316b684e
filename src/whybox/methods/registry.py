"""Every method of the library as data: one :class:`MethodSpec` each, strings only, so that reading the list imports nothing heavy.

Dispatch, plans, the command line, reports, figures and the table in the docs come from this list. To add a method, write its file and add one entry to
`_METHODS` (a package or a test adds its own with :func:`register` or :func:`registered`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import MISSING, fields
from importlib import import_module
from typing import Any, Final

from whybox.errors import Argument, OptionError
from whybox.methods.method_spec import MethodSpec, Option

__all__ = [
    "MethodSpec",
    "Option",
    "family_ids",
    "find",
    "load",
    "load_options",
    "methods",
    "of_id",
    "options_of",
    "register",
    "registered",
]

_TABLE_FIGURES: Final = ("bar", "beeswarm", "waterfall", "scatter", "heatmap")
_MAP_FIGURES: Final = ("overlay", "beside", "track", "words", "bar", "beeswarm", "heatmap", "scatter")
_INTERVENTIONAL: Final = "interventional: every row keeps its other values"
_SHAP_OPTIONS: Final = "whybox.methods.shap.options:ShapOptions"
_EFFECTS_OPTIONS: Final = "whybox.methods.effects.options:"
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


def _map(id: str, where: str, title: str, summary: str, reference: str, **more: Any) -> MethodSpec:  # noqa: A002  # the name of the field
    """A method of saliency; `where` is ``"file:Class"`` in methods/saliency."""
    shared = {
        "needs": ("gradients",),
        "figures": _MAP_FIGURES,
        "section": "maps",
        "command": "saliency",
    }
    place = f"whybox.methods.saliency.{where}"
    return MethodSpec(
        id=id, family="saliency", title=title, summary=summary, reference=reference, run=place, options=place, **(shared | more)
    )  # fmt: skip


_METHODS: Final = (
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
    MethodSpec(
        id="shap",
        family="importance",
        title="Mean |TreeShap| over the rows",
        summary="mean absolute attribution over the rows",
        reference=_LUNDBERG,
        run="whybox.methods.importance.mean_abs_shap:mean_abs_shap",
        plan="whybox.methods.importance.mean_abs_shap:plan_mean_abs_shap",
        options="whybox.methods.importance.options:ImportanceOptions",
        takes=("background",),
        quantity="mean |attribution|",
        signed=False,
        figures=("bar",),
        section="importance",
        cost="one explanation",
    ),
    MethodSpec(
        id="impurity",
        family="importance",
        title="Impurity decrease in training",
        summary="share of the impurity decrease (gain) in training",
        reference="Breiman et al., Classification and Regression Trees (1984)",
        run="whybox.methods.importance.impurity:impurity_importance",
        plan="whybox.methods.importance.impurity:plan_impurity",
        options="whybox.methods.importance.options:ImportanceOptions",
        needs=("trees",),
        estimand="none: nothing is removed",
        quantity="share of impurity decrease",
        signed=False,
        figures=("bar",),
        section="importance",
        cost="nothing: it is read from the model",
    ),
    _map(
        "gradient",
        "gradients:Gradient",
        "Gradient",
        "derivative of the score by each number",
        "Simonyan, Vedaldi and Zisserman 2014, arXiv:1312.6034",
        cost="1 forward, 1 backward",
    ),
    _map(
        "gradient_x_input",
        "gradients:GradientInput",
        "Gradient x input",
        "the gradient, times the input",
        "Shrikumar et al. 2016, arXiv:1605.01713",
        cost="1 forward, 1 backward",
    ),
    _map(
        "smoothgrad",
        "gradients:SmoothGrad",
        "SmoothGrad",
        "mean of the gradient under noise, relative to the row's own range, in antithetic pairs, with a standard error",
        "Smilkov et al. 2017, arXiv:1706.03825",
        exact=False,
        cost="`samples` forwards and backwards",
    ),
    _map(
        "vargrad",
        "gradients:VarGrad",
        "VarGrad",
        "variance of the gradient under noise, relative to the row's own range, in antithetic pairs",
        "Adebayo et al. 2018, arXiv:1810.03292",
        signed=False,
        exact=False,
        cost="`samples` forwards and backwards",
    ),
    _map(
        "integrated_gradients",
        "integrated_gradients:IntegratedGradients",
        "Integrated gradients",
        "the gradient integrated from a baseline; adds up to score less baseline score within `tol` with as many steps as a row needs (or `steps`), or the row is marked",
        "Sundararajan, Taly and Yan 2017, arXiv:1703.01365",
        takes=("background",),
        additive=True,
        exact=False,
        cost="as many steps as the row needs",
    ),
    _map(
        "expected_gradients",
        "expected_gradients:ExpectedGradients",
        "Expected gradients",
        "integrated gradients from rows of the background, stratified, with a standard error",
        "Erion et al. 2021, arXiv:1906.10670",
        needs=("gradients", "background"),
        additive=True,
        exact=False,
        cost="`samples` forwards and backwards",
    ),
    _map(
        "deeplift",
        "backprop_rules:DeepLift",
        "DeepLIFT",
        "differences from a baseline, propagated back by a rule for each operator; adds up exactly; an operator without a rule is refused by name",
        "Shrikumar, Greenside and Kundaje 2017, arXiv:1704.02685",
        takes=("background",),
        additive=True,
        cost="1 forward, 1 backward, 1 forward of the baseline",
    ),
    _map(
        "guided_backprop",
        "backprop_rules:GuidedBackprop",
        "Guided backpropagation",
        "gradients through ReLUs where input and gradient are both positive; refused where that is the plain gradient",
        "Springenberg et al. 2015, arXiv:1412.6806",
        cost="1 forward, 1 backward",
    ),
    _map(
        "gradcam",
        "cam:GradCam",
        "Grad-CAM",
        "a layer's activations weighted by their mean gradients; negative sums are 0",
        "Selvaraju et al. 2017, arXiv:1610.02391",
        needs=("gradients", "layer"),
        signed=False,
        cost="1 forward, 1 backward to the layer",
    ),
    _map(
        "gradcam++",
        "cam:GradCamPlusPlus",
        "Grad-CAM++",
        "Grad-CAM with a weight for each position",
        "Chattopadhyay et al. 2018, arXiv:1710.11063",
        needs=("gradients", "layer"),
        signed=False,
        cost="1 forward, 1 backward to the layer",
    ),
    _map(
        "layercam",
        "cam:LayerCam",
        "LayerCAM",
        "a layer's activations weighted by the positive part of their own gradients",
        "Jiang et al. 2021, doi:10.1109/TIP.2021.3089943",
        needs=("gradients", "layer"),
        signed=False,
        cost="1 forward, 1 backward to the layer",
    ),
    _map(
        "scorecam",
        "cam:ScoreCam",
        "Score-CAM",
        "a layer's activations weighted by the score of the input seen through them",
        "Wang et al. 2020, arXiv:1910.01279",
        needs=("gradients", "layer"),
        takes=("background",),
        signed=False,
        cost="channels + 1 forwards",
    ),
    _map(
        "occlusion",
        "occlusion:Occlusion",
        "Occlusion",
        "drop of the score when a window is replaced by the baseline",
        "Zeiler and Fergus 2014, arXiv:1311.2901",
        needs=("predict",),
        takes=("background",),
        cost="windows + 1 forwards",
    ),
    _map(
        "rise",
        "rise:Rise",
        "RISE",
        "how much larger the score is under random masks that show a position, with a standard error",
        "Petsiuk, Das and Saenko 2018, arXiv:1806.07421",
        needs=("predict",),
        takes=("background",),
        exact=False,
        cost="`samples` forwards",
    ),
    _map(
        "ablation",
        "segments:Ablation",
        "Leaving one part out",
        "drop of the score when one part (patch, superpixel, feature, token) is taken out",
        "Zeiler and Fergus 2014, arXiv:1311.2901; Li, Monroe and Jurafsky 2016, arXiv:1612.08220",
        needs=("predict",),
        takes=("background",),
        cost="parts + 1 forwards",
    ),
    _map(
        "shapley",
        "segment_shapley:ShapleyParts",
        "Shapley values of parts",
        "Shapley values of parts: all coalitions where `samples` (512) suffices, else paired coalitions under a Gaussian process, with standard errors; the sum is exact",
        "Lundberg and Lee 2017, arXiv:1705.07874; Covert and Lee 2021, arXiv:2012.01536",
        needs=("predict",),
        takes=("background",),
        additive=True,
        exact=False,
        cost="`samples` forwards; for each row and output also 6 ms of arithmetic at 200 samples, 50 at 512, half a second from 2,000",
    ),
)  # fmt: skip

_specs: dict[str, MethodSpec] = {}


def register(spec: MethodSpec) -> MethodSpec:
    """Add a method to the list, for as long as the process lives; return it.

    Raises:
        OptionError: its family has a method of this id already.
    """
    if spec.method_id in _specs:
        raise OptionError(f"there is a method {spec.id!r} in the family {spec.family!r} already.")
    _specs[spec.method_id] = spec
    return spec


@contextmanager
def registered(spec: MethodSpec) -> Iterator[MethodSpec]:
    """Have a method in the list for as long as the block runs: for tests, and for trying one out."""
    register(spec)
    try:
        yield spec
    finally:
        del _specs[spec.method_id]


for _spec in _METHODS:
    register(_spec)


def methods(family: str | None = None, *, command: str | None = None) -> tuple[MethodSpec, ...]:
    """Return all methods, those of a family, or those that a command of ``whybox`` computes, in the order of the list."""
    return tuple(s for s in _specs.values() if family in (None, s.family) and command in (None, s.command))


def family_ids(family: str) -> tuple[str, ...]:
    """Return what the user may type for a method of this family."""
    return tuple(s.id for s in methods(family))


def find(family: str, id: Any, *, argument: str = "method", also: Sequence[str] = ()) -> MethodSpec:  # noqa: A002  # the name of the field
    """Return a method by its id.

    Args:
        family: one of FAMILIES. id: what the user typed. argument: where it was typed. also: words that the caller takes beside the ids, for the message.

    Raises:
        OptionError: the family has no such method.
    """
    found = _specs.get(f"{family}.{id}") if isinstance(id, str) else None
    if found is None:
        known = (*also, *family_ids(family))
        raise OptionError(Argument(argument, id), " is not known.", known=known)
    return found


def of_id(method_id: str) -> MethodSpec | None:
    """Return the method that evidence names by ``method_id``; None where this version does not know it."""
    return _specs.get(method_id)


def load(where: str) -> Any:
    """Import what ``"module:name"`` names."""
    module, _, name = where.partition(":")
    return getattr(import_module(module), name)


def load_options(spec: MethodSpec) -> Any:
    """Import the dataclass of a method's options."""
    return load(spec.options)


def options_of(spec: MethodSpec) -> tuple[Option, ...]:
    """Return the options of a method, from the fields of its dataclass.

    The metadata of a field may hold ``help`` and ``choices``.
    """
    out: list[Option] = []
    for f in fields(load_options(spec)) if spec.options else ():
        default = f.default if f.default_factory is MISSING else f.default_factory()
        about: Mapping[str, Any] = f.metadata
        out.append(Option(f.name, str(f.type), default, about.get("help", ""), tuple(about.get("choices", ()))))
    return tuple(out)
