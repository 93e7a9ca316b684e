"""The parser of every command: plain messages, options named in full, typing errors named before anything else."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Collection, Sequence
from typing import Any, Final, NoReturn

from whybox.cli.wording import speller, typed
from whybox.errors import OptionError, Part, did_you_mean

__all__ = ["EXIT_CODES", "CommandParser", "check_words", "number", "number_at_least"]

EXIT_CODES: Final = """exit codes:
  0    done
  1    whybox itself is at fault
  2    the command: an option, its value, or two that do not go together
  3    the data: a file, a column, a value
  4    the model: unreadable, unknown, untrusted or not explainable exactly
  5    the model's own predict disagrees with our reading of it; nothing was written
  6    whybox check: a check failed
  7    whybox check: none failed, but one cannot tell (more rows could)
  130  interrupted; nothing was written"""

_LINE: Final = 100  # characters of a line of help


class CommandParser(argparse.ArgumentParser):
    """An argparse parser that raises ``OptionError`` and takes no abbreviated options."""

    def __init__(self, prog: str | None = None, **settings: Any) -> None:
        super().__init__(prog, formatter_class=_Help, allow_abbrev=False, **settings)
        self.list_methods: Callable[[], str] = str  # "" until a command has methods to list
        self.add_options: Callable[[CommandParser], None] | None = None
        self.instead: dict[str, tuple[Part, ...]] = {}  # what stands for the options of other libraries
        self._passed_on: dict[str, frozenset[str]] = {}  # values of options that what takes them refuses
        self.method_options: Callable[[], Collection[str]] = tuple  # names that are written --option NAME=VALUE

    def filled(self) -> CommandParser:
        """Add the options when they are first needed, since the dataclasses that some come from take long to import; return the parser."""
        add, self.add_options = self.add_options, None
        if add is not None:
            add(self)
        return self

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse, as argparse does."""
        self.filled()
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """Refuse what was typed, in one line.

        Raises:
            OptionError: always.
        """
        text = message.removeprefix("argument ")
        raise OptionError(f"{text}{'' if text.endswith(('.', '?')) else '.'} See {self.prog} --help.")

    def format_usage(self) -> str:
        """Return one line: what must be given, in its order."""
        return f"usage: {self.prog} {self._needed()}\n"

    def format_help(self) -> str:
        """Return the help: a short line of usage, and the methods that the command computes with their options."""
        self.filled()
        before = self.usage, self.epilog
        self.usage = f"{self.prog} {self._needed()}"
        self.epilog = f"{self.list_methods()}{self.epilog or ''}"
        try:
            return super().format_help()
        finally:
            self.usage, self.epilog = before

    def _needed(self) -> str:
        if _commands_of(self):
            return "COMMAND ..."
        needed = [*self.positionals]
        needed += [
            f"{a.option_strings[0]} {a.metavar or a.dest.upper()}" for a in self._get_optional_actions() if a.required
        ]
        return " ".join([*needed, "[options]"])

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Return what was typed.

        Raises:
            OptionError: it cannot be understood, or holds a word too many.
        """
        options, more = self.parse_known_args(args, namespace)
        if more:
            command: CommandParser = getattr(options, "command", self)
            name, equals, value = more[0].partition("=")
            option = "--" + name.replace("_", "-")
            meant = f" Did you mean {option} {value}?" if equals and command.knows(option) else ""
            takes = f" It takes {' '.join(command.positionals)}." if command.positionals and not meant else ""
            raise OptionError(
                f"{more[0]!r} is one word too many for {command.prog}.{takes}{meant} See {command.prog} --help."
            )
        return options

    def pass_on(self, option: str, values: Collection[str]) -> None:
        """Leave the refusal of some values to what takes the option: it says more than that they are not known."""
        self._passed_on[option] = frozenset(values)

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.option_strings and value in self._passed_on.get(action.option_strings[-1], ()):
            return
        if action.choices is not None and value not in action.choices:
            option = action.option_strings[-1] if action.option_strings else action.metavar
            words = f"{option} {typed(str(value))}"
            raise OptionError(f"{words} is not known.{did_you_mean(value, action.choices)} See {self.prog} --help.")

    def knows(self, option: str) -> bool:
        """Whether this is an option of the command, by its whole name."""
        return option in self._option_string_actions

    def single_valued(self, option: str) -> list[argparse.Action]:
        """The action of an option that takes one value and cannot be repeated, in a list; else an empty one."""
        action = self._option_string_actions.get(option)
        return [action] if isinstance(action, argparse._StoreAction) else []  # noqa: SLF001  # the class of action="store"

    @property
    def long_options(self) -> list[str]:
        """All options that start with two dashes."""
        return [name for name in self._option_string_actions if name.startswith("--")]

    @property
    def positionals(self) -> list[str]:
        """What stands without an option, in its order."""
        return [str(a.metavar or a.dest) for a in self._get_positional_actions()]


class _Help(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=30, width=_LINE)


def check_words(words: Sequence[str], commands: dict[str, CommandParser], prog: str = "whybox") -> None:
    """Refuse a command that there is none of, and options the command does not have: before argparse says that MODEL is missing.

    Args:
        words: what was typed behind `prog`. commands: the parsers by name.

    Raises:
        OptionError: with what was probably meant.
    """
    if not words or words[0] in ("-h", "--help", "--version"):
        return
    verb, *rest = words
    if verb not in commands:
        if verb.startswith("-"):
            raise OptionError(f"{verb}: a command comes first: {prog} COMMAND {verb}. See {prog} --help.")
        raise OptionError(f"{verb} is no command of {prog}.{did_you_mean(verb, commands)} See {prog} --help.")
    parser = commands[verb].filled()
    inner = _commands_of(parser)
    if inner:
        check_words(rest, inner, f"{prog} {verb}")
        return
    given: list[argparse.Action] = []
    for word in rest:
        if word == "--":
            return
        name = word.partition("=")[0]
        given += parser.single_valued(name)
        if len(given) != len({*map(id, given)}):
            raise OptionError(f"{name} is given twice, and {prog} {verb} takes one. See {prog} {verb} --help.")
        single = not parser.knows(word[:2]) or parser.knows(f"-{name}")  # -output is not -o utput
        if re.match(r"-[^\d.]", word) and not parser.knows(name) and single:
            raise OptionError(_no_such_option(name, parser, f"{prog} {verb}"))


def _no_such_option(name: str, parser: CommandParser, command: str) -> str:
    plain = "--" + name.lstrip("-").replace("_", "-")
    python_name = plain.removeprefix("--").replace("-", "_")
    hint = parser.instead.get(python_name)
    if hint is not None:
        said = OptionError(*hint).render(speller(parser, parser.get_default("wording")))
        return f"{name} is no option of {command}: {said}"
    if python_name in parser.method_options():
        return f"{name} is no option of {command}, but of a method: write --option {python_name}=VALUE."
    if parser.knows(plain):
        return f"{name} is no option of {command}. Did you mean {plain!r}?"
    meant = did_you_mean(plain, parser.long_options)
    meant = meant if meant.startswith(" Did") else ""
    return f"{name} is no option of {command}.{meant} See {command} --help."


def _commands_of(parser: argparse.ArgumentParser) -> dict[str, CommandParser]:
    subparsers = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]  # noqa: SLF001  # argparse has no public list
    return dict(subparsers[0].choices) if subparsers else {}


def number_at_least(least: int | None) -> Callable[[str], int]:
    """Return the argparse type of whole numbers from `least` on."""

    def whole(text: str) -> int:
        if not re.fullmatch(r"-?\d+", text, re.ASCII) or (least is not None and int(text) < least):
            more = "" if least is None else f", {least} or more"
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number{more}")
        return int(text)

    return whole


def number(text: str) -> float:
    """Read a number: the argparse type.

    Raises:
        ArgumentTypeError: it is none.
    """
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
