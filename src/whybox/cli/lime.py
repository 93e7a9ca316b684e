"""The command ``whybox lime``: each row explained by a linear model near it."""

from __future__ import annotations

import argparse
import json
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, final

from whybox.cli.importance_output import SAVED_SUFFIX
from whybox.cli.lime_output import lime_lines
from whybox.cli.lime_texts import (
    APART,
    check_options_of_tables,
    check_options_of_texts,
    check_words,
    model_of_texts,
    text_options,
    texts_of,
)
from whybox.cli.method_help import methods_help
from whybox.cli.option_fields import add_fields, given_fields
from whybox.cli.parser import CommandParser
from whybox.cli.shared import (
    add_model,
    add_players,
    add_result,
    add_rows,
    as_evaluated,
    column_of,
    declare_command,
    model_or_estimator_of,
    name_rows,
    players_of,
    print_evidence,
    read_rows,
    resolve_output,
)
from whybox.errors import Argument, InputError, OptionError

__all__ = ["LimeQuestion", "add_command", "add_question", "question_of"]

_TEXT: Final = """Explain each row by a linear model near it (LIME): how the output changes when a feature leaves the row's own region.
-o writes one line a row and feature: condition, value, std_error; without it the first rows are printed. Values of tree
ensembles are exact on their additive scale; those of other models are sampled, with standard errors.
--text COLUMN explains the texts of a column, word by word, by a trusted pickle of a Pipeline that takes texts."""
_EXAMPLES: Final = """\
  whybox lime model.json customers.parquet --background train.parquet -o lime.parquet
  whybox lime model.json customers.parquet --background train.parquet --rows 7
  whybox lime forest.joblib rows.csv --background train.csv --trust-pickle --output predicted --discretizer age=30,50
  whybox lime pipeline.joblib reviews.csv --text review --trust-pickle --rows 7"""
NONE: Final = "none"  # of discretizers
MAX_ROWS_PRINTED: Final = 3


def add_command(commands: Any) -> None:
    """Add the command to the others."""
    declare_command(
        commands,
        "lime",
        _lime,
        _add_options,
        about="explain each row by a linear model near it",
        text=_TEXT,
        examples=_EXAMPLES,
    )


def _add_options(parser: CommandParser) -> None:
    add_question(parser)
    add_result(parser, "a table (.parquet, .csv or .arrow), or .whybox, all of it for Python", required=False)


def add_question(parser: CommandParser) -> None:
    """Add what is computed, and how."""
    from whybox.methods.lime.options import DISCRETIZERS, LimeOptions, methods_of_tables
    from whybox.methods.lime.text_options import LimeTextOptions

    add_model(parser)
    add_rows(parser)
    add = parser.add_argument
    add(
        "--background",
        metavar="FILE",
        help="rows that values are drawn from, like those of training; of tables it must be given",
    )
    add("--text", metavar="COLUMN", help="column of DATA with texts, which are explained word by word")
    add("--rows", metavar="POSITIONS", help="rows of DATA to explain, counted from 0: 7, 0-9 or 0-9,20 (default: all)")
    add(
        "--discretizer",
        action="append",
        metavar="NAME",
        help=f"{', '.join(DISCRETIZERS)}, none (a value for each standard deviation), or edges of a column, "
        "COLUMN=EDGE,EDGE (repeatable) (default: quartile)",
    )
    add("--kernel-width", metavar="W[,W]", help="width of the kernel, or several (default: 0.75 times the root of the number of features; of texts 25)")  # fmt: skip
    add("--y", "--target", dest="y", metavar="COLUMN", help="column of the background that holds the truth, for --discretizer entropy")  # fmt: skip
    add("--background-weight", metavar="COLUMN", help="column of the background with a weight for each row")
    add_players(parser)
    parser.list_methods = lambda: methods_help("lime", "methods:")
    add_fields(parser, LimeOptions, apart=APART, choices={"method": methods_of_tables()})
    add_fields(parser, LimeTextOptions, apart=APART)


@final
@dataclass(frozen=True)
class LimeQuestion:
    """What is asked about a model and rows.

    Attributes:
        model: as read. rows, background: tables; of texts a list, and None. positions: of the rows in their file. n_rows: of that file.
        options: a LimeOptions object, or a LimeTextOptions object.
    """

    model: Any
    rows: Any
    background: Any
    positions: list[int]
    n_rows: int
    options: Any


def question_of(options: argparse.Namespace, most: int | None = None) -> LimeQuestion:
    """Read the model, the rows and the background.

    Args:
        options: as typed. most: how many rows are taken where ``--rows`` does not say which; None: all.

    Raises:
        WhyboxError: they cannot be read, options that do not go together, or a column or row that is not there.
    """
    from whybox.data.table_files import count_rows

    if options.text is not None:
        return _question_of_texts(options, most)
    check_options_of_tables(options)
    chosen = _chosen_options(options)
    _positions_of(options.rows, None)  # refuses what it can before anything is read
    for path in (options.data, options.background):
        count_rows(path)
    model = model_or_estimator_of(options)
    apart = [name for name in (options.y, options.background_weight) if name is not None]
    known = as_evaluated(model, options.background, apart, options.scale)
    background = read_rows(options.background, known, apart)
    read = {}
    for name in ("y", "background_weight"):
        column = getattr(options, name)
        if column is not None:
            read[name] = column_of(column, name, background, options.background).to_numpy(zero_copy_only=False)
    rows = read_rows(options.data, known, apart)
    background, rows = (_without(table, apart, known) for table in (background, rows))
    n_rows = rows.num_rows
    positions = _chosen_positions(options.rows, n_rows, most)
    return LimeQuestion(model, rows.take(positions), background, positions, n_rows, replace(chosen, **read))


