"""Panels: the effects that matter most side by side, on one scale."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from whybox.errors import OptionError
from whybox.plots.curve import curve
from whybox.plots.style import shorten_label

if TYPE_CHECKING:
    from whybox.explanation.effects import Effects

__all__ = ["grid"]


def grid(
    effects: Effects,
    *,
    max_display: int = 9,
    columns: int = 3,
    output: Any = None,
    color: Any = None,
    share_y: bool = True,
) -> npt.NDArray[Any]:
    """Draw one panel a feature, largest effect first.

    Args:
        effects: what to draw. max_display: how many. columns: panels a line. output: one of several outputs. color: as for a curve.
        share_y: whether all panels of one feature have the same scale, so that flat looks flat.

    Returns:
        The axes drawn on, (panels,).

    Raises:
        OptionError: numbers that are not positive.
    """
    if max_display < 1 or columns < 1:
        raise OptionError("max_display and columns must be at least 1.")
    import matplotlib.pyplot as plt

    names = effects.ordered(max_display)
    columns = min(columns, len(names))
    lines = -(-len(names) // columns)
    figure, cells = plt.subplots(
        lines, columns, figsize=(3.7 * columns, 2.9 * lines), layout="constrained", squeeze=False
    )
    drawn = []
    for at, name in zip(cells.flat, names, strict=False):
        e = effects[name]
        curve(
            e,
            color=color,
            output=output,
            ax=at,
            legend=False,
            title="" if name in (next(iter(e.players)), tuple(e.players)) else shorten_label(str(name), 34),
        )
        if at not in cells[:, 0]:
            at.set_ylabel("")
        drawn.append((at, "point_2" in e.dims))
    for at in cells.flat[len(names) :]:
        at.remove()
    lone = [at for at, surface in drawn if not surface]
    if share_y and lone:
        low = min(at.get_ylim()[0] for at in lone)
        high = max(at.get_ylim()[1] for at in lone)
        for at in lone:
            at.set_ylim(low, high)
    if "output" in effects[names[0]].dims and output is None and lone:
        handles, labels = lone[0].get_legend_handles_labels()
        figure.legend(
            handles,
            [shorten_label(w, 20) for w in labels],
            loc="outside upper right",
            ncols=min(len(labels), 6),
            frameon=False,
            fontsize="small",
        )
    caution = effects[names[0]].evidence.caution
    if caution:
        figure.supxlabel(shorten_label(caution, 160), fontsize="small")
    return np.array([at for at, _ in drawn], dtype=object)
