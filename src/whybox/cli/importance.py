"""The command ``whybox importance``: what each feature is worth to the model, over all rows."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final, final

from whybox.cli.importance_output import SAVED_SUFFIX, importance_lines, write_importance
from whybox.cli.method_help import methods_help
from whybox.cli.option_fields import add_fields, given_fields
from whybox.cli.parser import CommandParser
from whybox.cli.shared import (
    add_background,
    add_model,
    add_result,
    add_rows,
    add_truth,
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
from whybox.errors import Argument, InputError, OptionError, quoted_list
from whybox.methods.registry import family_ids, find, load_options, methods

__all__ = ["ImportanceQuestion", "add_command", "add_question", "plans_of", "question_of"]

_TEXT: Final = """Print what each feature is worth to the model, with the error: one line a feature, largest first; -o writes all numbers.
With --target, the column of the truth, it is permutation importance: how much the loss grows when a feature's values
come from another row. Without it, how far the feature moves predictions. Give rows that the model was not trained on."""
_EXAMPLES: Final = """\
  whybox importance model.json heldout.parquet --target churned --role held-out -o importance.parquet
  whybox importance model.txt heldout.csv --target price --train train.csv --player place=city,zip
  whybox importance model.txt heldout.csv --target price --method conditional --players auto
  whybox importance claims.json heldout.csv --target claims --loss poisson --offset log_exposure"""
_AUTO: Final = "auto"
# options that the command adds in its own way; and what only an object in Python has
APART: Final = ("method", "train", "offset", "players", "background", "sample_weight", "response_method")


def add_command(commands: Any) -> None:
    """Add the command to the others."""
    declare_command(
        commands,
        "importance",
        _importance,
        _add_options,
        about="print what each feature is worth to the model, with errors",
        text=_TEXT,
        examples=_EXAMPLES,
    )


def _add_options(parser: CommandParser) -> None:
    add_question(parser)
    add_result(parser, "a table (.parquet, .csv or .arrow), or .whybox, all of it for Python", required=False)


def add_question(parser: CommandParser) -> None:
    """Add what is computed, and how."""
    add_model(parser)
    add_rows(parser, "rows to measure on (not needed for impurity)", required=False)
    add_truth(parser, "column of DATA (and of --train) that holds the truth")
    add = parser.add_argument
    add(
        "--method",
        action="append",
        choices=(_AUTO, *family_ids("importance")),
        metavar="METHOD",
        help="kind of importance, see below; repeated: several (default: permutation with --target, else shap)",
    )
    add("--train", metavar="FILE", help="rows that the model was trained on, with the same column of the truth")
    add(
        "--players",
        "--player",
        dest="player",
        action="append",
        default=[],
        metavar="NAME=COL,COL",
        help="take these columns as one (repeatable); auto: all groups of columns that depend on each other",
    )
    add_background(parser)
    add("--sample-weight", metavar="COLUMN", help="column of DATA with a weight for each row")
    about = "column of DATA (and of --train) with what is added to the model's raw output of each row, which keeps it; it is no feature"
    add("--offset", metavar="COLUMN", help=about)
    parser.list_methods = lambda: methods_help(
        "importance", "methods, and the options that not all of them take:", parser
    )
    for kind in dict.fromkeys(load_options(spec) for spec in methods("importance")):
        add_fields(parser, kind, apart=APART)


@final
@dataclass(frozen=True)
class ImportanceQuestion:
    """What is asked about a model and rows.

    Attributes:
        model: as read. rows: a table, or None. y: the column of the rows that holds the truth, or None. options: of each method, by its id.
        offset: the column of the rows that holds their offsets, or None.
        estimator: of a trusted pickle, for methods that train again; else the model.
    """

    model: Any
    estimator: Any
    rows: Any
    y: str | None
    options: Mapping[str, Any]
    offset: str | None = None

    def run(self, verb: Callable[..., Any], method: str, path: str | None) -> Any:
        """Call a verb with what the method takes; errors about a cell name its place in the file at `path`."""
        from whybox.methods.importance.choose import uses_y

        spec, options = find("importance", method), self.options[method]
        model = self.estimator if "train" in spec.needs else self.model
        y = self.y if uses_y(method) else None
        if self.rows is None:
            return verb(model, None, y, method=options)
        rows = self.rows if self.y is None or y is not None else self.rows.drop_columns([self.y])
        if self.offset is not None and options.offset is None:  # the method takes none
            rows = rows.drop_columns([self.offset])
        return name_rows(lambda rows: verb(model, rows, y, method=options), rows, str(path))


def question_of(options: argparse.Namespace) -> ImportanceQuestion:
    """Read the model and the rows.

    Raises:
        WhyboxError: they cannot be read, options that do not go together, or a column that is not there.
    """
    from whybox.data.table_files import count_rows

    chosen = _chosen_options(options)
    for path in (options.data, options.train, options.background):
        if path is not None:
            count_rows(path)
    model = model_or_estimator_of(options)
    apart = _columns_beside(options)
    some_rows = options.data or options.train
    known = model if some_rows is None else as_evaluated(model, some_rows, apart, options.scale)
    if some_rows is not None and options.y is not None and known.inputs.reads_column(options.y):
        raise OptionError(Argument("y", options.y), " is a column that the model reads, so it cannot be the truth.")
    rows, weights = _rows_of(options.data, known, options) if options.data is not None else (None, None)
    read: dict[str, Any] = {"sample_weight": weights}
    if options.train is not None:
        trained, _ = _rows_of(options.train, known, options)
        if rows is not None:
            _check_columns(trained, rows, known, options.train)
        read["train"] = trained, options.y
    if options.background is not None:
        read["background"] = read_rows(options.background, known, apart)
    chosen = {
        method: replace(each, **{name: value for name, value in read.items() if name in each.given()})
        for method, each in chosen.items()
    }
    estimator = _estimator_of(options, model, chosen)
    return ImportanceQuestion(model, estimator, rows, options.y, chosen, options.offset)


def _columns_beside(options: argparse.Namespace) -> list[str]:
    """Columns of the rows that are none of the model's."""
    return [name for name in (options.y, options.sample_weight, options.offset) if name is not None]


