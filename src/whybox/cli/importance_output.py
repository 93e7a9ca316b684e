"""What ``whybox importance`` prints, one line a feature, and the file that it writes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from whybox.cli.shared import write_table
from whybox.cli.text_table import aligned_lines, short_name

__all__ = ["SAVED_SUFFIX", "importance_lines", "write_importance"]

SAVED_SUFFIX: Final = ".whybox"
MAX_LINES: Final = 50  # features that are printed


def importance_lines(e: Any, out: Path | None) -> list[str]:
    """Return the values as aligned lines, largest first: the value with its error, its interval and that of its rank, and p and q of a test.

    Args:
        e: an importance of one output. out: the file that holds all of it, or None.
    """
    import numpy as np

    from whybox.explanation.html import number_text
    from whybox.explanation.importance_cells import importance_cells, interval_heading

    order = np.argsort(-e.values, kind="stable")
    shown = order[:MAX_LINES]
    names = [short_name(e.feature_names[j]) for j in shown]
    columns = {"feature": names, "value": [number_text(float(e.values[j])) for j in shown]}
    if e.std_error is not None:
        columns["+- error"] = [f"+- {number_text(float(e.std_error[j]), 2)}" for j in shown]
    cells = importance_cells(e, shown)
    off_data = cells.pop("off_data", None)
    columns |= {interval_heading(e) if name == "interval" else name: texts for name, texts in cells.items()}
    if "train" in e.extras:
        trained = (e.extras[name][1][shown] for name in ("train", "train_error"))
        texts = [f"{number_text(float(v))} +- {number_text(float(s), 2)}" for v, s in zip(*trained, strict=True)]
        columns["on training rows"] = texts
    if off_data is not None:
        columns["off the data"] = off_data
    lines = aligned_lines(columns)
    left = len(order) - len(shown)
    if left:
        where = f"all are in {out}" if out else "-o FILE writes all"
        lines.append(f"and {left:,} smaller feature{'s' * (left > 1)}; {where}")
    return lines


def write_importance(found: Mapping[str, Any], compared: Any, out: Path) -> None:
    """Write the numbers of each method, one line a feature, and the evidence into the metadata where the format has a place for it.

    Args:
        found: method -> importance. compared: several of them as one, else None. out: where to; a ``.whybox`` file holds the only one, or what several compare to.
    """
    import pyarrow as pa

    if out.suffix.lower() == SAVED_SUFFIX:
        (next(iter(found.values())) if compared is None else compared).save(out)
        return
    tables = {method: e.to_arrow().replace_schema_metadata(None) for method, e in found.items()}
    if len(tables) > 1:
        tables = {m: t.add_column(0, "method", pa.array([m] * t.num_rows)) for m, t in tables.items()}
    about = {
        method: {
            "units": e.units,
            "players": {n: list(c) for n, c in e.players.items()},
            "evidence": e.evidence.to_dict(),
        }
        for method, e in found.items()
    }
    findings = {} if compared is None else {"findings": compared.findings}
    table = pa.concat_tables(tables.values(), promote_options="default")
    write_table(table, out, {"kind": "importance", "methods": about, **findings})
