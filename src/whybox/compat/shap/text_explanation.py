"""Values of the words of texts, in the shapes of ``shap.Explanation``: a list with one array for each text."""

from __future__ import annotations

from typing import Any, final

import numpy as np

from whybox.compat.refused import refuse
from whybox.compat.shap.op_chain import OPERATIONS
from whybox.data.table import Floats
from whybox.explanation.explanation import Explanation as OwnExplanation

__all__ = ["TextExplanation"]


@final
class TextExplanation:
    """Values of words: of several texts ``values`` and ``data`` are lists with one entry for each; ``e[0]`` is one text, ``e[..., "POSITIVE"]`` one output.

    Args:
        e: attributions of texts.
    """

    def __init__(self, e: OwnExplanation) -> None:
        self._own = e
        self._texts = [e[i] for i in range(len(e))] if "row" in e.dims else [e]

    def _as_it_is(self, of_each: list[Any]) -> Any:
        return of_each if "row" in self._own.dims else of_each[0]

    @property
    def values(self) -> Any:
        """(words,) or (words, outputs) of each text."""
        return self._as_it_is([np.array(text.values) for text in self._texts])

    @property
    def data(self) -> Any:
        """The words of each text."""
        return self._as_it_is([np.array([str(word) for word in text.coords["word"]]) for text in self._texts])

    @property
    def feature_names(self) -> Any:
        """The words of each text."""
        return self.data

    @property
    def base_values(self) -> Floats:
        """The output without any word: of each text (outputs,), or a number."""
        return np.array(self._own.base_values if "row" in self._own.dims else self._own.base)

    @property
    def output_names(self) -> Any:
        """Names of the outputs, or that of the only one."""
        return list(self._own.output_names) or self._own.output_name

    @property
    def error_std(self) -> Any:
        """Standard errors, shaped as the values; None where all are exact."""
        if self._own.std_error is None:
            return None
        return self._as_it_is([None if text.std_error is None else np.array(text.std_error) for text in self._texts])

    @property
    def shape(self) -> tuple[Any, ...]:
        """Shape of the values; None for the number of words of several texts."""
        dims = zip(self._own.dims, self._own.shape, strict=True)
        return tuple(None if d == "word" and "row" in self._own.dims else n for d, n in dims)

    def __len__(self) -> int:
        return len(self._own)

    def __getitem__(self, key: Any) -> TextExplanation:
        return TextExplanation(self._own[key])

    def __getattr__(self, name: str) -> Any:
        """Refuse the operations of explanations of tables.

        Raises:
            OptionError: it is one. AttributeError: there is no such name.
        """
        if name in OPERATIONS:
            refuse(f"{name} of texts", "shap.plots.bar(e[..., 0]) draws the mean size of each word over the texts.")
        raise AttributeError(f"'TextExplanation' object has no attribute {name!r}")

    def to_whybox(self) -> OwnExplanation:
        """Return the explanation of whybox, with its evidence."""
        return self._own

    def to_shap(self) -> Any:
        """Refuse: shap's figures of texts take its own tokens.

        Raises:
            OptionError: always.
        """
        refuse("to_shap of texts", "shap.plots.text(e) of this package draws them, as e.to_whybox().plot.words() does.")

    def __repr__(self) -> str:
        return f".values =\n{self.values!r}\n\n.base_values =\n{self.base_values!r}\n\n.data =\n{self.data!r}"
