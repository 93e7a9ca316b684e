"""Results of checks: a table of verdicts, each with its number and the reason in words."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from types import MappingProxyType
from typing import Any, Final, final

import numpy as np

from whybox.data.table import build_frame
from whybox.explanation.html import number_text as short

__all__ = ["VERDICTS", "Check", "Checks"]

VERDICTS: Final = ("pass", "fail", "disagree", "cannot tell", "not applicable")
FAILING_VERDICTS: Final = ("fail", "disagree")
_VERDICT_COLOURS: Final = {
    "pass": "#2a7f3f",
    "fail": "#c0392b",
    "disagree": "#b7791f",
    "cannot tell": "#8a6d1f",
    "not applicable": "#777777",
}


@final
@dataclass(frozen=True)
class Check:
    """One line of the table.

    Attributes:
        group: name of its group of checks. name: what was checked. verdict: one of VERDICTS. number: that decided, None if there is none.
        reason: in words, with the threshold and the reason for it.
        details: the numbers behind it, such as those of each row, as plain data.
    """

    group: str
    name: str
    verdict: str
    number: float | None
    reason: str
    details: Mapping[str, Any] = field(default_factory=dict)


@final
@dataclass(frozen=True)
class Checks:
    """All lines, and their cost.

    Attributes:
        rows: the lines. about: the method, rows checked, seed, passes through the network, seconds.
    """

    rows: tuple[Check, ...]
    about: Mapping[str, Any]

    def __post_init__(self) -> None:
        object.__setattr__(self, "about", MappingProxyType(dict(self.about)))

    def __reduce__(self) -> tuple[Any, ...]:
        return Checks, (self.rows, dict(self.about))

    @property
    def verdict(self) -> str:
        """Of all lines together: "fail" if a line says "fail" or "disagree"; else "cannot tell" if a line does; else "pass".

        Checks that do not apply do not count; the table shows which ran.
        """
        verdicts = {c.verdict for c in self.rows}
        return "fail" if verdicts & set(FAILING_VERDICTS) else "cannot tell" if "cannot tell" in verdicts else "pass"

    @property
    def passed(self) -> bool:
        """True if the verdict of all lines together is "pass": none fails, none disagrees, and each could tell."""
        return self.verdict == "pass"

    def __getitem__(self, name: str) -> Check:
        """Return a line by its name.

        Raises:
            KeyError: no such line.
        """
        for c in self.rows:
            if c.name == name:
                return c
        raise KeyError(f"there is no check {name!r}; there are: {', '.join(c.name for c in self.rows)}")

    def __contains__(self, name: object) -> bool:
        """Whether there is a line of this name."""
        return any(c.name == name for c in self.rows)

    def table(self) -> list[dict[str, Any]]:
        """Return the lines as plain dicts: check, verdict, number, reason."""
        return [{"check": c.name, "verdict": c.verdict, "number": c.number, "reason": c.reason} for c in self.rows]

    def to_frame(self, *, library: str | None = None) -> Any:
        """Return the table as a data frame.

        Raises:
            MissingDependencyError: the library is not installed.
        """
        columns = {
            "group": np.array([c.group for c in self.rows], dtype=object),
            "check": np.array([c.name for c in self.rows], dtype=object),
            "verdict": np.array([c.verdict for c in self.rows], dtype=object),
            "number": np.array([math.nan if c.number is None else c.number for c in self.rows], dtype=np.float64),
            "reason": np.array([c.reason for c in self.rows], dtype=object),
        }
        return build_frame(columns, library=library or "numpy")

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data, ready for JSON: NaN and infinities as None."""
        lines = [
            {
                "group": c.group,
                "check": c.name,
                "verdict": c.verdict,
                "number": _plain_value(c.number),
                "reason": c.reason,
                "details": _plain_value(dict(c.details)),
            }
            for c in self.rows
        ]
        return {
            "about": _plain_value(dict(self.about)),
            "passed": self.passed,
            "verdict": self.verdict,
            "checks": lines,
        }

    def _summary_line(self) -> str:
        a = self.about
        return (
            f"{a['method']}: {a['rows']} of {a['rows explained']} rows checked, seed {a['seed']}; "
            f"{a['forward']:,} forward and {a['backward']:,} backward passes, {a['seconds']:.3g} s"
        )

    def __str__(self) -> str:
        wide = max([len(c.name) for c in self.rows], default=0)
        lines = [self._summary_line()]
        for c in self.rows:
            value = "" if c.number is None else short(c.number, 3)
            head = f"{c.name:<{wide}}  {c.verdict:<14}  {value:>9}  "
            lines.append(textwrap.fill(c.reason, 160, initial_indent=head, subsequent_indent=" " * len(head)))
        return "\n".join(lines)

    def __repr__(self) -> str:
        counts = {v: sum(c.verdict == v for c in self.rows) for v in VERDICTS}
        return f"Checks({', '.join(f'{n} {v}' for v, n in counts.items() if n)}; print it for the table)"

    def _repr_html_(self) -> str:
        cell = "text-align:left;vertical-align:top;white-space:normal"
        body = "".join(
            f'<tr><td style="{cell}">{escape(c.name)}</td><td style="{cell};color:{_VERDICT_COLOURS[c.verdict]}"><b>{escape(c.verdict)}</b></td>'
            f'<td style="text-align:right;vertical-align:top">{"" if c.number is None else escape(short(c.number, 3))}</td>'
            f'<td style="{cell};max-width:44em">{escape(c.reason)}</td></tr>'
            for c in self.rows
        )
        head = "".join(f'<th style="text-align:left">{h}</th>' for h in ("check", "verdict", "number", "reason"))
        return f'<div style="font:13px/1.5 system-ui,sans-serif"><div>{escape(self._summary_line())}</div><table><tr>{head}</tr>{body}</table></div>'


def _plain_value(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _plain_value(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain_value(v) for v in value]
    if isinstance(value, np.ndarray):
        return _plain_value(value.tolist())
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
