"""What commands share that explain single rows or texts of a file: ``whybox lime``, ``whybox anchors`` and ``whybox explain --text``."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, final

from whybox.cli.importance_output import SAVED_SUFFIX
from whybox.cli.parser import CommandParser
from whybox.cli.shared import (
    add_model,
    add_players,
    add_rows,
    as_evaluated,
    column_of,
    model_or_estimator_of,
    name_rows,
    print_evidence,
    read_rows,
    resolve_output,
    write_table,
)
from whybox.errors import Argument, InputError, LimitError, OptionError

__all__ = [
    "MAX_ROWS_PRINTED",
    "RESULT_HELP",
    "RowQuestion",
    "add_positions",
    "add_row_question",
    "check_positions",
    "chosen_positions",
    "discretizer_of",
    "explanation_of",
    "numbers_of",
    "print_or_write",
    "read_question",
    "result_file",
]

RESULT_HELP: Final = "a table (.parquet, .csv or .arrow), or .whybox, all of it for Python"
MAX_ROWS_PRINTED: Final = 3


@final
@dataclass(frozen=True)
class RowQuestion:
    """What is asked about a model and rows.

    Attributes:
        model: as read. rows, background: tables; of texts a list, and None. positions: of the rows in their file. n_rows: of that file. options: an object of the method's options.
        beside: what each row has beside its features, by the name of the argument.
    """

    model: Any
    rows: Any
    background: Any
    positions: list[int]
    n_rows: int
    options: Any
    beside: Mapping[str, Any] = field(default_factory=dict)

    def run(self, verb: Callable[..., Any], path: str) -> Any:
        """Call what takes a model, rows, a background and options; errors about a cell or a text name its place in the file of rows at `path`."""
        try:
            return name_rows(
                lambda rows: verb(self.model, rows, self.background, self.options, **self.beside),
                self.rows,
                path,
                positions=self.positions,
            )
        except (LimitError, OptionError) as error:
            parts = [self._name_text(part) if isinstance(part, str) else part for part in error.message]
            raise type(error)(*parts, known=error.known, hint=error.hint) from None

    def _name_text(self, part: str) -> str:
        """A part of a message, in which a text is named by its position in the file."""
        return re.sub(
            r"\brow (\d+)( has [\d,]+ words)", lambda found: f"row {self.positions[int(found[1])]}{found[2]}", part
        )


def add_row_question(parser: CommandParser, background: str, discretizer: str, *, required: bool = True) -> None:
    """Add the model, the rows, the background and how it is cut into bins.

    Args:
        parser: of the command. background: what it is for. discretizer: its values in words.
        required: whether the background must be given.
    """
    add_model(parser)
    add_rows(parser)
    add = parser.add_argument
    add("--background", required=required, metavar="FILE", help=background)
    add_positions(parser)
    add("--discretizer", action="append", metavar="NAME", help=f"{discretizer}, or edges of a column, COLUMN=EDGE,EDGE (repeatable) (default: quartile)")  # fmt: skip
    add("--background-weight", metavar="COLUMN", help="column of the background with a weight for each row")
    add_players(parser)


def add_positions(parser: CommandParser, what: str = "rows") -> None:
    """Add which rows of DATA are explained; `what` they are."""
    parser.add_argument(
        "--rows",
        metavar="POSITIONS",
        help=f"{what} of DATA to explain, counted from 0: 7, 0-9 or 0-9,20 (default: all)",
    )


def read_question(
    options: argparse.Namespace,
    chosen: Any,
    columns: Sequence[str],
    most: int | None,
    scale: str | None,
    *,
    offset: str | None = None,
) -> RowQuestion:
    """Read the model, the rows and the background.

    Args:
        options: as typed. chosen: the options of the method; columns stand in them by their names. columns: options that name a column of the background.
        most: how many rows are taken where ``--rows`` does not say which; None: all. scale: as typed. offset: the column of the rows that holds theirs; None: they have none.

    Raises:
        WhyboxError: they cannot be read, or a column or row that is not there.
    """
    from whybox.data.table_files import count_rows
    from whybox.methods.common.columns_beside import refuse_column_of_model
    from whybox.methods.common.row_offsets import OFFSET_ROLE

    check_positions(options.rows)
    for path in (options.data, options.background):
        count_rows(path)
    model = model_or_estimator_of(options)
    apart = [name for name in (*(getattr(options, column) for column in columns), offset) if name is not None]
    known = as_evaluated(model, options.background, apart, scale)
    background = read_rows(options.background, known, apart)
    read = {}
    for name in columns:
        column = getattr(options, name)
        if column is not None:
            read[name] = column_of(column, name, background, options.background).to_numpy(zero_copy_only=False)
    rows = read_rows(options.data, known, apart)
    refuse_column_of_model(known, offset, "offset", OFFSET_ROLE)
    beside = {} if offset is None else {"offset": column_of(offset, "offset", rows, options.data)}
    background, rows = (_without(table, apart, known) for table in (background, rows))
    n_rows = rows.num_rows
    positions = chosen_positions(options.rows, n_rows, most)
    picked = {name: column.take(positions).to_numpy(zero_copy_only=False) for name, column in beside.items()}
    return RowQuestion(model, rows.take(positions), background, positions, n_rows, replace(chosen, **read), picked)


def _without(table: Any, names: list[str], known: Any) -> Any:
    """A table without columns that say something about its rows, but for those that the model reads."""
    return table.drop_columns([n for n in table.column_names if n in names and not known.inputs.reads_column(n)])


def discretizer_of(given: list[str] | None, known: Mapping[str, Any]) -> Any:
    """Return what a name stands for, or edges by column.

    Args:
        given: every ``--discretizer``. known: what each name stands for.

    Raises:
        OptionError: a name beside others, a column twice, or edges that are not numbers.
    """
    if not given:
        return "quartile"
    if len(given) == 1 and "=" not in given[0]:
        if given[0] not in known:
            raise OptionError(
                Argument("discretizer", given[0]),
                " is not known. Name one, or give edges, COLUMN=EDGE,EDGE.",
                known=list(known),
            )
        return known[given[0]]
    edges: dict[str, list[float]] = {}
    for text in given:
        column, equals, numbers = text.rpartition("=")
        if not equals:
            raise OptionError(f"--discretizer {text} is given beside others; edges are written COLUMN=EDGE,EDGE.")
        if column in edges:
            raise OptionError(f"--discretizer: {column!r} is given twice.")
        edges[column] = numbers_of("--discretizer", text, numbers)
    return edges


def numbers_of(option: str, text: str, numbers: str) -> list[float]:
    """Return numbers written with commas.

    Raises:
        OptionError: they are not; the message shows `text`, what was typed for `option`.
    """
    try:
        return [float(part) for part in numbers.split(",")]
    except ValueError:
        raise OptionError(f"{option} {text}: {numbers!r} is not a list of numbers, like 30,50.") from None


def check_positions(given: str | None) -> None:
    """Refuse what is wrong with ``--rows`` before anything is read.

    Raises:
        OptionError: they are not written as positions.
    """
    _positions_of(given, None)


def chosen_positions(given: str | None, n_rows: int, most: int | None) -> list[int]:
    """Return the rows that ``--rows`` names, or the first `most`, or all.

    Raises:
        InputError: there is no such row.
    """
    positions = _positions_of(given, n_rows)
    return list(range(n_rows if most is None else min(most, n_rows))) if positions is None else positions


def _positions_of(given: str | None, n_rows: int | None) -> list[int] | None:
    """Return the positions of ``--rows``, each once, in the order given; None where it is not given.

    Raises:
        OptionError: they are not written as positions. InputError: there is no such row; checked where `n_rows` is known.
    """
    if given is None:
        return None
    found: dict[int, None] = {}
    for part in given.split(","):
        ends = re.fullmatch(r"(\d+)(?:-(\d+))?", part.strip(), re.ASCII)
        if ends is None or (ends[2] is not None and int(ends[2]) < int(ends[1])):
            raise OptionError(f"--rows {given}: write positions counted from 0, like 7, 0-9 or 0-9,20.")
        first, last = int(ends[1]), int(ends[2] or ends[1])
        if n_rows is not None:
            if last >= n_rows:
                raise InputError(f"--rows {given}: there is no row {last:,}; the last of {n_rows:,} rows is {n_rows - 1:,}.")  # fmt: skip
            found |= dict.fromkeys(range(first, last + 1))
    return list(found)


def explanation_of(q: RowQuestion, options: argparse.Namespace, explain: Callable[..., Any]) -> Any:
    """Return what a method of (model, rows, background, options) gives, its rows labelled by their positions in the file."""
    import numpy as np

    e = q.run(explain, options.data)
    return replace(e, coords={**e.coords, "row": np.asarray(q.positions)})


def result_file(options: argparse.Namespace) -> Path | None:
    """Return where the result goes, checked before any work; None where it is printed.

    Raises:
        OptionError, InputError: as :func:`resolve_output`.
    """
    from whybox.data.table_files import WRITABLE_SUFFIXES

    return None if options.out is None else resolve_output(options, (*WRITABLE_SUFFIXES, SAVED_SUFFIX))


def print_or_write(
    e: Any, q: RowQuestion, options: argparse.Namespace, out: Path | None, *, summary: str, lines: Callable[[Any], list[str]]
) -> None:  # fmt: skip
    """Write the explanation, or print its rows; and print what it rests on.

    Args:
        e: the explanation. q: what was asked. options: as typed. out: file. summary: what stands behind the number of rows. lines: of what is printed.
    """
    if out is not None:
        _write(e, out)
    where = "" if out is None else f"{out}: "
    of_all = "" if len(q.positions) == q.n_rows else f" of {q.n_rows:,}"
    print(f"{where}{e.evidence.method}: {len(q.positions):,}{of_all} row{'s' * (q.n_rows != 1)}{summary}")
    if out is None:
        for line in lines(e):
            print(f"  {line}".rstrip())
        left = q.n_rows - len(q.positions)
        if options.rows is None and left:
            print(f"  and {left:,} more row{'s' * (left > 1)}; -o FILE explains and writes all, --rows says which")
    print_evidence(e.evidence)


def _write(e: Any, out: Path) -> None:
    if out.suffix.lower() == SAVED_SUFFIX:
        e.save(out)
        return
    table = e.to_arrow().replace_schema_metadata(None)
    if "row" not in table.column_names:
        table = table.add_column(0, "row", [e.coords["row"]])
    write_table(table, out, {"kind": e.kind, "units": e.units, "evidence": e.evidence.to_dict()})
