"""Options on a network, its inputs and the method of a map, and reading these: what ``whybox saliency`` and ``whybox check`` share."""

from __future__ import annotations

import argparse
import ast
import importlib
import inspect
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any, Final, final

from whybox.cli.method_help import methods_help
from whybox.cli.option_fields import add_fields, given_fields
from whybox.cli.parser import CommandParser
from whybox.cli.shared import add_text_format
from whybox.cli.wording import Wording
from whybox.errors import InputError, ModelFileError, OptionError, WhyboxError
from whybox.methods.registry import family_ids

if TYPE_CHECKING:
    from whybox.cli.network_inputs import NetworkInputs

__all__ = [
    "NETWORK_WORDING",
    "MapQuestion",
    "add_method",
    "add_network",
    "files_of_inputs",
    "is_method_option",
    "question_of",
]


def add_network(parser: argparse.ArgumentParser) -> None:
    """Add MODEL and INPUT, and how they are read."""
    add = parser.add_argument
    add(
        "model",
        metavar="MODEL",
        help=".pt2 of torch.export.save, .keras, or MODULE:FUNCTION; .pt and .pth with --trust-pickle",
    )
    plain = add(
        "inputs",
        metavar="INPUT",
        nargs="+",
        default=[],
        help="pictures (.png, .jpg), arrays (.npy) whose first axis is the rows, or one table (.csv, .tsv, also .gz; .parquet, .xlsx)",
    )
    plain.required = False  # with --input there are none; nargs="*" would take no INPUT that stands behind an option
    add(
        "--input",
        action="append",
        default=[],
        metavar="NAME=FILE",
        help="file of one of several inputs, by its name or its number from 0 (repeatable; a quoted pattern is filled in)",
    )
    add(
        "--column",
        action="append",
        default=[],
        metavar="[NAME=]COLUMN[,COLUMN]",
        help="columns of the table that are the input (default: all); one alone is one number a row, such as a length or an id (repeatable)",
    )
    add_text_format(parser)
    add("--trust-pickle", action="store_true", help="read files that run whatever code is in them")


def add_method(parser: CommandParser) -> None:
    """Add which map is made, and how."""
    from whybox.methods.saliency.options import SaliencyOptions

    add = parser.add_argument
    methods = family_ids("saliency")
    parser.list_methods = lambda: methods_help("saliency", "methods, and what --option can set:")
    parser.method_options = _names_of_method_options
    add(
        "--method",
        choices=methods,
        default="gradient",
        metavar="METHOD",
        help="one of those below (default: %(default)s)",
    )
    add("--option", action="append", default=[], metavar="NAME=VALUE", help="option of the method (repeatable)")
    add("--target", metavar="OUTPUT", help="name (see --names) or number of the output, or all (default: the largest)")
    add("--names", metavar="FILE", help="names of the outputs, one a line")
    add(
        "--background",
        action="append",
        default=[],
        metavar="[NAME=]FILE",
        help="rows that absent parts take their values from, in methods that use them, as for INPUT (repeatable)",
    )
    add(
        "--channel-axis",
        metavar="N",
        help="axis of the channels, rows being axis 0, or none (default: of pictures; for class activation maps of series too)",
    )
    add_fields(parser, SaliencyOptions, apart=APART)
    _add_pictures(parser)


