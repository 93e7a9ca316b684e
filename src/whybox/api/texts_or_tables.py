"""Options of the verbs that explain texts and tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from whybox.api.method_choice import chosen_options
from whybox.methods.common.words.option_names import OptionNames, refuse_background
from whybox.methods.common.words.text_model import refuse_model_of_texts

__all__ = ["chosen_options_of_tables", "chosen_options_of_texts"]

_OptionsT = TypeVar("_OptionsT")


def chosen_options_of_texts(
    kind: type[_OptionsT], names: OptionNames, background: Any, method: Any, given: Mapping[str, Any]
) -> _OptionsT | dict[str, _OptionsT]:
    """Return the options of texts; what texts have not is refused by name.

    Args:
        kind: dataclass of the options. names: which options are of texts, and which of tables. background, method, given: as they came.

    Raises:
        OptionError: a background, or an option of tables; others as :func:`chosen_options`.
    """
    refuse_background(background)
    names.check_for_texts(given)
    return chosen_options(kind, "method", method, given)


def chosen_options_of_tables(
    kind: type[_OptionsT], names: OptionNames, model: Any, X: Any, method: Any, given: Mapping[str, Any]
) -> _OptionsT | dict[str, _OptionsT]:
    """Return the options of tables; what tables have not is refused by name, and so is a model of texts.

    Args:
        kind: dataclass of the options. names: which options are of texts, and which of tables. model, X, method, given: as they came.

    Raises:
        OptionError: an option of texts; others as :func:`chosen_options`. InputError: the model takes texts.
    """
    names.check_for_tables(given)
    refuse_model_of_texts(model, X)
    return chosen_options(kind, "method", method, given)
