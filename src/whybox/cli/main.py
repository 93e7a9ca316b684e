"""The command line: ``whybox demo``, ``whybox explain``, ``whybox effects``, ``whybox saliency``, ``whybox report``."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from whybox.cli import saliency
from whybox.errors import (
    DtypeError,
    InputError,
    ModelError,
    ModelMismatchError,
    NonFiniteError,
    OptionError,
    WhyboxError,
    did_you_mean,
)

__all__ = ["main"]

OK, UNEXPECTED, USAGE, INPUT, MODEL, MISMATCH, INTERRUPTED = 0, 1, 2, 3, 4, 5, 130

_EXIT_CODES: Final = """exit codes:
  0  done
  1  a defect of whybox
  2  wrong usage: an option or its value
  3  the data: a file, a column, a value
  4  the model: unreadable, unknown, untrusted or not explainable exactly
  5  the model's own predict disagrees with our reading of it; nothing was written
  130  interrupted; nothing was written"""

_DESCRIPTION: Final = """Explain machine-learning models: how much did each feature contribute to each prediction?
Exact for tree models of scikit-learn, XGBoost, LightGBM and CatBoost; every row is checked to add up."""

_EXPLAIN: Final = """Write the attributions of every row: one column a feature, then base_value and prediction.
base_value + the sum of a row's features is the row's prediction on the scale explained (log-odds for boosted
classifiers, probabilities for forests; see --scale). A model of several classes or outputs gets columns for every one of them,
named FEATURE|OUTPUT; --output NAME writes one alone. A Parquet result carries the evidence in its metadata; CSV and Arrow results hold
the numbers only."""

_REPORT: Final = """Write one HTML file: what the model is, how well it does, what it relies on, single decisions, evidence.
It needs no network and no script."""

_EXAMPLES: Final = """examples:
  whybox explain model.json customers.parquet -o shap.parquet
  whybox explain model.txt customers.csv -o shap.csv --id customer_id --background train.parquet
  whybox explain forest.joblib rows.csv -o shap.parquet --trust-pickle --player address=street,city,zip"""


_EFFECTS: Final = """Write how the prediction moves with each feature, one line a number: feature, value, effect, std_error, off_data.
Tree models are answered out of their leaves, exactly; the evidence of every curve goes into the metadata of a Parquet file."""

# Messages are written for Python; here they speak of options.
_SPOKEN: Final = (
    (
        r"pass background=X_train \(or a sample of it\)",
        "pass training rows (or a sample of them) with --background FILE",
    ),
    (r"pass background=X_train", "pass training rows with --background FILE"),
    (r"players=\{\.\.\.\}", "--player NAME=COLUMN,COLUMN"),
    (r"\b(output|scale|method|index|order|target)=('[^']*'|\d)", r"--\1 \2"),
    (r"\by=('[^']*')", r"--y \1"),
    (r"\bsparse=True\b", "--sparse"),
    (r"\blayer=\.\.\.", "--option layer=NAME"),
    (r"\bembedding='\.\.\.'", "--embedding LAYER"),
    (r"give background=\.\.\.", "give --background FILE"),
    (r"channel_axis=\.\.\.", "--channel-axis N"),
    (r" ?Names are given with output_names=\[\.\.\.\]\.", " Names are given with --names FILE."),
    (r"Use plot\.words\.", "Write .npz or .whybox."),
    (r"Leave reduce= out, or take one channel: e\[:, 0\]\.", "Write .npz or .whybox."),
    (
        r"a saliency map shows one output; say which, for example --output ('[^']*')",
        r"a picture shows one output; say which, for example --target \1",
    ),
    (r"\bn_jobs=(-?\d+)", r"--n-jobs \1"),
    (r"\bleave (output|scale) out", r"leave --\1 out"),
    (r"Pass a frame whose column has", "Pass a Parquet file whose column has"),
    (r", or raise max_evals\b", ""),
    (r"--trust-pickle on the command line, trust_pickle=True in Python", "--trust-pickle"),
    (r"\bof X\b", "of DATA"),
    (r"(^|[ (])X (lacks|has|holds|must)\b", r"\1DATA \2"),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code (see ``whybox --help``)."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if not hasattr(options, "run"):
        parser.print_help()
        return USAGE
    try:
        options.run(options)
    except KeyboardInterrupt:
        return _say("interrupted; nothing was written.", INTERRUPTED)
    except ModelMismatchError as error:
        return _say(str(error), MISMATCH)
    except ModelError as error:
        return _say(str(error), MODEL)
    except InputError as error:
        return _say(str(error), INPUT)
    except (OptionError, WhyboxError) as error:
        return _say(str(error), USAGE)
    except BrokenPipeError:
        return UNEXPECTED
    except Exception as error:
        if os.environ.get("WHYBOX_TRACEBACK"):
            raise
        message = f"this should not happen: {type(error).__name__}: {error}. Please report it with what WHYBOX_TRACEBACK=1 shows."
        return _say(message, UNEXPECTED)
    return OK


def _say(message: str, code: int) -> int:
    for python, here in _SPOKEN:
        message = re.sub(python, here, message)
    print(f"whybox: {message}", file=sys.stderr)
    return code


def _parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("whybox", description=_DESCRIPTION, epilog=_EXIT_CODES, formatter_class=raw)
    parser.add_argument("--version", action="version", version=_version())
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    _demo_parser(commands)
    _explain_parser(commands)
    _effects_parser(commands)
    saliency.add_parser(commands, _EXIT_CODES)
    _report_parser(commands)
    return parser


def _demo_parser(commands: Any) -> None:
    demo = commands.add_parser("demo", help="train a model on real data, explain it, write a report and a table")
    demo.add_argument(
        "-o", "--output-folder", default="whybox-demo", metavar="FOLDER", help="where to write (default: %(default)s)"
    )
    demo.set_defaults(run=_demo)


def _explain_parser(commands: Any) -> None:
    explain = commands.add_parser(
        "explain",
        help="write the attributions of every row of a table",
        description=_EXPLAIN,
        epilog=_EXAMPLES + "\n\n" + _EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _common(explain)
    add = explain.add_argument
    add("-o", "--out", required=True, metavar="FILE", help="where to write: .parquet, .csv or .arrow")
    add(
        "--id",
        action="append",
        default=[],
        metavar="COLUMN",
        help="copy this column of DATA to the result (repeatable)",
    )
    add(
        "--order",
        type=int,
        choices=(1, 2),
        default=1,
        help="1: attributions; 2: pairwise interactions, one line a number",
    )
    add(
        "--sparse",
        action="store_true",
        help="leave out features that the model does not read; with --order 2: a column a feature and one for each pair that a path of a tree asks for together",
    )
    add("--n-jobs", type=int, metavar="N", help="threads (default: as many as there are processors)")
    add("--dtype", choices=("float32", "float64"), help="arithmetic (default: what the model's library computes in)")
    add("--index", default="shapley", help="shapley, banzhaf, 'banzhaf(p)' or 'beta(a, b)' (default: %(default)s)")
    add("--method", default="auto", help="auto (exact or refused) or rescaled (approximate, for probabilities)")
    layouts = ("auto", "wide", "long")
    add("--layout", choices=layouts, default="auto", help="wide: a column a feature; long: a line a number")
    explain.set_defaults(run=_explain)


def _effects_parser(commands: Any) -> None:
    effects = commands.add_parser(
        "effects",
        help="write how the prediction moves with each feature",
        description=_EFFECTS,
        epilog=_EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _model_and_rows(effects)
    add = effects.add_argument
    add("-o", "--out", metavar="FILE", help="where to write: .parquet, .csv or .arrow")
    add(
        "--plan",
        action="store_true",
        help="say how many predictions, how long and how much memory it takes, and do nothing else",
    )
    add(
        "--feature",
        action="append",
        default=[],
        metavar="NAME[,NAME]",
        help="of this feature, or of two together (repeatable; default: of every one)",
    )
    add("--kind", default="pdp", help="pdp, ice, c-ice, d-ice, ale, marginal or anova (default: %(default)s)")
    add("--grid", default=None, metavar="N", help="how many points, or thresholds: one for each step of the trees")
    add("--sample-weight", metavar="COLUMN", help="column of DATA with a weight for each row")
    add("--n-jobs", type=int, metavar="N", help="threads of tree models (default: as many as there are processors)")
    effects.set_defaults(run=_effects, background=None)


def _report_parser(commands: Any) -> None:
    report = commands.add_parser(
        "report",
        help="write one offline HTML page about a model and its decisions",
        description=_REPORT,
        epilog=_EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _common(report)
    report.add_argument("-o", "--out", required=True, metavar="FILE", help="where to write the page (.html)")
    report.add_argument(
        "--y", metavar="COLUMN", help="column of DATA that holds the truth, to say how well the model does"
    )
    report.add_argument("--title", help="title of the page")
    report.set_defaults(run=_report)


def _common(parser: argparse.ArgumentParser) -> None:
    _model_and_rows(parser)
    parser.add_argument(
        "--background",
        metavar="FILE",
        help="rows to draw absent features from (interventional); without it, the trees' own training weights (path-dependent)",
    )
    parser.add_argument(
        "--player",
        action="append",
        default=[],
        metavar="NAME=COL,COL",
        help="explain these columns as one (repeatable)",
    )


def _model_and_rows(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model",
        metavar="MODEL",
        help="XGBoost .json/.ubj, LightGBM .txt, CatBoost .json/.cbm, skops; pickle or joblib with --trust-pickle",
    )
    parser.add_argument("data", metavar="DATA", help="rows to explain: .csv or .parquet; columns are matched by name")
    parser.add_argument(
        "--output",
        metavar="NAME",
        help="label or position of a class or output, or all (default: every output of the model)",
    )
    parser.add_argument(
        "--scale",
        metavar="SCALE",
        help="raw (default: the additive scale), probability or response (the model's predictions)",
    )
    parser.add_argument(
        "--trust-pickle", action="store_true", help="read a pickle or joblib file, which runs whatever code is in it"
    )
    parser.add_argument(
        "--no-verify",
        action="store_true",
        help="do not compare with the library's own predict of the file (in a process of its own)",
    )


def _version() -> str:
    from importlib.metadata import version

    return f"whybox {version('whybox')}"


def _refuse_overwriting(options: argparse.Namespace) -> None:
    """Results never take the place of what they were made from, whatever links or spellings the paths use."""
    out = Path(options.out)
    for what, given in (("MODEL", options.model), ("DATA", options.data), ("--background", options.background)):
        if given and (
            Path(given).resolve() == out.resolve() or (out.exists() and Path(given).exists() and out.samefile(given))
        ):
            raise OptionError(
                f"-o {options.out} is the same file as {what} ({given}); write the result to another file."
            )


def _model(options: argparse.Namespace) -> Any:
    from whybox.models.registry import as_model

    return as_model(Path(options.model), trust_pickle=options.trust_pickle, verify=not options.no_verify)


def _players(options: argparse.Namespace) -> dict[str, list[str]] | None:
    out: dict[str, list[str]] = {}
    for text in options.player:
        name, equals, columns = text.partition("=")
        if not equals or not name or not columns:
            raise OptionError(f"--player {text!r}: write NAME=COLUMN,COLUMN.")
        if name in out:
            raise OptionError(f"--player: {name!r} is given twice.")
        out[name] = columns.split(",")
    return out or None


def _explain(options: argparse.Namespace) -> None:
    from whybox.core.atomic_write import atomic_write
    from whybox.data.table_files import check_output, count_rows, read_batches, read_table, table_writer
    from whybox.explainers import LinearShap, TreeShap
    from whybox.explanation.evidence import Evidence, merged
    from whybox.explanation.explanation import Explanation
    from whybox.models.linear import Linear

    out = check_output(options.out)
    _refuse_overwriting(options)
    count_rows(options.data)
    model = _model(options)
    background = read_table(options.background, _spelled(options.background, model)) if options.background else None
    spelled, coded = _spelled(options.data, model, options.id), _coded(options.data, model, options.id)
    copied = [c for c in options.id if not model.inputs.reads(c)]
    explainer = (LinearShap if isinstance(model, Linear) else TreeShap)(
        model, background, output=options.output, scale=options.scale, order=options.order, players=_players(options), index=options.index, method=options.method,
        sparse=options.sparse, n_jobs=options.n_jobs, dtype=options.dtype
    )  # fmt: skip
    parts: list[Evidence] = []
    last: Explanation | None = None
    with atomic_write(out) as part:
        write = table_writer(part, out)
        for rows in read_batches(options.data, spelled, coded, copied):
            asked = _without_ids(rows, model, options)
            last = _explained(explainer, asked, options.data, sum(p.rows for p in parts))
            write(_with_ids(last, rows, options))
            parts.append(last.evidence)
        evidence = merged(parts)
        write.add_metadata("whybox", json.dumps({"evidence": evidence.to_dict()}))
        write.close()
    assert last is not None  # noqa: S101  # there is at least one batch
    print(f"{out}: {evidence.rows:,} rows x {len(last.feature_names):,} features, in {last.units}")
    _tell(evidence)


def _spelled(path: str, model: Any, apart: Sequence[str] = ()) -> dict[str, Callable[[str], bool]]:
    """Which columns of a file the model knows as categories of text; `apart` are columns that it is not given."""
    return {name: v.knows for name, v in _categories(path, model, apart).items() if v.text}


def _coded(path: str, model: Any, apart: Sequence[str] = ()) -> list[str]:
    """Which columns of a file are categories that the model knows by their codes alone."""
    return [name for name, v in _categories(path, model, apart).items() if not v.stored]


def _categories(path: str, model: Any, apart: Sequence[str]) -> dict[str, Any]:
    from whybox.data.table_files import column_names

    given = [n for n in column_names(path) if n not in apart or model.inputs.reads(n)]
    found: dict[str, Any] = model.inputs.categorical(given)
    return found


def _explained(explain: Callable[[Any], Any], rows: Any, path: str, before: int = 0) -> Any:
    """Explain a batch; errors about a cell name its place in the file."""
    from whybox.data.table_files import non_numeric_cell

    try:
        return explain(rows)
    except NonFiniteError as error:
        row = "a row" if error.row is None else f"row {before + error.row + 1:,} of {Path(path).name}"
        raise InputError(error.args[0].replace("{row}", row)) from None
    except DtypeError as error:
        about_numbers = re.search(r"reads numbers only|is not numeric|holds text", str(error))
        cell = non_numeric_cell(path, str(error)) if about_numbers else None
        raise DtypeError(cell) if cell else error from None


def _without_ids(rows: Any, model: Any, options: argparse.Namespace) -> Any:
    """Take the columns that are only to be copied away from those the model is given."""
    missing = [c for c in options.id if c not in rows.column_names]
    if missing:
        raise OptionError(
            f"--id {missing[0]!r} is not a column of {options.data}.{did_you_mean(missing[0], rows.column_names)}"
        )
    return rows.drop_columns([c for c in dict.fromkeys(options.id) if not model.inputs.reads(c)])


def _with_ids(explanation: Any, rows: Any, options: argparse.Namespace) -> Any:
    table = explanation.to_arrow(layout=options.layout).replace_schema_metadata(None)
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


def _tell(evidence: Any) -> None:
    for label, text in evidence.lines("estimand", "additivity", "verdict", "note", "unknown"):
        print(f"  {label}: {text}")


def _effects(options: argparse.Namespace) -> None:
    from whybox.api.effects import effects
    from whybox.core.atomic_write import atomic_write
    from whybox.data.table_files import check_output, count_rows, read_table, table_writer
    from whybox.methods.effects.plan import plan_effects
    from whybox.methods.effects.problem import settle

    if options.plan == (options.out is not None):
        raise OptionError("say where to write with -o FILE, or ask what it would cost with --plan: one of the two.")
    if not options.plan:
        out = check_output(options.out)
        _refuse_overwriting(options)
    count_rows(options.data)
    model = _model(options)
    rows = read_table(options.data, _spelled(options.data, model, [options.sample_weight]))
    sample_weight = None
    if options.sample_weight:
        if options.sample_weight not in rows.column_names:
            raise OptionError(
                f"--sample-weight {options.sample_weight!r} is not a column of {options.data}.{did_you_mean(options.sample_weight, rows.column_names)}"
            )
        sample_weight = rows.column(options.sample_weight).to_numpy(zero_copy_only=False)
        if not model.inputs.reads(options.sample_weight):
            rows = rows.drop_columns([options.sample_weight])
    features = [f if f in rows.column_names else tuple(f.split(",")) for f in options.feature] or None
    grid = int(options.grid) if (options.grid or "").isdigit() else options.grid
    asked: dict[str, Any] = {
        "kind": options.kind,
        "grid": grid,
        "output": options.output,
        "scale": options.scale,
        "sample_weight": sample_weight,
        "n_jobs": options.n_jobs,
    }
    nothing: dict[str, Any] = {"response_method": None, "max_evals": None, "check": False}
    settled = _explained(lambda rows: settle(model, rows, features, **asked, **nothing), rows, options.data)
    if options.plan:
        print(plan_effects(settled))
        return
    if settled.asks:
        print(f"whybox: {plan_effects(settled).line}", file=sys.stderr)
    found = _explained(lambda rows: effects(model, rows, features, **asked), rows, options.data)
    with atomic_write(out) as part:
        write = table_writer(part, out)
        write(found.to_arrow())
        evidence = {e if isinstance(e, str) else ",".join(e): found[e].evidence.to_dict() for e in found}
        write.add_metadata("whybox", json.dumps({"evidence": evidence}))
        write.close()
    first = found[0].evidence
    print(f"{out}: {first.method} of {len(found):,} feature{'s' if len(found) != 1 else ''} over {first.rows:,} rows")
    _tell(first)


def _report(options: argparse.Namespace) -> None:
    from whybox.data.table_files import count_rows, read_table
    from whybox.reporting.report import report

    if Path(options.out).suffix.lower() not in (".html", ".htm"):
        raise OptionError(f"{options.out}: a report is an .html file.")
    if not Path(options.out).resolve().parent.is_dir():
        raise InputError(f"the folder {str(Path(options.out).parent)!r} does not exist.")
    _refuse_overwriting(options)
    count_rows(options.data)
    model = _model(options)
    rows = read_table(options.data, _spelled(options.data, model, [options.y]))
    background = read_table(options.background, _spelled(options.background, model)) if options.background else None
    explanation = _explained(lambda rows: report(
        model, rows, options.out, y=options.y, background=background, output=options.output, scale=options.scale, players=_players(options), title=options.title,
        source=Path(options.data).name,
    ), rows, options.data)  # fmt: skip
    print(f"{options.out}: a report on {len(explanation):,} rows; open it in a browser")
    _tell(explanation.evidence)


def _demo(options: argparse.Namespace) -> None:
    from whybox.cli.demo import demo

    demo(Path(options.output_folder), print)


if __name__ == "__main__":
    sys.exit(main())
