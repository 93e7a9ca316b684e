"""``lime.discretize``: refused by name, because edges are given as numbers."""

from __future__ import annotations

from typing import Final

from whybox.compat.refused import refused_class

__all__ = ["BaseDiscretizer", "DecileDiscretizer", "EntropyDiscretizer", "QuartileDiscretizer", "StatsDiscretizer"]

_EDGES: Final = "give the edges of bins by column: wb.lime(model, X, background, discretizer={'age': [30, 50]})."
_NAMED: Final = "write its name: LimeTabularExplainer(X, discretizer={name!r})."

BaseDiscretizer: Final = refused_class("BaseDiscretizer", _EDGES)
StatsDiscretizer: Final = refused_class(
    "StatsDiscretizer", "pass rows like those of training; a thousand of them suffice for the edges."
)
QuartileDiscretizer: Final = refused_class("QuartileDiscretizer", _NAMED.format(name="quartile"))
DecileDiscretizer: Final = refused_class("DecileDiscretizer", _NAMED.format(name="decile"))
EntropyDiscretizer: Final = refused_class("EntropyDiscretizer", _NAMED.format(name="entropy"))
