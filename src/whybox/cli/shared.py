"""What several commands share: how a command is declared, options on the model, its rows and the result, and reading these."""

from __future__ import annotations

import argparse
import json
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from whybox.cli.parser import EXIT_CODES, CommandParser
from whybox.cli.wording import Wording
from whybox.errors import Argument, DtypeError, InputError, NonFiniteError, OptionError, UnsupportedModelError

__all__ = [
    "add_background",
    "add_model",
    "add_output",
    "add_players",
    "add_result",
    "add_rows",
    "add_text_format",
    "add_truth",
    "as_evaluated",
    "column_of",
    "declare_command",
    "model_of",
    "model_or_estimator_of",
    "name_rows",
    "players_of",
    "print_evidence",
    "read_rows",
    "refuse_misplaced",
    "resolve_output",
    "text_format_of",
    "write_table",
]

TABLE_MODELS: Final = (".json", ".ubj", ".txt", ".cbm", ".skops")
NETWORKS: Final = (".pt2", ".keras", ".safetensors", ".pt", ".pth")
DATA_SUFFIXES: Final = (".csv", ".tsv", ".gz", ".parquet", ".pq", ".xlsx", ".npy", ".png", ".jpg", ".jpeg")
SCALES: Final = ("raw", "probability", "response")  # held against the library's by a test
TABLE_WORDING: Final = Wording(
    {"X": "data", "the background": "background", "players": "player", "features": "feature"}
)


def declare_command(
    commands: Any,
    name: str,
    run: Callable[[argparse.Namespace], int | None],
    add_options: Callable[[CommandParser], None],
    *,
    about: str,
    text: str,
    examples: str = "",
    wording: Wording = TABLE_WORDING,
) -> None:
    """Add a command.

    Args:
        commands: what ``add_subparsers`` returned. name: of the command. run: does it, and returns the exit code if that is not 0.
        add_options: adds the options to the parser; called when they are first needed.
        about: one line for the list of commands. text: the description in its own help. examples: below the options.
        wording: how it names what Python calls otherwise.
    """
    shown = f"examples:\n{examples}\n\n" if examples else ""
    parser: CommandParser = commands.add_parser(name, help=about, description=text, epilog=shown + EXIT_CODES)
    parser.set_defaults(run=run, command=parser, wording=wording)
    parser.add_options = add_options


def add_model(parser: argparse.ArgumentParser) -> None:
    """Add MODEL, and how its file is read."""
    parser.add_argument(
        "model",
        metavar="MODEL",
        help="XGBoost .json/.ubj, LightGBM .txt, CatBoost .json/.cbm, skops; pickle or joblib with --trust-pickle",
    )
    parser.add_argument(
        "--trust-pickle", action="store_true", help="read a pickle or joblib file, which runs whatever code is in it"
    )
    parser.add_argument(
        "--no-verify",
        action="store_true",
        help="do not ask the file's own library (in a process of its own), neither when reading nor about rows of the answer",
    )


def add_rows(
    parser: argparse.ArgumentParser, about: str = "rows to explain", metavar: str = "DATA", *, required: bool = True
) -> None:
    """Add DATA, a table in a file."""
    parser.add_argument(
        "data",
        metavar=metavar,
        nargs=None if required else "?",
        help=f"{about}: .csv, .tsv (also .gz), .parquet or .xlsx; columns are matched by name",
    )
    add_text_format(parser)


def add_text_format(parser: argparse.ArgumentParser) -> None:
    """Add how files of text are read."""
    group = parser.add_argument_group("text files", "How .csv and .tsv are read, all files of rows alike.")
    group.add_argument(
        "--sep", metavar="C", help="what stands between cells: one character, or tab (default: what the suffix says)"
    )
    group.add_argument("--decimal", metavar="C", help="what stands before decimals: . or , (default: .)")
    group.add_argument("--encoding", metavar="NAME", help="of the text, for example latin1 (default: UTF-8)")


