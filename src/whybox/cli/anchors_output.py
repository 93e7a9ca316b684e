"""What ``whybox anchors`` prints: the rule of each row, with its precision and coverage."""

from __future__ import annotations

import textwrap
from typing import Any, Final

__all__ = ["anchors_lines"]

TEXT_WIDTH: Final = 100


def anchors_lines(e: Any) -> list[str]:
    """Return the rules as lines: of each row its class, the rule, its precision with both bounds, its coverage, and warnings.

    Args:
        e: rules with a row axis.
    """
    from whybox.explanation.rule_rows import rule_headline, rule_numbers, rule_sentence, rule_warnings

    lines: list[str] = []
    for i in range(len(e.coords["row"])):
        one = e[i]
        lines.append(rule_headline(one))
        lines += textwrap.wrap(rule_sentence(one), TEXT_WIDTH, initial_indent="  ", subsequent_indent="    ")
        lines += [f"  {text}" for text in (rule_numbers(one), *rule_warnings(one))]
    return lines
