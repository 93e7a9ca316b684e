"""The command ``whybox plan``: what a command will cost, before it is run."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import Any, Final

from whybox.cli import anchors, effects, explain, importance, lime
from whybox.cli.network_options import NETWORK_WORDING, add_method, add_network, files_of_inputs, question_of
from whybox.cli.parser import EXIT_CODES, CommandParser
from whybox.cli.shared import (
    TABLE_WORDING,
    add_model,
    add_rows,
    as_evaluated,
    declare_command,
    model_or_estimator_of,
    name_rows,
    read_rows,
)
from whybox.cli.text_question import refuse_model_of_texts
from whybox.cli.wording import Wording
from whybox.errors import Argument, OptionError

__all__ = ["add_command"]

_SALIENCY_TEXT: Final = """Print how many passes through the network and how long whybox saliency takes with the same options.
The maps of up to four of the rows are made for it."""

_TEXT: Final = """Print how a command would go about its work, how long it takes and how much memory; compute and write nothing else.
The options after COMMAND are its own, without those about the file that it writes: -o, and of explain --id, --layout
and --errors."""
_ROWS_AS_DATA: Final = Wording({**TABLE_WORDING.places, "rows": "data"})  # a number stands for them
_EXPLAIN_TEXT: Final = """Print the kernel, the time and the memory of whybox explain with the same options.
A block of rows is timed on this machine; the model's own predict, which checks every row, is not counted.
Of an estimator that is evaluated (--background), predictions are counted from the rows themselves, at most."""
_EFFECTS_TEXT: Final = (
    """Print how many predictions, how long and how much memory whybox effects takes with the same options."""
)
_IMPORTANCE_TEXT: Final = (
    """Print the kernel and how many predictions whybox importance takes with the same options, at most."""
)
_LIME_TEXT: Final = """Print how many predictions, at most, and how long whybox lime takes with the same options.
A few of the rows, or one of the texts, are explained for it."""
_ANCHORS_TEXT: Final = """Print how many predictions and how long whybox anchors takes with the same options, about.
The rules of up to 8 of the rows are searched for it; of a slow model only the most that is allowed is said."""


def add_command(commands: Any) -> None:
    """Add the command to the others."""
    parser: CommandParser = commands.add_parser(
        "plan",
        help="say what explain, effects, importance, lime, anchors or saliency will cost",
        description=_TEXT,
        epilog=EXIT_CODES,
    )
    inner = parser.add_subparsers(title="commands", metavar="COMMAND", dest="planned", required=True)
    declare_command(
        inner,
        "explain",
        _plan_explain,
        _add_explain,
        about="of the attributions of a table",
        text=_EXPLAIN_TEXT,
        examples="  whybox plan explain model.json customers.parquet --order 2\n  whybox plan explain model.json 1000000",
        wording=_ROWS_AS_DATA,
    )
    declare_command(
        inner,
        "effects",
        _plan_effects,
        _add_effects,
        about="of how the prediction moves with each feature",
        text=_EFFECTS_TEXT,
        examples="  whybox plan effects model.json customers.parquet --kind ale",
    )
    declare_command(
        inner,
        "importance",
        _plan_importance,
        importance.add_question,
        about="of what each feature is worth to the model",
        text=_IMPORTANCE_TEXT,
        examples="  whybox plan importance model.json heldout.parquet --target churned --method conditional",
    )
    _add_commands_of_rows(inner)
    declare_command(
        inner,
        "saliency",
        _plan_saliency,
        _add_saliency,
        about="of the maps of a network",
        text=_SALIENCY_TEXT,
        examples="  whybox plan saliency network.pt2 scans/*.png --method shapley --option samples=2000",
        wording=NETWORK_WORDING,
    )


def _add_commands_of_rows(inner: Any) -> None:
    """Add the commands that explain single rows with a background."""
    declare_command(
        inner,
        "lime",
        _plan_lime,
        lime.add_question,
        about="of rows explained by a linear model near each",
        text=_LIME_TEXT,
        examples="  whybox plan lime model.json customers.parquet --background train.parquet --rows 0-99",
    )
    declare_command(
        inner,
        "anchors",
        _plan_anchors,
        anchors.add_question,
        about="of rules that keep a class",
        text=_ANCHORS_TEXT,
        examples="  whybox plan anchors model.json customers.parquet --background train.parquet",
    )


def _add_explain(parser: CommandParser) -> None:
    add_model(parser)
    add_rows(parser, "how many rows, or the rows themselves", "ROWS")
    explain.add_question(parser)


def _add_effects(parser: CommandParser) -> None:
    add_model(parser)
    add_rows(parser)
    effects.add_question(parser)


def _add_saliency(parser: CommandParser) -> None:
    add_network(parser)
    add_method(parser)


def _refuse_number(text: str, instead: str) -> None:
    """Refuse a number that is no file, with what to give instead."""
    try:
        float(text.replace(",", ""))
    except ValueError:
        return
    if not Path(text).exists():
        raise OptionError(f"{text} is not a file: {instead}.")


def _plan_explain(options: argparse.Namespace) -> None:
    from whybox.data.table_files import count_rows
    from whybox.methods.shap.game_explainer import GameExplainer

    q = explain.text_question_of(options)
    if q is not None:
        from whybox.api.explain import plan_explain

        print(q.run(plan_explain, options.data))
        return
    number = options.data.replace(",", "").replace("_", "")
    if not number.isdecimal():
        _refuse_number(options.data, "write a whole number of rows in digits, like 1000000, or a file of rows")
    rows = int(number) if number.isdecimal() else count_rows(options.data)
    estimator = model_or_estimator_of(options)
    refuse_model_of_texts(estimator)
    is_file = not number.isdecimal()
    example = options.data if is_file else options.background
    apart = explain.columns_beside(options)
    model = estimator if example is None else as_evaluated(estimator, example, apart, options.scale)
    if is_file:
        explain.check_columns_beside(options, model)
    for name in () if is_file else ("y", "offset"):
        column = getattr(options, name)
        if column is not None:
            raise OptionError(
                Argument(name, column), " is a column of the rows, and only their number is given; leave it out."
            )
    explainer = explain.explainer_of(options, estimator, model)
    if is_file and isinstance(explainer, GameExplainer):  # what it costs depends on the rows
        given = read_rows(options.data, model, apart)
        print(name_rows(partial(explainer.plan, **explain.given_beside(options, given)), given, options.data))
        return
    count = len(read_rows(options.data, model, apart)) if rows is None else rows
    print(explainer.plan(count) if options.offset is None else explainer.plan(count, has_offset=True))


def _plan_effects(options: argparse.Namespace) -> None:
    from whybox.api.effects import plan_effects

    _refuse_number(options.data, "give a file of rows; what effects cost depends on the rows themselves")
    q = effects.question_of(options)
    print(name_rows(lambda rows: plan_effects(q.model, rows, q.features, **q.settings), q.rows, options.data))


def _plan_importance(options: argparse.Namespace) -> None:
    if options.data is not None:
        _refuse_number(options.data, "give a file of rows; what importance costs depends on the rows themselves")
    for plan in importance.plans_of(importance.question_of(options), options.data):
        print(plan)


def _plan_lime(options: argparse.Namespace) -> None:
    from whybox.api.lime import plan_lime

    _refuse_number(options.data, "give a file of rows; what LIME costs depends on the rows themselves")
    print(lime.question_of(options).run(plan_lime, options.data))


def _plan_anchors(options: argparse.Namespace) -> None:
    from whybox.methods.anchors.explainer import Anchors
    from whybox.methods.anchors.plan import plan_anchors

    _refuse_number(options.data, "give a file of rows; what anchors cost depends on the rows themselves")
    q = anchors.question_of(options)

    def plan(model: Any, rows: Any, background: Any, chosen: Any, offset: Any = None) -> Any:
        return plan_anchors(Anchors(model, background, chosen), rows, offset)

    print(q.run(plan, options.data))


def _plan_saliency(options: argparse.Namespace) -> None:
    from whybox.methods.saliency.plan import plan_saliency

    q = question_of(options, files_of_inputs(options))
    print(plan_saliency(q.net, q.read.inputs, **q.settings, **q.method_options))
