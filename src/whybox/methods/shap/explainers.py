"""TreeShap, LinearShap, AdditiveShap: exact attributions and interactions of models that are read, for any index, player and background."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from inspect import Parameter, Signature
from typing import TYPE_CHECKING, Any, ClassVar, final

import numpy as np

from whybox.background.marginal import make_background
from whybox.data.cells import snapshot_table
from whybox.data.table import as_table
from whybox.errors import Argument, OptionError, UnsupportedModelError
from whybox.explanation.explanation import Explanation
from whybox.games.players import Players, players_of_columns, resolve_players
from whybox.methods.common.options import make_options, parameters_of
from whybox.methods.common.row_offsets import (
    RowOffsets,
    refuse_offset,
    resolve_offsets,
    rows_and_own_offset,
)
from whybox.methods.common.spot_checks import TimeShare
from whybox.methods.method_spec import MethodSpec
from whybox.methods.registry import find
from whybox.methods.shap.compute import CompiledProblem
from whybox.methods.shap.enumeration_plan import timed_enumeration
from whybox.methods.shap.options import AUTOMATIC_METHODS, ShapOptions
from whybox.methods.shap.plan import KernelPlan, timed_plan
from whybox.methods.shap.problem import CORRELATED, ShapProblem, resolve_problem
from whybox.methods.shap.result import explain_rows
from whybox.methods.shap.spot_checks import planned_predictions
from whybox.models.additive import Additive
from whybox.models.base import Model
from whybox.models.columns_read import columns_read, narrow_to_columns_read
from whybox.models.linear import Linear
from whybox.models.mixed_rows import check_same_kind
from whybox.models.prepare_rows import PreparedRows, prepare_rows
from whybox.models.registry import as_model
from whybox.models.source_trials import with_sources_found
from whybox.models.trees import TreeEnsemble

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["AdditiveShap", "LinearShap", "TreeShap"]


class _ShapExplainer:
    """What these explainers share: options in ``__init__``, work in ``__call__``, nothing written by queries."""

    __signature__: ClassVar[Signature] = Signature(
        [
            Parameter("model", Parameter.POSITIONAL_OR_KEYWORD),
            Parameter("background", Parameter.POSITIONAL_OR_KEYWORD, default=None),
            Parameter("options", Parameter.POSITIONAL_OR_KEYWORD, default=None),
            *parameters_of(ShapOptions),
        ]
    )
    method_id: ClassVar[str]  # of the family "shap"
    other_methods: ClassVar[tuple[str, ...]] = ()  # that it computes too, by name
    supported_model: type[Model]

    def __init__(self, model: Any, background: Any = None, options: ShapOptions | None = None, **given: Any) -> None:
        made = make_options(ShapOptions, options, given)
        self.options = replace(made, background_weight=None)  # the background keeps them
        self._check_method()
        self._compiled_problems: dict[tuple[tuple[str, ...], bool], CompiledProblem] = {}
        self._time_share = TimeShare()
        self._checked_tables: dict[tuple[object, ...], int] = {}  # of tables that came, with the checks of each
        self._category_lists: dict[
            int, tuple[Any, ...]
        ] = {}  # of columns of which the model reads the codes, as they came
        self.model = as_model(model)
        if not isinstance(self.model, self.supported_model):
            raise UnsupportedModelError(
                f"{type(self).__name__} explains {self.supported_model.__name__} models; this is {self.model.kind}."
            )
        if made.background_weight is not None and background is None:
            raise OptionError("background_weight weighs background rows; pass background too.")
        rows = None if background is None else as_table(background, what="the background")
        if rows is not None:
            self.model = with_sources_found(self.model, [rows])
        # of sparse rows, columns that the model does not read are never made dense
        self._narrow = (self.options.sparse and self.options.order == 1) or (rows is not None and rows.is_sparse)
        about = self._narrow_model if self._narrow else self.model
        self.background = None if rows is None else make_background(about, rows, made.background_weight)
        waits_for_rows = rows is None and bool(self.model.inputs.undeclared_steps)
        if not waits_for_rows and (
            self.model.inputs.has_names or made.players is None
        ):  # else players may be named by columns of the rows to come
            self._compiled_problem(self.model.inputs.names)

    def _check_method(self) -> None:
        """Refuse a method of another explainer.

        Raises:
            OptionError: it is.
        """
        method = self.options.method
        if method not in (*AUTOMATIC_METHODS, "rescaled", self.method_id, *self.other_methods):
            raise OptionError(
                Argument("method", method), f" is not what {type(self).__name__} computes; use whybox.explain."
            )
        self.options.check_taken(find("shap", self.method_id))

    def _compiled_problem(self, names: tuple[str, ...], *, sparse: bool = False) -> CompiledProblem:
        """The problem for columns of these names, with what was compiled for it; `sparse`: as the rows are."""
        narrow = sparse or self._narrow
        key = names, narrow
        found = self._compiled_problems.get(key)
        if found is None:
            players = resolve_players(self.model, names, self.options.players)
            if narrow:
                found = CompiledProblem(self._narrow_problem(players))
            else:
                found = CompiledProblem(resolve_problem(self.model, players, self.background, self.options))
            self._compiled_problems = {key: found}  # one is enough: rows nearly always come under the same names
        return found

    @cached_property
    def _narrow_model(self) -> Model:
        return narrow_to_columns_read(self.model)

    def _narrow_problem(self, all_players: Players) -> ShapProblem:
        """The problem about the columns and players alone that the model reads."""
        columns, background = columns_read(self.model), self.background
        if background is not None and not self._narrow:
            background = background.select_columns(columns)
        return resolve_problem(
            self._narrow_model,
            players_of_columns(all_players, columns),
            background,
            self.options,
            all_players,
        )

    def __call__(self, X: Any, *, out: npt.NDArray[Any] | None = None, offset: Any = None) -> Explanation:
        """Explain rows.

        Args:
            X: (n, d) array, data frame or sparse matrix with the model's columns; columns of a frame are matched by name.
            out: array to write the values into, float32 or float64, of their shape; the explanation's values are a read-only view of it, and its
                ``data`` are X itself instead of a snapshot.
            offset: what is added to the raw outputs of each row, (n,) or (n, outputs), or the column of X that holds it: see :func:`whybox.explain`.

        Returns:
            Explanation with ``values`` (n, players) [, outputs], or (n, players, players) [, outputs] for order 2;
            with ``sparse`` (n, players + pairs) [, outputs].

        Raises:
            LimitError: the result would take too much memory, or more predictions than ``max_evals``; the message says how much, and what to do.
            InputError: the rows do not fit the model (see whybox.errors for its kinds), or the offsets the rows.
            OptionError, UnsupportedModelError: an offset that this scale or model does not take.
            ModelMismatchError: the attributions do not add up to the model's own prediction.
        """
        offsets = None
        X, offset = rows_and_own_offset(self.model, X, offset)
        if offset is not None:
            offsets = resolve_offsets(self.model, offset, len(X))
        received = prepare_rows(self.model, X)
        if out is None:
            received = replace(received, table=snapshot_table(received.table))
        if self.background is not None:
            received.check_agreement(self.background.prepared_rows)
        received.check_codes_agree(self._category_lists, "in earlier rows")
        table = received.table
        if self.background is None:
            self.model = with_sources_found(self.model, [table])
        compiled = self._compiled_problem(table.names, sparse=table.is_sparse)
        if offsets is not None:
            compiled.problem.check_offset()
        if self.background is not None:
            check_same_kind(
                table, self.background.row_sample.table, elementwise=self.model.inputs.encoder.is_elementwise
            )
        compiled.problem.model.inputs.confirm_structure(table)
        explanation = self._explain_rows(compiled, received, out, offsets)
        for (
            i,
            categories,
        ) in received.category_lists.items():  # now that the rows were explained: what is refused binds nobody
            self._category_lists[i] = max(self._category_lists.get(i, ()), categories, key=len)
        return explanation

    def _explain_rows(
        self,
        compiled: CompiledProblem,
        received: PreparedRows,
        out: npt.NDArray[Any] | None,
        offsets: RowOffsets | None,
    ) -> Explanation:
        """Explain rows, and check the answer: the first of each kind of table, then as many as take a small share of the time."""
        table, began = received.table, self._time_share.clock_time()
        can_mix = self.background is not None or len(table) > 1
        kind = table.library, table.is_matrix, can_mix
        due = kind not in self._checked_tables or self._time_share.is_check_due()
        spec, call = self._method_spec(compiled.problem), sum(self._checked_tables.values())
        explanation, seconds = explain_rows(
            compiled,
            received,
            spec,
            out=out,
            offsets=offsets,
            call=call if due else None,
            clock=self._time_share.clock_time,
        )
        if due:
            self._checked_tables[kind] = self._checked_tables.get(kind, 0) + 1
        self._time_share.add_time(work=self._time_share.clock_time() - began - seconds, checks=seconds)
        return explanation

    @property
    def base(self) -> npt.NDArray[np.float64]:
        """The value when every feature is absent, () or (outputs,), which explanations of rows without offsets have: known before any row.

        Raises:
            OptionError: players are named by columns of rows not seen yet.
        """
        compiled = self._compiled_problem(self.model.inputs.names)
        selection = compiled.problem.selection
        return np.asarray(selection.drop_output_axis(selection.select_predictions(compiled.base)))

    def check_evals(self, rows: int, names: tuple[str, ...] | None = None) -> None:
        """Refuse more predictions than ``max_evals`` for this many rows in total, before the first of several calls.

        Args:
            rows: of all calls together. names: of their columns; None: those of the model.

        Raises:
            LimitError: coalitions are enumerated, and that takes more predictions than ``max_evals``.
        """
        self._compiled_problem(self.model.inputs.names if names is None else names).problem.check_evals(rows)

    def plan(self, rows: int, *, sparse: bool = False, has_offset: bool = False) -> KernelPlan:
        """Say how this many rows would be explained, and what that costs, timing a block of rows on this machine; see :class:`KernelPlan`.

        Args:
            rows: how many.
            sparse: whether they will come as a sparse matrix. has_offset: whether they will come with offsets.

        Raises:
            OptionError: rows is not a positive whole number, or players are named by columns of rows not seen yet.
            LimitError: coalitions are enumerated, and that takes more predictions than ``max_evals``.
        """
        if isinstance(rows, bool) or not isinstance(rows, (int, np.integer)) or rows < 1:
            raise OptionError(Argument("rows", rows), " must be a positive whole number.")
        compiled, order = self._compiled_problem(self.model.inputs.names, sparse=sparse), self.options.order
        problem, spec = compiled.problem, self._method_spec(compiled.problem)
        problem.check_evals(int(rows))
        rule = problem.model.offset_rule if has_offset else None
        if has_offset:
            refuse_offset(problem.model)
            problem.check_offset()
        compared = 0 if rule is None or rule.predict is None else int(rows)
        made = timed_enumeration(timed_plan(compiled.plan(order, int(rows)), problem, order), compiled)
        return replace(
            made,
            method=spec.title,
            method_id=spec.method_id,
            exact=spec.exact,
            given_bytes=float("nan") if sparse else 8.0 * int(rows) * self.model.inputs.width,
            result_bytes=8.0 * int(rows) * float(np.prod(problem.result_shape())) * len(problem.selection.names),
            model_calls=compared
            + (0 if problem.model.own_predict is None else int(rows) + planned_predictions(problem, int(rows))),
        )

    def _method_spec(self, problem: ShapProblem) -> MethodSpec:
        """Return the registry's entry of the method that computes a problem."""
        by_kernel = {"rescaled": "rescaled", "linear, correlated": CORRELATED}
        return find("shap", by_kernel.get(problem.kernel, self.method_id))

    def __repr__(self) -> str:
        rows = "" if self.background is None else f", {len(self.background.matrix):,} background rows"
        return f"{type(self).__name__}({self.model.kind}{rows}, index={self.options.game_index.name!r}, order={self.options.order})"


