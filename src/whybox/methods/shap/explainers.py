"""TreeShap: exact attributions and interactions of tree ensembles (and of linear boosters), for any index, player and background."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, final

import numpy as np

from whybox.background.marginal import make_background
from whybox.data.cells import snapshot_table
from whybox.data.table import as_table
from whybox.errors import OptionError, UnsupportedModelError
from whybox.explanation.explanation import Explanation
from whybox.games.indices import Index
from whybox.games.players import Players, resolve_players, those_read
from whybox.methods.method_spec import MethodSpec
from whybox.methods.registry import find
from whybox.methods.shap.compute import CompiledProblem
from whybox.methods.shap.plan import Plan, measured
from whybox.methods.shap.problem import Question, check_options, settle
from whybox.methods.shap.result import run
from whybox.models.base import Model
from whybox.models.columns_read import columns_read, narrowed
from whybox.models.linear import Linear
from whybox.models.mixed_rows import check_kinds
from whybox.models.receive import receive
from whybox.models.registry import as_model
from whybox.models.trees import TreeEnsemble

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["LinearShap", "TreeShap"]


class _Explainer:
    """What both explainers share: options in ``__init__``, work in ``__call__``, nothing written by queries."""

    method_id: ClassVar[str]  # of the family "shap"
    needs: type[Model]

    def __init__(  # noqa: PLR0913  # the promise of the public surface
        self,
        model: Any,
        background: Any = None,
        *,
        output: Any = None,
        scale: str | None = None,
        order: int = 1,
        players: Any = None,
        index: str | Index = "shapley",
        background_weight: Any = None,
        method: str = "auto",
        seed: int = 0,
        additivity_tol: float | None = None,
        max_evals: int | None = None,
        n_jobs: int | None = None,
        dtype: Any = None,
        sparse: bool = False,
    ) -> None:
        self.options = check_options(
            output=output,
            scale=scale,
            order=order,
            players=players,
            index=index,
            method=method,
            seed=seed,
            additivity_tol=additivity_tol,
            max_evals=max_evals,
            n_jobs=n_jobs,
            dtype=dtype,
            sparse=sparse,
        )
        self._kept: dict[tuple[tuple[str, ...], bool], CompiledProblem] = {}
        self._lists: dict[int, tuple[Any, ...]] = {}  # of columns of which the model reads the codes, as they came
        self.model = as_model(model)
        if not isinstance(self.model, self.needs):
            raise UnsupportedModelError(
                f"{type(self).__name__} explains {self.needs.__name__} models; this is {self.model.kind}."
            )
        if background_weight is not None and background is None:
            raise OptionError("background_weight weighs background rows; pass background too.")
        rows = None if background is None else as_table(background, what="the background")
        # of sparse rows, columns that the model does not read are never made dense
        self._narrow = (self.options.sparse and self.options.order == 1) or (rows is not None and rows.is_sparse)
        self._read = narrowed(self.model) if self._narrow else self.model
        self.background = None if rows is None else make_background(self._read, rows, background_weight)
        if self.model.inputs.named or players is None:  # else players may be named by the columns of the rows to come
            self._compiled(self.model.inputs.names)

    def _compiled(self, names: tuple[str, ...], *, sparse: bool = False) -> CompiledProblem:
        """The question for columns of these names, with what was compiled for it; `sparse`: as the rows are."""
        narrow = sparse or self._narrow
        key = names, narrow
        found = self._kept.get(key)
        if found is None:
            players = resolve_players(self.model, names, self.options.players)
            if narrow:
                found = CompiledProblem(self._settled_narrow(players))
            else:
                found = CompiledProblem(settle(self.model, players, self.background, self.options))
            self._kept = {key: found}  # one is enough: rows nearly always come under the same names
        return found

    def _settled_narrow(self, every: Players) -> Question:
        """The question about the columns and players alone that the model reads."""
        columns, background = columns_read(self.model), self.background
        if background is not None and not self._narrow:
            background = background.only(columns)
        return settle(narrowed(self.model), those_read(every, columns), background, self.options, every)

    def __call__(self, X: Any, *, out: npt.NDArray[Any] | None = None) -> Explanation:
        """Explain rows.

        Args:
            X: (n, d) array, data frame or sparse matrix with the model's columns; columns of a frame are matched by name.
            out: array to write the values into, float32 or float64, of their shape; the explanation's values are a read-only view of it, and its
                ``data`` are X itself instead of a snapshot.

        Returns:
            Explanation with ``values`` (n, players) [, outputs], or (n, players, players) [, outputs] for order 2;
            with ``sparse`` (n, players + pairs) [, outputs].

        Raises:
            LimitError: the result would take too much memory; the message says how much, and what to do.
            InputError: the rows do not fit the model (see whybox.errors for its kinds).
            ModelMismatchError: the attributions do not add up to the model's own prediction.
        """
        received = receive(self.model, X)
        if out is None:
            received = replace(received, table=snapshot_table(received.table))
        if self.background is not None:
            received.agree(self.background.received)
        received.agree_on_codes(self._lists, "in earlier rows")
        for i, words in received.lists.items():
            self._lists[i] = max(self._lists.get(i, ()), words, key=len)
        table = received.table
        compiled = self._compiled(table.names, sparse=table.is_sparse)
        if self.background is not None:
            check_kinds(table, self.background.some.table, elementwise=self.model.inputs.encoder.elementwise)
        compiled.question.model.inputs.confirm(table)
        return run(compiled, received, self._spec(compiled.question), out=out)

    def plan(self, rows: int, *, sparse: bool = False) -> Plan:
        """Say how this many rows would be explained, and what that costs, timing a block of rows on this machine; see :class:`Plan`.

        Args:
            rows: how many.
            sparse: whether they will come as a sparse matrix.

        Raises:
            OptionError: rows is not a positive whole number, or players are named by columns of rows not seen yet.
        """
        if isinstance(rows, bool) or not isinstance(rows, (int, np.integer)) or rows < 1:
            raise OptionError(f"rows={rows!r} must be a positive whole number.")
        compiled, order = self._compiled(self.model.inputs.names, sparse=sparse), self.options.order
        return measured(compiled.plan(order, int(rows)), compiled.question, order)

    def _spec(self, question: Question) -> MethodSpec:
        """What the registry says of the method that answers a question."""
        return find("shap", "rescaled" if question.kernel == "rescaled" else self.method_id)

    def __repr__(self) -> str:
        rows = "" if self.background is None else f", {len(self.background.matrix):,} background rows"
        return f"{type(self).__name__}({self.model.kind}{rows}, index={self.options.index.name!r}, order={self.options.order})"


@final
class TreeShap(_Explainer):
    """Exact Shapley values (or another index) of a tree ensemble.

    Without a background, absent features follow the training weights in the trees (path-dependent); with one, they take the values
    of its rows (interventional), all of them, with `background_weight` if given. A leaf counts when every player on its path is satisfied, so each
    contribution is a product over players and its expectation over coalitions a one-dimensional integral, evaluated by quadrature that is
    exact for the degree at hand.

    Args:
        model: any supported model object, the path of a model file, or an adapted model.
        background: rows (m, d) to draw absent features from.
        output: None (every output of the model), the label or position of a class or output, or ``"all"`` (every class, with an axis).
        scale: None or ``"raw"`` (the additive scale), ``"probability"``, ``"response"`` (the scale of predictions).
        order: 1 for attributions; 2 for pairwise interactions: half of each on either side of the diagonal, main effects on it, so that
            rows add up to attributions.
        players: ``{"name": [columns]}``; columns not named stay single.
        index: ``"shapley"``, ``"banzhaf"``, ``"banzhaf(p)"``, ``"beta(a, b)"`` or an Index.
        background_weight: (m,) weights of background rows.
        method: ``"auto"`` and ``"exact"`` are exact or refuse; ``"rescaled"`` is the known approximation behind a link.
        seed: recorded in the evidence; nothing is drawn.
        additivity_tol: largest additivity residual accepted; None: what rounding explains.
        max_evals: largest number of evaluations a row for enumerated outputs.
        n_jobs: threads; None or -1: as many as there are processors.
        dtype: ``"float32"`` or ``"float64"`` for arithmetic and values. None: values in float64, computed in float32 for models whose library
            does so itself (XGBoost), where that is within the rounding of its own predict.
        sparse: for order 1: only players that the model reads; all others get exactly zero.
            For order 2: not matrices but terms, main effects first and then the whole interaction of every pair of players that some path
            of a tree asks for together, named after both; any other pair's interaction is exactly zero. Terms add up as attributions do.

    Raises:
        ModelError: the model is not supported or not what it seems. OptionError, InputError: bad arguments.

    References:
        Lundberg et al., From local explanations to global understanding with explainable AI for trees, Nature Machine Intelligence 2 (2020);
        Quadrature-TreeSHAP, arXiv 2605.04497; Owen (1972) for the multilinear extension.
    """

    method_id = "tree_shap"
    needs = TreeEnsemble


@final
class LinearShap(_Explainer):
    """Exact Shapley values of a linear model (XGBoost's gblinear): weight times distance from the background mean.

    Arguments, results and errors are those of :class:`TreeShap`; a background is required. A missing value adds nothing, as in XGBoost.
    """

    method_id = "linear_shap"
    needs = Linear
