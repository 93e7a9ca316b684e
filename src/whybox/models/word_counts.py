"""A model of texts that reads nothing of a text but how often each word occurs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, final

__all__ = ["WordCountModel"]


@final
@dataclass(frozen=True, eq=False)
class WordCountModel:
    """A model whose first step counts single words.

    Attributes:
        analyze: text -> the words that are counted, as the first step writes them. preprocess: text -> text, before words are split off.
        splits_at_non_words: whether words are runs of word characters, so that any non-word character ends one; otherwise only white space is known to.
        columns: word -> column. n_columns: columns in total.
        predict: a sparse matrix of counts (texts, n_columns), as the first step makes it before any weights -> what the model returns.
        dtype: of the counts. counter: the first step in words.
    """

    analyze: Callable[[str], list[str]]
    preprocess: Callable[[str], str]
    splits_at_non_words: bool
    columns: Mapping[str, int]
    n_columns: int
    predict: Callable[[Any], Any]
    dtype: Any
    counter: str