@final
class TreeShap(_ShapExplainer):
    """Exact Shapley values (or another index) of a tree ensemble.

    Without a background, absent features follow the training weights in the trees (path-dependent); with one, they take the values
    of its rows (interventional), all of them, with `background_weight` if given. A leaf counts when every player on its path is satisfied, so each
    contribution is a product over players and its expectation over coalitions a one-dimensional integral, evaluated by quadrature that is
    exact for the degree at hand.

    Args:
        model: any supported model object, the path of a model file, or an adapted model.
        background: rows (m, d) to draw absent features from.
        options: a ShapOptions object (whybox.methods.shap.options), in place of those by name that follow.
        output: None (every output of the model), the label or position of a class or output, or ``"all"`` (every class, with an axis).
        scale: None or ``"raw"`` (the additive scale), ``"probability"``, ``"response"`` (the scale of predictions).
        order: 1 for attributions; 2 for pairwise interactions: half of each on either side of the diagonal, main effects on it, so that
            rows add up to attributions.
        players: ``{"name": [columns]}``; columns not named stay single.
        index: ``"shapley"``, ``"banzhaf"``, ``"banzhaf(p)"``, ``"beta(a, b)"`` or an Index.
        background_weight: (m,) weights of background rows.
        method: ``"auto"`` and ``"exact"`` are exact or refuse; ``"rescaled"`` is the known approximation behind a link.
        seed: draws which numbers are recomputed; the values draw nothing.
        additivity_tol: largest additivity residual accepted, in the units of the prediction; None: what rounding explains.
        max_evals: most predictions of one call in total where coalitions are enumerated: 2^features x rows x background rows; None: a billion.
        n_jobs: threads. None: as many as this process may use (see ``whybox.core.workers.threads_allowed``). -1: one for each processor.
        dtype: ``"float32"`` or ``"float64"`` for arithmetic and values. None: values in float64, computed in float32 for models whose library
            does so itself (XGBoost), where that is within the rounding of its own predict.
        sparse: for order 1: only players that the model reads; all others get exactly zero.
            For order 2: not matrices but terms, main effects first and then the whole interaction of every pair of players that some path
            of a tree tests together, named after both; any other pair's interaction is exactly zero. Terms add up as attributions do.

    Raises:
        ModelError: the model is not supported or not what it seems. OptionError, InputError: bad arguments.

    References:
        Lundberg et al., From local explanations to global understanding with explainable AI for trees, Nature Machine Intelligence 2 (2020);
        Quadrature-TreeSHAP, arXiv 2605.04497; Owen (1972) for the multilinear extension.
    """

    method_id = "tree_shap"
    supported_model = TreeEnsemble


