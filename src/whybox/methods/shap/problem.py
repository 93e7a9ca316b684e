"""The problem, resolved before any work is done: which model, players, output, background, index, order; and so which kernel."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final, Literal, final

import numpy as np
import numpy.typing as npt

from whybox.background.marginal import Background
from whybox.errors import Argument, LimitError, OptionError, UnsupportedModelError
from whybox.games.players import Players
from whybox.kernels import tree_shap
from whybox.methods.common.options import not_together
from whybox.methods.common.output import OutputSelection, resolve_output
from whybox.methods.shap.gaussian_values import ConditionalGaussian
from whybox.methods.shap.options import ShapOptions
from whybox.models.additive import Additive
from whybox.models.base import Model
from whybox.models.linear import Linear
from whybox.models.links import ELEMENTWISE_LINKS
from whybox.models.trees import TreeEnsemble

__all__ = ["CORRELATED", "MAX_ENUMERATED_PLAYERS", "ShapProblem", "resolve_problem"]

MAX_ENUMERATED_PLAYERS = 15  # 2^15 coalitions of every row against every background row
DEFAULT_MAX_EVALS = 10**9  # predictions in total, when the caller sets no limit
CORRELATED: Final = "linear_shap_correlated"  # id of the method
KernelName = Literal[
    "path-dependent", "interventional", "enumeration", "rescaled", "linear", "linear, correlated", "additive"
]


@final
@dataclass(frozen=True, eq=False)
class ShapProblem:
    """A model, what is explained of it, and the kernel that computes it."""

    model: Model
    players: Players
    selection: OutputSelection
    background: Background | None
    options: ShapOptions
    kernel: KernelName
    players_read: npt.NDArray[np.int64]  # players whose columns the model reads (enumeration only)
    all_players: Players | None = None  # where the problem is about those alone that the model reads

    @property
    def exact(self) -> bool:
        """Whether the numbers are exact for the problem."""
        return self.kernel != "rescaled"

    @property
    def additive(self) -> bool:
        """Whether attributions must add up to prediction minus base."""
        return self.options.game_index.efficient

    @cached_property
    def gaussian(self) -> ConditionalGaussian:
        """The Gaussian of the background, of a linear model with correlated features."""
        assert isinstance(self.model, Linear)  # noqa: S101  # the kernel is for these
        assert self.background is not None  # noqa: S101  # resolved
        return ConditionalGaussian(self.model, self.background, self.players)

    @cached_property
    def interacting_pairs(self) -> npt.NDArray[np.int32]:
        """Pairs of players that can interact at all, (pairs, 2): those that some path of a tree tests together."""
        assert isinstance(self.model, TreeEnsemble)  # noqa: S101  # resolved
        return tree_shap.interacting_pairs(self.model, self.players.of_column, self.players.count)

    @cached_property
    def has_unreached_nodes(self) -> bool:
        """Whether some node of a tree was never reached in training."""
        m = self.model
        return isinstance(m, TreeEnsemble) and bool(((m.cover == 0) & (m.left >= 0)).any())

    @cached_property
    def players_on_path(self) -> npt.NDArray[np.int32]:
        """Most different players on a path of each tree: a walk through all nodes."""
        m = self.model
        assert isinstance(m, TreeEnsemble)  # noqa: S101  # other models have no paths
        return tree_shap.players_on_path(m, self.players.of_column, self.players.count)

    def values_shape(self, order: int) -> tuple[int, ...]:
        """Axes of one row's values before its outputs."""
        count = self.players.count
        if order == 2 and self.options.sparse:
            return (count + len(self.interacting_pairs),)
        return (count,) * order

    @cached_property
    def result_positions(self) -> npt.NDArray[np.int64]:
        """Positions of computed players and pairs in the result; players that are not read stay zero."""
        count, pairs = (
            self.players.count,
            len(self.interacting_pairs) if self.options.order == 2 and self.options.sparse else 0,
        )
        if self.all_players is None or self.omits_unread_players:
            return np.arange(count + pairs)
        position = {name: i for i, name in enumerate(self.all_players.names)}
        return np.array(
            [
                *(position[n] for n in self.players.names),
                *range(self.all_players.count, self.all_players.count + pairs),
            ]
        )

    @property
    def omits_unread_players(self) -> bool:
        """Whether players that are not read are left out of the result."""
        return self.options.sparse and self.options.order == 1

    @property
    def players_shown(self) -> Players:
        """Players of the result."""
        return self.players if self.all_players is None or self.omits_unread_players else self.all_players

    def check_evals(self, rows: int) -> None:
        """Refuse more predictions than allowed for this many rows.

        Raises:
            LimitError: enumerating coalitions takes more than ``max_evals``; the message says how many.
        """
        if self.kernel != "enumeration" or self.background is None:
            return
        coalitions, background = 2 ** len(self.players_read), len(self.background.matrix)
        needed = rows * coalitions * background
        allowed = DEFAULT_MAX_EVALS if self.options.max_evals is None else self.options.max_evals
        if needed > allowed:
            raise LimitError(
                Argument("scale", self.options.scale),
                f" needs {needed:,} predictions ({rows:,} row{'s' * (rows != 1)} x 2^{len(self.players_read)} coalitions x {background:,} "
                f"background rows), more than the {allowed:,} allowed. Pass fewer rows or background rows, group columns with ",
                Argument("players", example="{...}"),
                ", or raise ",
                Argument("max_evals"),
                ".",
            )

    def check_offset(self) -> None:
        """Refuse rows with offsets where they are not computed.

        Raises:
            OptionError: the approximation behind a link.
        """
        if self.kernel == "rescaled":
            raise not_together(
                Argument("method", "rescaled"),
                "offset",
                ": leave it out for exact values, or leave ",
                Argument("scale"),
                " out.",
            )

    def result_shape(self) -> tuple[int, ...]:
        """Axes of one row's values in the result, before its outputs."""
        pairs = len(self.interacting_pairs) if self.options.order == 2 and self.options.sparse else 0
        count = self.players_shown.count
        return (count + pairs,) if pairs or self.options.sparse else (count,) * self.options.order

    @property
    def estimand(self) -> str:
        """What "absent" means, in words."""
        if self.kernel == "linear, correlated":
            return "conditional: absent features as in a Gaussian with the background's mean and covariance, given those present"
        return (
            "path-dependent: a tree's own training weights"
            if self.background is None
            else "interventional: values of background rows"
        )


