"""``shap.maskers``: what absent features, or words, are replaced by."""

from __future__ import annotations

from typing import Any, final

import numpy as np

from whybox.compat.refused import refuse
from whybox.compat.shap.backgrounds import CUT_BY_SHAP, Background, sample
from whybox.errors import InputError

__all__ = ["Composite", "Fixed", "Image", "Impute", "Independent", "Masker", "Partition", "Text", "linkage_of_features"]


class Masker:
    """Base of all maskers."""

    clustering: Any = None

    def background(self) -> Background:
        """Return the rows that absent features take their values from.

        Raises:
            OptionError: the masker is not of tables.
        """
        refuse(f"a table masked by {type(self).__name__}", "pass rows, or maskers.Independent(rows).")


class _OfRows(Masker):
    """Rows, all of which count unless somebody says otherwise."""

    def __init__(self, data: Any, max_samples: int | None = None) -> None:
        self._is_mean = isinstance(data, dict) and "mean" in data
        if self._is_mean:
            data = np.asarray(data["mean"], dtype=np.float64)[None, :]
        self.max_samples = max_samples
        self.data = data if max_samples is None else sample(data, max_samples)

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows and features."""
        shape: tuple[int, ...] = self.data.shape
        return shape

    def background(self) -> Background:
        """Return the rows that absent features take their values from."""
        count = int(self.data.shape[0])
        most = min(count, CUT_BY_SHAP) if self.max_samples is None else count
        return Background(self.data, clustering=self.clustering, most_counted=most)


@final
class Independent(_OfRows):
    """Absent features take the values of rows, whatever the other features are.

    Args:
        data: array, frame or sparse matrix, or ``{"mean": ..., "cov": ...}``. max_samples: draw so many rows, as shap does; None: every row counts (shap: 100).
    """


@final
class Partition(_OfRows):
    """As :class:`Independent`, with a hierarchy of the features: their values are Owen values.

    Args:
        data: array or frame of numbers. max_samples: as for :class:`Independent`.
        clustering: a metric of scipy.spatial.distance.pdist between features, joined by single linkage; or a linkage matrix.
    """

    def __init__(self, data: Any, max_samples: int | None = None, clustering: Any = "correlation") -> None:
        super().__init__(data, max_samples)
        self.clustering = (
            clustering if isinstance(clustering, np.ndarray) else linkage_of_features(self.data, clustering)
        )


@final
class Impute(Masker):
    """Absent features follow from those present, as in a Gaussian: taken by :class:`LinearExplainer` alone.

    Args:
        data: rows. method: ``"linear"``.

    Raises:
        OptionError: another method, or a mean and a covariance in place of rows.
    """

    def __init__(self, data: Any, method: str = "linear") -> None:
        if method != "linear":
            refuse(f"method={method!r} of maskers.Impute", "only 'linear' is, for a linear model.")
        if isinstance(data, (dict, tuple)):
            refuse("a mean and a covariance in maskers.Impute", "pass the rows that they were taken from.")
        self.data, self.method = data, method

    def background(self) -> Background:
        """Return the rows that say how features vary together."""
        return Background(self.data, correlated=True, most_counted=int(self.data.shape[0]))


@final
class Text(Masker):
    """Words are left out, or replaced by a string.

    Args:
        tokenizer: what words are: None or a regular expression of what separates them; a function that returns the words; a fast tokenizer.
        mask_token: what replaces an absent word; None: nothing.
        collapse_mask_token, output_type: as shap has them; only their defaults are taken.
    """

    def __init__(
        self,
        tokenizer: Any = None,
        mask_token: str | None = None,
        collapse_mask_token: Any = "auto",  # noqa: S107  # no password
        output_type: str = "string",
    ) -> None:
        if collapse_mask_token != "auto" or output_type != "string":  # noqa: S105  # no password
            refuse(
                "collapse_mask_token and output_type of maskers.Text",
                "each absent word is left out, or replaced by mask_token, and the model is given texts.",
            )
        self.tokenizer, self.mask_token = tokenizer, mask_token

    def options(self) -> dict[str, Any]:
        """Return the options of :func:`whybox.explain` that say the same."""
        given = {"tokenizer": self.tokenizer, "mask_string": self.mask_token}
        return {name: value for name, value in given.items() if value is not None}


class _Refused(Masker):
    instead = ""

    def __init__(self, *_: Any, **__: Any) -> None:
        refuse(f"shap.maskers.{type(self).__name__}", self.instead)


@final
class Image(_Refused):
    """Refused."""

    instead = "parts of pictures are masked by wb.saliency(net, x, method='shapley')."


@final
class Composite(_Refused):
    """Refused."""

    instead = "explain one input at a time; networks of several inputs are explained by wb.saliency."


@final
class Fixed(_Refused):
    """Refused."""

    instead = "write a function of the features that vary, with the others fixed inside it."


def linkage_of_features(data: Any, metric: Any, method: str = "single") -> Any:
    """Return a linkage matrix of features by a distance between their columns, missing values taken as the column's mean.

    Args:
        data: rows of numbers. metric: of scipy.spatial.distance.pdist. method: ``"single"``, ``"complete"`` or ``"average"``.

    Raises:
        InputError: the columns are no numbers.
    """
    from scipy.cluster.hierarchy import linkage
    from scipy.spatial.distance import pdist

    try:
        rows = np.array(data, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(
            "a hierarchy by correlation takes columns of numbers. Pass a linkage matrix, maskers.Partition(rows, clustering=...); "
            "wb.explain joins columns of any kind by itself where it computes 'partition_shap'."
        ) from None
    rows = np.where(np.isnan(rows), np.nanmean(rows, axis=0), rows)
    distances = pdist(rows.T, metric=metric)
    return linkage(np.nan_to_num(distances, nan=1.0), method)  # a constant column has no correlation
