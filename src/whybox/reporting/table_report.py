"""The report about a model of tables: what is asked is settled, rows are explained once, and every section draws on them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from html import escape
from os import PathLike
from pathlib import Path
from typing import Any

from whybox.core.atomic_write import atomic_write
from whybox.core.progress import progress_of_parts
from whybox.data.table import as_table
from whybox.errors import Argument, InputError, LimitError, NonFiniteError, OptionError, UnsupportedModelError
from whybox.explanation.explanation import Explanation
from whybox.methods.common.words.tokenized import is_column_of_texts
from whybox.methods.method_spec import MethodSpec
from whybox.methods.shap.options import ShapOptions
from whybox.models.base import Model
from whybox.models.blackbox import BlackBox
from whybox.reporting.asked_rows import AskedRows, settle_rows
from whybox.reporting.cover import cover_html, report_title
from whybox.reporting.explained_rows import explain_report_rows
from whybox.reporting.facts import ReportData
from whybox.reporting.options import ReportOptions
from whybox.reporting.page import guide_html, html_page
from whybox.reporting.section import Section
from whybox.reporting.sections.importance import PERMUTATION_ID
from whybox.reporting.sections.more_methods import method_block, methods_of_tables

__all__ = ["table_report"]


def table_report(  # noqa: PLR0913  # all that a report takes
    model: Any,
    X: Any,
    path: str | Path,
    *,
    y: Any,
    background: Any,
    explained: ShapOptions,
    options: ReportOptions,
    sections: Sequence[Section],
    methods: Sequence[str],
) -> Explanation:
    """Write a report about a model of tables, and return the explanation that it shows.

    Args:
        model, X, path, y, background, sections, methods: as for ``whybox.report``. explained: how rows are explained. options: of the report.

    Raises:
        WhyboxError: as ``whybox.report``.
    """
    _refuse_texts_and_names(X, sections)
    more = methods_of_tables(methods)
    _check_shown(more, sections)
    asked = settle_rows(model, as_table(X), y, options, explained.scale)
    _check_background(asked.model, background)
    behind = None if background is None else as_table(background, what="the background")
    bodies = {}
    with progress_of_parts(len(sections) + 1, description="Report", unit="parts") as done:
        with _rows_by_id(asked):
            found = explain_report_rows(asked.model, asked.table, behind, explained, asked.truth, asked.chosen)
        done(1)
        facts = ReportData(asked, options, found, explained.output, explained.scale, explained.players, behind)
        for section in sorted(sections, key=lambda s: s.position):  # the last one shows what the others have noted
            of_section = [spec for spec in more if spec.section == section.anchor]
            bodies[section.anchor] = _with_methods(_built(section, facts), of_section, facts, asked.truth)
            done(1)
    name = options.model_name or (Path(model).name if isinstance(model, (str, PathLike)) else None)
    page = html_page(
        options.title or report_title(facts, name),
        [(s.anchor, s.heading, f"{guide_html(s.look_for, s.not_conclude)}{bodies[s.anchor]}") for s in sections if bodies[s.anchor] is not None],
        cover=cover_html(facts, name),
        follows=[s.anchor for s in sections if not s.begins_page],
    )  # fmt: skip
    with atomic_write(path) as part:
        part.write_text(page, encoding="utf-8")
    return found.explanation


@contextmanager
def _rows_by_id(asked: AskedRows) -> Iterator[None]:
    """Let an error about a row name its id, too."""
    try:
        yield
    except NonFiniteError as error:
        if error.row is None or asked.ids_name is None:
            raise
        name = f"{{row}} ({asked.ids_name} {asked.table.row_labels[error.row]})"
        parts = (part.replace("{row}", name) if isinstance(part, str) else part for part in error.message)
        raise NonFiniteError(*parts, row=error.row) from None


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