def resolve_problem(
    model: Model,
    players: Players,
    background: Background | None,
    options: ShapOptions,
    all_players: Players | None = None,
) -> ShapProblem:
    """Choose the kernel, or refuse with the reason.

    Args:
        all_players: all of them, where `model` and `players` were narrowed to what is read.

    Raises:
        OptionError: arguments that do not go together.
        UnsupportedModelError: the problem has no exact solution for this model.
        LimitError: the exact values would take more evaluations than allowed.
    """
    selection = resolve_output(model.outputs, options.output, options.scale)
    if options.scale is None and selection.scale == "response":  # a predict method was passed as the model
        options = replace(options, scale="response")
    players_read = _players_read(model, players)
    kernel = _choose_kernel(model, background, options, selection)
    if options.sparse and options.order == 2 and kernel not in ("path-dependent", "interventional"):
        raise OptionError(
            Argument("sparse", True),
            " keeps the pairs that share a path of a tree; other pairs are zero only on the additive scale of tree ensembles. Leave ",
            Argument("scale"),
            " (or ",
            Argument("sparse"),
            ") out.",
        )
    if kernel == "enumeration":
        _check_enumeration(options, players_read)
    if kernel == "linear, correlated":
        _check_correlated(players, narrowed=all_players is not None)
    problem = ShapProblem(model, players, selection, background, options, kernel, players_read, all_players)
    problem.check_evals(1)
    if kernel == "linear, correlated":
        _ = problem.gaussian  # refuses missing values, and too many coalitions
    return problem


