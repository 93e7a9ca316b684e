"""A group of checks as data: its name, how it is run, what it costs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

from whybox.checks.check_subject import CheckSubject
from whybox.checks.cost import CheckCost
from whybox.checks.result import Check

__all__ = ["CheckGroup"]


@final
@dataclass(frozen=True)
class CheckGroup:
    """Checks that are asked for under one name.

    Attributes:
        name: as the user gives it in ``checks=``. run: runs the checks and returns their lines. cost: for one row.
    """

    name: str
    run: Callable[[CheckSubject], list[Check]]
    cost: CheckCost
