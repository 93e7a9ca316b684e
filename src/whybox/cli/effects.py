"""The command ``whybox effects``: how the prediction moves with each feature."""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from typing import Any, Final, final

from whybox.cli.expected_time import say_how_sooner
from whybox.cli.method_help import methods_help
from whybox.cli.option_fields import add_fields, given_fields
from whybox.cli.parser import CommandParser
from whybox.cli.shared import (
    add_model,
    add_result,
    add_rows,
    as_evaluated,
    column_of,
    declare_command,
    model_or_estimator_of,
    name_rows,
    print_evidence,
    read_rows,
    resolve_output,
    write_table,
)
from whybox.methods.registry import family_ids, find, load_options, methods

__all__ = ["EffectsQuestion", "add_command", "add_question", "question_of"]

_TEXT: Final = """Write how the prediction moves with each feature, one line a number: feature, value, effect, std_error, off_data.
Tree models are answered out of their leaves, exactly; the evidence of every curve goes into the metadata of a Parquet
file."""
_EXAMPLES: Final = """\
  whybox effects model.json customers.parquet -o curves.parquet
  whybox effects model.json customers.csv -o ale.csv --kind ale --feature age --feature age,income"""


def add_command(commands: Any) -> None:
    """Add the command to the others."""
    declare_command(
        commands,
        "effects",
        _effects,
        _add_options,
        about="write how the prediction moves with each feature",
        text=_TEXT,
        examples=_EXAMPLES,
    )


def _add_options(parser: CommandParser) -> None:
    add_model(parser)
    add_rows(parser)
    add_result(parser, ".parquet, .csv or .arrow")
    add_question(parser)


# options that stand apart: a column of DATA; and what only an object in Python has
APART: Final = ("sample_weight", "response_method")


def add_question(parser: CommandParser) -> None:
    """Add what is computed, and how."""
    add = parser.add_argument
    add(
        "--feature",
        action="append",
        default=[],
        metavar="NAME[,NAME]",
        help="of this feature, or of two together (repeatable; default: of every one)",
    )
    parser.list_methods = lambda: methods_help("effects", "kinds:")
    add("--sample-weight", metavar="COLUMN", help="column of DATA with a weight for each row")
    about = "column of DATA with what is added to the model's raw output of each row, which keeps it; it is no feature"
    add("--offset", metavar="COLUMN", help=about)
    for kind in options_of_kinds():
        add_fields(parser, kind, apart=APART, choices={"kind": family_ids("effects")})


def options_of_kinds() -> tuple[type[Any], ...]:
    """Return the dataclasses of options: that of all kinds, then those of kinds that have their own."""
    from whybox.methods.effects.options import EffectsOptions

    own = [load_options(spec) for spec in methods("effects") if spec.options]
    return tuple(dict.fromkeys([EffectsOptions, *own]))


@final
@dataclass(frozen=True)
class EffectsQuestion:
    """What is asked about a model and rows.

    Attributes:
        model: as read. rows: a table. features: None for every one. settings: as ``whybox.effects`` takes them.
    """

    model: Any
    rows: Any
    features: list[Any] | None
    settings: dict[str, Any]


def question_of(options: argparse.Namespace) -> EffectsQuestion:
    """Read the model and the rows.

    Raises:
        WhyboxError: they cannot be read, or a column that an option names is not there.
    """
    from whybox.data.table_files import count_rows

    spec = find("effects", options.kind, argument="kind")
    kind = load_options(spec) if spec.options else options_of_kinds()[0]
    settings = given_fields(options, kind, apart=APART)
    if (options.grid or "").isdigit():
        settings["grid"] = int(options.grid)
    kind(**settings)  # refuses what it can before anything is read
    count_rows(options.data)
    model = model_or_estimator_of(options)
    apart = [column for column in (options.sample_weight, options.offset) if column is not None]
    known = as_evaluated(model, options.data, apart, options.scale)
    rows = read_rows(options.data, known, apart)
    sample_weight = None
    if options.sample_weight:
        sample_weight = column_of(options.sample_weight, "sample_weight", rows, options.data).to_numpy(
            zero_copy_only=False
        )
        if not known.inputs.reads_column(options.sample_weight):
            rows = rows.drop_columns([options.sample_weight])
    names = rows.column_names
    if options.offset is not None:
        column_of(options.offset, "offset", rows, options.data)
        model, rows, names = _with_offset(model, rows, options, kind(**settings))
    features = [f if f in names else tuple(f.split(",")) for f in options.feature]
    settings["sample_weight"] = sample_weight
    return EffectsQuestion(model, rows, features or (None if options.offset is None else names), settings)


def _with_offset(model: Any, rows: Any, options: argparse.Namespace, chosen: Any) -> Any:
    """The model with offsets, rows with them, and the names of the other columns."""
    from whybox.data.table import as_table
    from whybox.methods.common.offset_column import with_offset_columns

    def add(rows: Any) -> Any:
        return with_offset_columns(model, as_table(rows), options.offset, chosen)

    return name_rows(add, rows, options.data)


def _effects(options: argparse.Namespace) -> None:
    from whybox.data.table_files import WRITABLE_SUFFIXES
    from whybox.methods.effects.plan import plan_effects
    from whybox.methods.effects.problem import resolve_effects
    from whybox.methods.effects.result import compute_effects

    out = resolve_output(options, WRITABLE_SUFFIXES)
    q = question_of(options)
    spec = find("effects", options.kind, argument="kind")
    chosen = (load_options(spec) if spec.options else options_of_kinds()[0])(**q.settings)
    how: dict[str, Any] = {"kind": chosen.kind, "grid": chosen.grid}
    problem = name_rows(lambda rows: resolve_effects(q.model, rows, q.features, chosen, **how), q.rows, options.data)
    if problem.needs_predictions:
        plan = plan_effects(problem)
        print(f"whybox: {plan.line}", file=sys.stderr)
        say_how_sooner(
            plan.seconds, "fewer rows of DATA; fewer points, --grid N; some features, --feature NAME; --kind ale"
        )
    curves = name_rows(lambda _: compute_effects(problem), q.rows, options.data)
    evidence = {e if isinstance(e, str) else ",".join(e): curves[e].evidence.to_dict() for e in curves}
    write_table(curves.to_arrow(), out, {"evidence": evidence})
    first = curves[0].evidence
    print(f"{out}: {first.method} of {len(curves):,} feature{'s' if len(curves) != 1 else ''} over {first.rows:,} rows")
    print_evidence(first)