def _choose_kernel(
    model: Model, background: Background | None, options: ShapOptions, selection: OutputSelection
) -> KernelName:
    if options.method == "rescaled":
        return _rescaled_kernel(model, background, options, selection)
    if options.method == CORRELATED:
        return _correlated_kernel(model, background, options, selection)
    if selection.scale == "response":
        if background is None:
            raise OptionError(
                Argument("scale", options.scale),
                f" of this model is {model.outputs.link.name} of a sum. The model alone does not say how the parts of the sum vary together, so "
                "the probability of a row with absent features needs training rows, or a sample of them, as background: pass ",
                Argument("background", example="X_train"),
                ".",
            )
        return "enumeration"
    if isinstance(model, Linear | Additive):
        if background is None:
            name = "a linear" if isinstance(model, Linear) else "an additive"
            raise OptionError(
                f"{name} model keeps no training weights, so absent features need training rows, or a sample of them, as background: pass ",
                Argument("background", example="X_train"),
                ".",
            )
        return "linear" if isinstance(model, Linear) else "additive"
    if not isinstance(model, TreeEnsemble):
        raise UnsupportedModelError(f"{model.kind} is not a tree ensemble.")
    if background is not None:
        return "interventional"
    if model.has_linear_leaves:
        raise OptionError(
            "the leaves of this model are linear functions, for which training weights say nothing about absent features: pass ",
            Argument("background", example="X_train"),
            ".",
        )
    if not model.has_covers:
        raise OptionError(
            "this model keeps no training weights in its nodes, so nothing path-dependent is defined: pass ",
            Argument("background", example="X_train"),
            ".",
        )
    return "path-dependent"


def _correlated_kernel(
    model: Model, background: Background | None, options: ShapOptions, selection: OutputSelection
) -> KernelName:
    if not isinstance(model, Linear):
        raise UnsupportedModelError(
            Argument("method", CORRELATED),
            f" is about linear models, whose conditional means are linear too; this is {model.kind}.",
        )
    if background is None:
        raise OptionError(
            Argument("method", CORRELATED),
            " learns from the background how features vary together: pass ",
            Argument("background", example="X_train"),
            ".",
        )
    if selection.scale == "response":
        raise OptionError(
            Argument("scale", options.scale),
            f" of this model is {model.outputs.link.name} of its sum, whose conditional mean is not linear. Leave ",
            Argument("scale"),
            " out.",
        )
    return "linear, correlated"


def _check_correlated(players: Players, *, narrowed: bool) -> None:
    if narrowed:
        raise OptionError(
            Argument("method", CORRELATED),
            " needs every column, also those that the model does not read, since they predict others: pass dense rows, and leave ",
            Argument("sparse"),
            " out.",
        )
    if players.count > MAX_ENUMERATED_PLAYERS:
        raise UnsupportedModelError(
            Argument("method", CORRELATED),
            f" needs all 2^{players.count} coalitions of the {players.count} features; up to {MAX_ENUMERATED_PLAYERS} are enumerated. Group columns with ",
            Argument("players", example="{...}"),
            ", or use ",
            Argument("method", "linear_shap"),
            ", in which absent features do not depend on those present.",
        )


def _rescaled_kernel(
    model: Model, background: Background | None, options: ShapOptions, selection: OutputSelection
) -> KernelName:
    link = model.outputs.link
    if selection.scale != "response":
        raise OptionError(
            Argument("method", "rescaled"),
            " approximates attributions behind a link; use it with ",
            Argument("scale", "probability"),
            " or 'response' of a model that has one.",
        )
    if background is None or options.order != 1 or not options.game_index.efficient:
        raise OptionError(
            Argument("method", "rescaled"),
            " needs a background, ",
            Argument("order", 1),
            " and ",
            Argument("index", "shapley"),
            ".",
        )
    if (
        not isinstance(model, TreeEnsemble)
        or (link.function is None and link.name not in ELEMENTWISE_LINKS)
        or (link.function is not None and len(model.outputs.names) > 1)
    ):
        raise OptionError(
            Argument("method", "rescaled"),
            f" is not defined for the link {link.name!r}, which mixes outputs, or for models other than trees.",
        )
    return "rescaled"


def _players_read(model: Model, players: Players) -> npt.NDArray[np.int64]:
    if isinstance(model, TreeEnsemble | Linear | Additive):
        columns = model.columns_read
    else:
        columns = np.arange(model.inputs.width)
    return np.unique(players.of_column[columns]).astype(np.int64)


def _check_enumeration(options: ShapOptions, players_read: npt.NDArray[np.int64]) -> None:
    count = len(players_read)
    if count > MAX_ENUMERATED_PLAYERS:
        raise UnsupportedModelError(
            Argument("scale", options.scale),
            f" needs all 2^{count} coalitions of the {count} features this model uses; up to {MAX_ENUMERATED_PLAYERS} are "
            "enumerated. Explain the additive scale (leave ",
            Argument("scale"),
            " out), group columns with ",
            Argument("players", example="{...}"),
            ", or ask for the known approximation by its name: ",
            Argument("method", "rescaled"),
            ".",
        )
