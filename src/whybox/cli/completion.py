"""The command ``whybox completion``: a script that lets a shell complete commands, options and their values."""

from __future__ import annotations

import argparse
from typing import Any, Final

from whybox.cli.parser import CommandParser
from whybox.cli.shared import declare_command
from whybox.errors import MissingDependencyError

__all__ = ["add_command"]

_TEXT: Final = """Print a script that lets the shell complete commands, options and their values. It needs the package shtab
(pip install 'whybox[completion]') once, to make the script; pressing Tab then starts no Python."""
_EXAMPLES: Final = """\
  bash: whybox completion bash > ~/.local/share/bash-completion/completions/whybox
  zsh:  whybox completion zsh > ~/.zfunc/_whybox    (a folder of $fpath, before compinit)
  tcsh: whybox completion tcsh > ~/.whybox.completion    (and source it in ~/.tcshrc)"""


def add_command(commands: Any) -> None:
    """Add the command to the others."""
    declare_command(
        commands,
        "completion",
        _completion,
        _add_options,
        about="print a script for the shell to complete commands and options",
        text=_TEXT,
        examples=_EXAMPLES,
    )


def _add_options(parser: CommandParser) -> None:
    parser.add_argument("shell", choices=("bash", "zsh", "tcsh"), metavar="SHELL", help="bash, zsh or tcsh")


def _completion(options: argparse.Namespace) -> None:
    try:
        import shtab
    except ImportError:
        raise MissingDependencyError("shtab", "shell completion", extra="completion") from None
    _complete_files(options.program, shtab.FILE)
    print(shtab.complete(options.program, shell=options.shell))


def _complete_files(parser: CommandParser, files: Any) -> None:
    """Let every option and place that takes a file complete names of files."""
    for action in parser.filled()._actions:  # noqa: SLF001  # argparse has no public list
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            for inner in action.choices.values():
                _complete_files(inner, files)
        elif action.metavar in ("FILE", "MODEL", "DATA", "INPUT", "ROWS"):
            action.complete = files  # type: ignore[attr-defined]
