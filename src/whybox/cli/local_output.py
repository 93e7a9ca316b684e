"""What ``whybox lime`` and ``whybox explain --text`` print: for each row and output the largest values, with their conditions or words."""

from __future__ import annotations

from typing import Any, Final

from whybox.cli.text_table import aligned_lines, short_name

__all__ = ["local_lines", "pair_lines"]

MAX_FEATURES_PRINTED: Final = 10
MAX_CONDITION_LENGTH: Final = 60


def local_lines(e: Any) -> list[str]:
    """Return local values, or attributions of words, as lines: of each row and output its predictions, warnings, and a line for each of the largest features.

    Args:
        e: local values or attributions of words with a row axis.
    """
    from whybox.explanation.local_rows import one_row

    lines: list[str] = []
    for i in range(len(e.coords["row"])):
        one = one_row(e, i)
        for k in range(len(e.output_names)) if "output" in e.dims else [None]:
            lines += _row_lines(one if k is None else one[..., k])
    return lines


def pair_lines(e: Any) -> list[str]:
    """Return the interactions of the words of one text as lines: of each output its predictions, and a line for each of the largest pairs, whole.

    Args:
        e: interactions of one text, with a row axis.
    """
    import numpy as np

    from whybox.explanation.html import number_text
    from whybox.explanation.kinds import PAIR_SEPARATOR
    from whybox.explanation.local_rows import row_name

    lines: list[str] = []
    for k in range(len(e.output_names)) if "output" in e.dims else [None]:
        one = e[0] if k is None else e[0, ..., k]
        first, second = np.triu_indices(len(e.feature_names), 1)
        size = 2 * one.values[first, second]  # half of it stands on either side of the diagonal
        order = np.argsort(-np.abs(size), kind="stable")[:MAX_FEATURES_PRINTED]
        columns = {
            "pair": [
                f"{short_name(e.feature_names[first[j]])}{PAIR_SEPARATOR}{short_name(e.feature_names[second[j]])}"
                for j in order
            ],
            "interaction": [number_text(float(size[j])) for j in order],
        }
        head = f"row {row_name(one)}: prediction {number_text(float(one.prediction), 3)}, base {number_text(float(one.base), 3)}"
        left = len(size) - len(order)
        more = [f"  and {left:,} smaller pair{'s' * (left > 1)}"] if left else []
        lines += [head, *(f"  {line}" for line in aligned_lines(columns)), *more]
    return lines


def _row_lines(e: Any) -> list[str]:
    from whybox.explanation.html import number_text
    from whybox.explanation.local_rows import local_headline, local_remarks, row_name
    from whybox.explanation.local_words import has_words, word_labels

    order = e.ordered(MAX_FEATURES_PRINTED)
    of_text = has_words(e)
    names, name = (word_labels(e), "word") if of_text else (e.extras["condition"][1], "condition")
    columns = {name: [short_name(str(names[j]), MAX_CONDITION_LENGTH) for j in order]}
    remarks: tuple[str, ...] = ()
    if "width" in e.dims:
        head = f"row {row_name(e)}"
        columns |= {
            f"width {number_text(float(width), 3)}": [number_text(float(v)) for v in values[order]]
            for width, values in zip(e.coords["width"], e.values, strict=True)
        }
    else:
        head, remarks = local_headline(e), local_remarks(e)
        columns["value"] = [number_text(float(e.values[j])) for j in order]
        if e.std_error is not None:
            columns["+- error"] = [f"+- {number_text(float(e.std_error[j]), 2)}" for j in order]
    left = e.shape[-1] - len(order)
    more = [f"  and {left:,} smaller {'word' if of_text else 'feature'}{'s' * (left > 1)}"] if left else []
    return [head, *(f"  {text}" for text in remarks), *(f"  {line}" for line in aligned_lines(columns)), *more]
