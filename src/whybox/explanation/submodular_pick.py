"""Few rows whose explanations together show the features that matter most."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from whybox.core.validation import check_whole_number
from whybox.data.table import Floats
from whybox.errors import OptionError
from whybox.explanation.explanation import Explanation
from whybox.explanation.local_words import has_words

__all__ = ["submodular_pick"]


def submodular_pick(explanation: Explanation, count: int = 5, *, top: int = 5) -> Explanation:
    """Pick few rows whose explanations together cover the most important features.

    A feature's importance is the square root of the sum of its absolute values over all rows. A row shows the features of its `top` largest absolute values
    that are not zero (nearly all are, so without `top` every row would show every feature). Rows are picked one by one, each the one that adds most
    importance to what the picked rows show; of equal rows the first. Once nothing is added, the next rows in order follow. Nothing is drawn at random.

    Of texts the features are the words, the same ones in all texts; a word that stands several times in a text counts with all its absolute values.

    Args:
        explanation: with the axes row and feature, or of texts row and word: of one output. count: rows to pick; all, where there are fewer. top: features that a row shows.

    Returns:
        The explanation of the picked rows, in the order in which they were picked. ``extras["pick_coverage"]``, (rows,): the share of all importance that the
        rows up to this one show.

    Raises:
        OptionError: an explanation with other axes, or numbers that are not positive and whole.

    Source: Ribeiro, Singh and Guestrin (2016), KDD, doi:10.1145/2939672.2939778: submodular pick, which shows every feature that is not zero.

    Examples:
        >>> from sklearn.datasets import load_diabetes
        >>> from sklearn.tree import DecisionTreeRegressor
        >>> import whybox as wb
        >>> X, y = load_diabetes(return_X_y=True)
        >>> e = wb.explain(DecisionTreeRegressor(max_depth=3, random_state=0).fit(X, y), X)
        >>> wb.submodular_pick(e, 3, top=2).shape
        (3, 10)
    """
    check_whole_number("count", count)
    check_whole_number("top", top)
    _check_axes(explanation)
    size = _word_sizes(explanation) if has_words(explanation) else np.abs(np.nan_to_num(explanation.values))
    importance = np.sqrt(size.sum(axis=0))
    order = np.argsort(-size, axis=1, kind="stable")[:, :top]
    shown = np.zeros(size.shape, dtype=bool)
    np.put_along_axis(shown, order, values=True, axis=1)
    shown &= size > 0
    missing, picked, covered = importance.copy(), [], []
    left = np.ones(len(size), dtype=bool)
    for _ in range(min(count, len(size))):
        gain = np.where(left, shown @ missing, -1.0)
        row = int(gain.argmax())
        picked.append(row)
        left[row] = False
        missing[shown[row]] = 0.0
        covered.append(importance.sum() - missing.sum())
    total = float(importance.sum())
    share = np.array(covered) / total if total > 0 else np.ones(len(covered))
    chosen = explanation[np.array(picked, dtype=np.int64)]
    extras: dict[str, Any] = {**chosen.extras, "pick_coverage": (("row",), share)}
    return replace(chosen, extras=extras)


def _word_sizes(e: Explanation) -> Floats:
    """Absolute values of the different words of all texts, (texts, words)."""
    size, words = np.abs(np.nan_to_num(e.values)), e.extras["word"][1]
    position: dict[str, int] = {}
    columns = np.array([[position.setdefault(str(word), len(position)) for word in row] for row in words.tolist()])
    out = np.zeros((len(size), len(position)))
    np.add.at(out, (np.arange(len(size))[:, None], columns), size)
    return out


def _has_features(e: Explanation) -> bool:
    return "feature" in e.dims or has_words(e)


def _check_axes(explanation: Any) -> None:
    if not isinstance(explanation, Explanation):
        raise OptionError(f"submodular_pick takes an Explanation; this is {type(explanation).__name__}.")
    if explanation.dims in (("row", "feature"), ("row", "word")) and len(explanation) and _has_features(explanation):
        return
    if explanation.dims in (("row", "feature", "output"), ("row", "word", "output")) and _has_features(explanation):
        names = ", ".join(explanation.output_names[:3])
        raise OptionError(
            f"submodular_pick takes the explanations of one output, and this has several ({names}); pick one: e[..., {explanation.output_names[0]!r}].",
        )
    raise OptionError(
        f"submodular_pick takes an explanation with the axes row and feature; this has {explanation.dims or 'none'}."
    )
