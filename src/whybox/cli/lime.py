"""The command ``whybox lime``: each row explained by a linear model near it."""

from __future__ import annotations

import argparse
from typing import Any, Final

from whybox.cli.local_output import local_lines
from whybox.cli.method_help import methods_help
from whybox.cli.option_fields import add_fields, given_fields
from whybox.cli.parser import CommandParser
from whybox.cli.row_question import (
    MAX_ROWS_PRINTED,
    RESULT_HELP,
    RowQuestion,
    add_row_question,
    discretizer_of,
    explanation_of,
    numbers_of,
    print_or_write,
    read_question,
    result_file,
)
from whybox.cli.shared import add_result, declare_command, players_of
from whybox.cli.text_question import TextOptionsOfCommand, add_text, explain_texts, refuse_model_of_texts
from whybox.errors import OptionError

__all__ = ["add_command", "add_question", "question_of"]

_TEXT: Final = """Explain each row by a linear model near it (LIME): how the output changes when a feature leaves the row's own region.
-o writes one line a row and feature: condition, value, std_error; without it the first rows are printed. Values of tree
ensembles are exact on their additive scale; those of other models are sampled, with standard errors.
--text COLUMN explains the texts of a column, word by word, by a trusted pickle of a Pipeline that takes texts."""
_EXAMPLES: Final = """\
  whybox lime model.json customers.parquet --background train.parquet -o lime.parquet
  whybox lime model.json customers.parquet --background train.parquet --rows 7
  whybox lime forest.joblib rows.csv --background train.csv --trust-pickle --output predicted --discretizer age=30,50
  whybox lime claims.json policies.csv --background train.csv --offset log_exposure --scale response
  whybox lime pipeline.joblib reviews.csv --text review --trust-pickle --rows 7"""
NONE: Final = "none"  # of discretizers


def _option_names() -> Any:
    from whybox.methods.lime.text_options import OPTION_NAMES

    return OPTION_NAMES


_OPTIONS: Final = TextOptionsOfCommand(
    _option_names,
    tables=("background", "discretizer", "player", "y", "background_weight", "offset"),
    apart=("kernel_width", "response_method"),
)


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
    add_result(parser, RESULT_HELP, required=False)


def add_question(parser: CommandParser) -> None:
    """Add what is computed, and how."""
    from whybox.methods.lime.options import DISCRETIZERS, LimeOptions, methods_of_tables
    from whybox.methods.lime.text_options import LimeTextOptions

    add_row_question(
        parser,
        "rows that values are drawn from, like those of training; of tables it must be given",
        f"{', '.join(DISCRETIZERS)}, none (a value for each standard deviation)",
        required=False,
    )
    add = parser.add_argument
    add_text(parser)
    add("--kernel-width", metavar="W[,W]", help="width of the kernel, or several (default: 0.75 times the root of the number of features; of texts 25)")  # fmt: skip
    add("--y", "--target", dest="y", metavar="COLUMN", help="column of the background that holds the truth, for --discretizer entropy")  # fmt: skip
    add("--offset", metavar="COLUMN", help="column of DATA with what is added to the model's raw output of each row and of rows drawn near it; it is no feature")  # fmt: skip
    parser.list_methods = lambda: methods_help("lime", "methods:", parser)
    add_fields(parser, LimeOptions, apart=_OPTIONS.apart, choices={"method": methods_of_tables()})
    add_fields(parser, LimeTextOptions, apart=_OPTIONS.apart)


def question_of(options: argparse.Namespace, most: int | None = None) -> RowQuestion:
    """Read the model, the rows and the background.

    Args:
        options: as typed. most: how many rows are taken where ``--rows`` does not say which; None: all.

    Raises:
        WhyboxError: they cannot be read, options that do not go together, or a column or row that is not there.
    """
    if options.text is not None:
        return _OPTIONS.read(options, most, kernel_width=_widths_of(options.kernel_width))
    _OPTIONS.check_of_tables(options)
    if options.background is None:
        raise OptionError(
            "--background FILE is missing: rows that values are drawn from, like those of training. Texts need none: --text COLUMN."
        )
    chosen, columns = _chosen_options(options), ("y", "background_weight")
    q = read_question(options, chosen, columns, most, options.scale, offset=options.offset)
    refuse_model_of_texts(q.model)
    return q


def _chosen_options(options: argparse.Namespace) -> Any:
    """Return the options, checked before anything is read; columns stand in them by their names."""
    from whybox.methods.lime.options import DISCRETIZERS, LimeOptions

    return LimeOptions(
        **given_fields(options, LimeOptions, apart=_OPTIONS.apart),
        discretizer=discretizer_of(options.discretizer, {**{name: name for name in DISCRETIZERS}, NONE: None}),
        kernel_width=_widths_of(options.kernel_width),
        players=players_of(options),
        y=options.y,
        background_weight=options.background_weight,
    )


def _widths_of(given: str | None) -> Any:
    if given is None:
        return None
    widths = numbers_of("--kernel-width", given, given)
    return widths if "," in given else widths[0]


def _lime(options: argparse.Namespace) -> None:
    from whybox.api.lime import lime

    out = result_file(options)
    q = question_of(options, None if out is not None else MAX_ROWS_PRINTED)
    if options.text is not None:
        explain_texts(q, options, out, lime)
        return
    e = explanation_of(q, options, lime)
    count = len(e.feature_names)
    summary = f" x {count:,} feature{'s' * (count != 1)}, in {e.units}"
    print_or_write(e, q, options, out, summary=summary, lines=local_lines)