def _question_of_texts(options: argparse.Namespace, most: int | None) -> LimeQuestion:
    from whybox.data.table_files import count_rows

    check_options_of_texts(options)
    chosen = text_options(options, _widths_of(options.kernel_width))
    _positions_of(options.rows, None)
    count_rows(options.data)
    model = model_of_texts(options)
    texts = texts_of(options)
    positions = _chosen_positions(options.rows, len(texts), most)
    picked = [texts[position] for position in positions]
    check_words(picked, positions, chosen.tokenizer, options.data)
    return LimeQuestion(model, picked, None, positions, len(texts), chosen)


def _chosen_positions(given: str | None, n_rows: int, most: int | None) -> list[int]:
    """The rows that ``--rows`` names, or the first `most`, or all."""
    positions = _positions_of(given, n_rows)
    return list(range(n_rows if most is None else min(most, n_rows))) if positions is None else positions


def _without(table: Any, names: list[str], known: Any) -> Any:
    """A table without columns that say something about its rows, but for those that the model reads."""
    return table.drop_columns([n for n in table.column_names if n in names and not known.inputs.reads_column(n)])


def _chosen_options(options: argparse.Namespace) -> Any:
    """Return the options, checked before anything is read; columns stand in them by their names."""
    from whybox.methods.lime.options import LimeOptions

    return LimeOptions(
        **given_fields(options, LimeOptions, apart=APART),
        discretizer=_discretizer_of(options.discretizer or []),
        kernel_width=_widths_of(options.kernel_width),
        players=players_of(options),
        y=options.y,
        background_weight=options.background_weight,
    )


def _discretizer_of(given: list[str]) -> Any:
    """Return a name, None for ``none``, or edges by column.

    Raises:
        OptionError: a name beside others, a column twice, or edges that are not numbers.
    """
    if not given:
        return "quartile"
    from whybox.methods.lime.options import DISCRETIZERS

    if len(given) == 1 and "=" not in given[0]:
        known = (*DISCRETIZERS, NONE)
        if given[0] not in known:
            raise OptionError(
                Argument("discretizer", given[0]),
                " is not known. Name one, or give edges, COLUMN=EDGE,EDGE.",
                known=known,
            )
        return None if given[0] == NONE else given[0]
    edges: dict[str, list[float]] = {}
    for text in given:
        column, equals, numbers = text.rpartition("=")
        if not equals:
            raise OptionError(f"--discretizer {text} is given beside others; edges are written COLUMN=EDGE,EDGE.")
        if column in edges:
            raise OptionError(f"--discretizer: {column!r} is given twice.")
        edges[column] = _numbers_of("--discretizer", text, numbers)
    return edges


def _widths_of(given: str | None) -> Any:
    if given is None:
        return None
    widths = _numbers_of("--kernel-width", given, given)
    return widths if "," in given else widths[0]


def _numbers_of(option: str, text: str, numbers: str) -> list[float]:
    try:
        return [float(part) for part in numbers.split(",")]
    except ValueError:
        raise OptionError(f"{option} {text}: {numbers!r} is not a list of numbers, like 30,50.") from None


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


def _lime(options: argparse.Namespace) -> None:
    from whybox.data.table_files import WRITABLE_SUFFIXES

    out = None if options.out is None else resolve_output(options, (*WRITABLE_SUFFIXES, SAVED_SUFFIX))
    q = question_of(options, None if out is not None else MAX_ROWS_PRINTED)
    e = explanation_of(q, options)
    if out is not None:
        _write(e, out)
    count, what = (e.shape[1], "word") if options.text is not None else (len(e.feature_names), "feature")
    at_most = " at most" if options.text is not None and len(q.positions) > 1 else ""
    where = "" if out is None else f"{out}: "
    of_all = "" if len(q.positions) == q.n_rows else f" of {q.n_rows:,}"
    print(f"{where}{e.evidence.method}: {len(q.positions):,}{of_all} row{'s' * (q.n_rows != 1)} x {count:,} {what}{'s' * (count != 1)}{at_most}, in {e.units}")  # fmt: skip
    if out is None:
        for line in lime_lines(e):
            print(f"  {line}".rstrip())
        left = q.n_rows - len(q.positions)
        if options.rows is None and left:
            print(f"  and {left:,} more row{'s' * (left > 1)}; -o FILE explains and writes all, --rows says which")
    print_evidence(e.evidence)


def explanation_of(q: LimeQuestion, options: argparse.Namespace) -> Any:
    """Return the local values, their rows labelled by their positions in the file."""
    import numpy as np

    from whybox.api.lime import lime

    def explain(rows: Any) -> Any:
        return lime(q.model, rows, q.background, q.options)

    e = name_rows(explain, q.rows, options.data, positions=q.positions)
    return replace(e, coords={**e.coords, "row": np.asarray(q.positions)})


def _write(e: Any, out: Path) -> None:
    from whybox.core.atomic_write import atomic_write
    from whybox.data.table_files import table_writer

    if out.suffix.lower() == SAVED_SUFFIX:
        e.save(out)
        return
    with atomic_write(out) as part:
        write = table_writer(part, out)
        write(e.to_arrow().replace_schema_metadata(None))
        about = {"kind": e.kind, "units": e.units, "evidence": e.evidence.to_dict()}
        write.add_metadata("whybox", json.dumps(about))
        write.close()
