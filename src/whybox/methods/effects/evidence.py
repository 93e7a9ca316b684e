"""The evidence of an effect."""

from __future__ import annotations

from dataclasses import asdict

from whybox.explanation.evidence import Evidence, library_versions
from whybox.explanation.spot_checks import SpotChecks
from whybox.methods.common.rows import WeightedRows
from whybox.methods.common.spot_checks import NOT_CHECKED
from whybox.methods.effects.problem import EffectsProblem
from whybox.methods.method_spec import MethodSpec
from whybox.models.blackbox import BlackBox

__all__ = ["make_evidence"]


def make_evidence(  # noqa: PLR0913  # evidence has this many parts
    problem: EffectsProblem,
    rows: WeightedRows,
    *,
    spec: MethodSpec,
    kernel: str,
    exact: bool = True,
    calls: int,
    notes: tuple[str, ...],
    seed: int = 0,
    seconds: float,
    spot_checks: SpotChecks = NOT_CHECKED,
) -> Evidence:
    """Return how something was computed over these rows; `calls` are predictions of single rows beside those that checked the model and the answer."""
    model = problem.model
    black_box = isinstance(model, BlackBox)
    return Evidence(
        **spec.evidence_fields(),
        kernel=kernel,
        exact=exact,
        estimand=spec.estimand,
        index="none",
        additive=False,
        residual=0.0,
        residual_units=problem.selection.units,
        residual_against="nothing",
        agreement=problem.agreement,
        tolerance=0.0,
        model=model.kind,
        verdict={"against": f"nothing: it is a black box; {problem.repeat_check.summary}"}
        if black_box
        else asdict(model.verdict),
        model_calls=problem.n_rows_checked + spot_checks.predictions + (calls if black_box else 0),
        seed=seed,
        rows=len(rows),
        fingerprints={"model": model.fingerprint, "rows": rows.fingerprint},
        versions=library_versions(model.own_predict.library if model.own_predict else None),
        seconds=seconds,
        notes=notes,
        by_position=problem.prepared_rows.by_position,
        unseen=problem.prepared_rows.unseen_as_data(),
        spot_checks=spot_checks,
    )
