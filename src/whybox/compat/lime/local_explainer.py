"""What the explainers of rows, texts and pictures share: arguments of lime, and how an explanation is filled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

from whybox.compat.lime.arguments import check_kernel, check_selection, print_fit
from whybox.compat.lime.explanation import Explanation, LocalNumbers, fill_labels
from whybox.compat.seeds import as_seed

__all__ = ["LocalExplainer", "LocalQuestion"]


@final
@dataclass(frozen=True, kw_only=True)
class LocalQuestion:
    """What is asked about rows or texts, but for these and the model: the arguments of ``explain_instance``.

    Attributes:
        labels, top_labels, num_features, num_samples, model_regressor: as of ``LimeTabularExplainer.explain_instance``. distance_metric: None: that of lime.
    """

    labels: Sequence[int] = (1,)
    top_labels: int | None = None
    num_features: int = 10
    num_samples: int = 5000
    distance_metric: str | None = None
    model_regressor: Any = None


class LocalExplainer:
    """Base of the explainers.

    Args:
        kernel, kernel_width, verbose, feature_selection, random_state: as in lime.

    Raises:
        OptionError: an argument that is not honoured or not known.
    """

    def __init__(
        self, *, kernel: Any, kernel_width: float | None, verbose: bool, feature_selection: str, random_state: Any
    ) -> None:
        check_kernel(kernel)
        self.kernel_width, self.verbose = kernel_width, verbose
        self.feature_selection, self._shows_largest = feature_selection, check_selection(feature_selection)
        self.random_state = as_seed(random_state)

    def _fill(
        self, found: Explanation, numbers: LocalNumbers, chosen: list[int], top_labels: int | None, num_features: int
    ) -> None:
        """Fill in the weights and fits of the chosen labels, and print the fits where lime does.

        Args:
            found: has its predictions. numbers, chosen: as of :func:`fill_labels`. top_labels, num_features: as the caller gave them.
        """
        found.top_labels = chosen if top_labels and found.mode == "classification" else None
        fill_labels(found, numbers, chosen, num_features if self._shows_largest else None)
        if self.verbose:
            print_fit(found)
