"""Kinds of explanations and their axes, and words by which parts of an explanation know each other."""

from __future__ import annotations

from typing import Final

__all__ = ["EXPLANATION_KINDS", "KINDS_FROM_A_BASE", "OFFSET_INSIDE_SETTING", "OFFSET_SETTING", "PAIR_SEPARATOR"]

# kind -> the axes it may have, in order; "output" is there only where the model has several
EXPLANATION_KINDS: Final = {
    "attribution": ("row", "word", "feature", "output"),
    "interaction": ("row", "feature", "feature_2", "output"),
    "importance": ("feature", "output"),
    "local": ("width", "row", "word", "feature", "output"),
    "rule": ("row", "feature"),
    "agreement": ("feature", "method"),
    "effect": ("row", "point", "point_2", "output"),
    "interaction_size": ("feature", "feature_2", "output"),
    # of saliency, the axes between rows and outputs stand in the network's own order
    "saliency": (
        "row",
        "channel",
        "time",
        "z",
        "y",
        "x",
        "token",
        "word",
        "part",
        "axis_1",
        "axis_2",
        "axis_3",
        "axis_4",
        "feature",
        "output",
    ),
}
KINDS_FROM_A_BASE: Final = ("attribution", "interaction")  # whose values lead from the base to the prediction
# of the evidence: the library's word for offsets that the rows have, on the additive scale or inside a link
OFFSET_SETTING: Final = "offset"
OFFSET_INSIDE_SETTING: Final = "offset_inside_link"
PAIR_SEPARATOR: Final = " \N{MULTIPLICATION SIGN} "  # between the names of two features in a term
