"""The evidence of what was computed about effects."""

from __future__ import annotations

from dataclasses import asdict

from whybox.explanation.evidence import Evidence, versions
from whybox.methods.effects.predict_evaluator import Rows
from whybox.methods.effects.problem import EffectsProblem
from whybox.methods.method_spec import MethodSpec
from whybox.models.blackbox import BlackBox

__all__ = ["evidence"]


def evidence(  # noqa: PLR0913  # evidence has this many parts
    asked: EffectsProblem,
    rows: Rows,
    *,
    spec: MethodSpec,
    kernel: str,
    exact: bool = True,
    calls: int,
    notes: tuple[str, ...],
    seed: int = 0,
    seconds: float,
) -> Evidence:
    """Return how something was computed over these rows; `calls` are predictions of single rows beside those that showed or checked the model."""
    model = asked.model
    box = isinstance(model, BlackBox)
    return Evidence(
        **spec.evidence_fields(),
        kernel=kernel,
        exact=exact,
        estimand=spec.estimand,
        index="none",
        additive=False,
        residual=0.0,
        residual_units=asked.target.units,
        residual_against="nothing",
        agreement=asked.agreement,
        tolerance=0.0,
        model=model.kind,
        verdict={"against": f"nothing: it is asked, not read; {asked.repeats.said}"} if box else asdict(model.verdict),
        model_calls=asked.checked + (calls if box else 0),
        seed=seed,
        rows=len(rows),
        fingerprints={"model": model.fingerprint, "rows": rows.fingerprint},
        versions=versions(model.own.library if model.own else None),
        seconds=seconds,
        notes=notes,
        by_position=asked.received.by_position,
        unseen=asked.received.unseen_as_data(),
    )
