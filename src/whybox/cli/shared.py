"""What several commands share: how a command is declared, options on the model, its rows and the result, and reading these."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence
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
    "column_of",
    "declare",
    "model_of",
    "name_rows",
    "players_of",
    "print_evidence",
    "read_rows",
    "refuse_misplaced",
    "refuse_overwriting",
]

TABLE_MODELS: Final = (".json", ".ubj", ".txt", ".cbm", ".skops")
NETWORKS: Final = (".pt2", ".pt", ".pth")
DATA_SUFFIXES: Final = (".csv", ".tsv", ".parquet", ".pq", ".npy", ".png", ".jpg", ".jpeg")
SCALES: Final = ("raw", "probability", "response")  # held against the library's by a test
TABLE_WORDING: Final = Wording(
    {"X": "data", "rows": "data", "the background": "background", "players": "player", "features": "feature"}
)


def declare(
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
        help="do not compare with the library's own predict of the file (in a process of its own)",
    )


def add_rows(parser: argparse.ArgumentParser, about: str = "rows to explain", metavar: str = "DATA") -> None:
    """Add DATA, a table in a file."""
    parser.add_argument("data", metavar=metavar, help=f"{about}: .csv or .parquet; columns are matched by name")


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


def add_result(parser: argparse.ArgumentParser, types: str) -> None:
    """Add where the result goes."""
    parser.add_argument("-o", "--out", required=True, metavar="FILE", help=f"where to write: {types}")


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
    meant = next((d for d in data if _ends(d) in TABLE_MODELS + NETWORKS), None)
    if meant is not None and _ends(model) in DATA_SUFFIXES:
        raise OptionError(
            f"MODEL comes first, and {model} is data where {meant} is a model. Write: {options.command.prog} {meant} {model} ..."
        )
    if not of_networks and _ends(model) in NETWORKS:
        raise UnsupportedModelError(
            f"{model} holds a network, and {options.command.prog} reads models of tables; for networks there are whybox saliency and whybox check."
        )
    if of_networks and _ends(model) in TABLE_MODELS:
        raise UnsupportedModelError(
            f"{model} holds a model of tables, and {options.command.prog} reads networks (.pt2 of torch.export, or MODULE:FUNCTION); "
            "for models of tables there are whybox explain and whybox effects."
        )


def _ends(path: str) -> str:
    return Path(path).suffix.lower()


def refuse_overwriting(options: argparse.Namespace, *others: str | None) -> None:
    """Results never take the place of what they were made from, whatever links or spellings the paths use.

    Args:
        options: of the command. others: further files that are read.

    Raises:
        OptionError: they would. InputError: the result is a folder.
    """
    out = Path(options.out)
    if out.is_dir():
        raise InputError(f"-o {options.out} is a folder; name a file.")
    read = [(a.metavar or "", getattr(options, a.dest)) for a in options.command._get_positional_actions()]  # noqa: SLF001
    read += [
        ("--background", getattr(options, "background", None)),
        *(("a file that is read", path) for path in others),
    ]
    for what, given in read:
        for path in [given] if isinstance(given, str) else given or ():
            if Path(path).resolve() == out.resolve() or (out.exists() and Path(path).exists() and out.samefile(path)):
                raise OptionError(f"-o {out} is the same file as {what} ({path}); write the result to another file.")


def model_of(options: argparse.Namespace) -> Any:
    """Read MODEL.

    Raises:
        ModelError: it cannot be read.
    """
    from whybox.models.registry import as_model

    return as_model(Path(options.model), trust_pickle=options.trust_pickle, verify=not options.no_verify)


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
    return {name: v.contains for name, v in _categories(path, model, apart).items() if v.is_text}


def coded_columns(path: str, model: Any, apart: Sequence[str] = ()) -> list[str]:
    """Which columns of a file are categories that the model knows by their codes alone."""
    return [name for name, v in _categories(path, model, apart).items() if not v.is_stored]


def _categories(path: str, model: Any, apart: Sequence[str]) -> dict[str, Any]:
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


def name_rows(compute: Callable[[Any], Any], rows: Any, path: str, before: int = 0) -> Any:
    """Compute something of rows of a file; errors about a cell name its place in the file.

    Args:
        compute: what is called. rows: what it is called with. path: of the file. before: how many rows of the file come before these.
    """
    from whybox.data.table_files import non_numeric_cell

    try:
        return compute(rows)
    except NonFiniteError as error:
        row = "a row" if error.row is None else f"row {before + error.row + 1:,} of {Path(path).name}"
        raise InputError(*(p.replace("{row}", row) if isinstance(p, str) else p for p in error.message)) from None
    except DtypeError as error:
        about_numbers = re.search(r"reads numbers only|is not numeric|holds text", str(error))
        cell = non_numeric_cell(path, str(error)) if about_numbers else None
        raise DtypeError(cell) if cell else error from None


def print_evidence(evidence: Any) -> None:
    """Print what a result rests on."""
    for label, text in evidence.lines("estimand", "additivity", "verdict", "note", "unknown"):
        print(f"  {label}: {text}")