def _add_pictures(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("pictures", "Of several inputs each may have its own: --mean NAME=M,M,M.")
    for name, metavar, about in (
        ("size", "HxW", "resize to this height and width (default: what the program takes)"),
        ("channels", "N", "3, or 1 for networks that see grey (default: what the program takes, else 3)"),
        ("pixel-scale", "S", "pixels, bytes from 0 to 255, are divided by this (default: 255)"),
        ("mean", "M[,M,M]", "subtracted after scaling, for each channel"),
        ("std", "S[,S,S]", "divided by after that"),
    ):
        group.add_argument(f"--{name}", action="append", metavar=metavar, help=about)


def _names_of_method_options() -> set[str]:
    from whybox.methods.registry import methods, options_of

    return {option.name for spec in methods("saliency") for option in options_of(spec)}


def is_method_option(name: str) -> bool:
    """Whether an argument is an option of some method, written ``--option NAME=VALUE`` here."""
    return name not in _arguments_of_saliency()


NETWORK_WORDING: Final = Wording({"output_names": "names", "net": "model", "checks": "check"}, is_method_option)


APART: Final = ("channel_axis", "words")  # read in another way; goes with a tokenizer, which is no text


@final
@dataclass(frozen=True)
class MapQuestion:
    """What is asked about a network and its inputs.

    Attributes:
        net: as read. read: its inputs. settings: what ``whybox.saliency`` takes beside these, but for the options of the method.
        method_options: those.
    """

    net: Any
    read: NetworkInputs
    settings: dict[str, Any]
    method_options: dict[str, Any]


def files_of_inputs(options: argparse.Namespace) -> dict[str, list[str]]:
    """Return the files of each input, by name.

    Raises:
        OptionError: there are none.
    """
    from whybox.cli.network_inputs import files_of

    files = files_of(options.inputs, options.input)
    if not files:
        raise OptionError("there is no INPUT: give pictures, arrays or a table, or --input NAME=FILE for each of several inputs.")  # fmt: skip
    return files


def question_of(options: argparse.Namespace, files: dict[str, list[str]]) -> MapQuestion:
    """Read the network, its inputs and what is asked; print notes about the inputs.

    Raises:
        WhyboxError: they cannot be read, or do not fit together.
    """
    from whybox.cli.network_inputs import read_inputs, refuse_ignored_options
    from whybox.methods.saliency.options import SaliencyOptions

    method_options, axis = _method_options(options.option, options.method), _channel_axis(options.channel_axis)
    names = _read_names(options.names)
    refuse_ignored_options(options, files)
    net = _read_network(options.model, trust_pickle=options.trust_pickle)
    read = read_inputs(options, net, files)
    for note in read.notes:
        print(note, file=sys.stderr)
    settings = {
        "target": _read_target(options.target, names),
        "method": options.method,
        "background": _read_background(options, net, read),
        "channel_axis": axis,
        "output_names": names,
        **given_fields(options, SaliencyOptions, apart=APART),
    }
    for name in ("output", "baseline_token"):
        settings[name] = _number_or_name(settings[name])
    return MapQuestion(net, read, settings, method_options)


def _read_names(path: str | None) -> list[str] | None:
    from whybox.cli.network_inputs import require_file

    if path is None or not require_file(path):
        return None
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").split("\n")
    except (UnicodeDecodeError, OSError) as error:
        raise InputError(f"--names {path}: it is no text in UTF-8 ({error}).") from None
    names = [line.strip() for line in lines if line.strip()]
    if not names:
        raise InputError(f"--names {path}: there are no names in it.")
    return names


def _read_background(options: argparse.Namespace, net: Any, read: NetworkInputs) -> Any:
    from whybox.cli.network_inputs import files_of, read_inputs

    if not options.background:
        return None
    several = bool(read.names)
    files = files_of([] if several else options.background, options.background if several else [], "--background")
    if several and set(files) != set(read.names):
        raise OptionError(f"--background: give NAME=FILE for every input: {', '.join(read.names)}.")
    return read_inputs(options, net, files).inputs


def _channel_axis(text: str | None) -> Any:
    if text is None or text == "none":
        return "auto" if text is None else None
    try:
        return int(text)
    except ValueError:
        raise OptionError(f"--channel-axis {text!r}: a number, or none.") from None


def _method_options(given: list[str], method: str) -> dict[str, Any]:
    """Options of a method as typed: numbers, None and the like where they are written so; text where the option is one, such as a layer that is called 3."""
    from whybox.methods.registry import of_id, options_of

    spec = of_id(f"saliency.{method}")
    texts = {option.name for option in (options_of(spec) if spec else ()) if option.kind == "str | None"}
    out: dict[str, Any] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise OptionError(f"--option {text!r}: write NAME=VALUE.")
        if name in out:
            raise OptionError(f"--option {name} is given twice.")
        if name in _arguments_of_saliency():
            raise OptionError(f"--option {name}: this is not one of the method's; see whybox saliency --help.")
        try:
            read = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            read = value
        out[name] = value if name in texts and not isinstance(read, (str, NoneType)) else read
    return out


def _arguments_of_saliency() -> frozenset[str]:
    from whybox.methods.saliency.saliency import saliency

    return frozenset(inspect.signature(saliency).parameters)


def _read_target(text: str | None, names: Sequence[str] | None) -> Any:
    """A name of the outputs, where one is spelled so; else a number is a position."""
    return text if text in (names or ()) else _number_or_name(text)


def _number_or_name(text: str | None) -> Any:
    return int(text) if text is not None and re.fullmatch(r"-?\d+", text, re.ASCII) else text


def _read_network(model: str, *, trust_pickle: bool) -> Any:
    from whybox.models.registry import as_network
    from whybox.networks import exported

    module, colon, name = model.partition(":")
    if not colon or Path(model).exists():
        return exported(model, trust_pickle=trust_pickle)
    sys.path.insert(0, str(Path.cwd()))  # as python -m does
    try:
        return as_network(_call_function(model, module, name))
    finally:
        sys.path.remove(str(Path.cwd()))


def _call_function(model: str, module: str, name: str) -> Any:
    try:
        made = getattr(importlib.import_module(module), name)
        return made() if inspect.isfunction(made) or inspect.isclass(made) else made
    except WhyboxError:
        raise
    except (ImportError, AttributeError) as error:
        raise ModelFileError(f"{model}: {error}. Write MODULE:FUNCTION, importable from here.") from error
    except Exception as error:  # whatever the user's own code raises
        raise ModelFileError(f"{model} could not be made: {type(error).__name__}: {error}.") from error
