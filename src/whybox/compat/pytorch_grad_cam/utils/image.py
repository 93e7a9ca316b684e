"""``pytorch_grad_cam.utils.image``: pictures before a network, and maps over pictures after it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from whybox.compat.refused import refuse
from whybox.errors import Argument, InputError, OptionError

__all__ = ["deprocess_image", "preprocess_image", "show_cam_on_image"]

OPENCV_JET = 2


def preprocess_image(img: npt.NDArray[Any], mean: Any = (0.5, 0.5, 0.5), std: Any = (0.5, 0.5, 0.5)) -> Any:
    """Return a picture (y, x, channels) as a tensor (1, channels, y, x) of float32, less `mean` and divided by `std` of each channel; of uint8 255 is 1."""
    import torch

    scaled = np.asarray(img, dtype=np.float32) / (255 if np.asarray(img).dtype == np.uint8 else 1)
    ready = (scaled - np.asarray(mean, dtype=np.float32)) / np.asarray(std, dtype=np.float32)
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(ready, -1, 0)))[None]


def deprocess_image(img: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Return numbers of any size as a picture of uint8: mean 0.5, standard deviation 0.1, cut to 0 ... 1."""
    centred = img - np.mean(img)
    return np.uint8(np.clip(centred / (np.std(centred) + 1e-5) * 0.1 + 0.5, 0, 1) * 255)  # type: ignore[return-value]  # of an array an array


def show_cam_on_image(
    img: npt.NDArray[Any],
    mask: npt.NDArray[Any],
    use_rgb: bool = False,
    colormap: Any = OPENCV_JET,
    image_weight: float = 0.5,
) -> npt.NDArray[np.uint8]:
    """Return a map over its picture, (y, x, 3) of uint8.

    Args:
        img: (y, x, 3), 0 ... 1. mask: (y, x), 0 ... 1. use_rgb: colours of the map are red, green, blue; False: blue, green, red, as OpenCV has them.
        colormap: name of a colour map of matplotlib; 2 is jet. image_weight: of the picture, 0 ... 1.

    Raises:
        OptionError: a number of another colour map, or a weight outside 0 ... 1. InputError: pictures or maps outside 0 ... 1.
    """
    from matplotlib import colormaps

    if isinstance(colormap, int) and colormap != OPENCV_JET:
        refuse(f"colormap={colormap}", "give the name of a colour map of matplotlib: colormap='viridis'.")
    if not 0 <= image_weight <= 1:
        raise OptionError(Argument("image_weight", image_weight), " must be between 0 and 1.")
    if np.max(img) > 1:
        raise InputError(Argument("img"), " must be floats between 0 and 1; divide it by 255.")
    steps = 255 * np.asarray(mask)
    if not (np.min(steps) > -1 and np.max(steps) < 256):  # beyond them colours would start again from the other end
        raise InputError(
            Argument("mask"), " must be between 0 and 1: divide a map by its largest number, after np.maximum(map, 0)."
        )
    colour_of: Any = colormaps["jet" if isinstance(colormap, int) else colormap]
    heat = colour_of(np.uint8(steps))[..., :3]
    both = (1 - image_weight) * (heat if use_rgb else heat[..., ::-1]) + image_weight * img
    return np.uint8(255 * (both / np.max(both)))  # type: ignore[return-value]  # of an array an array
