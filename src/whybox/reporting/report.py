"""The report: one offline HTML file about a model and the rows it was asked about."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from whybox.adapters import is_network
from whybox.errors import Argument, InputError, OptionError
from whybox.methods.common.options import refuses_unknown_options
from whybox.methods.saliency.options import ReadingOptions
from whybox.methods.shap.options import ShapOptions
from whybox.reporting.contents import SECTIONS, Section
from whybox.reporting.network_report import network_report
from whybox.reporting.options import ReportOptions
from whybox.reporting.table_report import table_report

__all__ = ["report"]

_refuses_options_of_others = partial(refuses_unknown_options, options_class=ReportOptions)


@_refuses_options_of_others
def report(  # noqa: PLR0913  # the promise of the public surface
    model: Any,
    X: Any,
    path: str | Path,
    *,
    y: Any = None,
    background: Any = None,
    output: Any = None,
    scale: str | None = None,
    players: Any = None,
    title: str | None = None,
    source: str = "",
    model_name: str | None = None,
    role: str | None = None,
    rows: Any = None,
    ids: Any = None,
    by: Any = None,
    threshold: float | None = None,
    positive: Any = None,
    sections: Sequence[Section] = SECTIONS,
    methods: Sequence[str] | str | None = None,
    output_names: Sequence[str] | None = None,
    checks: Sequence[str] | str | None = None,
    embedding: str | None = None,
    tokenizer: Any = None,
    words: bool = False,
    channel_axis: Any = "auto",
    seed: int | None = None,
) -> Any:
    """Write a report: what the model is, how well it does, what it relies on, and single decisions, each picture with its numbers.

    A model that is not read is evaluated: some of the rows are explained, spread evenly over their predictions, with the two largest mistakes; each section takes at
    most about 100,000 predictions, and one that cannot be made says why.

    About a neural network: where it looks, by several methods side by side, and what the checks of these maps found.

    A single decision is said as a probability beside the average of the rows, where the model predicts probabilities. Each section says what to look for, and what
    it does not show.

    The file asks nothing of the network, needs no script, follows light and dark, and prints.

    Args:
        model, X, background, output, scale, players: as for ``whybox.explain``; a function of rows, or an estimator that is not read, takes a background. Of a network
            as for ``whybox.saliency``, output being its target.
        path: where to write; the file appears whole or not at all.
        y: the truth, one value a row, or the name of a column of X that holds it.
        title: of the page. source: where the rows come from, in words. model_name: what the model is called, a file or a version; None: the name of the file that
            `model` is. role: of tables with y: whether X is ``"held-out"`` from training or what the model was trained on, ``"train"``; scores and importance
            say so. sections: which parts, in order.
        rows: of tables: rows whose decisions are shown, at most 20, as positions counted from 0, or as ids where `ids` are given; None: typical and extreme
            ones, and the largest mistakes.
        ids: of tables: the column that names the rows, or one value a row; errors, report and results name rows by it.
        by: of tables: a column whose groups are compared (scores, error rates, predictions, attributions), a list of columns, or one value a row.
        threshold: of classifiers with y: the probability from which on a row counts as positive. positive: the class that this is about; None: of two classes
            the second.
        methods: of networks, ids of saliency methods (None: gradient, integrated gradients, Grad-CAM where it fits); of other models, ids of methods of
            importance and kinds of effects that are shown beside those of every report. output_names: of networks only: names of the outputs.
        checks: of networks only: as for ``whybox.check``; None: those that a count of passes finds cheap, and the page says which and why.
        channel_axis: of networks only, as for ``whybox.saliency``; seed: of what methods and checks draw (None: 0).
        embedding, tokenizer, words: of networks that read texts, as for ``whybox.saliency``.

    Returns:
        The explanation that the report shows; of a network the one by the first method, of several inputs the tuple of them.

    Raises:
        InputError: y, ids or by do not fit the rows or the model. OptionError: an option that does not go with the kind of model, a column or row that is not
            there, a threshold outside 0 to 1, of a regression or without y, or a path that is none.
        Others as for ``whybox.explain`` and ``whybox.saliency``.

    Examples:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from sklearn.datasets import load_diabetes
        >>> from sklearn.tree import DecisionTreeRegressor
        >>> import whybox as wb
        >>> X, y = load_diabetes(return_X_y=True, as_frame=True)
        >>> X = X[["bmi", "bp"]]
        >>> model = DecisionTreeRegressor(max_depth=3).fit(X, y)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     page = Path(folder) / "report.html"
        ...     explanation = wb.report(model, X[:20], path=page)
        ...     page.read_text()[:15].lower()
        '<!doctype html>'
    """
    _check_path(path)
    options = ReportOptions(
        title=title, source=source, model_name=model_name, role=role, rows=rows, ids=ids, by=by, threshold=threshold, positive=positive
    )  # fmt: skip
    reading = ReadingOptions(channel_axis=channel_axis, embedding=embedding, tokenizer=tokenizer, words=words)
    if is_network(model):
        _refuse_of_tables({"y": y, "players": players, "scale": scale} | options.of_tables(), sections)
        return network_report(
            model,
            X,
            path,
            output=output,
            output_names=output_names,
            background=background,
            methods=(methods,) if isinstance(methods, str) else methods,
            checks=checks,
            reading=reading,
            seed=0 if seed is None else seed,
            title=title,
            source=source,
        )
    of_networks = {
        "output_names": output_names,
        "checks": checks,
        "seed": seed,
        **reading.changed_options(),
    }
    for name, value in of_networks.items():
        if value is not None:
            raise OptionError(Argument(name, example=""), " is for neural networks.")
    options.check_truth(y)
    return table_report(
        model,
        X,
        path,
        y=y,
        background=background,
        explained=ShapOptions(output=output, scale=scale, players=players),
        options=options,
        sections=sections,
        methods=[methods] if isinstance(methods, str) else methods or [],
    )


def _refuse_of_tables(given: Mapping[str, Any], sections: Sequence[Section]) -> None:
    """Refuse, for a network, what only a report about a model of tables takes."""
    if all(value is None for value in given.values()) and sections is SECTIONS:
        return
    names: list[Any] = [(Argument(name, example=""), ", ") for name in given]
    names[-1] = names[-1][0], " and "
    raise OptionError(
        *names, Argument("sections", example=""), " are for models of tables; leave them out for a network."
    )


def _check_path(path: Any) -> None:
    if not isinstance(path, (str, os.PathLike)):
        raise OptionError(
            Argument("path", example=""),
            f" says where to write the page, for example 'report.html'; a {type(path).__name__} is no path. The truth goes to ",
            Argument("y", example=""),
            ".",
        )
    if Path(path).suffix.lower() not in ("", ".html", ".htm"):
        raise OptionError(
            Argument("path", str(path)),
            ": a report is an .html file; name it so, and print it from a browser for a PDF.",
        )
    if not Path(path).resolve().parent.is_dir():
        raise InputError(f"the folder {str(Path(path).parent)!r} does not exist.")
    if Path(path).is_dir() or not os.access(Path(path).resolve().parent, os.W_OK):
        raise InputError(f"{path} cannot be written: it is a folder, or in one that you may not write to.")
