"""The command ``whybox explain``: attributions of every row of a table, in a file."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from functools import partial
from typing import Any, Final

from whybox.cli.expected_time import say_time
from whybox.cli.option_fields import add_fields, given_fields
from whybox.cli.parser import CommandParser
from whybox.cli.row_question import MAX_ROWS_PRINTED, RowQuestion, add_positions, result_file
from whybox.cli.shared import (
    add_background,
    add_model,
    add_players,
    add_result,
    add_rows,
    add_truth,
    as_evaluated,
    coded_columns,
    column_of,
    declare_command,
    model_or_estimator_of,
    name_rows,
    players_of,
    print_evidence,
    read_rows,
    resolve_output,
    spelled_columns,
)
from whybox.cli.text_question import TextOptionsOfCommand, add_text, explain_texts, refuse_model_of_texts
from whybox.errors import OptionError, WhyboxError
from whybox.methods.registry import family_ids

__all__ = [
    "add_command",
    "add_question",
    "check_columns_beside",
    "columns_beside",
    "explainer_of",
    "given_beside",
    "text_question_of",
]

MIN_ROWS_PLANNED: Final = 5_000  # rows of trees and linear models from which on their time is planned first
_TEXT: Final = """Write the attributions of every row: one column a feature, then base_value and prediction.
base_value + the sum of a row's features is the row's prediction on the scale explained (log-odds for boosted
classifiers, probabilities for forests; see --scale). A model of several classes or outputs gets columns for
every one of them, named FEATURE|OUTPUT; --output NAME writes one alone. --errors adds the standard error of
every number, FEATURE_std_error, which is 0 where the number is exact. A Parquet result carries the evidence
in its metadata; CSV and Arrow results hold the numbers only.
--text COLUMN explains the texts of a column, word by word, by a trusted pickle of a Pipeline that takes texts. The
result has one line a word, or is a .whybox file, all of it for Python; without -o the first texts are printed.
An estimator that is not read, in a trusted pickle, is evaluated on rows that mix DATA with --background: exactly where
all sets of features fit into --max-evals predictions, else with errors (--tol). All of DATA is in memory then.
With --offset, a column of DATA that is no feature, base_value has each row's offset (XGBoost's base margin, the log
of an exposure): prediction = base_value + the sum, before any link.
With --loss and --target, the column of the truth, it is the loss of each row that is explained, of any model:
base_value is the mean loss of the background rows with the row's truth, and prediction the loss of the row."""
_EXAMPLES: Final = """\
  whybox explain model.json customers.parquet -o shap.parquet
  whybox explain model.txt customers.csv -o shap.csv --id customer_id --background train.parquet
  whybox explain forest.joblib rows.csv -o shap.parquet --trust-pickle --player address=street,city,zip
  whybox explain model.json policies.csv -o shap.csv --offset log_exposure
  whybox explain model.json heldout.csv -o loss.csv --background train.csv --loss log --target churned
  whybox explain pipeline.joblib reviews.csv --text review --trust-pickle --rows 7 --method partition_shap"""

_LAYOUTS: Final = ("auto", "wide", "long")


def _option_names() -> Any:
    from whybox.methods.shap.text_options import OPTION_NAMES

    return OPTION_NAMES


_TEXT_OPTIONS: Final = TextOptionsOfCommand(
    _option_names, texts=("rows",), tables=("background", "player", "id", "layout", "errors", "y", "offset")
)


def add_command(commands: Any) -> None:
    """Add the command to the others."""
    declare_command(
        commands,
        "explain",
        _explain,
        _add_options,
        about="write the attributions of every row of a table",
        text=_TEXT,
        examples=_EXAMPLES,
    )


def _add_options(parser: CommandParser) -> None:
    add_model(parser)
    add_rows(parser)
    add_result(parser, ".parquet, .csv or .arrow; of texts .whybox too", required=False)
    add_question(parser)
    add = parser.add_argument
    add(
        "--id",
        action="append",
        default=[],
        metavar="COLUMN",
        help="copy this column of DATA to the result (repeatable)",
    )
    add("--layout", choices=_LAYOUTS, default="auto", help="wide: a column a feature; long: a line a number")
    add(
        "--errors",
        action="store_true",
        help="write standard errors too: a column FEATURE_std_error a feature; long has them always",
    )


def add_question(parser: CommandParser) -> None:
    """Add what is computed, and how."""
    from whybox.methods.shap.options import AUTOMATIC_METHODS, METHODS_OF_OTHER_LIBRARIES, ShapOptions
    from whybox.methods.shap.text_options import ShapTextOptions

    add_text(parser)
    add_positions(parser, "of --text, texts")
    add_background(parser)
    add_players(parser)
    add_truth(parser, "column of the rows that holds the truth, where --loss is explained")
    about = "column of the rows with what is added to the model's raw output of each; it is no feature"
    parser.add_argument("--offset", metavar="COLUMN", help=about)
    add_fields(parser, ShapOptions, choices={"method": (*AUTOMATIC_METHODS, *family_ids("shap"))})
    add_fields(parser, ShapTextOptions)
    parser.pass_on("--method", METHODS_OF_OTHER_LIBRARIES)


