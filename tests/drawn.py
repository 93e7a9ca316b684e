"""What tests of figures share."""

from __future__ import annotations


def inside(figure, by=0.03):
    """Everything that is drawn lies inside the figure: no label is cut off."""
    figure.draw_without_rendering()  # labels are laid out, and no pixel is filled
    box, size = figure.get_tightbbox(), figure.get_size_inches()
    assert min(box.x0, box.y0) > -by
    assert box.x1 < size[0] + by
    assert box.y1 < size[1] + by
