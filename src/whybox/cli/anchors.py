"""The command ``whybox anchors``: each row explained by a rule under which a classifier keeps its class."""

from __future__ import annotations

import argparse
from typing import Any, Final

from whybox.cli.anchors_output import anchors_lines
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
    print_or_write,
    read_question,
    result_file,
)
from whybox.cli.shared import add_result, declare_command, players_of

__all__ = ["add_command", "add_question", "question_of"]

_TEXT: Final = """Explain each row by a rule (an anchor): a few conditions under which a classifier nearly always predicts the row's
class. -o writes one line a row: the rule, its precision with both bounds, its coverage; without it the first rows are
printed. A rule is confirmed by rows drawn under it; the promised precision holds for each row with the confidence of
--level."""
_EXAMPLES: Final = """\
  whybox anchors model.json customers.parquet --background train.parquet -o rules.parquet
  whybox anchors model.json customers.parquet --background train.parquet --rows 7 --precision 0.99
  whybox anchors forest.joblib rows.csv --background train.csv --trust-pickle --discretizer age=30,50"""
APART: Final = ("response_method",)  # what only an object in Python has


def add_command(commands: Any) -> None:
    """Add the command to the others."""
    declare_command(
        commands,
        "anchors",
        _anchors,
        _add_options,
        about="explain each row by a rule that keeps its class",
        text=_TEXT,
        examples=_EXAMPLES,
    )


def _add_options(parser: CommandParser) -> None:
    add_question(parser)
    add_result(parser, RESULT_HELP, required=False)


def add_question(parser: CommandParser) -> None:
    """Add what is computed, and how."""
    from whybox.methods.anchors.options import DISCRETIZERS, AnchorsOptions

    add_row_question(parser, "rows that rules are tried on, like those of training", ", ".join(DISCRETIZERS))
    about = "column of DATA with what is added to the model's raw output of each row and of rows drawn under its rule; it is no feature"
    parser.add_argument("--offset", metavar="COLUMN", help=about)
    parser.list_methods = lambda: methods_help("anchors", "method:")
    add_fields(parser, AnchorsOptions, apart=APART)


def question_of(options: argparse.Namespace, most: int | None = None) -> RowQuestion:
    """Read the model, the rows and the background.

    Args:
        options: as typed. most: how many rows are taken where ``--rows`` does not say which; None: all.

    Raises:
        WhyboxError: they cannot be read, options that do not go together, or a column or row that is not there.
    """
    chosen = _chosen_options(options)
    return read_question(options, chosen, ("background_weight",), most, None, offset=options.offset)


def _chosen_options(options: argparse.Namespace) -> Any:
    """Return the options, checked before anything is read; columns stand in them by their names."""
    from whybox.methods.anchors.options import DISCRETIZERS, AnchorsOptions

    return AnchorsOptions(
        **given_fields(options, AnchorsOptions, apart=APART),
        discretizer=discretizer_of(options.discretizer, {name: name for name in DISCRETIZERS}),
        players=players_of(options),
        background_weight=options.background_weight,
    )


def _anchors(options: argparse.Namespace) -> None:
    from whybox.methods.anchors.explainer import Anchors

    out = result_file(options)
    q = question_of(options, None if out is not None else MAX_ROWS_PRINTED)

    def explain(model: Any, rows: Any, background: Any, chosen: Any, offset: Any = None) -> Any:
        return Anchors(model, background, chosen)(rows, offset=offset)

    e = explanation_of(q, options, explain)
    certified = int(e.extras["certified"][1].sum())
    print_or_write(e, q, options, out, summary=f", {certified:,} with a certified rule", lines=anchors_lines)
