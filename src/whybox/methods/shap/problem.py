"""A question, settled before any work is done: which model, players, output, background, index, order; and so which kernel."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, final

import numpy as np
import numpy.typing as npt

from whybox.background.marginal import Background
from whybox.core.validation import check_jobs, check_whole_number
from whybox.errors import LimitError, OptionError, UnsupportedModelError, did_you_mean
from whybox.games.indices import Index, as_index
from whybox.games.players import Players
from whybox.kernels import tree_shap
from whybox.methods.common.output import OutputSelection, resolve_output
from whybox.models.base import Model
from whybox.models.linear import Linear
from whybox.models.links import ELEMENTWISE
from whybox.models.trees import TreeEnsemble

__all__ = ["MAX_ENUMERATED_PLAYERS", "Options", "Question", "check_options", "settle"]

MAX_ENUMERATED_PLAYERS = 15  # 2^15 coalitions of every row against every background row
DEFAULT_MAX_EVALS = 2 * 10**8  # per row, when the caller sets no limit
_METHODS = ("auto", "exact", "rescaled")
Kernel = Literal["path-dependent", "interventional", "enumeration", "rescaled", "linear"]


@final
@dataclass(frozen=True)
class Options:
    """What the caller asked, checked as far as it can be without rows."""

    output: Any
    scale: Any
    order: int
    players: Any
    index: Index
    method: str
    seed: int
    additivity_tol: float | None
    max_evals: int | None
    n_jobs: int | None = None
    dtype: Literal["float32", "float64"] | None = None
    sparse: bool = False


def check_options(  # noqa: PLR0913  # every option there is
    *,
    output: Any,
    scale: Any = None,
    order: int,
    players: Any,
    index: str | Index,
    method: str,
    seed: int,
    additivity_tol: float | None,
    max_evals: int | None,
    n_jobs: int | None = None,
    dtype: Any = None,
    sparse: bool = False,
) -> Options:
    """Check options that need no rows.

    Raises:
        OptionError: a value that is not known or out of range.
    """
    if not isinstance(order, (int, np.integer)) or order not in (1, 2):
        raise OptionError(f"order={order!r}: 1 gives attributions, 2 gives pairwise interactions.")
    if not isinstance(method, str) or method not in _METHODS:
        raise OptionError(f"method={method!r} is not known here.{did_you_mean(method, _METHODS)}")
    check_whole_number("seed", seed, None)
    if additivity_tol is not None and not (isinstance(additivity_tol, (int, float)) and additivity_tol > 0):
        raise OptionError(
            f"additivity_tol={additivity_tol!r} must be a positive number: the largest residual you accept."
        )
    if max_evals is not None and not (isinstance(max_evals, (int, np.integer)) and max_evals > 0):
        raise OptionError(f"max_evals={max_evals!r} must be a positive whole number.")
    jobs = check_jobs(n_jobs)
    if dtype is not None and str(dtype) not in ("float32", "float64") and dtype not in (np.float32, np.float64):
        raise OptionError(
            f"dtype={dtype!r}: attributions are computed in 'float32' or 'float64'; None takes what the model's library computes in."
        )
    if not isinstance(sparse, bool):
        raise OptionError(
            f"sparse={sparse!r}: True keeps what can differ from zero alone, the features that the model reads or, with order=2, pairs that share a path; else leave it out."
        )
    return Options(
        output,
        scale,
        int(order),
        players,
        as_index(index),
        method,
        int(seed),
        None if additivity_tol is None else float(additivity_tol),
        None if max_evals is None else int(max_evals),
        jobs,
        None if dtype is None else "float32" if np.dtype(dtype) == np.float32 else "float64",
        sparse,
    )


@final
@dataclass(frozen=True, eq=False)
class Question:
    """Everything settled."""

    model: Model
    players: Players
    target: OutputSelection
    background: Background | None
    options: Options
    kernel: Kernel
    used: npt.NDArray[np.int64]  # players whose columns the model reads (enumeration only)
    every: Players | None = None  # all players, where the question is about those alone that the model reads

    @property
    def exact(self) -> bool:
        """Whether the numbers are exact for what is asked."""
        return self.kernel != "rescaled"

    @property
    def additive(self) -> bool:
        """Whether attributions must add up to prediction minus base."""
        return self.options.index.efficient

    @cached_property
    def pairs(self) -> npt.NDArray[np.int32]:
        """Pairs of players that can interact at all, (pairs, 2): those that some path of a tree asks for together."""
        assert isinstance(self.model, TreeEnsemble)  # noqa: S101  # settled
        return tree_shap.pairs(self.model, self.players.of_column, self.players.count)

    @cached_property
    def unseen(self) -> bool:
        """Whether some node of a tree was never reached in training."""
        m = self.model
        return isinstance(m, TreeEnsemble) and bool(((m.cover == 0) & (m.left >= 0)).any())

    def shape(self, order: int) -> tuple[int, ...]:
        """Axes of one row's values before its outputs."""
        count = self.players.count
        if order == 2 and self.options.sparse:
            return (count + len(self.pairs),)
        return (count,) * order

    @cached_property
    def places(self) -> npt.NDArray[np.int64]:
        """Where what is computed, players and pairs, stands among what is shown; players that are not read stay zero."""
        count, pairs = self.players.count, len(self.pairs) if self.options.order == 2 and self.options.sparse else 0
        if self.every is None or self.compact:
            return np.arange(count + pairs)
        position = {name: i for i, name in enumerate(self.every.names)}
        return np.array(
            [
                *(position[n] for n in self.players.names),
                *range(self.every.count, self.every.count + pairs),
            ]
        )

    @property
    def compact(self) -> bool:
        """Whether players that are not read are left out of the result."""
        return self.options.sparse and self.options.order == 1

    @property
    def shown(self) -> Players:
        """Players of the result."""
        return self.players if self.every is None or self.compact else self.every

    def shape_shown(self) -> tuple[int, ...]:
        """Axes of one row's values in the result, before its outputs."""
        pairs = len(self.pairs) if self.options.order == 2 and self.options.sparse else 0
        count = self.shown.count
        return (count + pairs,) if pairs or self.options.sparse else (count,) * self.options.order

    @property
    def estimand(self) -> str:
        """What "absent" means, in words."""
        return (
            "path-dependent: a tree's own training weights"
            if self.background is None
            else "interventional: values of background rows"
        )


