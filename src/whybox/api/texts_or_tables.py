"""Options of the verbs that explain texts and tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from whybox.api.method_choice import chosen_options
from whybox.errors import InputError
from whybox.methods.common.words.option_names import OptionNames, refuse_background
from whybox.methods.common.words.text_model import refuse_model_of_texts, takes_only_texts
from whybox.methods.common.words.tokenized import is_column_of_texts

__all__ = ["chosen_options_of_tables", "chosen_options_of_texts", "refuse_texts"]

_OptionsT = TypeVar("_OptionsT")


def refuse_texts(model: Any, X: Any, verb: str) -> None:
    """Refuse texts, and models that are known to take nothing else, where something is about the columns of a table.

    Args:
        model, X: as they were given. verb: what was called.

    Raises:
        InputError: they are.
    """
    if isinstance(X, str):  # which may be meant as the path of a file; that is said elsewhere
        return
    if is_column_of_texts(X) or takes_only_texts(model):
        raise InputError(
            f"{verb} is about the columns of a table, and {'these are' if is_column_of_texts(X) else 'this model takes'} texts, whose words are none. "
            "wb.explain(model, texts) and wb.lime(model, texts) say what each word does, for one text or many."
        )


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
