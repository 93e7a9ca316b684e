"""The evidence of several methods side by side: what they have in common, and the evidence of each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from whybox.explanation.evidence import Evidence
from whybox.explanation.spot_checks import merge_spot_checks

__all__ = ["evidence_of_methods"]


def evidence_of_methods(
    parts: Mapping[str, Evidence], *, method: str, estimand: str, quantity: str, notes: tuple[str, ...]
) -> Evidence:
    """Return one evidence for what several methods found about one model; ``parts`` holds the evidence of each as it is.

    Sums of calls and seconds, the worst of every check and the weakest verdict; kernels are listed; settings, fingerprints and notes stand here where all
    methods share them.

    Args:
        parts: method -> its evidence, one at least. method, estimand, quantity: of the whole, which has no id. notes: beside those that all methods share.
    """
    each = list(parts.values())
    first = each[0]
    shared_notes = tuple(note for note in first.notes if all(note in p.notes for p in each))
    return Evidence(
        method=method,
        quantity=quantity,
        signed=any(p.signed for p in each),
        kernel="; ".join(dict.fromkeys(p.kernel for p in each)),
        exact=all(p.exact for p in each),
        estimand=estimand,
        index="none",
        additive=False,
        residual=0.0,
        residual_units=quantity,
        residual_against="nothing",
        agreement=max(p.agreement for p in each),
        tolerance=max(p.tolerance for p in each),
        model=first.model,
        verdict=min((p.verdict for p in each), key=lambda verdict: verdict.get("rows", 0)),
        model_calls=sum(p.model_calls for p in each),
        seed=first.seed,
        rows=max(p.rows for p in each),
        background_rows=max(p.background_rows for p in each),
        fingerprints=_shared([p.fingerprints for p in each]),
        versions={name: version for p in each for name, version in p.versions.items()},
        seconds=sum(p.seconds for p in each),
        notes=(*shared_notes, *notes),
        settings=_shared([p.settings for p in each if p.settings]),
        by_position=any(p.by_position for p in each),
        unseen={column: seen for p in each for column, seen in p.unseen.items()},
        spot_checks=merge_spot_checks(p.spot_checks for p in each),
        parts=dict(parts),
    )


def _shared(tables: list[dict[str, Any]]) -> dict[str, Any]:
    """The entries that all tables that have the key agree on."""
    names = dict.fromkeys(name for table in tables for name in table)
    found = {name: [table[name] for table in tables if name in table] for name in names}
    return {name: values[0] for name, values in found.items() if all(v == values[0] for v in values)}