def text_format_of(options: argparse.Namespace) -> Any:
    """Return how text files of rows are to be read.

    Raises:
        OptionError: a separator or decimal sign that is none, an unknown encoding, or no text file that it would be for.
    """
    from whybox.data.file_formats import TEXT, TextFormat, kind_of_file

    given = {name: getattr(options, name, None) for name in ("sep", "decimal", "encoding")}
    if all(value is None for value in given.values()):
        return TextFormat()
    files = _files_of_rows(options)
    named = next(name for name, value in given.items() if value is not None)
    if not any(kind_of_file(file) in TEXT for file in files):
        raise OptionError(f"--{named} is for files of text ({', '.join(TEXT)}), and there is none here.")
    separator = "\t" if given["sep"] in ("tab", "\\t") else given["sep"]
    if separator is not None and (
        len(separator) != 1 or not separator.isascii() or separator.isalnum() or separator in '"\n\r.'
    ):
        raise OptionError(f"--sep {given['sep']!r}: one character of ASCII, such as ';', or tab.")
    if given["decimal"] not in (None, ".", ","):
        raise OptionError(f"--decimal {given['decimal']!r}: . or ,")
    if given["decimal"] == "," and separator in (None, ",") and any(kind_of_file(f).startswith(".csv") for f in files):
        raise OptionError("--decimal , needs another --sep, such as ';': cells are cut at commas.")
    try:
        "".encode("utf-8" if given["encoding"] is None else given["encoding"])
    except (LookupError, UnicodeError):
        raise OptionError(
            f"--encoding {given['encoding']!r} is not known; for example latin1, cp1252 or utf-16."
        ) from None
    return TextFormat(separator, given["decimal"], given["encoding"])


def _files_of_rows(options: argparse.Namespace) -> list[str]:
    """The files that may hold rows: DATA, backgrounds, training rows; inputs of a network, also as NAME=FILE."""
    given = [getattr(options, name, None) for name in ("data", "background", "train", "inputs", "input")]
    texts = [text for value in given for text in (value if isinstance(value, list) else [value])]
    return [text for text in texts if isinstance(text, str)]


def add_truth(parser: argparse.ArgumentParser, about: str) -> None:
    """Add which column of DATA holds the truth."""
    parser.add_argument("--y", "--target", dest="y", metavar="COLUMN", help=about)


def add_output(parser: argparse.ArgumentParser) -> None:
    """Add which output is explained, and on which scale."""
    parser.add_argument(
        "--output",
        metavar="NAME",
        help="label or position of a class or output, or all (default: every output of the model)",
    )
    parser.add_argument(
        "--scale",
        choices=SCALES,
        help="raw (default: the additive scale), probability or response (the model's predictions)",
    )


def add_background(parser: argparse.ArgumentParser) -> None:
    """Add the rows that absent features take their values from."""
    parser.add_argument(
        "--background",
        metavar="FILE",
        help="rows that absent features take their values from (interventional); "
        "without it, the trees' own training weights (path-dependent)",
    )


def add_players(parser: argparse.ArgumentParser) -> None:
    """Add columns that are explained as one."""
    parser.add_argument(
        "--player",
        action="append",
        default=[],
        metavar="NAME=COL,COL",
        help="explain these columns as one (repeatable)",
    )


def add_result(parser: argparse.ArgumentParser, types: str, *, required: bool = True) -> None:
    """Add where the result goes."""
    parser.add_argument("-o", "--out", required=required, metavar="FILE", help=f"where to write: {types}")


