"""Explain each row by a linear model near it."""

from __future__ import annotations

from typing import Any, overload

from whybox.api.background_table import background_table
from whybox.api.method_choice import for_each
from whybox.api.texts_or_tables import chosen_options_of_tables, chosen_options_of_texts
from whybox.explanation.explanation import Explanation
from whybox.methods.common.options import shows_first_overload
from whybox.methods.common.plan import Plan
from whybox.methods.common.row_offsets import refuse_offset_of_texts, rows_and_offset
from whybox.methods.common.words.tokenized import is_column_of_texts
from whybox.methods.lime.explainer import Lime
from whybox.methods.lime.options import LimeOptions
from whybox.methods.lime.text_explainer import LimeOfTexts
from whybox.methods.lime.text_options import OPTION_NAMES, LimeTextOptions

__all__ = ["lime", "plan_lime"]


@overload
def lime(  # the promise of the public surface
    model: Any,
    X: Any,
    background: Any = None,
    method: str | LimeOptions | LimeTextOptions = "auto",
    *,
    offset: Any = None,
    output: Any = None,
    scale: str | None = None,
    y: Any = None,
    top: int | None = None,
    discretizer: Any = "quartile",
    neighbourhood: str = "lime",
    kernel_width: Any = None,
    alpha: float | None = None,
    players: Any = None,
    background_weight: Any = None,
    tol: float | None = None,
    max_evals: int | None = None,
    level: float = 0.95,
    response_method: str | None = None,
    seed: int = 0,
    n_jobs: int | None = None,
    spot_checks: int | None = None,
    tokenizer: Any = None,
    by_position: bool = False,
    mask_string: str | None = None,
    batch_size: int | None = None,
) -> Explanation: ...


@overload
def lime(
    model: Any, X: Any, background: Any = None, *, method: list[Any] | tuple[Any, ...], **options: Any
) -> dict[str, Explanation]: ...


