"""The command line: finds the command, runs it, and turns errors into one line and an exit code."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Final

from whybox.cli import anchors, check, completion, demo, effects, explain, importance, lime, plan, report, saliency
from whybox.cli.parser import EXIT_CODES, CommandParser, check_words
from whybox.cli.shared import refuse_misplaced, text_format_of
from whybox.cli.wording import speller
from whybox.errors import Argument, InputError, ModelError, ModelMismatchError, WhyboxError

__all__ = ["build_parser", "main"]

OK, UNEXPECTED, USAGE, INPUT, MODEL, MISMATCH, INTERRUPTED = 0, 1, 2, 3, 4, 5, 130

_PROGRAM_TEXT: Final = """Explain machine-learning models: how much did each feature contribute to each prediction?
Exact for tree models of scikit-learn, XGBoost, LightGBM and CatBoost; every row is checked to add up."""
_COMMAND_MODULES: Final = (demo, explain, effects, importance, lime, anchors, report, saliency, check, plan, completion)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code (see ``whybox --help``)."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == ["help"]:  # whybox help explain
        words = [*words[1:], "--help"]
    parser, commands = build_parser()
    spell: Callable[[Argument], str] = str
    try:
        check_words(words, commands)
        options = parser.parse_args(words)
        if not hasattr(options, "run"):
            parser.print_help()
            return USAGE
        refuse_misplaced(options)
        spell = speller(options.command, options.wording, words)
        return _run(options)
    except KeyboardInterrupt:
        return _print_refusal("interrupted; nothing was written.", INTERRUPTED)
    except WhyboxError as error:
        return _print_refusal(error.render(spell), _exit_code(error))
    except BrokenPipeError:
        return UNEXPECTED
    except Exception as error:
        if os.environ.get("WHYBOX_TRACEBACK"):
            raise
        message = f"this should not happen: {type(error).__name__}: {error}. Please report it with what WHYBOX_TRACEBACK=1 shows."
        return _print_refusal(message, UNEXPECTED)


def _run(options: argparse.Namespace) -> int:
    from whybox.data.file_formats import reading_text_as

    with reading_text_as(text_format_of(options)):
        return options.run(options) or OK


def build_parser() -> tuple[CommandParser, dict[str, CommandParser]]:
    """Return the parser of the whole command line, and those of its commands by name."""
    parser = CommandParser("whybox", description=_PROGRAM_TEXT, epilog=EXIT_CODES)
    parser.add_argument("--version", action="version", version=f"whybox {version('whybox')}")
    parser.set_defaults(program=parser)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", parser_class=CommandParser)
    for command in _COMMAND_MODULES:
        command.add_command(commands)
    return parser, dict(commands.choices)


def _exit_code(error: WhyboxError) -> int:
    kinds = ((ModelMismatchError, MISMATCH), (ModelError, MODEL), (InputError, INPUT))
    return next((code for kind, code in kinds if isinstance(error, kind)), USAGE)


def _print_refusal(message: str, code: int) -> int:
    print(f"whybox: {message}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
