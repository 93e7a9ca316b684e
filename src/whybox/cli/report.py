"""The command ``whybox report``: one offline page about a model and its decisions."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, Final

from whybox.cli.option_fields import add_fields, given_fields
from whybox.cli.parser import CommandParser
from whybox.cli.row_question import check_positions, chosen_positions
from whybox.cli.shared import (
    add_background,
    add_model,
    add_output,
    add_players,
    add_result,
    add_rows,
    add_truth,
    as_evaluated,
    declare_command,
    model_or_estimator_of,
    name_rows,
    players_of,
    print_evidence,
    read_rows,
    resolve_output,
)

__all__ = ["add_command"]

_TEXT: Final = """Write one HTML file: what the model is, how well it does, what matters, single decisions, evidence.
It needs no network and no script. Of an estimator that is not read, in a trusted pickle, some rows are explained, by
predictions: it takes --background. Errors, page and results count rows from 0, or name them by --id."""
_EXAMPLES: Final = """\
  whybox report model.json customers.parquet -o report.html --target churned --title "Who leaves, and why"
  whybox report model.json customers.csv -o r.html --target churned --threshold 0.3 --by sex --id customer --rows C7
"""
_APART: Final = ("rows", "ids", "by")  # written here in their own way


def add_command(commands: Any) -> None:
    """Add the command to the others."""
    declare_command(
        commands,
        "report",
        _report,
        _add_options,
        about="write one offline HTML page about a model and its decisions",
        text=_TEXT,
        examples=_EXAMPLES.rstrip("\n"),
    )


def _add_options(parser: CommandParser) -> None:
    from whybox.reporting.options import ReportOptions

    add_model(parser)
    add_rows(parser)
    add_result(parser, "the page (.html)")
    add_truth(parser, "column of DATA that holds the truth, to say how well the model does and what features are worth")
    add_output(parser)
    add_background(parser)
    add_players(parser)
    fields = ReportOptions.__dataclass_fields__
    about = {name: fields[name].metadata["help"] for name in _APART}
    add = parser.add_argument
    add("--rows", metavar="ROWS", help=f"{about['rows']}: 7, 0-9 or 0-9,20; with --id C17,C20")
    add("--id", dest="ids", metavar="COLUMN", help=about["ids"])
    add("--by", action="append", metavar="COLUMN", help=f"{about['by']} (repeatable)")
    add_fields(parser, ReportOptions, apart=_APART)


def _report(options: argparse.Namespace) -> None:
    from whybox.data.table_files import count_rows
    from whybox.reporting.options import ReportOptions
    from whybox.reporting.report import report

    resolve_output(options, (".html", ".htm"))
    if options.ids is None:
        check_positions(options.rows)
    given = given_fields(options, ReportOptions, apart=_APART)
    given |= {"source": options.source or Path(options.data).name, "model_name": options.model_name or Path(options.model).name}  # fmt: skip
    ReportOptions(**given).check_truth(options.y)  # refuses what it can before anything is read
    count_rows(options.data)
    apart = [name for name in (options.y, options.ids, *(options.by or ())) if name is not None]
    model = as_evaluated(model_or_estimator_of(options), options.data, apart, options.scale)
    rows = read_rows(options.data, model, apart)
    given["rows"] = None if options.rows is None else _chosen(options, rows.num_rows)
    settings = {
        "y": options.y,
        "ids": options.ids,
        "by": options.by,
        "background": read_rows(options.background, model) if options.background else None,
        "output": options.output,
        "scale": options.scale,
        "players": players_of(options),
    }
    explanation = name_rows(lambda rows: report(model, rows, options.out, **settings, **given), rows, options.data)
    print(f"{options.out}: a report on {len(explanation):,} rows; open it in a browser")
    print_evidence(explanation.evidence)


def _chosen(options: argparse.Namespace, n_rows: int) -> list[Any]:
    """The rows of ``--rows``: ids where ``--id`` names their column, else positions."""
    if options.ids is not None:
        return [part.strip() for part in options.rows.split(",")]
    return chosen_positions(options.rows, n_rows, None)
