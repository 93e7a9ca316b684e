"""The command ``whybox saliency``: a network in a file or made by a function, pictures or arrays, maps in a file."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from whybox.cli.network_options import (
    NETWORK_WORDING,
    MapQuestion,
    add_method,
    add_network,
    files_of_inputs,
    question_of,
)
from whybox.cli.parser import CommandParser
from whybox.cli.shared import add_result, declare_command, resolve_output
from whybox.errors import OptionError

if TYPE_CHECKING:
    from whybox.cli.network_inputs import NetworkInputs

__all__ = ["NETWORK_TEXT", "add_command", "files_read", "maps_of"]

NETWORK_TEXT: Final = """\
MODEL is a program of torch.export (.pt2), which needs no code and runs none while it is read, a model of Keras 3
(.keras) of Keras's own layers, or MODULE:FUNCTION, which is imported and called and returns a network (a torch module
in eval mode, a Keras model, whybox.networks.jax(...)). INPUT are pictures (.png, .jpg), arrays (.npy) or a table
(.csv, .tsv, .parquet, .xlsx). A network of several inputs is given each by its name."""
_TEXT: Final = "Write which parts of each input a network's answer depends on.\n" + NETWORK_TEXT
_EXAMPLES: Final = """\
  whybox saliency network.pt2 cat.png dog.png --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225 -o maps.png
  whybox saliency network.pt2 rows.csv --method integrated_gradients --target 1 -o maps.npz
  whybox saliency mine:network --input image='scans/*.png' --input age=patients.csv --method shapley \\
      --option samples=2000 -o maps.npz"""
_RESULT_SUFFIXES: Final = (".npz", ".whybox", ".png", ".svg")
MAX_ROWS_TOLD: Final = 16  # whose outputs are printed
PICTURE_SUFFIXES: Final = (".png", ".svg")


def add_command(commands: Any) -> None:
    """Add the command to the others."""
    declare_command(
        commands,
        "saliency",
        _saliency,
        _add_options,
        about="write which parts of each input a network's answer depends on",
        text=_TEXT,
        examples=_EXAMPLES,
        wording=NETWORK_WORDING,
    )


def _add_options(parser: CommandParser) -> None:
    add_network(parser)
    add_result(parser, ".npz, .whybox (with its evidence; of several inputs a file each), .png or .svg")
    add_method(parser)


def _saliency(options: argparse.Namespace) -> None:
    from whybox.cli.saliency_output import write_maps

    files = files_of_inputs(options)
    out = resolve_output(options, _RESULT_SUFFIXES, files_read(options, files))
    q = question_of(options, files)
    if out.suffix.lower() in PICTURE_SUFFIXES:
        _refuse_drawing(options, q.read.rows)
    named = maps_of(q)
    _print_maps(named, write_maps(named, out, _pictures_of(q.read)))


def maps_of(q: MapQuestion) -> dict[str, Any]:
    """Return the map of each input by its name, "" where there is one without a name; rows are called as their files."""
    from whybox.explanation.explanation import as_labels
    from whybox.methods.saliency.recipe import read_recipe
    from whybox.methods.saliency.saliency import saliency

    maps = saliency(q.net, q.read.inputs, **q.settings, **q.method_options)
    several = isinstance(maps, tuple)
    parts = maps if isinstance(maps, tuple) else (maps,)
    if several and "embedding_of" in parts[0].extras:  # of an embedding that is called several times
        return {str(e.extras["embedding_of"][1]): e for e in parts}
    which = read_recipe(parts[0]).inputs if several else (0,)
    row_labels = [q.read.labels[k] for k in which]
    parts = tuple(
        e if of is None else replace(e, coords={**e.coords, "row": as_labels(of)})
        for e, of in zip(parts, row_labels, strict=True)
    )
    return dict(zip([(q.read.names or ("",))[k] for k in which], parts, strict=True)) if several else {"": parts[0]}


def _pictures_of(read: NetworkInputs) -> dict[str, list[str] | None]:
    """The files that the rows of each input were read from, by its name."""
    return dict(zip(read.names or ("",), read.pictures, strict=True))


def _print_maps(named: Mapping[str, Any], written: list[Path]) -> None:
    """What was written, how much comes from each input, how it was made."""
    from whybox.explanation.negligible import negligible_size
    from whybox.reporting.sections.saliency_maps import share_lines, sums_by_input

    first = next(iter(named.values()))
    of = f" of {' and '.join(named)}" if len(named) > 1 else ""
    print(f"{', '.join(map(str, written))}: {first.evidence.method} of {len(first):,} row{'s' if len(first) != 1 else ''}{of}, {first.units}")  # fmt: skip
    for i in range(min(len(first), MAX_ROWS_TOLD)):
        _print_target(first[i])
    totals = sums_by_input(list(named.values())) if len(named) > 1 else None
    if totals is not None and totals.ndim == 2:
        print("  How much comes from each input (mean sum over the rows, share of the sizes):")
        lines = share_lines(totals, list(named), float(negligible_size(first).max()))
        wide = max(len(name) for name, _, _ in lines)
        for name, total, share in lines:
            print(f"    {name:<{wide}}  {total:>10}  {share:>6}")
    for label, text in first.evidence.lines("kernel", "estimand", "additivity", "passes", "note", "unknown"):
        print(f"  {label}: {text}")


def _print_target(e: Any) -> None:
    """Which output the map of one row explains, and its score."""
    from whybox.plots.saliency_image import target_of

    target = None if "output" in e.dims else target_of(e)
    if target is not None and e.prediction.size == 1:
        print(f"  {e.coords['row'][0]}: {target}, score {float(e.prediction.reshape(-1)[0]):.4g}")


def _refuse_drawing(options: argparse.Namespace, rows: int) -> None:
    """Before any work."""
    from whybox.cli.saliency_output import MAX_ROWS_DRAWN

    if rows > MAX_ROWS_DRAWN:
        raise OptionError(f"-o {options.out}: a picture shows up to {MAX_ROWS_DRAWN} rows, and there are {rows:,}; write .npz or .whybox.")  # fmt: skip
    if options.target == "all":
        raise OptionError(f"-o {options.out}: a picture shows one output; name it with --target, or write .npz or .whybox.")  # fmt: skip


def files_read(options: argparse.Namespace, files: Mapping[str, list[str]]) -> list[str | None]:
    """Return the files that are read beside MODEL and INPUT: pictures and arrays of each input, backgrounds, names."""
    backgrounds = [text.partition("=")[2] for text in options.background]
    return [*(path for paths in files.values() for path in paths), *backgrounds, options.names]