@final
class LinearShap(_ShapExplainer):
    """Exact Shapley values of a linear model: weight times distance from the background mean.

    Linear models are scikit-learn's, and XGBoost's gblinear, in which a missing value adds nothing. Arguments, results and errors are those of
    :class:`TreeShap`; a background is required.

    With ``method="linear_shap_correlated"`` absent features are not drawn from the background whatever those present are: they follow from them, as in a
    Gaussian with the background's mean and covariance. Then features share the credit for what they have in common, and one without a weight may get some.
    Exact by all coalitions, up to 15 players. Where columns determine each other (one-hot columns, copies, fewer rows than columns), directions in which
    the background does not vary predict nothing (pseudo-inverse of the correlations); the evidence says so.

    References:
        Strumbelj and Kononenko, Knowledge and Information Systems 41 (2014); Lundberg and Lee, NeurIPS 2017; Aas, Jullum and Loland, Artificial Intelligence
        298 (2021), arXiv:1903.10464, for the conditional mean.
    """

    method_id = "linear_shap"
    other_methods = (CORRELATED,)
    supported_model = Linear


@final
class AdditiveShap(_ShapExplainer):
    """Exact Shapley values of an additive model (an explainable boosting machine of interpret): each term is a game of one feature or of two.

    A term of one feature counts with its value less its mean over the background. A term of two is shared out between them, half of their interaction each.
    Arguments, results and errors are those of :class:`TreeShap`; a background is required.

    References:
        Lou, Caruana, Gehrke and Hooker, Accurate intelligible models with pairwise interactions, KDD 2013; Shapley (1953).
    """

    method_id = "additive_shap"
    supported_model = Additive
