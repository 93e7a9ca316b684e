"""The command ``whybox demo``: real data that ships with scikit-learn, a model trained on it here, explained, written as a report and as a table."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from whybox.cli.parser import CommandParser
from whybox.cli.shared import declare_command
from whybox.errors import InputError

__all__ = ["add_command", "demo"]

_TEXT: Final = """Train a model on real data that ships with scikit-learn, explain it, and write a report and a table of attributions.
It takes a few seconds and needs no file of yours."""

_NAMES = {
    "bmi": "body mass index", "bp": "blood pressure", "s1": "total cholesterol", "s2": "low-density lipoproteins", "s3": "high-density lipoproteins",
    "s4": "cholesterol ratio", "s5": "log of triglycerides", "s6": "blood sugar",
}  # fmt: skip


def add_command(commands: Any) -> None:
    """Add the command to the others."""
    declare_command(
        commands,
        "demo",
        _demo,
        _add_options,
        about="train a model on real data, explain it, write a report and a table",
        text=_TEXT,
    )


def _add_options(parser: CommandParser) -> None:
    parser.add_argument(
        "-o", "--output-folder", default="whybox-demo", metavar="FOLDER", help="where to write (default: %(default)s)"
    )


def _demo(options: argparse.Namespace) -> None:
    demo(Path(options.output_folder), print)


def demo(folder: Path, say: Callable[[str], None]) -> None:
    """Train, explain, write.

    Args:
        folder: where to write; made if it is not there. say: called with one line of text at a time.

    Raises:
        InputError: the folder cannot be made.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq
    from sklearn.datasets import load_diabetes
    from sklearn.ensemble import HistGradientBoostingRegressor
    from sklearn.model_selection import train_test_split

    from whybox.core.atomic_write import atomic_write
    from whybox.reporting.report import report

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make the folder {folder}: {error.strerror}.") from None
    data = load_diabetes(scaled=False)
    names = [_NAMES.get(n, n) for n in data.feature_names]
    rows, held_out, target, truth = train_test_split(data.data, data.target, random_state=0)
    say(
        f"Data: 442 diabetes patients (Efron et al., 2004), {len(names)} columns; {len(rows)} to train on, {len(held_out)} held out."
    )
    model = HistGradientBoostingRegressor(max_iter=120, learning_rate=0.05, random_state=0).fit(rows, target)
    say("Model: HistGradientBoostingRegressor, which predicts how far the disease has progressed after one year.")
    table = pa.table({name: held_out[:, i] for i, name in enumerate(names)})
    page, attributions = folder / "report.html", folder / "attributions.parquet"
    explanation = report(
        model,
        table,
        page,
        y=truth,
        role="held-out",
        title="Diabetes progression: what the model relies on",
        source="442 diabetes patients, the quarter held out from training",
    )
    with atomic_write(attributions) as part:
        pq.write_table(explanation.to_arrow(), part)
    top = ", ".join(explanation.feature_names[j] for j in explanation.ordered(3))
    say(
        f"Explained: {len(explanation)} rows exactly; attributions add up to the model's own predictions within {explanation.evidence.residual:.1g}. It relies most on {top}."
    )
    say(f"Report (open it in a browser): {page.resolve()}")
    say(f"Attributions:                  {attributions.resolve()}")