def text_question_of(options: argparse.Namespace, most: int | None = None) -> RowQuestion | None:
    """Return what is asked about texts; None where rows of a table are.

    Args:
        options: as typed. most: how many texts are taken where ``--rows`` does not say which; None: all.

    Raises:
        WhyboxError: options that do not go together, or what cannot be read.
    """
    if options.text is not None:
        return _TEXT_OPTIONS.read(options, most)
    _TEXT_OPTIONS.check_of_tables(options)
    return None


def explainer_of(options: argparse.Namespace, model: Any, known: Any, rows: int | None = None) -> Any:
    """Return the explainer that answers the question.

    Args:
        options: as typed. model: as it was read, or an estimator. known: the model, or the estimator as a black box. rows: how many there are.
    """
    from whybox.api.explain import explainer_of as make_explainer

    background = read_rows(options.background, known, columns_beside(options)) if options.background else None
    if background is not None:
        background = background.drop_columns(
            [name for name in columns_beside(options) if name in background.column_names]
        )
    return make_explainer(model, background, _options_of(options), rows, has_offset=options.offset is not None)


def check_columns_beside(options: argparse.Namespace, known: Any) -> None:
    """Refuse ``--loss`` without the column of the truth, or the reverse, or a column of the truth or of the offset that the model reads.

    Args:
        options: as typed. known: the model, or None before it is read.

    Raises:
        OptionError: one of these.
    """
    from whybox.methods.common.columns_beside import refuse_column_of_model
    from whybox.methods.common.row_losses import TRUTH
    from whybox.methods.common.row_offsets import OFFSET_ROLE
    from whybox.methods.shap.loss_games import check_truth_given

    check_truth_given(options.loss, options.y)
    if known is not None:
        refuse_column_of_model(known, options.y, "y", TRUTH)
        refuse_column_of_model(known, options.offset, "offset", OFFSET_ROLE)


def given_beside(options: argparse.Namespace, rows: Any) -> dict[str, Any]:
    """Return the columns of the truth and of the offset as keywords of an explainer, if there are any; they stay among the rows.

    Raises:
        OptionError: there is no such column.
    """
    given = {name: getattr(options, name) for name in ("y", "offset") if getattr(options, name) is not None}
    for name, column in given.items():
        column_of(column, name, rows, options.data)
    return given


def columns_beside(options: argparse.Namespace) -> list[str]:
    """Columns of files that are none of the model's: the truth, the offset."""
    return [column for column in (options.y, options.offset) if column is not None]


def _options_of(options: argparse.Namespace) -> Any:
    from whybox.methods.shap.options import ShapOptions

    return ShapOptions(**given_fields(options, ShapOptions), players=players_of(options))


def _explain(options: argparse.Namespace) -> None:
    if options.text is None:
        _explain_rows(options)
        return
    from whybox.api.explain import explain

    out = result_file(options)
    q = text_question_of(options, None if out is not None else MAX_ROWS_PRINTED)
    assert q is not None  # noqa: S101  # there are texts
    explain_texts(q, options, out, explain)


def _explain_rows(options: argparse.Namespace) -> None:
    from whybox.core.atomic_write import atomic_write
    from whybox.core.progress import progress_of_parts
    from whybox.data.table_files import WRITABLE_SUFFIXES, count_rows, table_writer
    from whybox.explanation.errors_of_values import median_error
    from whybox.explanation.evidence import Evidence, merge_evidence
    from whybox.explanation.explanation import Explanation
    from whybox.methods.shap.game_explainer import GameExplainer

    text_question_of(options)
    if options.out is None:
        raise OptionError(f"the following arguments are required: -o/--out. See {options.command.prog} --help.")
    out = resolve_output(options, WRITABLE_SUFFIXES)
    _options_of(options)  # refuses what it can before anything is read
    check_columns_beside(options, None)
    n_rows = count_rows(options.data)
    estimator = model_or_estimator_of(options)
    refuse_model_of_texts(estimator)
    apart = [*options.id, *columns_beside(options)]
    model = as_evaluated(estimator, options.data, apart, options.scale)
    check_columns_beside(options, model)
    explainer = explainer_of(options, estimator, model, n_rows)
    batches, n_rows = _batches_of(options, model, apart, n_rows, together=isinstance(explainer, GameExplainer))
    _say_time(explainer, n_rows, options, model, batches)
    parts: list[Evidence] = []
    last: Explanation | None = None
    errors: list[float] = []
    several = not isinstance(explainer, GameExplainer)  # whose one batch has a bar of its own
    with atomic_write(out) as part, progress_of_parts(n_rows, description="Explaining", shown=several) as explained:
        write = table_writer(part, out)
        for rows in batches:
            given = _without_ids(rows, model, options)
            if not parts:
                features = tuple(name for name in given.column_names if name not in columns_beside(options))
                explainer.check_evals(n_rows, None if model.inputs.has_names else features)
            ask = partial(explainer, **given_beside(options, given))
            last = name_rows(ask, given, options.data, sum(p.rows for p in parts))
            write(_with_ids(last, rows, options))
            explained(len(last))
            parts.append(last.evidence)
            error = median_error(last)
            errors += [] if error is None else [error]
        evidence = merge_evidence(parts)
        write.add_metadata("whybox", json.dumps({"evidence": evidence.to_dict()}))
        write.close()
    assert last is not None  # noqa: S101  # there is at least one batch
    note = _note_on_errors(errors, options)
    print(f"{out}: {evidence.rows:,} rows x {len(last.feature_names):,} features, in {last.units}{note}")
    print_evidence(evidence)


