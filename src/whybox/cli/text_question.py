"""``--text COLUMN``: the texts of a file, the model of texts, and which options are of texts or of tables alone."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, final

from whybox.cli.local_output import local_lines, pair_lines
from whybox.cli.option_fields import given_fields
from whybox.cli.parser import CommandParser
from whybox.cli.row_question import RowQuestion, check_positions, chosen_positions, explanation_of, print_or_write
from whybox.errors import InputError, OptionError, UnsupportedModelError

__all__ = ["TextOptionsOfCommand", "add_text", "explain_texts", "refuse_model_of_texts"]


@final
@dataclass(frozen=True)
class TextOptionsOfCommand:
    """Options of a command that explains rows of tables, and texts.

    Attributes:
        texts: options of texts alone, beside the fields of their dataclass. tables: the same of tables.
        apart: fields that the command adds in its own way, or that only an object in Python has.
        names: the dataclasses of both, loaded where they are used.
    """

    names: Callable[[], Any]
    texts: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    apart: tuple[str, ...] = ()

    def check_of_tables(self, options: argparse.Namespace) -> None:
        """Refuse options of texts, where rows of a table are explained.

        Raises:
            OptionError: one was typed.
        """
        kinds = self.names()
        of_texts = [*self.texts, *_written_names(kinds.of_texts, kinds.of_tables)]
        _refuse_typed(options, of_texts, "is an option of texts; say which column holds them: --text COLUMN.")

    def check_of_texts(self, options: argparse.Namespace) -> None:
        """Refuse options of tables, where texts are explained.

        Raises:
            OptionError: one was typed.
        """
        kinds = self.names()
        of_tables = [*self.tables, *_written_names(kinds.of_tables, kinds.of_texts)]
        _refuse_typed(options, of_tables, "is an option of tables, and --text explains texts; leave it out.")

    def read(self, options: argparse.Namespace, most: int | None, **more: Any) -> RowQuestion:
        """Read the model and the texts.

        Args:
            options: as typed. most: how many texts are taken where ``--rows`` does not say which; None: all. more: options that the command adds in its own way.

        Raises:
            WhyboxError: they cannot be read, options that do not go together, a column or row that is not there, or a text without words.
        """
        from whybox.data.table_files import count_rows

        self.check_of_texts(options)
        kind = self.names().of_texts
        chosen = kind(**given_fields(options, kind, apart=self.apart), **more)
        check_positions(options.rows)
        count_rows(options.data)
        model = model_of_texts(options)
        texts = texts_of(options)
        positions = chosen_positions(options.rows, len(texts), most)
        picked = [texts[position] for position in positions]
        check_words(picked, positions, chosen.tokenizer, options.data)
        return RowQuestion(model, picked, None, positions, len(texts), chosen)


def add_text(parser: CommandParser) -> None:
    """Add the column of texts."""
    parser.add_argument("--text", metavar="COLUMN", help="column of DATA with texts, which are explained word by word")


def explain_texts(
    q: RowQuestion, options: argparse.Namespace, out: Path | None, explain: Callable[[Any, Any, Any, Any], Any]
) -> None:
    """Explain texts, and write or print their words.

    Args:
        q: what is asked. options: as typed. out: file; None: the words are printed. explain: of (model, texts, None, options).
    """
    e = explanation_of(q, options, explain)
    count = e.shape[1]
    at_most = " at most" if len(q.positions) > 1 else ""
    summary = f" x {count:,} word{'s' * (count != 1)}{at_most}, in {e.units}"
    print_or_write(e, q, options, out, summary=summary, lines=pair_lines if e.kind == "interaction" else local_lines)


def _refuse_typed(options: argparse.Namespace, names: Sequence[str], why: str) -> None:
    """Refuse the first of these options that was typed."""
    for name in names:
        if getattr(options, name, None) not in (options.command.get_default(name), None, []):
            raise OptionError(f"--{name.replace('_', '-')} {why}")


def _written_names(kind: type[Any], other: type[Any]) -> list[str]:
    """Options of one kind that the other has not."""
    there = {f.name for f in fields(other)}
    return [f.name for f in fields(kind) if f.name not in there and f.metadata.get("as_text", False)]


def refuse_model_of_texts(model: Any) -> None:
    """Refuse a model of texts, where ``--text`` was not typed.

    Raises:
        InputError: it is one.
    """
    from whybox.models.registry import takes_texts

    if takes_texts(model):
        raise InputError(
            "the model takes texts: --text COLUMN says which column of DATA holds them. They need no background."
        )


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
