"""The command ``whybox report``: one offline page about a model and its decisions."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, Final

from whybox.cli.parser import CommandParser
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
predictions: it takes --background."""
_EXAMPLES: Final = """\
  whybox report model.json customers.parquet -o report.html --target churned --title "Who leaves, and why"
"""


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
    from whybox.methods.importance.options import ROLES

    add_model(parser)
    add_rows(parser)
    add_result(parser, "the page (.html)")
    add_truth(parser, "column of DATA that holds the truth, to say how well the model does and what features are worth")
    parser.add_argument("--role", choices=ROLES, help="what DATA is: held out from training, or trained on")
    add_output(parser)
    add_background(parser)
    add_players(parser)
    parser.add_argument("--title", help="title of the page")


def _report(options: argparse.Namespace) -> None:
    from whybox.data.table_files import count_rows
    from whybox.reporting.report import report

    resolve_output(options, (".html", ".htm"))
    count_rows(options.data)
    model = as_evaluated(model_or_estimator_of(options), options.data, [options.y], options.scale)
    rows = read_rows(options.data, model, [options.y])
    settings = {
        "y": options.y,
        "role": options.role,
        "background": read_rows(options.background, model) if options.background else None,
        "output": options.output,
        "scale": options.scale,
        "players": players_of(options),
        "title": options.title,
        "source": Path(options.data).name,
    }
    explanation = name_rows(lambda rows: report(model, rows, options.out, **settings), rows, options.data)
    print(f"{options.out}: a report on {len(explanation):,} rows; open it in a browser")
    print_evidence(explanation.evidence)