def _batches_of(
    options: argparse.Namespace, model: Any, apart: list[str], n_rows: int | None, *, together: bool
) -> tuple[Iterable[Any], int]:
    """Return the rows in batches, and how many there are; `together`: all of them in one."""
    from whybox.data.table_files import read_batches

    spelled, coded = spelled_columns(options.data, model, apart), coded_columns(options.data, model, apart)
    copied = [c for c in options.id if not model.inputs.reads_column(c)]
    batches: Iterable[Any] = read_batches(options.data, spelled, coded, copied)
    if together:  # rows share predictions, and what is allowed
        batches = [read_rows(options.data, model, apart)]
    if n_rows is None:  # a CSV is in memory as a whole
        batches = list(batches)
        n_rows = sum(rows.num_rows for rows in batches)
    return batches, n_rows


def _say_time(explainer: Any, n_rows: int, options: argparse.Namespace, model: Any, batches: Iterable[Any]) -> None:
    """Say what a plan says about the time, where the work may be long: of few rows on the additive scale it is not."""
    from whybox.methods.shap.game_explainer import GameExplainer

    evaluated = isinstance(explainer, GameExplainer)
    if n_rows < MIN_ROWS_PLANNED and not evaluated and options.scale in (None, "raw"):
        return
    try:
        if evaluated:
            given = _without_ids(next(iter(batches)), model, options)
            plan = explainer.plan(given, **given_beside(options, given))
        else:
            plan = explainer.plan(n_rows)
    except WhyboxError:
        return  # the work itself says why it is refused
    background = "fewer rows of --background" if options.background else ""
    ways = ["fewer rows of DATA", background]
    if evaluated:
        ways += ["a lower --max-evals", "a larger --tol", "columns together as one --player"]
    elif plan.kernel == "enumeration":
        ways = [
            "--scale raw, the additive scale, takes seconds",
            *ways,
            "columns together as one --player",
            "--method rescaled, an approximation",
        ]
    elif options.order == 2:
        ways += ["leave --order 2 out"]
    say_time(plan.seconds, f"{n_rows:,} rows", "; ".join(w for w in ways if w))


def _note_on_errors(errors: list[float], options: argparse.Namespace) -> str:
    """Say how large the errors are, given their median in each batch of rows, and how they are written if they were not."""
    from whybox.explanation.html import number_text

    if not errors:
        return ""
    at_most = "" if len(errors) == 1 else "at most "
    written = options.errors or options.layout == "long" or options.order == 2
    how = "" if written else "; --errors writes the errors"
    return f" (median standard error {at_most}{number_text(max(errors), 2)}{how})"


def _without_ids(rows: Any, model: Any, options: argparse.Namespace) -> Any:
    """Take the columns that are only to be copied away from those the model is given."""
    for name in options.id:
        column_of(name, "id", rows, options.data)
    beside = columns_beside(options)
    only_copied = [c for c in dict.fromkeys(options.id) if c not in beside and not model.inputs.reads_column(c)]
    return rows.drop_columns(only_copied)


def _with_ids(explanation: Any, rows: Any, options: argparse.Namespace) -> Any:
    table = explanation.to_arrow(layout=options.layout, errors=options.errors).replace_schema_metadata(None)
    if not options.id:
        return table
    if table.num_rows != rows.num_rows:
        raise OptionError("--id goes with the wide layout, which has one line a row.")
    for at, column in enumerate(options.id):
        name = column
        while name in table.column_names:
            name += "_"
        table = table.add_column(at, name, rows.column(column))
    return table
