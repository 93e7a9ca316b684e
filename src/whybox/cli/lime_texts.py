"""``whybox lime --text COLUMN``: the texts of a file, the model of texts, and which options are of texts or of tables alone."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from whybox.cli.option_fields import given_fields
from whybox.errors import InputError, OptionError, UnsupportedModelError

__all__ = [
    "APART",
    "check_options_of_tables",
    "check_options_of_texts",
    "check_words",
    "model_of_texts",
    "text_options",
    "texts_of",
]

_OF_TABLES: Final = (
    "background",
    "discretizer",
    "player",
    "y",
    "background_weight",
)  # beside the fields of the options
# options that the command adds in its own way; and what only an object in Python has
APART: Final = ("kernel_width", "response_method")


def _typed(options: argparse.Namespace, names: Sequence[str]) -> str | None:
    """The first of these options that was typed, as it is written."""
    for name in names:
        if getattr(options, name) not in (options.command.get_default(name), None, []):
            return f"--{name.replace('_', '-')}"
    return None


def check_options_of_tables(options: argparse.Namespace) -> None:
    """Refuse options of texts, where rows of a table are explained.

    Raises:
        OptionError: one was typed, or ``--background`` was not.
    """
    typed = _typed(options, _names_of_texts())
    if typed is not None:
        raise OptionError(f"{typed} is an option of texts; say which column holds them: --text COLUMN.")
    if options.background is None:
        raise OptionError(
            "--background FILE is missing: rows that values are drawn from, like those of training. Texts need none: --text COLUMN."
        )


def check_options_of_texts(options: argparse.Namespace) -> None:
    """Refuse options of tables, where texts are explained.

    Raises:
        OptionError: one was typed.
    """
    typed = _typed(options, _names_of_tables())
    if typed is not None:
        raise OptionError(f"{typed} is an option of tables, and --text explains texts; leave it out.")


def _names_of_texts() -> list[str]:
    from whybox.methods.lime.options import LimeOptions
    from whybox.methods.lime.text_options import LimeTextOptions

    return _written_names(LimeTextOptions, LimeOptions)


def _names_of_tables() -> list[str]:
    from whybox.methods.lime.options import LimeOptions
    from whybox.methods.lime.text_options import LimeTextOptions

    return [*_OF_TABLES, *_written_names(LimeOptions, LimeTextOptions)]


def _written_names(kind: type[Any], other: type[Any]) -> list[str]:
    """Options of one kind that the other has not."""
    from dataclasses import fields

    there = {f.name for f in fields(other)}
    return [f.name for f in fields(kind) if f.name not in there and f.metadata.get("as_text", False)]


def text_options(options: argparse.Namespace, kernel_width: Any) -> Any:
    """Return the options of texts, checked before anything is read."""
    from whybox.methods.lime.text_options import LimeTextOptions

    return LimeTextOptions(**given_fields(options, LimeTextOptions, apart=APART), kernel_width=kernel_width)


def model_of_texts(options: argparse.Namespace) -> Any:
    """Read MODEL, a pickle that takes texts.

    Raises:
        UnsupportedModelError: a file of a model of tables, or what cannot be called. ModelError: it cannot be read, or is not trusted.
    """
    from whybox.adapters.files.load import load_trusted_pickle
    from whybox.models.registry import as_model

    if not options.trust_pickle:
        as_model(Path(options.model))  # says that it is not trusted, or cannot be read
    found = load_trusted_pickle(Path(options.model)) if options.trust_pickle else None
    if found is None or not (hasattr(found, "predict") or callable(found)):
        raise UnsupportedModelError(
            f"{options.model} holds no model of texts. Save the whole Pipeline, whose first step makes numbers of texts, by joblib.dump, and add --trust-pickle."
        )
    return found


def texts_of(options: argparse.Namespace) -> list[Any]:
    """Return the column of DATA that ``--text`` names.

    Raises:
        OptionError: there is no such column. InputError: the file cannot be read.
    """
    from whybox.cli.shared import column_of
    from whybox.data.table_files import read_table

    table = read_table(options.data, {options.text: _is_value})
    texts: list[Any] = column_of(options.text, "text", table, options.data).to_pylist()
    return texts


def _is_value(text: str) -> bool:
    """Texts that usually mean missing (NA, null) are words, an empty one is missing."""
    return text != ""


def check_words(texts: Sequence[Any], positions: Sequence[int], tokenizer: Any, path: str) -> None:
    """Refuse texts without words, named by their positions in the file.

    Raises:
        InputError: there is one.
    """
    from whybox.methods.common.words.split import split_text

    for text, position in zip(texts, positions, strict=True):
        if not isinstance(text, str):
            what = "missing" if text is None else f"no text ({text!r})"
            raise InputError(
                f"the text of row {position:,} of {Path(path).name} is {what}; leave the row out, or say which are explained by --rows."
            )
        split_text(text, tokenizer, row=position)