def refuse_misplaced(options: argparse.Namespace) -> None:
    """Refuse data in the place of the model, and a model of the other kind: judged by the ends of the names, before anything is read.

    Raises:
        OptionError: MODEL and the data stand in each other's place. UnsupportedModelError: a network where a model of tables belongs, or the reverse.
    """
    model: str | None = getattr(options, "model", None)
    if model is None:
        return
    of_networks = hasattr(options, "inputs")
    data = options.inputs if of_networks else [options.data]
    meant = next((d for d in data if d is not None and _suffix_of(d) in TABLE_MODELS + NETWORKS), None)
    if meant is not None and _suffix_of(model) in DATA_SUFFIXES:
        raise OptionError(
            f"MODEL comes first, and {model} is data where {meant} is a model. Write: {options.command.prog} {meant} {model} ..."
        )
    if not of_networks and _suffix_of(model) in NETWORKS:
        raise UnsupportedModelError(
            f"{model} holds a network, and {options.command.prog} reads models of tables; for networks there are whybox saliency and whybox check."
        )
    if of_networks and _suffix_of(model) in TABLE_MODELS:
        raise UnsupportedModelError(
            f"{model} holds a model of tables, and {options.command.prog} reads networks (.pt2 of torch.export, .keras, or MODULE:FUNCTION); "
            "for models of tables there are whybox explain and whybox effects."
        )


def _suffix_of(path: str) -> str:
    return Path(path).suffix.lower()


def resolve_output(options: argparse.Namespace, suffixes: Sequence[str], files_read: Iterable[str | None] = ()) -> Path:
    """Return where the result goes, checked before any work.

    Args:
        options: of the command. suffixes: types of files that it writes. files_read: files that it reads, beside those in the places of the command and
            ``--background``.

    Raises:
        OptionError: another type of file, or a file that is read: results never take its place, whatever links or spellings the paths use.
        InputError: a folder, or in a folder that does not exist or cannot be written to.
    """
    out = Path(options.out)
    if out.is_dir():
        raise InputError(f"-o {options.out} is a folder; name a file.")
    if out.suffix.lower() not in suffixes:
        types = f"a {suffixes[0]} file" if len(suffixes) == 1 else f"a file of type {', '.join(suffixes)}"
        raise OptionError(f"-o {options.out}: the result is {types}.")
    folder = out.resolve().parent
    if not folder.is_dir():
        raise InputError(f"the folder {str(out.parent)!r} does not exist.")
    if not os.access(folder, os.W_OK):
        raise InputError(f"the folder {str(out.parent)!r} cannot be written to.")
    read = [(a.metavar or "", getattr(options, a.dest)) for a in options.command._get_positional_actions()]  # noqa: SLF001
    read += [
        ("--background", getattr(options, "background", None)),
        *(("a file that is read", path) for path in files_read if path),
    ]
    for what, given in read:
        for path in [given] if isinstance(given, str) else given or ():
            if Path(path).resolve() == out.resolve() or (out.exists() and Path(path).exists() and out.samefile(path)):
                raise OptionError(
                    f"-o {options.out} is the same file as {what} ({path}); write the result to another file."
                )
    return out


def model_of(options: argparse.Namespace) -> Any:
    """Read MODEL.

    Raises:
        ModelError: it cannot be read.
    """
    from whybox.models.registry import as_model

    return as_model(Path(options.model), trust_pickle=options.trust_pickle, verify=not options.no_verify)


def model_or_estimator_of(options: argparse.Namespace) -> Any:
    """Read MODEL; an estimator of a trusted pickle that is not read comes back as it is, to be evaluated.

    Raises:
        ModelError: it cannot be read.
    """
    try:
        return model_of(options)
    except UnsupportedModelError:
        if not options.trust_pickle:
            raise
        from whybox.adapters.files.load import load_trusted_pickle

        found = load_trusted_pickle(Path(options.model))
        if not (hasattr(found, "predict") or callable(found)):
            raise
        return found


def as_evaluated(model: Any, path: str, apart: Sequence[str | None], scale: str | None) -> Any:
    """Return the model itself, or an estimator as a black box: either knows its columns and categories.

    Args:
        model: as :func:`model_or_estimator_of` returns it. path: of the rows. apart: columns of the rows that are none of the model's, unless it learned them.
        scale: as typed.
    """
    from whybox.data.table import as_table
    from whybox.data.table_files import read_table
    from whybox.models.base import Model
    from whybox.models.readable import read_or_black_box

    if isinstance(model, Model):
        return model
    rows = read_table(path, {})
    learned = getattr(model, "feature_names_in_", ())
    rows = rows.drop_columns([name for name in rows.column_names if name in apart and name not in learned])
    return read_or_black_box(model, as_table(rows), scale=scale)