def settle(
    model: Model, players: Players, background: Background | None, options: Options, every: Players | None = None
) -> Question:
    """Choose the kernel, or refuse with the reason.

    Args:
        every: all players, where `model` and `players` were narrowed to what is read.

    Raises:
        OptionError: arguments that do not go together.
        UnsupportedModelError: there is no exact answer to this question for this model.
        LimitError: the exact answer would take more evaluations than allowed.
    """
    target = resolve_output(model.outputs, options.output, options.scale)
    used = _used(model, players)
    kernel = _kernel(model, background, options, target)
    if options.sparse and options.order == 2 and kernel not in ("path-dependent", "interventional"):
        raise OptionError(
            "sparse=True keeps the pairs that share a path of a tree; other pairs are zero only on the additive scale of tree ensembles. Leave scale (or sparse) out."
        )
    if kernel == "enumeration":
        _check_enumeration(background, options, used)
    return Question(model, players, target, background, options, kernel, used, every)


def _kernel(model: Model, background: Background | None, options: Options, target: OutputSelection) -> Kernel:
    if options.method == "rescaled":
        return _rescaled(model, background, options, target)
    if target.scale == "response":
        if background is None:
            raise OptionError(
                f"scale={options.scale!r} of this model is {model.outputs.link.name} of a sum over trees. Trees alone do not say how their sums vary together, so the "
                "probability of a row with absent features needs background rows: pass background=X_train (or a sample of it)."
            )
        return "enumeration"
    if isinstance(model, Linear):
        if background is None:
            raise OptionError(
                "a linear model keeps no training weights, so absent features need background rows: pass background=X_train (or a sample of it)."
            )
        return "linear"
    if not isinstance(model, TreeEnsemble):
        raise UnsupportedModelError(f"{model.kind} is not a tree ensemble.")
    if background is not None:
        return "interventional"
    if model.has_linear_leaves:
        raise OptionError(
            "the leaves of this model are linear functions, for which training weights say nothing about absent features: pass background=X_train."
        )
    if not model.has_covers:
        raise OptionError(
            "this model keeps no training weights in its nodes, so nothing path-dependent is defined: pass background=X_train."
        )
    return "path-dependent"


def _rescaled(model: Model, background: Background | None, options: Options, target: OutputSelection) -> Kernel:
    link = model.outputs.link
    if target.scale != "response":
        raise OptionError(
            "method='rescaled' approximates attributions behind a link; use it with scale='probability' or 'response' of a model that has one."
        )
    if background is None or options.order != 1 or not options.index.efficient:
        raise OptionError("method='rescaled' needs a background, order=1 and index='shapley'.")
    if (
        not isinstance(model, TreeEnsemble)
        or (link.function is None and link.name not in ELEMENTWISE)
        or (link.function is not None and len(model.outputs.names) > 1)
    ):
        raise OptionError(
            f"method='rescaled' is not defined for the link {link.name!r}, which mixes outputs, or for models other than trees."
        )
    return "rescaled"


def _used(model: Model, players: Players) -> npt.NDArray[np.int64]:
    if isinstance(model, TreeEnsemble):
        columns = model.read
    elif isinstance(model, Linear):
        columns = np.flatnonzero(model.weights.any(axis=1))
    else:
        columns = np.arange(model.inputs.width)
    return np.unique(players.of_column[columns]).astype(np.int64)


def _check_enumeration(background: Background | None, options: Options, used: npt.NDArray[np.int64]) -> None:
    if len(used) > MAX_ENUMERATED_PLAYERS:
        raise UnsupportedModelError(
            f"scale={options.scale!r} needs all 2^{len(used)} coalitions of the {len(used)} features this model uses; up to {MAX_ENUMERATED_PLAYERS} are enumerated. Explain "
            "the additive scale "
            "(leave scale out), group columns with players={...}, or ask for the known approximation by its name: method='rescaled'."
        )
    rows = 0 if background is None else len(background.matrix)
    needed, allowed = 2 ** len(used) * rows, DEFAULT_MAX_EVALS if options.max_evals is None else options.max_evals
    if needed > allowed:
        raise LimitError(
            f"scale={options.scale!r} needs {needed:,} evaluations a row (2^{len(used)} coalitions x {rows:,} background rows), more than the {allowed:,} allowed. "
            "Pass fewer background rows, group columns with players={...}, or raise max_evals."
        )
