"""Explain each row by a rule under which the model keeps its class."""

from __future__ import annotations

from functools import partial
from typing import Any

from whybox.api.background_table import background_table
from whybox.api.texts_or_tables import refuse_texts
from whybox.explanation.explanation import Explanation
from whybox.methods.anchors.explainer import Anchors
from whybox.methods.anchors.options import AnchorsOptions
from whybox.methods.anchors.plan import plan_anchors as plan_rows
from whybox.methods.common.options import refuses_unknown_options
from whybox.methods.common.plan import Plan
from whybox.methods.common.row_offsets import rows_and_offset

__all__ = ["anchors", "plan_anchors"]

_refuses_options_of_others = partial(refuses_unknown_options, options_class=AnchorsOptions)


@_refuses_options_of_others
def anchors(  # noqa: PLR0913  # the promise of the public surface
    model: Any,
    X: Any,
    background: Any = None,
    precision: float = 0.95,
    level: float = 0.95,
    *,
    offset: Any = None,
    output: Any = None,
    discretizer: Any = "quartile",
    max_size: int | None = None,
    players: Any = None,
    background_weight: Any = None,
    max_evals: int | None = None,
    response_method: str | None = None,
    seed: int = 0,
    spot_checks: int | None = None,
) -> Explanation:
    """Explain each row by a rule (an anchor): a few conditions under which a classifier nearly always predicts the row's class.

    A condition says that a number lies at most at the upper edge of the row's own bin of the background, or above its lower edge, or between them; of any
    other feature, that it has the row's category, or is missing. The precision of a rule is the chance that the model predicts the same class for a
    background row in which every cell that breaks a condition of the rule is replaced by a cell, drawn by itself, of a background row that meets this
    condition; all other cells stay together as they are. A rule is certified if the lower bound of an exact (Clopper-Pearson) interval reaches `precision`;
    the error of all rules tried and all looks at the draws together is at most 1 - `level` for each row. A condition of a certified rule is left out where
    the shorter rule is certified too. A row without a certified rule has, marked as such, one that came near.

    Args:
        model: a classifier: read where it can be, else evaluated; or a function of rows that gives labels (numbers) or the probabilities of all classes.
        X: rows to explain, (n, d).
        background: rows that rules are tried on, like those of training, (m, d).
        precision: that a rule must reach, between 0 and 1. level: confidence of the promise.
        offset: what is added to the raw outputs of each row, as for :func:`explain`: (n,) or (n, outputs), or the name of a column of X. Rows that are drawn under the
            rule of a row have its offset.
        output: None: the class that is predicted for each row. The name of a class: rules for predicting it, or for not predicting it.
        discretizer: ``"quartile"``, ``"decile"``, or edges by name or position, ``{"age": [30, 50]}``, or ``"categories"``, each value; other columns then have quartiles.
        max_size: most conditions of a rule; None: any number. players: ``{"address": ["street", "city"]}``: columns that form one condition.
        background_weight: one weight a background row.
        max_evals: most predictions of single rows in total, shared out evenly over the rows; None: 20,000 for each row, and 12,000 that all rows share.
        response_method: as for :func:`effects`. seed: draws the rows. spot_checks: as for :func:`explain`.

    Returns:
        Explanation of kind ``"rule"``: ``values`` (n, features), 1 where a feature is in the rule, else 0. In ``extras``, each with a row axis: ``rule`` (the
        sentence), ``condition`` (row, feature: words, empty outside the rule), ``step`` (row, feature: order in which conditions were added, 0 outside),
        ``precision``, ``precision_interval`` (row, 2), ``coverage`` (weighted share of background rows that meet the rule), ``label``, ``certified``, ``draws``,
        and ``offset`` where rows have one.

    Raises:
        WhyboxError: see whybox.errors; each message says what to do.

    Source: Ribeiro, Singh and Guestrin, Anchors (2018), AAAI 32, doi:10.1609/aaai.v32i1.11491; its law and its promise, with another search.

    Examples:
        >>> from sklearn.datasets import load_iris
        >>> from sklearn.ensemble import RandomForestClassifier
        >>> import whybox as wb
        >>> X, y = load_iris(return_X_y=True, as_frame=True)
        >>> model = RandomForestClassifier(20, random_state=0).fit(X, y)
        >>> e = wb.anchors(model, X[:1], X)
        >>> str(e.extras["rule"][1][0]), bool(e.extras["certified"][1][0])
        ('IF petal width (cm) <= 0.3', True)
    """
    options = AnchorsOptions(
        precision=precision,
        level=level,
        output=output,
        discretizer=discretizer,
        max_size=max_size,
        players=players,
        background_weight=background_weight,
        max_evals=max_evals,
        response_method=response_method,
        seed=seed,
        spot_checks=spot_checks,
    )
    refuse_texts(model, X, "wb.anchors")
    rows, offset = rows_and_offset(X, offset)
    return Anchors(model, background_table(model, background, None, offset), options)(rows, offset=offset)


def plan_anchors(
    model: Any,
    X: Any,
    background: Any = None,
    precision: float = 0.95,
    level: float = 0.95,
    *,
    offset: Any = None,
    **options: Any,
) -> Plan:
    """Plan :func:`anchors`: how many predictions and how long, about.

    The shared sample and the rules of up to 8 rows are computed for it; of a model that takes over 2 s for the sample, at most 1,088 predictions are made,
    and the plan says the most that is allowed.
    """
    refuse_texts(model, X, "wb.anchors")
    rows, offset = rows_and_offset(X, offset)
    behind = background_table(model, background, None, offset)
    return plan_rows(Anchors(model, behind, precision=precision, level=level, **options), rows, offset)
