"""The evidence of what is computed over rows with weights: effects, interactions, importance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Protocol

from whybox.explanation.evidence import Evidence, library_versions
from whybox.explanation.spot_checks import SpotChecks
from whybox.methods.common.output import OutputSelection
from whybox.methods.common.repeatability import RepeatCheck
from whybox.methods.common.rows import WeightedRows
from whybox.methods.common.spot_checks import NOT_CHECKED
from whybox.methods.method_spec import MethodSpec
from whybox.models.base import Model
from whybox.models.blackbox import BlackBox
from whybox.models.prepare_rows import PreparedRows

__all__ = ["make_evidence"]


class EvaluatedProblem(Protocol):
    """A model and rows that were compared: what every problem over rows has.

    Attributes:
        n_rows_checked: rows that the model's own predict is evaluated on beside the work. agreement: as of the evidence.
    """

    @property
    def model(self) -> Model: ...
    @property
    def selection(self) -> OutputSelection: ...
    @property
    def repeat_check(self) -> RepeatCheck: ...
    @property
    def prepared_rows(self) -> PreparedRows: ...
    @property
    def agreement(self) -> float: ...
    @property
    def n_rows_checked(self) -> int: ...


def make_evidence(  # noqa: PLR0913  # evidence has this many parts
    problem: EvaluatedProblem,
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
    units: str | None = None,
    settings: Mapping[str, Any] | None = None,
    fingerprints: Mapping[str, str] | None = None,
) -> Evidence:
    """Return how something was computed over these rows.

    Args:
        problem: the problem. rows: those that it was computed over. spec: the method.
        calls: predictions of single rows beside those that checked the model and the answer.
        units: of the values; None: of the problem's outputs. settings: as of the evidence. fingerprints: of what the problem has beside model and rows.
            Others as its fields.
    """
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
        residual_units=problem.selection.units if units is None else units,
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
        fingerprints={"model": model.fingerprint, "rows": rows.fingerprint, **(fingerprints or {})},
        versions=library_versions(model.own_predict.library if model.own_predict else None),
        seconds=seconds,
        notes=notes,
        by_position=problem.prepared_rows.by_position,
        unseen=problem.prepared_rows.unseen_as_data(),
        settings=dict(settings or {}),
        spot_checks=spot_checks,
    )
