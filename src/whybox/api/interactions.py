"""Which features act together."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any, Final

from whybox.api.texts_or_tables import refuse_texts
from whybox.explanation.explanation import Explanation
from whybox.methods.common.offset_column import read_for_offsets, with_offset_columns
from whybox.methods.common.options import refuses_unknown_options
from whybox.methods.common.output import resolve_output
from whybox.methods.common.plan import Plan
from whybox.methods.common.row_offsets import resolve_offsets, rows_and_offset, separate_offset
from whybox.methods.effects.interactions import find_interactions
from whybox.methods.effects.options import InteractionsOptions
from whybox.methods.effects.plan import plan_interactions as plan_problem
from whybox.methods.effects.problem import EffectsProblem, resolve_effects

__all__ = ["interactions", "plan_interactions"]

ADDED_NOTE: Final = "On the additive scale each row's offset is a term of its own, which takes part in no interaction: sizes and H squared are those without it."
_refuses_options_of_others = partial(refuses_unknown_options, options_class=InteractionsOptions)


@_refuses_options_of_others
def interactions(  # noqa: PLR0913  # the promise of the public surface
    model: Any,
    X: Any,
    features: Any = None,
    *,
    offset: Any = None,
    output: Any = None,
    scale: str | None = None,
    sample_weight: Any = None,
    response_method: str | None = None,
    sample: int | None = None,
    seed: int = 0,
    max_evals: int | None = None,
    n_jobs: int | None = None,
    level: float = 0.95,
    spot_checks: int | None = None,
) -> Explanation:
    """Say which features act together: all pairs, by size and by Friedman's H squared.

    Args:
        model, X, output, scale, sample_weight, response_method: as for :func:`effects`.
        features: names or positions of those to pair up; None: all.
        offset: what is added to the raw outputs of each row, as for :func:`effects`. Behind the link each row keeps its own, and on the diagonal the offset is one of
            the others. On the additive scale it takes part in no interaction.
        sample: how many rows to draw where the model has to be asked about every pair of rows; the result then has standard errors and intervals. Tree
            ensembles on their own scale take all rows, exactly, and need none.
        seed: of the rows drawn.
        max_evals: most predictions of single rows in total where the model is asked; None: 20 million. More is refused before any
            is made, but for two rows of a black box that show the shape of its outputs.
        n_jobs, level, spot_checks: as for :func:`effects`.

    Returns:
        Explanation of kind ``"interaction_size"``: ``values`` (features, features) [, outputs] are sizes in the units of the prediction: of pairs, and
        on the diagonal of each feature with all others together. ``extras["h_squared"]`` has the same shape; of a sample there are
        ``h_squared_std_error`` and ``h_squared_interval``. ``to_frame()`` lists pairs, largest
        first; ``plot.heatmap()`` draws them.

    Raises:
        LimitError: too many answers; pass sample. Others as :func:`effects`.

    Examples:
        >>> import numpy as np
        >>> import whybox as wb
        >>> X = np.random.default_rng(0).normal(size=(60, 3))
        >>> found = wb.interactions(lambda rows: rows[:, 0] * rows[:, 1] + rows[:, 2], X)
        >>> found.to_frame(library="pandas")["feature"][0], found.to_frame(library="pandas")["feature_2"][0]
        ('x0', 'x1')
    """
    options = InteractionsOptions(
        output=output,
        scale=scale,
        sample_weight=sample_weight,
        response_method=response_method,
        sample=sample,
        seed=seed,
        max_evals=max_evals,
        n_jobs=n_jobs,
        level=level,
        spot_checks=spot_checks,
    )
    refuse_texts(model, X, "wb.interactions")
    problem, notes = _make_problem(model, X, features, options, offset)
    found = find_interactions(problem, sample=options.sample, seed=options.seed)
    return replace(found, evidence=replace(found.evidence, notes=(*found.evidence.notes, *notes)))


def _make_problem(
    model: Any, X: Any, features: Any, options: InteractionsOptions, offset: Any, *, check: bool = True
) -> tuple[EffectsProblem, tuple[str, ...]]:
    """The problem, and what is said about offsets on the additive scale; behind a link the model itself says it."""
    rows, offset = rows_and_offset(X, offset)
    if offset is None:
        return resolve_effects(model, rows, features, options, check=check), ()
    read = read_for_offsets(model, options.response_method)
    if resolve_output(read.outputs, options.output, options.scale).scale == "raw":
        table, values = separate_offset(rows, offset, read)
        resolve_offsets(read, values, len(table))
        return resolve_effects(read, table, features, options, check=check), (ADDED_NOTE,)
    box, rows, names = with_offset_columns(read, rows, offset, options)
    return resolve_effects(box, rows, names if features is None else features, options, check=check), ()


def plan_interactions(model: Any, X: Any, features: Any = None, *, offset: Any = None, **options: Any) -> Plan:
    """Plan :func:`interactions`: how many predictions at most, and how long, about."""
    chosen = InteractionsOptions(**options)
    problem, _ = _make_problem(model, X, features, chosen, offset, check=False)
    return plan_problem(problem, sample=chosen.sample, seed=chosen.seed)
