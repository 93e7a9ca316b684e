"""Methods that were named for the report beside those it always shows: each goes into the section that the registry names."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any, Final

from whybox.api.importance import importance
from whybox.errors import Argument, OptionError
from whybox.explanation.explanation import Explanation
from whybox.explanation.figures import FIGURE_SPECS
from whybox.methods.effects.options import EffectsOptions
from whybox.methods.effects.problem import resolve_effects
from whybox.methods.effects.result import compute_effects
from whybox.methods.method_spec import MethodSpec
from whybox.methods.registry import family_ids, find, load_options
from whybox.reporting.facts import MAX_FEATURES_DRAWN, ReportData
from whybox.reporting.sections.effects import curve_figure, evenly_taken, top_features
from whybox.reporting.sections.importance import importance_table
from whybox.reporting.svg import html_figure

__all__ = ["method_block", "methods_of_tables"]

_TECHNICAL: Final = ("kernel", "estimand", "spot_checks")
_FAMILIES: Final = ("effects", "importance")  # whose methods can be named; "pdp" is the effect


def methods_of_tables(named: Sequence[str]) -> list[MethodSpec]:
    """Return the methods of these ids.

    Raises:
        OptionError: an id of neither importance nor effects.
    """
    specs = []
    for name in named:
        family = next((f for f in _FAMILIES if name in family_ids(f)), None)
        if name in family_ids("saliency"):
            raise OptionError(
                Argument("methods", name),
                " is for neural networks; this model takes methods of importance and kinds of effects.",
            )
        if family is None:
            ids = [i for f in _FAMILIES for i in family_ids(f)]
            raise OptionError(
                Argument("methods", name), " is not known to a report about a model of tables.", known=ids
            )
        specs.append(find(family, name))
    return specs


def method_block(f: ReportData, spec: MethodSpec, truth: Any) -> str:
    """Return what the section of a method shows of it: its figure, its numbers, and how they were found."""
    head = f"<h3>{escape(spec.title)}</h3><p>{escape(spec.summary.capitalize())}.</p>"
    return head + (_effects_block(f, spec) if spec.family == "effects" else _importance_block(f, spec, truth))


def _importance_block(f: ReportData, spec: MethodSpec, truth: Any) -> str:
    used = (*spec.needs, *spec.takes)
    asked: dict[str, Any] = {"players": f.players} | ({"role": f.role} if "role" in spec.option_names else {})
    if "background" in used:  # attributions of the rows: the same as the report's own
        asked |= {"background": f.background, "output": f.output, "scale": f.scale}
    rows = f.explanation.data if spec.method_id == "importance.shap" else f.rows  # attributions are those of the report
    ranking = importance(f.model, rows, truth if "y" in used else None, method=spec.id, **asked)
    drawn = _importance_figure(ranking, spec, importance_table(ranking))
    f.add_technical(spec.title, ranking, *_TECHNICAL)
    return drawn


def _importance_figure(ranking: Explanation, spec: MethodSpec, numbers: str) -> str:
    """The first of the method's figures."""
    draw = FIGURE_SPECS[spec.figures[0]].load_function()
    return html_figure(
        lambda: draw(ranking, max_display=MAX_FEATURES_DRAWN),
        title=spec.title,
        description=f"{spec.title}: {spec.summary}.",
        table=numbers,
    )


def _effects_block(f: ReportData, spec: MethodSpec) -> str:
    names = top_features(f.explanation)
    options = (load_options(spec) if spec.options else EffectsOptions)(kind=spec.id, output=f.output, scale=f.scale)
    rows, known = evenly_taken(f), f.agreement
    curves = compute_effects(
        resolve_effects(f.model, rows, names, options, kind=spec.id, grid=options.grid, known=known)
    )
    drawn = "".join(curve_figure(curves, str(n)) for n in curves.ordered())
    f.add_technical(spec.title, curves[0], *_TECHNICAL)
    return f"<div class=grid>{drawn}</div>"
