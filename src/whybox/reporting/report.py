"""The report: one offline HTML file about a model and the rows it was asked about."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from whybox.adapters import is_network
from whybox.api.explain import explain
from whybox.core.atomic_write import atomic_write
from whybox.data.table import Table, as_table
from whybox.errors import InputError, OptionError, did_you_mean
from whybox.explanation.explanation import Explanation
from whybox.kernels.predict import raw
from whybox.models.base import Model
from whybox.models.registry import as_model
from whybox.reporting.contents import SECTIONS, Section
from whybox.reporting.facts import ReportData
from whybox.reporting.network_report import network_report
from whybox.reporting.page import page
from whybox.reporting.performance import Performance, measure

__all__ = ["report"]


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

    About a neural network: where it looks, by several methods side by side, and what the checks of these maps found.

    The file asks nothing of the network, needs no script, follows light and dark, and prints.

    Args:
        model, X, background, output, scale, players: as for ``whybox.explain``; of a network as for ``whybox.saliency``, output being its target.
        path: where to write; the file appears whole or not at all.
        y: the truth, one value a row, or the name of a column of X that holds it.
        title: of the page. source: where the rows come from, in words. sections: which parts, in order.
        methods, output_names: of networks only: saliency methods (None: gradient, integrated gradients, Grad-CAM where it fits); names of the outputs.
        checks: of networks only: as for ``whybox.check``; None: those that a count of passes finds cheap, and the page says which and why.
        channel_axis: of networks only, as for ``whybox.saliency``; seed: of what methods and checks draw (None: 0).
        embedding, tokenizer, words: of networks that read texts, as for ``whybox.saliency``.

    Returns:
        The explanation that the report shows; of a network the one by the first method, of several inputs the tuple of them.

    Raises:
        InputError: y does not fit the rows or the model. OptionError: an option that does not go with the kind of model, or a path that is none.
        Others as for ``whybox.explain`` and ``whybox.saliency``.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise OptionError(
            f"path= says where to write the page, for example path='report.html'; a {type(path).__name__} is no path. The truth goes to y=: report(model, X, path=..., y=...)."
        )
    if not Path(path).resolve().parent.is_dir():
        raise InputError(f"the folder {str(Path(path).parent)!r} does not exist.")
    if Path(path).is_dir() or not os.access(Path(path).resolve().parent, os.W_OK):
        raise InputError(f"{path} cannot be written: it is a folder, or in one that you may not write to.")
    if is_network(model):
        if any(given is not None for given in (y, players, scale)) or sections is not SECTIONS:
            raise OptionError(
                "y=, players=, scale= and sections= are for models of tables; a report about a network takes output=, methods= and output_names=."
            )
        return network_report(
            model,
            X,
            path,
            output=output,
            output_names=output_names,
            background=background,
            methods=(methods,) if isinstance(methods, str) else methods,
            checks=checks,
            reading={"channel_axis": channel_axis, "embedding": embedding, "tokenizer": tokenizer, "words": words},
            seed=0 if seed is None else seed,
            title=title,
            source=source,
        )
    of_networks = {
        "methods": methods,
        "output_names": output_names,
        "checks": checks,
        "embedding": embedding,
        "tokenizer": tokenizer,
        "seed": seed,
        "channel_axis": None if channel_axis == "auto" else channel_axis,
    }
    for name, value in of_networks.items():
        if value is not None:
            raise OptionError(f"{name}= is for neural networks.")
    adapted = as_model(model)
    table = as_table(X)
    truth, truth_name = _truth(table, y)
    if isinstance(y, str) and not adapted.inputs.reads(y):
        table = table.select([i for i, name in enumerate(table.names) if name != y])
    explanation = explain(adapted, table, background, output=output, scale=scale, players=players)
    performance = None if truth is None else _performance(adapted, explanation, truth)
    facts = ReportData(adapted, explanation, performance, truth_name, source, output, scale)
    built = [(s.anchor, s.heading, s.build(facts)) for s in sections]
    html = page(
        title or f"Explanation of {adapted.kind}",
        f"{len(explanation):,} rows" + (f" from {source}" if source else ""),
        [(a, h, b) for a, h, b in built if b is not None],
    )
    with atomic_write(path) as part:
        part.write_text(html, encoding="utf-8")
    return explanation


def _truth(table: Table, y: Any) -> tuple[npt.NDArray[Any] | None, str | None]:
    if y is None:
        return None, None
    if isinstance(y, str):
        if y not in table.names:
            raise OptionError(f"y={y!r} is not a column of the rows.{did_you_mean(y, table.names)}")
        return table.column(table.names.index(y)).objects(), y
    values = np.asarray(y, dtype=object).reshape(-1)
    if len(values) != len(table):
        raise InputError(f"y has {len(values)} values for {len(table)} rows.")
    name = getattr(y, "name", None)
    return values, None if name is None else str(name)


def _performance(model: Model, explanation: Explanation, truth: npt.NDArray[Any]) -> Performance | None:
    assert explanation.data is not None  # noqa: S101  # explanations of rows keep them
    blocks = [model.inputs.block(block, start) for start, block in explanation.data.blocks(65536)]
    return measure(model, np.concatenate([raw(model, b) for b in blocks]), truth)
