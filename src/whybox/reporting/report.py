"""The report: one offline HTML file about a model and the rows it was asked about."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy.typing as npt  # noqa: TC002  # as elsewhere

from whybox.adapters import is_network
from whybox.core.atomic_write import atomic_write
from whybox.data.table import Table, as_table
from whybox.errors import Argument, InputError, LimitError, OptionError, UnsupportedModelError
from whybox.methods.common.options import refuses_unknown_options
from whybox.methods.common.words.tokenized import is_column_of_texts
from whybox.methods.importance.options import ROLES
from whybox.methods.method_spec import MethodSpec
from whybox.methods.saliency.options import ReadingOptions
from whybox.methods.shap.options import ShapOptions
from whybox.models.base import Model
from whybox.models.blackbox import BlackBox
from whybox.models.losses import one_value_a_row
from whybox.models.readable import read_or_black_box
from whybox.reporting.contents import SECTIONS, Section
from whybox.reporting.explained_rows import explain_report_rows
from whybox.reporting.facts import ReportData
from whybox.reporting.network_report import network_report
from whybox.reporting.page import html_page
from whybox.reporting.sections.importance import PERMUTATION_ID
from whybox.reporting.sections.more_methods import method_block, methods_of_tables

__all__ = ["report"]


@refuses_unknown_options
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
    role: str | None = None,
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

    The file asks nothing of the network, needs no script, follows light and dark, and prints.

    Args:
        model, X, background, output, scale, players: as for ``whybox.explain``; a function of rows, or an estimator that is not read, takes a background. Of a network
            as for ``whybox.saliency``, output being its target.
        path: where to write; the file appears whole or not at all.
        y: the truth, one value a row, or the name of a column of X that holds it.
        title: of the page. source: where the rows come from, in words. role: of tables with y: whether X is ``"held-out"`` from training or what the model
            was trained on, ``"train"``; scores and importance say so. sections: which parts, in order.
        methods: of networks, ids of saliency methods (None: gradient, integrated gradients, Grad-CAM where it fits); of other models, ids of methods of
            importance and kinds of effects that are shown beside those of every report. output_names: of networks only: names of the outputs.
        checks: of networks only: as for ``whybox.check``; None: those that a count of passes finds cheap, and the page says which and why.
        channel_axis: of networks only, as for ``whybox.saliency``; seed: of what methods and checks draw (None: 0).
        embedding, tokenizer, words: of networks that read texts, as for ``whybox.saliency``.

    Returns:
        The explanation that the report shows; of a network the one by the first method, of several inputs the tuple of them.

    Raises:
        InputError: y does not fit the rows or the model. OptionError: an option that does not go with the kind of model, or a path that is none.
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
    reading = ReadingOptions(channel_axis=channel_axis, embedding=embedding, tokenizer=tokenizer, words=words)
    if is_network(model):
        _refuse_of_tables({"y": y, "players": players, "scale": scale, "role": role}, sections)
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
    _refuse_texts_and_names(X, sections)
    _check_role(role, y)
    more = methods_of_tables([methods] if isinstance(methods, str) else methods or [])
    _check_shown(more, sections)
    table = as_table(X)
    truth, truth_name = _resolve_truth(table, y)
    adapted, table = _model_and_rows(model, table, y if isinstance(y, str) else None, scale)
    _check_background(adapted, background)
    behind = None if background is None else as_table(background, what="the background")
    options = ShapOptions(output=output, scale=scale, players=players)
    explained = explain_report_rows(adapted, table, behind, options, truth)
    facts = ReportData(adapted, explained, truth_name, source, output, scale, players, behind, truth, role)
    built = [
        (s.anchor, s.heading, _with_methods(_built(s, facts), [m for m in more if m.section == s.anchor], facts, truth))
        for s in sections
    ]
    html = html_page(
        title or f"Explanation of {adapted.kind}",
        f"{len(explained.rows):,} rows" + (f" from {source}" if source else ""),
        [(a, h, b) for a, h, b in built if b is not None],
    )
    with atomic_write(path) as part:
        part.write_text(html, encoding="utf-8")
    return explained.explanation


def _refuse_of_tables(given: Mapping[str, Any], sections: Sequence[Section]) -> None:
    """Refuse, for a network, what only a report about a model of tables takes."""
    if all(value is None for value in given.values()) and sections is SECTIONS:
        return
    names: list[Any] = [(Argument(name, example=""), ", ") for name in given]
    names[-1] = names[-1][0], " and "
    raise OptionError(
        *names, Argument("sections", example=""), " are for models of tables; leave them out for a network."
    )


def _refuse_texts_and_names(X: Any, sections: Sequence[Any]) -> None:
    """Refuse texts in place of rows, and names in place of sections.

    Raises:
        InputError, OptionError: they are there.
    """
    if not all(isinstance(section, Section) for section in sections):
        raise OptionError(
            Argument("sections"), " must be sections of whybox.reporting.contents.SECTIONS, not their names."
        )
    if is_column_of_texts(X):
        raise InputError(
            "a report is about rows of a table, and these are texts. wb.explain(model, texts) or wb.lime(model, texts) explains them, and draws them by .plot.words()."
        )


def _check_role(role: Any, y: Any) -> None:
    if role not in (None, *ROLES):
        raise OptionError(Argument("role", role), " is not known.", known=ROLES)
    if role is not None and y is None:
        raise OptionError(
            Argument("role", role), " says which rows scores and importance are measured on; that takes the truth, ", Argument("y", example=""), "."
        )  # fmt: skip


def _check_shown(more: Sequence[MethodSpec], sections: Sequence[Section]) -> None:
    for spec in more:
        if spec.section not in {s.anchor for s in sections}:
            raise OptionError(
                Argument("methods", spec.id),
                f" is shown in the section {spec.section!r}, which is not among ",
                Argument("sections"),
                ".",
            )


def _with_methods(html: str | None, more: Sequence[MethodSpec], facts: ReportData, truth: Any) -> str | None:
    """A section with the methods that were named beside its own; of importance by permutation it shows that itself where there is a truth."""
    own = () if truth is None else (PERMUTATION_ID,)
    blocks = [method_block(facts, spec, truth) for spec in more if spec.method_id not in own]
    return "".join([html or "", *blocks]) if blocks else html


def _model_and_rows(model: Any, table: Table, y: str | None, scale: Any) -> tuple[Model, Table]:
    """The model as it is read, or else as a black box; and its rows, without the column of the truth unless the model knows it."""
    without = table if y is None else table.select([i for i, name in enumerate(table.names) if name != y])
    learned = y is not None and y in getattr(model, "feature_names_in_", ())
    adapted = read_or_black_box(model, table if learned else without, scale=scale)
    return adapted, table if y is not None and adapted.inputs.reads_column(y) else without


def _check_background(model: Model, background: Any) -> None:
    """Refuse a black box without a background.

    Raises:
        OptionError: there is none.
    """
    if isinstance(model, BlackBox) and background is None:
        raise OptionError(
            f"this is {model.kind}: it is evaluated, which takes rows like those of training, whose values absent features take. Pass them: ",
            Argument("background", example="X_train"),
            ".",
        )


def _built(section: Section, facts: ReportData) -> str | None:
    """A section; of a model that is evaluated, the reason in place of one that cannot be made."""
    try:
        return section.build(facts)
    except (OptionError, InputError, UnsupportedModelError, LimitError) as reason:
        if not facts.is_evaluated:
            raise
        return f"<p class=faint>Not shown: {escape(str(reason))}</p>"


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


def _resolve_truth(table: Table, y: Any) -> tuple[npt.NDArray[Any] | None, str | None]:
    if y is None:
        return None, None
    if isinstance(y, str):
        if y not in table.names:
            raise OptionError(Argument("y", y), " is not a column of the rows.", known=table.names)
        return table.column(table.names.index(y)).objects(), y
    name = getattr(y, "name", None)
    return one_value_a_row(y, len(table)), None if name is None else str(name)
