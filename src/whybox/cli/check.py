"""The command ``whybox check``: does a saliency map hold?"""

from __future__ import annotations

import argparse
import json
from typing import Any, Final

from whybox.cli.network_options import (
    NETWORK_WORDING,
    add_method,
    add_network,
    files_of_inputs,
    question_of,
)
from whybox.cli.parser import CommandParser, number_at_least
from whybox.cli.saliency import NETWORK_TEXT, files_read, maps_of
from whybox.cli.shared import declare_command, resolve_output
from whybox.errors import Argument, OptionError

__all__ = ["CHECK_CANNOT_TELL", "CHECK_FAILED", "add_command"]

CHECK_FAILED: Final = 6  # exit codes
CHECK_CANNOT_TELL: Final = 7
GROUPS: Final = ("numerical", "model dependence", "faithfulness", "stability")  # held against the library's by a test

_TEXT: Final = f"""\
Run sanity checks of a saliency map: is it computed right, does it depend on what the network has learnt, does it name
the parts that matter, does it stay when the input hardly changes? The map is made here, as whybox saliency makes it,
or read from a file with --map. With too few rows a check cannot tell, and says how many could. Passing is no proof:
docs/checks.md says what each check cannot show.
{NETWORK_TEXT}"""
_EXAMPLES: Final = """\
  whybox check network.pt2 rows.npy --method integrated_gradients
  whybox check network.pt2 cat.png --map maps.whybox --check numerical --check "model dependence"
  whybox check network.pt2 rows.npy -o checks.json"""


def add_command(commands: Any) -> None:
    """Add the command to the others."""
    declare_command(
        commands,
        "check",
        _check,
        _add_options,
        about="run sanity checks of a network's saliency map",
        text=_TEXT,
        examples=_EXAMPLES,
        wording=NETWORK_WORDING,
    )


def _add_options(parser: CommandParser) -> None:
    add_network(parser)
    add = parser.add_argument
    add(
        "--map",
        metavar="FILE",
        help=".whybox of a map that was made before, of a network of one input; instead of --method and its options",
    )
    add(
        "--check",
        action="append",
        choices=GROUPS,
        metavar="CHECK",
        help=f"one of {', '.join(GROUPS)} (repeatable; default: all)",
    )
    add(
        "--max-rows",
        type=number_at_least(1),
        default=16,
        metavar="N",
        help="rows that are checked (default: %(default)s)",
    )
    add("-o", "--out", metavar="FILE", help="write every number too: .json")
    add_method(parser)


def _check(options: argparse.Namespace) -> int:
    from whybox.checks.check import check
    from whybox.core.atomic_write import atomic_write

    files = files_of_inputs(options)
    if options.out:
        resolve_output(options, (".json",), [options.map, *files_read(options, files)])
    saved = _saved(options)
    q = question_of(options, files)
    named = {"": saved} if saved is not None else maps_of(q)
    parts = tuple(named.values())
    checks = check(
        parts if len(parts) > 1 else parts[0],
        q.net,
        q.read.inputs,
        checks=options.check or "all",
        max_rows=options.max_rows,
        background=q.settings["background"],
        seed=options.seed,
        budget=options.budget,
    )
    if options.out:
        with atomic_write(options.out) as part:
            part.write_text(json.dumps(checks.to_dict(), indent=1) + "\n", encoding="utf-8")
    print(checks)
    return {"pass": 0, "cannot tell": CHECK_CANNOT_TELL}.get(checks.verdict, CHECK_FAILED)


def _saved(options: argparse.Namespace) -> Any:
    from whybox.cli.network_inputs import require_file
    from whybox.explanation.load import load

    if options.map is None:
        return None
    require_file(options.map)
    for name in ("method", "option", "target"):
        if getattr(options, name) != options.command.get_default(name):
            raise OptionError("--map holds a map that was made before; leave ", Argument(name), " out.")
    return load(options.map)
