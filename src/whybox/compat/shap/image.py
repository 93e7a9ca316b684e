"""``shap.image_plot``: pictures, and beside each the maps of its outputs."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from whybox.compat.refused import refuse
from whybox.compat.shap.explanation import Explanation
from whybox.errors import InputError
from whybox.plots.style import diverging_colormap

__all__ = ["image"]

BRIGHTEST: Final = 99.9  # percentile of absolute values at which the colours of a row end, as in shap
FAINT: Final = 0.15  # opacity of the picture under a map, as in shap


def image(
    shap_values: Any,
    pixel_values: Any = None,
    labels: Any = None,
    true_labels: Any = None,
    width: float = 20,
    aspect: float = 0.2,
    hspace: Any = 0.2,
    labelpad: Any = None,
    cmap: Any = None,
    vmax: float | None = None,
    show: bool = True,  # as shap has it
) -> Any:
    """Draw each picture, and a map for each of its outputs: the sum over channels, on one scale for a row of the figure.

    Args:
        shap_values: (rows, y, x, channels, outputs), a list with one (rows, y, x, channels) for each output, or one array without outputs. pixel_values: (rows, y, x,
            channels). labels: names of the outputs; (rows, outputs) where each row has its own. true_labels: of the rows. width: most inches. vmax: where the colours
            end. aspect, hspace, labelpad: taken, figures have their own spaces. cmap: refused.

    Returns:
        The axes, (rows, 1 + outputs); None if they are shown.

    Raises:
        OptionError: another `cmap`. InputError: arrays that do not fit each other.
    """
    import matplotlib.pyplot as plt

    if cmap is not None:
        refuse("cmap of shap.image_plot", "the axes are returned with show=False: ax.images[-1].set_cmap(...).")
    if isinstance(shap_values, Explanation):
        pixel_values = shap_values.data if pixel_values is None else pixel_values
        shap_values = np.asarray(shap_values.values)
    maps = _maps(shap_values, pixel_values)
    pictures, names = np.asarray(pixel_values, dtype=float), _names(labels, maps)
    rows, outputs = maps.shape[0], maps.shape[-1]
    size = np.array([3.0 * (outputs + 1), 2.5 * (rows + 1)])
    _, axes = plt.subplots(
        rows, outputs + 1, figsize=size * min(1, width / size[0]), squeeze=False, layout="constrained"
    )
    for row in range(rows):
        picture, grey = _shown(pictures[row]), _shown(pictures[row].mean(axis=-1, keepdims=True))
        axes[row, 0].imshow(picture, cmap="gray")
        if true_labels is not None:
            axes[row, 0].set_title(str(true_labels[row]), fontsize="small")
        limit = vmax or float(np.percentile(np.abs(maps[row]), BRIGHTEST)) or 1.0
        for k in range(outputs):
            ax = axes[row, k + 1]
            ax.imshow(grey, cmap="gray", alpha=FAINT)
            drawn = ax.imshow(maps[row, ..., k], cmap=diverging_colormap(), vmin=-limit, vmax=limit)
            if names is not None and (row == 0 or np.ndim(labels) == 2):
                ax.set_title(names[row][k], fontsize="small")
        axes[row, 0].figure.colorbar(drawn, ax=list(axes[row]), shrink=0.7, label="shap value")
    for ax in axes.ravel():
        ax.set_axis_off()
    if show:
        plt.show()
        return None
    return axes


def _maps(given: Any, pixels: Any) -> npt.NDArray[np.float64]:
    """Maps (rows, y, x, outputs), summed over channels.

    Raises:
        InputError: they have not the shape of the pictures.
    """
    values = (
        np.stack([np.asarray(v) for v in given], axis=-1) if isinstance(given, (list, tuple)) else np.asarray(given)
    )
    shape = np.shape(pixels)
    if len(shape) != 4:
        raise InputError(
            f"shap.image_plot needs pictures (rows, y, x, channels) as pixel_values; these have the shape {shape}."
        )
    if values.shape == shape:
        values = values[..., None]
    if values.shape[:-1] != shape:
        raise InputError(
            f"values of shape {values.shape} are not of pictures {shape}: (rows, y, x, channels, outputs). Those of torch have channels first: "
            "numpy.moveaxis(values, 1, 3) and numpy.moveaxis(pictures, 1, 3)."
        )
    return np.asarray(values.sum(axis=-2), dtype=float)


def _names(labels: Any, maps: npt.NDArray[np.float64]) -> list[list[str]] | None:
    """The name of each output of each row.

    Raises:
        InputError: not as many as there are outputs.
    """
    if labels is None:
        return None
    names = np.asarray(labels, dtype=object)
    names = np.broadcast_to(names, (len(maps), *names.shape[-1:])) if names.ndim == 1 else names
    if names.shape != (len(maps), maps.shape[-1]):
        raise InputError(
            f"labels have the shape {names.shape}, and there are {len(maps)} rows of {maps.shape[-1]} outputs."
        )
    return [[str(name) for name in row] for row in names]


def _shown(picture: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """A picture as matplotlib draws it: grey ones without their channel, others between 0 and 1."""
    if picture.shape[-1] != 3:
        return np.asarray(picture.mean(axis=-1))
    low, high = picture.min(), picture.max()
    if low >= 0 and high <= 1:
        return picture
    return np.asarray(picture / 255 if low >= 0 and high <= 255 else (picture - low) / (high - low or 1))