def players_of(options: argparse.Namespace) -> dict[str, list[str]] | None:
    """Return the columns of every ``--player``.

    Raises:
        OptionError: one is not written NAME=COLUMN,COLUMN, or is given twice.
    """
    out: dict[str, list[str]] = {}
    for text in options.player:
        name, equals, columns = text.partition("=")
        if not equals or not name or not columns:
            raise OptionError(f"--player {text!r}: write NAME=COLUMN,COLUMN.")
        if name in out:
            raise OptionError(f"--player: {name!r} is given twice.")
        out[name] = columns.split(",")
    return out or None


def read_rows(path: str, model: Any, apart: Sequence[str] = ()) -> Any:
    """Read a whole table as the model knows its columns; `apart` are columns that the model is not given."""
    from whybox.data.table_files import read_table

    return read_table(path, spelled_columns(path, model, apart))


def spelled_columns(path: str, model: Any, apart: Sequence[str] = ()) -> dict[str, Callable[[str], bool]]:
    """Which columns of a file the model knows as categories of text; `apart` are columns that the model is not given."""
    return {name: v.contains for name, v in _categorical_columns(path, model, apart).items() if v.is_text}


def coded_columns(path: str, model: Any, apart: Sequence[str] = ()) -> list[str]:
    """Which columns of a file are categories that the model knows by their codes alone."""
    return [name for name, v in _categorical_columns(path, model, apart).items() if not v.is_stored]


def _categorical_columns(path: str, model: Any, apart: Sequence[str]) -> dict[str, Any]:
    from whybox.data.table_files import column_names

    given = [n for n in column_names(path) if n not in apart or model.inputs.reads_column(n)]
    columns: dict[str, Any] = model.inputs.categorical_columns(given)
    return columns


def column_of(name: str, option: str, rows: Any, path: str) -> Any:
    """Return a column of a table that an option names.

    Raises:
        OptionError: there is none.
    """
    if name not in rows.column_names:
        raise OptionError(Argument(option, name), f" is not a column of {path}.", known=rows.column_names)
    return rows.column(name)


def name_rows(
    compute: Callable[[Any], Any], rows: Any, path: str, before: int = 0, positions: Sequence[int] | None = None
) -> Any:
    """Compute something of rows of a file; errors about a cell name its place in the file.

    Args:
        compute: what is called. rows: what it is called with. path: of the file. before: how many rows of the file come before these.
        positions: of rows that were picked, their positions in the file.
    """
    from whybox.data.table_files import non_numeric_cell

    try:
        return compute(rows)
    except NonFiniteError as error:
        at = error.row
        if at is not None:
            at = before + at if positions is None else int(positions[at])
        row = "a row" if at is None else f"row {at:,} of {Path(path).name}, counted from 0"
        raise InputError(*(p.replace("{row}", row) if isinstance(p, str) else p for p in error.message)) from None
    except DtypeError as error:
        about_numbers = re.search(r"reads numbers only|is not numeric|holds text", str(error))
        cell = non_numeric_cell(path, str(error)) if about_numbers else None
        raise DtypeError(cell) if cell else error from None


def write_table(table: Any, out: Path, about: Mapping[str, Any]) -> None:
    """Write a whole table, and what it is about into the metadata where the format has a place for it."""
    from whybox.core.atomic_write import atomic_write
    from whybox.data.table_files import table_writer

    with atomic_write(out) as part:
        write = table_writer(part, out)
        write(table)
        write.add_metadata("whybox", json.dumps(about))
        write.close()


def print_evidence(evidence: Any) -> None:
    """Print what a result rests on."""
    for label, text in evidence.lines("estimand", "additivity", "verdict", "note", "unknown"):
        print(f"  {label}: {text}")
