"""How much a prediction rises with a raw output behind a link, between two rows."""

from __future__ import annotations

from typing import Final

import numpy as np

from whybox.data.table import Floats
from whybox.models.links import Link
from whybox.numerics.rounding import rounding_floor

__all__ = ["slopes_between"]

MIN_RAW_DISTANCE: Final = 1e-5  # raw outputs less far apart have the slope of the link over this much on either side, for their own would be rounding


def slopes_between(link: Link, fx: Floats, fb: Floats, k: int) -> Floats:
    """How much the prediction rises for what raw output k rises from a background row to a row, (rows, background rows)."""
    one, other = link(fx)[:, None, k], link(fb)[None, :, k]
    rise, apart = one - other, fx[:, None, k] - fb[None, :, k]
    out = np.divide(rise, apart, out=np.zeros(rise.shape), where=apart != 0)
    i, j = np.nonzero(np.abs(apart) < MIN_RAW_DISTANCE)
    middle = (fx[i] + fb[j]) / 2
    wide = ((link(middle + MIN_RAW_DISTANCE) - link(middle - MIN_RAW_DISTANCE)) / (2 * MIN_RAW_DISTANCE))[:, k]
    least = np.maximum(rounding_floor(link(fx))[k], rounding_floor(link(fb))[k])
    smooth = (apart[i, j] == 0) | (
        np.abs(wide * apart[i, j] - rise[i, j]) <= least
    )  # no jump of the link lies between them
    out[i[smooth], j[smooth]] = wide[smooth]
    return np.asarray(out)
