"""Which features act together."""

from __future__ import annotations

from functools import partial
from typing import Any

from whybox.api.texts_or_tables import refuse_texts
from whybox.explanation.explanation import Explanation
from whybox.methods.common.options import refuses_unknown_options
from whybox.methods.common.plan import Plan
from whybox.methods.effects.interactions import find_interactions
from whybox.methods.effects.options import InteractionsOptions
from whybox.methods.effects.plan import plan_interactions as plan_problem
from whybox.methods.effects.problem import resolve_effects

__all__ = ["interactions", "plan_interactions"]

_refuses_options_of_others = partial(refuses_unknown_options, options_class=InteractionsOptions)


@_refuses_options_of_others
def interactions(  # noqa: PLR0913  # the promise of the public surface
    model: Any,
    X: Any,
    features: Any = None,
    *,
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
    return find_interactions(resolve_effects(model, X, features, options), sample=options.sample, seed=options.seed)


def plan_interactions(model: Any, X: Any, features: Any = None, **options: Any) -> Plan:
    """Plan :func:`interactions`: how many predictions at most, and how long, about."""
    checked_options = InteractionsOptions(**options)
    return plan_problem(
        resolve_effects(model, X, features, checked_options, check=False),
        sample=checked_options.sample,
        seed=checked_options.seed,
    )
