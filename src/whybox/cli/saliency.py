"""The command ``whybox saliency``: a network in a file or made by a function, pictures or arrays, maps in a file."""

from __future__ import annotations

import argparse
import ast
import importlib
import inspect
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from whybox.cli.network_inputs import files_of, given, there
from whybox.cli.saliency_output import MAX_ROWS_DRAWN, write
from whybox.errors import InputError, ModelFileError, OptionError, WhyboxError
from whybox.methods.registry import family_ids

__all__ = ["add_parser"]

_ABOUT: Final = """Write which parts of each input a network's answer hangs on.
MODEL is a program of torch.export (.pt2), which needs no code and runs none while it is read, or MODULE:FUNCTION, which is imported and called and returns a
network (a torch module in eval mode, a Keras model, whybox.networks.jax(...)). INPUT are pictures (.png, .jpg), arrays (.npy) or a table (.csv, .parquet).
A network of several inputs is given each by its name."""
_EXAMPLES: Final = """examples:
  whybox saliency network.pt2 cat.png dog.png --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225 -o maps.png
  whybox saliency network.pt2 rows.csv --method integrated_gradients --target 1 -o maps.npz
  whybox saliency mine:network --input image='scans/*.png' --input age=patients.csv --method shapley --option samples=2000 -o maps.npz

"""
_RESULTS: Final = (".npz", ".whybox", ".png", ".svg")
PICTURE_SUFFIXES: Final = (".png", ".svg")


def add_parser(commands: Any, exit_codes: str) -> None:
    """Add the command to the others."""
    parser = commands.add_parser(
        "saliency",
        help="write which parts of each input a network's answer hangs on",
        description=_ABOUT,
        epilog=_EXAMPLES + exit_codes,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "model", metavar="MODEL", help=".pt2 of torch.export.save, or MODULE:FUNCTION; .pt and .pth with --trust-pickle"
    )
    plain = add(
        "inputs",
        metavar="INPUT",
        nargs="+",
        default=[],
        help="pictures (.png, .jpg), arrays (.npy) whose first axis is the rows, or one table (.csv, .parquet)",
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
        "-o",
        "--out",
        required=True,
        metavar="FILE",
        help="where to write: .npz, .whybox (with its evidence; of several inputs a file each), .png or .svg",
    )
    add("--method", default="gradient", help=f"one of {', '.join(family_ids('saliency'))} (default: %(default)s)")
    add("--option", action="append", default=[], metavar="NAME=VALUE", help="option of the method (repeatable)")
    add("--target", metavar="OUTPUT", help="name (see --names) or number of the output, or all (default: the largest)")
    add("--names", metavar="FILE", help="names of the outputs, one a line")
    _add_pictures(parser)
    add(
        "--background",
        action="append",
        default=[],
        metavar="[NAME=]FILE",
        help="rows that stand for absent, in methods that take them, as for INPUT (repeatable)",
    )
    add("--embedding", metavar="LAYER", help="of a network that reads numbers of tokens: path of the layer that embeds them")  # fmt: skip
    add("--channel-axis", metavar="N", help="axis of the channels, rows being axis 0, or none (default: of pictures; for class activation maps of series too)")  # fmt: skip
    add("--reduce", choices=("auto", "max", "sum"), default="auto", help="how channels become one number")
    add("--budget", default="1GB", help="bytes that derivatives may keep at a time (default: %(default)s)")
    add("--seed", type=int, default=0, help="of what is drawn (default: %(default)s)")
    add("--trust-pickle", action="store_true", help="read files that run whatever code is in them")
    parser.set_defaults(run=_saliency)


def _add_pictures(parser: argparse.ArgumentParser) -> None:
    """Options that say how pictures become numbers; NAME=... is for one of several inputs."""
    group = parser.add_argument_group("pictures", "Of several inputs each may have its own: --mean NAME=M,M,M.")
    for name, metavar, about in (
        ("size", "HxW", "resize to this height and width (default: what the program takes)"),
        ("channels", "N", "3, or 1 for networks that see grey (default: what the program takes, else 3)"),
        ("scale", "SCALE", "the largest byte, 255, becomes 255 / SCALE (default: 255)"),
        ("mean", "M[,M,M]", "taken off after scaling, for each channel"),
        ("std", "S[,S,S]", "divided by after that"),
    ):
        group.add_argument(f"--{name}", action="append", metavar=metavar, help=about)


def _saliency(options: argparse.Namespace) -> None:
    from whybox.explanation.explanation import labels
    from whybox.methods.saliency.recipe import read_recipe
    from whybox.methods.saliency.saliency import saliency

    files = files_of(options.inputs, options.input)
    if not files:
        raise OptionError("there is no INPUT: give pictures, arrays or a table, or --input NAME=FILE for each of several inputs.")  # fmt: skip
    out = _result_path(options, files)
    method_options, axis = _options(options.option), _channel_axis(options.channel_axis)
    names = _names(options.names)
    net = _network(options.model, trust_pickle=options.trust_pickle)
    read = given(options, net, files)
    if out.suffix.lower() in PICTURE_SUFFIXES:
        _refuse_drawing(options, read.rows)
    for note in read.notes:
        print(note, file=sys.stderr)
    found = saliency(
        net,
        read.inputs,
        _target(options.target, names),
        options.method,
        background=_background(options, net, read),
        reduce=options.reduce,
        channel_axis=axis,
        output_names=names,
        embedding=options.embedding,
        budget=options.budget,
        seed=options.seed,
        **method_options,
    )
    parts = found if isinstance(found, tuple) else (found,)
    which = read_recipe(parts[0]).inputs if isinstance(found, tuple) else (0,)
    called = [read.labels[k] for k in which]
    parts = tuple(
        e if of is None else replace(e, coords={**e.coords, "row": labels(of)})
        for e, of in zip(parts, called, strict=True)
    )
    named = dict(zip([(read.names or ("",))[k] for k in which], parts, strict=True))
    written = write(named, out) if isinstance(found, tuple) else write({"": parts[0]}, out)
    _tell(named, written)


