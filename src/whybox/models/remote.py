"""A function of rows that answers over a network: called in batches, and again where a call fails."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from whybox.core.validation import check_whole_number
from whybox.data.table import Floats, as_table
from whybox.errors import Argument, ModelError, OptionError
from whybox.models.call_outputs import as_outputs

__all__ = ["RemoteModel"]


@final
@dataclass(frozen=True)
class RemoteModel:
    """A function of rows, or of arrays, that is called in batches, and again after some errors; itself such a function.

    Pass it wherever a function of rows is taken, for example to :func:`whybox.effects`.

    Args:
        function: rows, in the kind of table that you pass to whybox -> one number a row, (n,), or (n, outputs).
        batch_size: most rows of one call; None: as many as whybox passes at a time (at most 65,536).
        retries: how many times a call that failed is made again before the error is raised.
        retry_on: the errors after which a call is made again. ``OSError`` includes ConnectionError, TimeoutError, and the errors of urllib and
            requests; name those of other clients. All other errors are raised at once, and so is Ctrl-C.
        wait: seconds before the first retry; doubled before each further one.

    Raises:
        OptionError: a number out of range, or `retry_on` names no kinds of Exception.

    Examples:
        >>> import numpy as np
        >>> import whybox as wb
        >>> def call_service(rows):  # sends at most 100 rows
        ...     assert len(rows) <= 100
        ...     return rows.sum(axis=1)
        >>> X = np.random.default_rng(0).normal(size=(300, 2))
        >>> curves = wb.effects(wb.RemoteModel(call_service, batch_size=100, retries=3), X, grid=5)
        >>> curves[0].shape
        (5,)
    """

    function: Callable[[Any], Any]
    batch_size: int | None = None
    retries: int = 0
    retry_on: type[Exception] | tuple[type[Exception], ...] = (OSError,)
    wait: float = 1.0

    def __post_init__(self) -> None:
        if not callable(self.function):
            raise OptionError(f"function must be a function of rows, not a {type(self.function).__name__}.")
        if self.batch_size is not None:
            check_whole_number("batch_size", self.batch_size)
        check_whole_number("retries", self.retries, 0)
        if isinstance(self.wait, bool) or not isinstance(self.wait, (int, float)) or not 0 <= self.wait < np.inf:
            raise OptionError(Argument("wait", self.wait), " must be a number of seconds, 0 or more.")
        kinds = self.retry_on if isinstance(self.retry_on, tuple) else (self.retry_on,)
        if not kinds or not all(isinstance(k, type) and issubclass(k, Exception) for k in kinds):
            raise OptionError(
                Argument("retry_on", self.retry_on),
                " must be a kind of Exception, or a tuple of such; Ctrl-C is never retried.",
            )

    @property
    def __name__(self) -> str:
        """The name of the function."""
        return getattr(self.function, "__name__", type(self.function).__name__)

    def __call__(self, rows: Any) -> Floats:
        """Return the function's outputs, (n, outputs), batch by batch.

        Raises:
            ModelError: a batch failed more often than `retries`. InputError, DtypeError: what came back is not one number a row (or several).
        """
        texts = isinstance(rows, list) and bool(rows) and isinstance(rows[0], str)
        if texts or getattr(rows, "ndim", 2) > 2:  # texts, pictures, series: no table
            size = max(self.batch_size or len(rows), 1)
            parts = [rows[at : at + size] for at in range(0, len(rows), size)]
            return np.concatenate([self._call_checked(part, len(part)) for part in parts])
        table = as_table(rows)
        if self.batch_size is None or len(table) <= self.batch_size:
            return self._call_checked(rows, len(table))
        return np.concatenate([self._call_checked(b.native, len(b)) for _, b in table.blocks(self.batch_size)])

    def _call_checked(self, rows: Any, count: int) -> Floats:
        for attempt in range(self.retries + 1):
            try:
                return as_outputs(self.function(rows), count)
            except self.retry_on as error:
                if attempt == self.retries:
                    raise ModelError(
                        f"{self.__name__} failed {attempt + 1} time{'s' * (attempt > 0)} on a batch of {count:,} rows; the last error was "
                        f"{type(error).__name__}: {error}. Try again later, or give more retries or a smaller batch_size."
                    ) from error
            time.sleep(self.wait * 2**attempt)
        raise AssertionError("unreachable")
