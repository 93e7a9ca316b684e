"""Which options are of texts and which of tables, for a function that explains both."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any, final

from whybox.errors import Argument, OptionError, quoted_list

__all__ = ["OptionNames", "refuse_background"]


@final
@dataclass(frozen=True)
class OptionNames:
    """The options of two classes: of texts, and of tables.

    Attributes:
        of_texts, of_tables: dataclasses of options.
    """

    of_texts: type[Any]
    of_tables: type[Any]

    def _names(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        texts, tables = (tuple(f.name for f in fields(kind)) for kind in (self.of_texts, self.of_tables))
        return texts, tables

    def check_for_texts(self, given: Iterable[str]) -> None:
        """Refuse options that tables have and texts have not.

        Raises:
            OptionError: there is one; the message names it.
        """
        texts, tables = self._names()
        advice = (
            f" is an option of tables, and these are texts; leave it out. Options of texts are {quoted_list(texts)}."
        )
        _refuse_names(given, set(tables) - set(texts), advice)

    def check_for_tables(self, given: Iterable[str]) -> None:
        """Refuse options that texts have and tables have not.

        Raises:
            OptionError: there is one; the message names it.
        """
        texts, tables = self._names()
        advice = " is an option of texts, and X is a table; leave it out, or pass a text or a list of texts: ['a text', ...]."
        _refuse_names(given, set(texts) - set(tables), advice)

    def fits_texts(self, given: Iterable[str]) -> bool:
        """Return whether all of these are options of texts."""
        return set(given) <= set(self._names()[0])


def _refuse_names(given: Iterable[str], of_the_other: set[str], advice: str) -> None:
    for name in given:
        if name in of_the_other:
            raise OptionError(Argument(name), advice)


def refuse_background(background: Any) -> None:
    """Refuse a background beside texts.

    Raises:
        OptionError: there is one.
    """
    if background is not None:
        raise OptionError(
            Argument("background"),
            " is an option of tables, and these are texts: words are left out, and nothing is drawn in their place. Leave it out.",
        )
