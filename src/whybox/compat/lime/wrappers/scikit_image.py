"""``lime.wrappers.scikit_image``: segments of a picture by scikit-image."""

from __future__ import annotations

import inspect
from typing import Any, Final, final

from whybox.errors import Argument, MissingDependencyError, OptionError

__all__ = ["SegmentationAlgorithm"]

ALGORITHMS: Final = ("quickshift", "felzenszwalb", "slic")


@final
class SegmentationAlgorithm:
    """A function of scikit-image that cuts a picture into segments.

    Args:
        algo_type: ``"quickshift"``, ``"felzenszwalb"`` or ``"slic"``. target_params: its arguments, by name. ``random_seed`` is written as scikit-image calls it today.

    Raises:
        OptionError: another algorithm, or an argument that it does not have. MissingDependencyError: scikit-image is not installed.
    """

    def __init__(self, algo_type: str, **target_params: Any) -> None:
        if algo_type not in ALGORITHMS:
            raise OptionError(Argument("algo_type", algo_type), " is not known.", known=ALGORITHMS)
        self.algo_type = algo_type
        self.target_params: dict[str, Any] = {}
        self.set_params(**target_params)

    def set_params(self, **params: Any) -> None:
        """Set arguments of the algorithm.

        Raises:
            OptionError: it has no such argument.
        """
        known = inspect.signature(_function(self.algo_type)).parameters
        for name, value in params.items():
            used = "rng" if name == "random_seed" and "rng" in known else name
            if used not in known or used == "image":
                raise OptionError(Argument(name, example=""), f" is no argument of {self.algo_type}.")
            self.target_params[used] = value

    def __call__(self, image: Any) -> Any:
        """Return the number of the segment of each position, (y, x)."""
        return _function(self.algo_type)(image, **self.target_params)


def _function(name: str) -> Any:
    try:
        import skimage.segmentation
    except ImportError:
        raise MissingDependencyError("scikit-image", "cutting a picture into segments") from None
    return getattr(skimage.segmentation, name)