def _tell(named: dict[str, Any], written: list[Path]) -> None:
    """What was written, how much comes from each input, how it was made."""
    from whybox.reporting.sections.saliency_maps import share_lines, sums

    first = next(iter(named.values()))
    of = f" of {' and '.join(named)}" if len(named) > 1 else ""
    print(f"{', '.join(map(str, written))}: {first.evidence.method} of {len(first):,} row{'s' if len(first) != 1 else ''}{of}, {first.units}")  # fmt: skip
    found = sums(list(named.values())) if len(named) > 1 else None
    if found is not None and found.ndim == 2:
        print("  How much comes from each input (mean sum over the rows, share of the sizes):")
        lines = share_lines(found, list(named))
        wide = max(len(name) for name, _, _ in lines)
        for name, total, share in lines:
            print(f"    {name:<{wide}}  {total:>10}  {share:>6}")
    for label, text in first.evidence.lines("kernel", "estimand", "additivity", "passes", "note", "unknown"):
        print(f"  {label}: {text}")


def _refuse_drawing(options: argparse.Namespace, rows: int) -> None:
    """Before any work."""
    if rows > MAX_ROWS_DRAWN:
        raise OptionError(f"-o {options.out}: a picture shows up to {MAX_ROWS_DRAWN} rows, and there are {rows:,}; write .npz or .whybox.")  # fmt: skip
    if options.target == "all":
        raise OptionError(f"-o {options.out}: a picture shows one output; name it with --target, or write .npz or .whybox.")  # fmt: skip


def _names(path: str | None) -> list[str] | None:
    if path is None or not there(path):
        return None
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").split("\n")
    except (UnicodeDecodeError, OSError) as error:
        raise InputError(f"--names {path}: it is no text in UTF-8 ({error}).") from None
    found = [line.strip() for line in lines if line.strip()]
    if not found:
        raise InputError(f"--names {path}: there are no names in it.")
    return found


def _background(options: argparse.Namespace, net: Any, read: Any) -> Any:
    if not options.background:
        return None
    several = bool(read.names)
    files = files_of([] if several else options.background, options.background if several else [], "--background")
    if several and set(files) != set(read.names):
        raise OptionError(f"--background: give NAME=FILE for every input: {', '.join(read.names)}.")
    return given(options, net, files).inputs


def _channel_axis(said: str | None) -> Any:
    if said is None or said == "none":
        return "auto" if said is None else None
    try:
        return int(said)
    except ValueError:
        raise OptionError(f"--channel-axis {said!r}: a number, or none.") from None


def _result_path(options: argparse.Namespace, files: dict[str, list[str]]) -> Path:
    out = Path(options.out)
    if out.suffix.lower() not in _RESULTS:
        raise OptionError(f"-o {options.out}: the result is a file of type {', '.join(_RESULTS)}.")
    if not out.resolve().parent.is_dir():
        raise InputError(f"the folder {str(out.parent)!r} does not exist.")
    if out.is_dir():
        raise InputError(f"-o {options.out} is a folder; name a file.")
    if not os.access(out.resolve().parent, os.W_OK):
        raise InputError(f"the folder {str(out.parent)!r} cannot be written to.")
    behind = [path for text in options.background for path in (text, text.partition("=")[2])]
    for path in (options.model, *(p for paths in files.values() for p in paths), *behind, options.names):
        if (
            path
            and Path(path).exists()
            and (out.resolve() == Path(path).resolve() or (out.exists() and out.samefile(path)))
        ):
            raise OptionError(f"-o {options.out} is the same file as {path}; write the result to another file.")
    return out


def _options(given: list[str]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise OptionError(f"--option {text!r}: write NAME=VALUE.")
        if name in out:
            raise OptionError(f"--option {name} is given twice.")
        if name in inspect.signature(_public()).parameters:
            raise OptionError(f"--option {name}: this is not one of the method's; see whybox saliency --help.")
        try:
            out[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            out[name] = value
    return out


def _public() -> Any:
    from whybox.methods.saliency.saliency import saliency

    return saliency


def _target(said: str | None, names: Sequence[str] | None) -> Any:
    """A name of the outputs, where one is spelled so; else a number is a position."""
    if said is None or said in (names or ()):
        return said
    return int(said) if re.fullmatch(r"-?\d+", said, re.ASCII) else said


def _network(model: str, *, trust_pickle: bool) -> Any:
    from whybox.models.registry import as_network
    from whybox.networks import exported

    module, colon, name = model.partition(":")
    if not colon or Path(model).exists():
        return exported(model, trust_pickle=trust_pickle)
    sys.path.insert(0, str(Path.cwd()))  # as python -m does
    try:
        return as_network(_made(model, module, name))
    finally:
        sys.path.remove(str(Path.cwd()))


def _made(model: str, module: str, name: str) -> Any:
    try:
        found = getattr(importlib.import_module(module), name)
        return found() if inspect.isfunction(found) or inspect.isclass(found) else found
    except WhyboxError:
        raise
    except (ImportError, AttributeError) as error:
        raise ModelFileError(f"{model}: {error}. Write MODULE:FUNCTION, importable from here.") from error
    except Exception as error:  # whatever the user's own code raises
        raise ModelFileError(f"{model} could not be made: {type(error).__name__}: {error}.") from error