@shows_first_overload
def lime(
    model: Any, X: Any, background: Any = None, method: Any = "auto", *, offset: Any = None, **options: Any
) -> Explanation | dict[str, Explanation]:
    """Explain each row by a linear model near it (LIME): how does the output change when a feature leaves the row's own range?

    Every feature is cut into bins of the background (a category is a bin, a missing value too). Samples take each feature from the background by itself, and
    weigh the more, the more features lie in the row's own bins. A feature's value is its coefficient in the weighted linear model: what being in the row's bin adds.

    Args:
        model: any model that :func:`effects` takes: read where it can be, else evaluated; or a function of rows.
        X: rows to explain, (n, d).
        background: rows that values are drawn from, like those of training, (m, d).
        method: ``"auto"``: exact for tree ensembles and linear models on their additive scale, else sampled. ``"exact"`` is refused where it is not possible.
        offset: what is added to the raw outputs of each row, as for :func:`explain`: (n,) or (n, outputs), or the name of a column of X. Rows that are drawn near a row
            have its offset. On the additive scale it moves ``intercept`` and ``local_prediction`` alone.
        output: which class or output, as for :func:`explain`. ``"predicted"``: of each row the class with the largest output; ``extras["label"]`` names it.
        scale: as for :func:`explain`. None: the additive scale: log-odds of boosted classifiers, probabilities of forests.
        y: the truth of the background rows, for ``discretizer="entropy"``.
        top: how many of the largest values are to be settled before sampling stops; None: 5.
        discretizer: ``"quartile"``, ``"decile"``, ``"entropy"``, or edges by name or position, ``{"age": [30, 50]}``; ``"categories"`` in place of edges is a bin
            for each value. None: numbers are not cut; a value is for one standard deviation.
        neighbourhood: ``"lime"``: bins of the background, in which numbers follow a normal distribution, as in the lime package. ``"row"``: the quarter of
            the background around each row's own value, and numbers that the background has.
        kernel_width: how fast weights fall with features that leave their bins. None: 0.75 times the root of the number of features. A list: one answer for
            each, along an axis ``width``.
        alpha: the penalty of the lime package's ridge (there 1), for comparison with it; None: no penalty.
        players: ``{"address": ["street", "city"]}``: columns that are drawn together, and count as one.
        background_weight: one weight a background row.
        tol: stop when every standard error is at most this share of the row's largest value. None: when the `top` are settled, or errors are under 0.02 of it.
        max_evals: most predictions of single rows in total; None: 2,000 for each row of X, at least 20,000.
        level: confidence of intervals. response_method: as for :func:`effects`. seed: draws the sample. n_jobs: threads of tree ensembles.
        spot_checks: as for :func:`explain`.
        tokenizer, by_position, mask_string, batch_size: of texts alone, see below.

    Texts:
        X may be a text, or a list, array or column of texts, for a model that takes a list of texts: a scikit-learn Pipeline that begins with a vectorizer, a
        text-classification pipeline of transformers, or a function. Words are left out, and each word's value is its coefficient in a linear model of which
        words are there: what the word adds. Nothing is drawn from a background. Where every way to leave out words fits into ``max_evals``, values are exact.

        tokenizer: what words are. None: what stands between characters that are in no word. A regular expression of what separates words;
        ``"characters"``; a function that returns the words of a text in reading order; a fast tokenizer of tokenizers or transformers.
        by_position: each occurrence of a word counts by itself; otherwise a word is left out everywhere. mask_string: what replaces an absent word; None: nothing.
        batch_size: most texts of one call of the model; None: all.
        kernel_width: one width, for cosine distances times 100; None: 25, as in the lime package. max_evals: most predictions of a text; None: 2,000.
        method (``"auto"`` or ``"words"``), output, scale, top, alpha, tol, level, response_method and seed are as for tables; the other options are refused.

    Returns:
        Explanation of kind ``"local"``: ``values`` (n, features), or (n, features, outputs); ``std_error`` None where exact. In ``extras``, each with a row
        axis: ``condition`` (words), ``share`` of the background in that bin, ``intercept``, ``local_prediction`` of the linear model, ``gap`` between it and
        the model's, ``r_squared`` and ``spread`` (estimated from a sample), ``effective_size``, ``label``, ``certified`` (how many of the largest values are
        settled), ``rank`` (values that cannot be told apart share one), ``converged``, and ``offset`` where rows have one.
        Of texts the axes are ``("row", "word"[, "output"])``, NaN behind a text's last word; ``e[0]`` is one text, with its words as labels. ``extras`` have
        ``text``, ``word``, ``start`` and ``end`` of each word in the text, and ``predictions`` made for each text, beside those above but for ``condition`` and
        ``share``.

    Raises:
        WhyboxError: see whybox.errors; each message says what to do.

    Examples:
        >>> from sklearn.datasets import load_diabetes
        >>> from sklearn.ensemble import RandomForestRegressor
        >>> import whybox as wb
        >>> X, y = load_diabetes(return_X_y=True, as_frame=True)
        >>> model = RandomForestRegressor(20, max_depth=4, random_state=0).fit(X[:300], y[:300])
        >>> e = wb.lime(model, X[300:305], X[:300])
        >>> e.evidence.exact
        True
        >>> e.extras["condition"][1][0, e.feature_names.index("s5")]
        's5 > 0.028'
    """
    if is_column_of_texts(X):
        refuse_offset_of_texts(offset)
        of_texts = chosen_options_of_texts(LimeTextOptions, OPTION_NAMES, background, method, options)
        return for_each(of_texts, lambda each: LimeOfTexts(model, each)(X))
    chosen = chosen_options_of_tables(LimeOptions, OPTION_NAMES, model, X, method, options)
    rows, offset = rows_and_offset(X, offset)  # once: a reader gives its rows once
    behind = background_table(model, background, None, offset)

    def explain_with(each: LimeOptions) -> Explanation:
        return Lime(model, behind, each)(rows, offset=offset)

    return for_each(chosen, explain_with)


def plan_lime(
    model: Any, X: Any, background: Any = None, method: Any = "auto", *, offset: Any = None, **options: Any
) -> Plan | dict[str, Plan]:
    """Plan :func:`lime`: see :func:`whybox.plan`."""
    if is_column_of_texts(X):
        refuse_offset_of_texts(offset)
        return for_each(
            chosen_options_of_texts(LimeTextOptions, OPTION_NAMES, background, method, options),
            lambda each: LimeOfTexts(model, each).plan(X),
        )
    from whybox.methods.lime.plan import plan_rows

    chosen = chosen_options_of_tables(LimeOptions, OPTION_NAMES, model, X, method, options)
    rows, offset = rows_and_offset(X, offset)
    behind = background_table(model, background, None, offset)
    return for_each(chosen, lambda each: plan_rows(model, behind, each, rows, offset))
