"""What a command says before long work: how long it takes, and above a minute how to have it sooner."""

from __future__ import annotations

import sys
from typing import Final

__all__ = ["say_how_sooner", "say_time"]

SECONDS_SAID: Final = 10.0  # from which on the time is said
SECONDS_LONG: Final = 60.0  # from which on a line says how to have it sooner


def say_time(seconds: float, what: str, sooner: str) -> None:
    """Print to stderr how long work takes, if that is long.

    Args:
        seconds: as its plan says; NaN: not known, and nothing is said. what: the work in words. sooner: how to have it sooner.
    """
    from whybox.methods.common.plan import duration_text

    if seconds >= SECONDS_SAID:
        print(f"whybox: {what}, {duration_text(seconds)}", file=sys.stderr)
    say_how_sooner(seconds, sooner)


def say_how_sooner(seconds: float, sooner: str) -> None:
    """Print to stderr how to have long work sooner; nothing about shorter work."""
    if seconds >= SECONDS_LONG:
        print(f"whybox: sooner: {sooner}", file=sys.stderr)