def _rows_of(path: str, known: Any, options: argparse.Namespace) -> tuple[Any, Any]:
    """Return the rows of a file without the column of weights, and that column as numbers, or None; columns of the truth and of offsets must be there."""
    rows, weights = read_rows(path, known, _columns_beside(options)), None
    for name in ("y", "offset"):
        if getattr(options, name) is not None:
            column_of(getattr(options, name), name, rows, path)
    if options.sample_weight is not None and (path == options.data or options.sample_weight in rows.column_names):
        weights = column_of(options.sample_weight, "sample_weight", rows, path).to_numpy(zero_copy_only=False)
        if not known.inputs.reads_column(options.sample_weight):
            rows = rows.drop_columns([options.sample_weight])
    return rows, weights


def _check_columns(trained: Any, rows: Any, known: Any, path: str) -> None:
    """Refuse training rows that lack a column of the rows that the model reads, before any work."""
    lost = [n for n in rows.column_names if known.inputs.reads_column(n) and n not in trained.column_names]
    if lost:
        raise InputError(Argument("train", path), f" lacks the column {quoted_list(lost)}, which the model reads.")


def _estimator_of(options: argparse.Namespace, model: Any, ids: Iterable[str]) -> Any:
    """Return the estimator of a trusted pickle where a method needs it and the rows that it was trained on; else the model.

    Raises:
        OptionError: a method needs the estimator, and the file holds none.
    """
    from whybox.adapters.files.load import load_trusted_pickle

    needing = [m for m in ids if "train" in find("importance", m).needs]
    if not needing:
        return model
    found = load_trusted_pickle(Path(options.model)) if options.trust_pickle else None
    if not hasattr(found, "fit"):
        raise OptionError(
            Argument("method", needing[0]),
            f" needs the estimator itself, which {options.model} does not hold: give it in a pickle or joblib file, with --trust-pickle.",
        )
    return found


def _chosen_options(options: argparse.Namespace) -> dict[str, Any]:
    """Return the options of each method, checked before anything is read; files and columns stand in them by their names.

    Raises:
        OptionError: a value out of range, or an option that no method takes.
    """
    from whybox.methods.importance.choose import uses_y
    from whybox.methods.importance.problem import check_truth

    if options.train is not None and options.y is None:
        raise OptionError(
            Argument("train", options.train), " needs the truth of its rows: give ", Argument("y", example=""), "."
        )
    auto = "shap" if options.y is None else "permutation"
    ids = [auto if m == _AUTO else m for m in options.method or [_AUTO]]
    twice = [m for m in ids if ids.count(m) > 1]
    if twice:
        raise OptionError(Argument("method", twice[0]), " is given twice.")
    specs = [find("importance", m) for m in ids]
    typed = {
        spec.id: load_options(spec)(method=spec.id, **_typed_options(options, load_options(spec))) for spec in specs
    }
    taken = {
        spec.id: [n for n in typed[spec.id].given() if not spec.option_names or n in spec.option_names]
        for spec in specs
    }
    for name in dict.fromkeys(n for each in typed.values() for n in each.given()):
        if not any(name in names for names in taken.values()):
            which = quoted_list(ids, len(ids))
            raise OptionError(
                Argument(name),
                f" is no option of {which if len(ids) == 1 else f'any of {which}'}; {options.command.prog} --help says which methods take it.",
            )
    y_is_used = any(uses_y(spec.id) for spec in specs) or options.train is not None
    for spec in specs:
        if uses_y(spec.id) or not y_is_used:
            check_truth(options.y, spec.id)
    return {
        method: type(each)(method=method, **{name: getattr(each, name) for name in taken[method]})
        for method, each in typed.items()
    }


def _typed_options(options: argparse.Namespace, kind: type[Any]) -> dict[str, Any]:
    auto = [text for text in options.player if text == _AUTO]
    if auto and len(options.player) > 1:
        raise OptionError("--player auto finds all groups itself; give it alone.")
    return given_fields(options, kind, apart=APART) | {
        "players": _AUTO if auto else players_of(options),
        "train": options.train,
        "offset": options.offset,
        "background": options.background,
        "sample_weight": options.sample_weight,
    }


def plans_of(q: ImportanceQuestion, path: str | None) -> list[Any]:
    """Return the plan of each method; `path` is that of the rows."""
    from whybox.api.importance import plan_importance, plan_importance_together

    def verb_of(method: str) -> Any:
        return plan_importance_together if len(q.options) > 1 and method == "permutation" else plan_importance

    return [q.run(verb_of(method), method, path) for method in q.options]


def _importance(options: argparse.Namespace) -> None:
    from whybox.api.importance import importance
    from whybox.data.table_files import WRITABLE_SUFFIXES
    from whybox.models.base import Model

    out = None
    if options.out is not None:
        out = resolve_output(options, (*WRITABLE_SUFFIXES, SAVED_SUFFIX), [options.train])
    q = question_of(options)
    if not isinstance(q.model, Model):
        for plan in plans_of(q, options.data):
            print(f"whybox: {plan.method}: at most {plan.model_calls:,.0f} predictions of the model", file=sys.stderr)
    found = {method: q.run(importance, method, options.data) for method in q.options}
    compared = _compared(q, found, options.data) if len(found) > 1 else None
    if out is not None:
        write_importance(found, compared, out)
    for e in found.values():
        _print_importance(e, out)
    if compared is not None:
        print("where the methods disagree by more than their errors:")
        for sentence in compared.findings or ("nowhere",):
            print(f"  {sentence}")


def _compared(q: ImportanceQuestion, found: Mapping[str, Any], path: str | None) -> Any:
    """The methods side by side, with columns that depend on each other permuted together, as in Python."""
    from whybox.api.importance import importance_together, side_by_side

    return side_by_side(found, lambda alone: q.run(partial(importance_together, alone=alone), "permutation", path))


def _print_importance(e: Any, out: Path | None) -> None:
    """What was computed, a line a feature, and what it rests on."""
    over = f" over {e.evidence.rows:,} rows" if e.evidence.rows else ""
    count = len(e.feature_names)
    where = "" if out is None else f"{out}: "
    print(f"{where}{e.evidence.method} of {count:,} feature{'s' * (count != 1)}{over}, {e.units}")
    outputs = range(len(e.output_names)) if "output" in e.dims else [None]
    for k in outputs:
        if k is not None:
            print(f"output {e.output_names[k]}")
        for line in importance_lines(e if k is None else e[..., k], out):
            print(f"  {line}")
    print_evidence(e.evidence)
